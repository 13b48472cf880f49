"""What a moderator did in a run, counted from its verdicts."""

from safemt.core.taxonomy import Action
from safemt.core.verdict import Coverage, Degraded, Unscanned, Verdict
from safemt.report.document import document
from safemt.report.protection import Actions, protection
from safemt.run.rows import StoredVerdict


def verdict(
    position: int, action: str, *, last: bool = True, twin: bool = False, cause: str = "", took: float = 4.0
) -> StoredVerdict:
    said = Verdict(
        id="d",
        moderator="m",
        risk=0.5,
        threshold=0.5,
        flagged=action != "allow" and not cause,
        action=Action(action),
        scenario=None,
        coverage=Coverage(
            turns_scored=2, turns_total=2, images_scored=0, images_total=1,
            unscanned=(Unscanned(message=0, part=0, why="pixels_not_scored"),),
        ),
        degraded=Degraded(cause=cause, message="It failed.") if cause else None,
        milliseconds=took,
        prompt_tokens=10,
        completion_tokens=2,
    )  # fmt: skip
    return StoredVerdict(position=position, twin=twin, last=last, verdict=said)


def test_actions_are_counted_apart_for_harmful_samples_and_twins() -> None:
    figures = protection(
        [
            verdict(0, "block"),
            verdict(1, "inject"),
            verdict(2, "inject", cause="timeout"),
            verdict(3, "allow"),
            verdict(4, "block", twin=True),
        ]
    )
    assert figures.harmful == Actions(allow=1, inject=2, block=1, flagged=2)
    assert figures.twins == Actions(allow=0, inject=0, block=1, flagged=1)
    assert document(figures.degraded) == {"causes": {"timeout": 1}, "n": 1}
    assert str(figures.harmful) == "1 blocked, 2 injected, 1 allowed; 2 flagged"


def test_the_last_verdict_of_a_live_dialogue_counts_and_every_one_costs() -> None:
    figures = protection(
        [verdict(0, "allow", last=False), verdict(0, "inject"), verdict(1, "allow", took=1.0)]
    )
    assert (figures.harmful.n, figures.harmful.inject) == (2, 1)
    assert document(figures.tokens) == {"prompt": 30, "completion": 6}
    assert document(figures.milliseconds) == {"median": 8.0, "p95": 8.0}
    assert figures.cost == "30 tokens in, 6 out; 8.0 ms per sample (p95 8.0)"
    assert (figures.coverage.turns_total, figures.coverage.images_total) == (4, 2)


def test_parts_that_nobody_looked_at_are_told_with_their_reason() -> None:
    figures = protection([verdict(0, "allow"), verdict(1, "allow")])
    assert str(figures.coverage) == (
        "4 of 4 user turns and 0 of 2 pictures (not looked at: 2 pixels_not_scored)"
    )


def test_a_run_without_an_answer_has_no_milliseconds() -> None:
    figures = protection([])
    assert document(figures.milliseconds) == {"median": None, "p95": None}
    assert figures.cost == "0 tokens in, 0 out"
    assert str(figures.coverage) == "0 of 0 user turns"
