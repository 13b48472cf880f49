"""What a moderator did, counted from its verdicts."""

from safemt.core.taxonomy import Action
from safemt.core.verdict import Coverage, Degraded, Unscanned, Verdict
from safemt.report.moderation import Actions, cost, looked_at, moderation_figures, moderation_json, said_of
from safemt.run.rows import StoredVerdict


def verdict(
    query_id: str, action: str, *, last: bool = True, twin: bool = False, cause: str = "", took: float = 4.0
) -> StoredVerdict:
    given = Verdict(
        id=query_id,
        moderator="keyword",
        risk=0.5,
        threshold=0.5,
        flagged=action != "allow" and not cause,
        action=Action(action),
        scenario=None,
        coverage=Coverage(
            turns_scored=2,
            turns_total=2,
            images_scored=0,
            images_total=1,
            unscanned=(Unscanned(message=0, part=0, why="pixels_not_scored"),),
        ),
        degraded=Degraded(cause=cause, message="It failed.") if cause else None,
        milliseconds=took,
        prompt_tokens=10,
        completion_tokens=2,
    )
    return StoredVerdict(position=ord(query_id[0]), twin=twin, last=last, verdict=given)


def test_actions_are_counted_apart_for_harmful_samples_and_twins() -> None:
    figures = moderation_figures(
        [
            verdict("a", "block"),
            verdict("b", "inject"),
            verdict("c", "inject", cause="timeout"),
            verdict("d", "allow"),
            verdict("a-twin", "block", twin=True),
        ]
    )
    assert figures.harmful == Actions(allowed=1, injected=2, blocked=1, flagged=2)
    assert figures.twins == Actions(allowed=0, injected=0, blocked=1, flagged=1)
    assert figures.degraded == {"timeout": 1}
    assert said_of(figures.harmful) == "1 blocked, 2 injected, 1 allowed; 2 flagged"


def test_of_a_live_dialogue_the_last_verdict_counts_and_every_one_costs() -> None:
    figures = moderation_figures(
        [verdict("a", "allow", last=False), verdict("a", "inject"), verdict("b", "allow", took=1.0)]
    )
    assert (figures.harmful.n, figures.harmful.injected) == (2, 1)
    assert (figures.prompt_tokens, figures.completion_tokens) == (30, 6)
    assert (figures.median_milliseconds, figures.p95_milliseconds) == (8.0, 8.0)
    assert cost(figures) == "30 tokens in, 6 out; 8.0 ms a sample (p95 8.0)"
    assert (figures.turns_total, figures.images_total) == (4, 2)


def test_what_nobody_looked_at_is_said_with_its_reason() -> None:
    figures = moderation_figures([verdict("a", "allow"), verdict("b", "allow")])
    assert looked_at(figures) == (
        "4 of 4 user turns and 0 of 2 pictures (not looked at: 2 pixels_not_scored)"
    )


def test_a_run_without_an_answer_has_no_milliseconds() -> None:
    figures = moderation_figures([])
    assert moderation_json(figures)["milliseconds"] == {"median": None, "p95": None}
    assert cost(figures) == "0 tokens in, 0 out"
    assert looked_at(figures) == "0 of 0 user turns"
