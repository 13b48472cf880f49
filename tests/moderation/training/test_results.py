from typing import Any

import pytest
from training.results import LANGUAGES, MEASURED, summary
from training.wrapping import WRAPS


def row(part: str, label: str, *risks: float, language: str = "en", cluster: str = "0") -> dict[str, Any]:
    return {
        "part": part,
        "label": label,
        "language": language,
        "cluster": cluster,
        "risks": list(risks),
        "own": list(risks),
    }


@pytest.fixture
def scores() -> dict[str, list[dict[str, Any]]]:
    """A moderator that is right on all but one harmless dialogue, and blind inside JSON."""
    return {
        "validation": [
            *(
                row(part, "harmful", 0.1, 0.9, cluster=f"cosafe-terrorism-{n:03d}")
                for part in MEASURED["harmful"]
                for n in range(20)
            ),
            *(
                row(part, "harmless", 0.01, 0.02, cluster=str(n))
                for part in MEASURED["harmless"]
                for n in range(5)
            ),
            row("sgd", "harmless", 0.95, 0.95, cluster="wrong"),
        ],
        "xstest": [row("xstest", "harmful", 0.8), row("xstest", "borderline", 0.3)],
        "msts": [
            *(row("msts", "harmful", 0.6, language=each) for each in LANGUAGES),
            row("cyber_frr", "harmless", 0.1),
            row("cyber_frr", "harmless", 0.9, language="de"),
        ],
        "dilution": [
            row("as it is", "harmful", 0.9, cluster="0"),
            row("as it is", "harmful", 0.1, cluster="1"),
            *(
                row(name, "harmful", 0.0 if name == "JSON" else 0.9, cluster=n)
                for name in WRAPS
                for n in "01"
            ),
            *(row(f"{name}, harmless", ", harmless", 0.0) for name in WRAPS),
        ],
        "composed": [row("mode", "harmful", 0.2, 0.9), row("mode", "harmless", 0.9, 0.2)],
    }


def test_the_worst_turn_of_a_conversation_counts(scores: dict[str, list[dict[str, Any]]]) -> None:
    found = summary(scores, 0.5)
    assert found["harmful"]["cosafe"]["at_threshold"][0] == 1
    assert found["harmful"]["cosafe"]["recall_at_5"][0] == 1
    assert found["cosafe_read"]["n"] == 16, (
        "of 20, the reader found rows 10, 13, 14 and 15 harmless or doubtful"
    )
    assert found["harmless"]["sgd"][0] == pytest.approx(1 / 6, abs=1e-4)
    assert found["harmless"]["distress"][0] == 0
    assert found["harmless_dialogues"] == 5 * len(MEASURED["harmless"]) + 1


def test_a_language_is_held_against_itself_where_it_can_be(scores: dict[str, list[dict[str, Any]]]) -> None:
    found = summary(scores, 0.5)["msts"]
    assert (found["de"]["against"], found["de"]["auroc"][0]) == ("de", 0)
    assert (found["zh"]["against"], found["zh"]["auroc"][0]) == ("en", 1)
    assert found["zh"]["false_alarms"] is None


def test_only_requests_that_are_flagged_as_they_are_count_in_a_wrap(
    scores: dict[str, list[dict[str, Any]]],
) -> None:
    found = summary(scores, 0.5)["dilution"]
    assert (found["requests"], found["flagged"]) == (2, 1)
    assert found["JSON"]["kept"] == 0
    assert found["fence"]["kept"] == 1


def test_baselines_join_the_risks_of_single_turns(scores: dict[str, list[dict[str, Any]]]) -> None:
    found = summary(scores, 0.5)["same_forms"]
    assert found["last-turn"]["auroc"][0] == 1
    assert found["max-turn"]["auroc"][0] == 0.5


def test_the_brier_score_is_weighted_to_the_base_rate(scores: dict[str, list[dict[str, Any]]]) -> None:
    count = 5 * len(MEASURED["harmless"])
    harmless = (count * 0.02**2 + 0.95**2) / (count + 1)
    found = summary(scores, 0.5)
    assert found["brier"]["cosafe"] == pytest.approx(0.1 * 0.1**2 + 0.9 * harmless, abs=1e-4)
    assert found["reliability"][0] == {"from": 0.02, "risk": 0.02, "harmful": 0.0}
