"""Which policies apply."""

from hypothesis import given
from hypothesis import strategies as st

from safemt.core.taxonomy import Scenario
from safemt.moderation.policies.policy import FITS, MOST_POLICIES, read_policies, select_policies

POLICIES = read_policies()


def chosen(scores: dict[Scenario, float]) -> list[str]:
    return [policy.id for policy in select_policies(POLICIES, scores)]


def test_the_best_fitting_scenarios_come_first() -> None:
    scores = {Scenario.BIAS: 0.4, Scenario.FRAUD: 0.9, Scenario.SEX: 0.35, Scenario.THREAT: 0.1}
    assert chosen(scores) == ["fraud", "bias"]


def test_the_baseline_applies_where_no_scenario_fits() -> None:
    assert chosen({}) == ["baseline"]
    assert chosen({Scenario.FRAUD: FITS - 0.01}) == ["baseline"]


@given(st.dictionaries(st.sampled_from(Scenario), st.sampled_from([0.0, 0.3, 0.5, 1.0])))
def test_the_order_in_which_scenarios_are_scored_does_not_matter(scores: dict[Scenario, float]) -> None:
    assert chosen(scores) == chosen(dict(reversed(scores.items())))
    assert 1 <= len(chosen(scores)) <= MOST_POLICIES
