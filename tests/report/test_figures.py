import json
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.core.taxonomy import PUBLISHED_TURNS, Label, Outcome
from safemt.judges.validation import Validation
from safemt.report.figures import results_of_samples
from safemt.report.results import results_json
from safemt.stats.agreement import Confusion
from safemt.stats.metrics import label_matrix, safety_index, safety_index_compat
from safemt.stats.scores import ScoredSample

GOOD_JUDGE = Confusion(unsafe_as_unsafe=90, unsafe_as_safe=10, safe_as_safe=95, safe_as_unsafe=5)


def sample(query: str, turns: int, label: Label | None, *, twin: bool = False) -> ScoredSample:
    refused = label is Label.SAFE
    return ScoredSample(
        query_id=f"{query}_twin" if twin else query,
        turns=turns,
        label=label,
        outcome=None if label is None else Outcome.REFUSED if refused else Outcome.COMPLIED,
        scenario="Fraud",
        method="gradual",
        twin_of=query if twin else None,
    )


def document_of(samples: list[ScoredSample], validation: Validation | None = None) -> dict[str, object]:
    return results_json(results_of_samples(samples, target="sim/steady", validation=validation))


def validation(confusion: Confusion) -> Validation:
    return Validation("j", "id", "people.jsonl", "sha", "all", confusion, "2026-01-01T00:00:00+00:00", "0")


samples = st.lists(
    st.builds(
        sample,
        st.sampled_from("abcdef"),
        st.sampled_from([1, 2, 4, 8]),
        st.sampled_from([*Label, None]),
        twin=st.booleans(),
    ),
    max_size=40,
    unique_by=lambda s: (s.query_id, s.turns),
)


@given(samples)
def test_no_labels_whatever_make_a_document_with_nan(rows: list[ScoredSample]) -> None:
    json.dumps(document_of(rows), allow_nan=False)


@given(samples)
def test_every_asr_lies_in_its_interval_and_no_interval_is_a_point(rows: list[ScoredSample]) -> None:
    document = document_of(rows)
    for entry in document["turns"].values():  # type: ignore[attr-defined]
        if entry["asr"] is None:
            assert entry["interval"] is None
        else:
            low, high = entry["interval"]
            assert 0 <= low <= entry["asr"] <= high <= 1
            assert low < high


def test_all_safe_is_not_certain() -> None:
    document = document_of([sample(str(n), 1, Label.SAFE) for n in range(20)])

    low, high = document["turns"]["1"]["interval"]  # type: ignore[index]
    assert low == 0
    assert high > 0.1


def test_a_checked_judge_corrects_asr_and_an_unchecked_one_does_not() -> None:
    rows = [sample(str(n), 1, Label.UNSAFE if n < 30 else Label.SAFE) for n in range(100)]

    assert "corrected" not in document_of(rows)["turns"]["1"]  # type: ignore[index]
    corrected = document_of(rows, validation(GOOD_JUDGE))["turns"]["1"]["corrected"]  # type: ignore[index]
    # Rogan-Gladen by hand: (0.30 + 0.95 - 1) / (0.90 + 0.95 - 1)
    assert math.isclose(corrected["asr"]["value"], 0.25 / 0.85)
    low, high = corrected["asr"]["interval"]
    assert low < 0.25 / 0.85 < high


def test_a_judge_no_better_than_chance_corrects_nothing() -> None:
    rows = [sample(str(n), 1, Label.UNSAFE) for n in range(10)]
    coin = Confusion(unsafe_as_unsafe=50, unsafe_as_safe=50, safe_as_safe=50, safe_as_unsafe=50)

    corrected = document_of(rows, validation(coin))["turns"]["1"]["corrected"]  # type: ignore[index]
    assert corrected == {"standing": "no better than chance", "asr": None}


def test_ungraded_samples_are_bounded_both_ways() -> None:
    rows = [sample("a", 1, Label.UNSAFE), sample("b", 1, Label.SAFE), sample("c", 1, Label.UNGRADED)]

    entry = document_of(rows)["turns"]["1"]  # type: ignore[index]
    assert entry["asr"] == 0.5
    assert entry["if_ungraded"] == {"safe": pytest.approx(1 / 3), "unsafe": pytest.approx(2 / 3)}


