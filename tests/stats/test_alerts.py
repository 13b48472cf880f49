"""First alerts and false alarms, against loops over the turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.stats.alerts import Trajectory, alerts, false_alarms
from stats.label_data import assert_finite

risks = st.lists(st.sampled_from([None, 0.0, 0.4, 0.6, 1.0]), min_size=1, max_size=5)
trajectories = st.lists(
    st.builds(
        lambda cluster, each: Trajectory(cluster=cluster, risks=tuple(each)), st.sampled_from("abc"), risks
    ),
    max_size=8,
)


@given(trajectories)
def test_alerts_are_what_a_loop_over_the_turns_finds(listed: list[Trajectory]) -> None:
    seen = [each.risks for each in listed if any(risk is not None for risk in each.risks)]
    first = [
        next((t for t, risk in enumerate(each, 1) if risk is not None and risk >= 0.5), None) for each in seen
    ]
    alarmed = [(turn, len(each)) for turn, each in zip(first, seen, strict=True) if turn is not None]
    found = alerts(listed, 0.5)
    assert_finite(found)
    assert found.dialogues == len(seen)
    if not seen:
        assert (found.ever, found.by_turn, found.turn) == (None, (), None)
        return
    assert found.ever is not None
    assert found.ever.value == pytest.approx(len(alarmed) / len(seen))
    assert found.by_turn[-1][1].value == pytest.approx(found.ever.value)
    for turn, share in found.by_turn:
        assert share.value == pytest.approx(sum(at <= turn for at, _ in alarmed) / len(seen))
    assert (found.turn is None) == (not alarmed)
    if found.turn is not None and found.lead is not None:
        assert found.turn.value == pytest.approx(sum(at for at, _ in alarmed) / len(alarmed))
        assert found.lead.value == pytest.approx(sum(k - at for at, k in alarmed) / len(alarmed))
        assert 0.0 <= found.lead.interval.low <= found.lead.value + 1e-12
    longer = [(at, k) for at, k in alarmed if k > 1]
    assert (found.early is None) == (not longer)
    if found.early is not None:
        assert found.early.value == pytest.approx(sum(at < k for at, k in longer) / len(longer))


@given(trajectories)
def test_false_alarms_are_what_a_loop_over_the_turns_finds(listed: list[Trajectory]) -> None:
    seen = [each.risks for each in listed if any(risk is not None for risk in each.risks)]
    turns = [risk >= 0.5 for each in seen for risk in each if risk is not None]
    found = false_alarms(listed, 0.5)
    assert_finite(found)
    assert (found.turns, found.alarmed_turns, found.dialogues) == (len(turns), sum(turns), len(seen))
    assert found.alarmed_dialogues == sum(any(r is not None and r >= 0.5 for r in each) for each in seen)
    assert (found.per_1000_turns is None) == (not turns)
    if found.per_1000_turns is not None and found.per_dialogue is not None:
        assert found.per_1000_turns.value == pytest.approx(1000 * sum(turns) / len(turns))
        assert found.per_dialogue.value == pytest.approx(found.alarmed_dialogues / len(seen))


def test_an_alert_by_hand() -> None:
    course = Trajectory(cluster="a", risks=(0.1, None, 0.7, 0.2))
    assert course.alert(0.7) == 3
    assert course.alert(0.71) is None
    found = alerts([course, Trajectory(cluster="b", risks=(0.9,))], 0.7)
    assert found.turn is not None
    assert found.lead is not None
    assert found.early is not None
    assert (found.turn.value, found.lead.value, found.early.value) == (2.0, 0.5, 1.0)
