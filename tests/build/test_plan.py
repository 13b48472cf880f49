from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.build.dealing.methods import FEWEST_TURNS, WRITERS
from safemt.build.plan import MethodPlan, method_quotas, selection_order
from safemt.build.queries import Query, RawQuery
from safemt.core.errors import UsageError
from safemt.core.taxonomy import PUBLISHED_TURNS, Method, Scenario


def query(number: int, scenario: Scenario) -> Query:
    raw = RawQuery(text=f"text {number}", place="p", source="s")
    return Query(text=raw.text, scenario=scenario, assigned_by="source", confidence=1.0, raw=raw)


def test_four_methods_share_the_longer_dialogues_equally() -> None:
    plan = MethodPlan(tuple(Method), PUBLISHED_TURNS)
    given_out = Counter(
        method for n in range(340) for method in plan.assign(tuple(Scenario)[n % 17]).values()
    )
    assert max(given_out.values()) - min(given_out.values()) <= 4
    assert Method.HYBRID not in MethodPlan(tuple(Method), (2,)).assign(Scenario.SEX).values()


def test_a_released_assignment_is_given_out_again() -> None:
    plan = MethodPlan(tuple(Method), PUBLISHED_TURNS)
    first = plan.assign(Scenario.FRAUD)
    plan.release(Scenario.FRAUD, first)
    assert plan.assign(Scenario.FRAUD) == first


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_quotas_sum_to_one_at_every_length(count: int) -> None:
    for methods in combinations(Method, count):
        for quota in method_quotas(methods, (1, 3, 4, 8)).values():
            assert sum(quota.values()) == pytest.approx(1)
            assert all(share >= 0 for share in quota.values())


def test_hybrid_alone_cannot_do_two_turns() -> None:
    with pytest.raises(UsageError) as error:
        MethodPlan([Method.HYBRID], (1, 2))
    assert (error.value.code, error.value.fields["turns"]) == ("no_method", 2)


def test_every_method_writes_every_length() -> None:
    assert set(WRITERS) == set(FEWEST_TURNS) == set(Method)


def test_the_published_mix_is_mostly_gradual() -> None:
    quotas = method_quotas(tuple(Method), (2, 4, 8), "published")
    assert quotas[2][Method.GRADUAL] == pytest.approx(88 / 101)
    assert quotas[4] == quotas[8]
    assert quotas[4][Method.ROLE_PLAY] == pytest.approx(0.31)
    assert Method.HYBRID not in quotas[2]


def test_a_mix_of_weights_is_scaled_to_one() -> None:
    quotas = method_quotas(tuple(Method), (2, 4), "gradual=3,hybrid=1")
    assert quotas[2] == {Method.GRADUAL: 1.0}
    assert quotas[4] == {Method.GRADUAL: 0.75, Method.HYBRID: 0.25}


@pytest.mark.parametrize("mix", ["even", "gradual=x", "gradual=-1", "gradual=0", "gradual=inf", ""])
def test_a_mix_that_cannot_be_read_is_named(mix: str) -> None:
    with pytest.raises(UsageError) as error:
        method_quotas(tuple(Method), (2,), mix)
    assert error.value.code == "bad_method_mix"


@given(st.lists(st.sampled_from(list(Scenario)), min_size=1, max_size=60), st.integers(0, 5))
def test_any_prefix_is_balanced_and_the_order_is_the_files_no_more(
    scenarios: list[Scenario], seed: int
) -> None:
    queries = [query(number, scenario) for number, scenario in enumerate(scenarios)]
    order = selection_order(queries, seed)
    assert order == selection_order(queries[::-1], seed)
    whole = Counter(scenarios)
    for stop in range(len(order) + 1):
        taken = Counter(found.scenario for found in order[:stop])
        open_ = [taken[scenario] for scenario in whole if taken[scenario] < whole[scenario]]
        assert not open_ or max(taken.values(), default=0) - min(open_) <= 1