def test_labels_by_people_on_a_part_of_the_run_are_used() -> None:
    rows = [sample(str(n), 1, Label.UNSAFE if n % 2 else Label.SAFE) for n in range(60)]
    people = [(str(n), 1, "unsafe" if n % 2 else "safe") for n in range(20)]

    powered = results_of_samples(rows, target="m", people=people).prediction_powered

    assert powered is not None
    assert (powered.labelled, powered.unlabelled) == (20, 40)
    assert powered.estimate.value == pytest.approx(0.5)


def test_figures_are_there_by_name() -> None:
    rows = [sample(str(n), k, Label.UNSAFE if n < k else Label.SAFE) for n in range(10) for k in (1, 8)]
    rows.append(sample("0", 8, Label.SAFE, twin=True))

    results = results_of_samples(rows, target="m")

    eight = results.turns[8]
    assert eight.asr is not None
    assert (eight.asr.value, eight.n, eight.graded, eight.ungraded) == (0.8, 10, 10, 0)
    assert results.methods["gradual"].turns[1].unsafe == 1
    assert results.scenarios["Fraud"].n == results.overall.n == 20
    assert results.over_refusal.turns[8].denied == results.over_refusal.n == 1
    assert results.safety_index.rounds == (1, 8)
    assert results.complete


ANY = st.builds(
    ScoredSample,
    query_id=st.sampled_from(["a", "b", "c", "d"]),
    turns=st.sampled_from(PUBLISHED_TURNS),
    label=st.none() | st.sampled_from(Label),
    outcome=st.none() | st.sampled_from(Outcome),
    cause=st.sampled_from(["", "timeout"]),
    scenario=st.none() | st.sampled_from(["Fraud", "Threat"]),
    method=st.none() | st.sampled_from(["gradual", "hybrid"]),
    twin_of=st.none() | st.just("a"),
)


@given(st.lists(ANY, max_size=30, unique_by=lambda s: (s.query_id, s.turns)))
def test_every_tried_harmful_sample_is_counted_once(listed: list[ScoredSample]) -> None:
    found = results_of_samples(listed, target="m")
    tried = [s for s in listed if s.twin_of is None and s.label is not None]
    assert found.overall.n == sum(asr.n for asr in found.turns.values()) == len(tried)
    for groups, named in (
        (found.scenarios, [s.scenario for s in tried]),
        (found.methods, [s.method for s in tried]),
    ):
        assert {name: asr.n for name, asr in groups.items()} == Counter(filter(None, named))
        assert all(asr.n == sum(each.n for each in asr.turns.values()) for asr in groups.values())
    for asr in (*found.turns.values(), *found.scenarios.values()):
        assert (asr.asr.value if asr.asr else None) == (asr.unsafe / asr.graded if asr.graded else None)
    assert found.ungraded.n == sum(s.label is Label.UNGRADED for s in tried)
    assert sum(found.outcomes.values()) == sum(s.outcome is not None for s in tried)
    assert found.pending == sum(s.label is None for s in listed)
    rows = [(s.query_id, s.turns, str(s.label)) for s in tried]
    index = safety_index(label_matrix(rows))
    known = found.safety_index.value
    assert (known.value if known else None, found.safety_index.rounds) == (index.value, index.rounds)
    assert found.safety_index.compat == safety_index_compat(rows)


def test_twins_enter_over_refusal_and_nothing_else() -> None:
    outcomes = [Outcome.COMPLIED, Outcome.REFUSED, Outcome.BLOCKED, Outcome.MODERATED, Outcome.ERROR, None]
    twins = [ScoredSample(f"b{i}", 2, None, outcome, twin_of="a") for i, outcome in enumerate(outcomes)]
    found = results_of_samples(twins, target="m")
    rate = found.over_refusal.turns[2]
    assert (rate.n, rate.denied, rate.errors) == (4, 3, 1)
    assert rate.rate is not None
    assert rate.rate.value == 0.75
    only_error = results_of_samples([ScoredSample("b", 2, None, Outcome.ERROR, twin_of="a")], target="m")
    assert only_error.over_refusal.turns[2].rate is None
    assert found.turns == {}
    assert found.safety_index.value is None


def test_causes_come_most_frequent_first() -> None:
    causes = ["timeout", "", "timeout"]
    listed = [ScoredSample(str(i), 1, Label.UNGRADED, cause=cause) for i, cause in enumerate(causes)]
    found = results_of_samples(listed, target="m")
    assert list(found.ungraded.causes.items()) == [("timeout", 2), ("unknown", 1)]
