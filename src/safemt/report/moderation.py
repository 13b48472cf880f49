"""What a moderator did in a run: its actions, what it looked at, how often it was hindered, its cost."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from safemt.core.taxonomy import Action
from safemt.core.verdict import Verdict
from safemt.run.rows import StoredVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """How many samples of a kind were answered under each action."""

    allowed: int
    injected: int
    blocked: int
    flagged: int
    """Found risky; the others that were acted on were acted on because the verdict was degraded."""

    @property
    def n(self) -> int:
        """All of them."""
        return self.allowed + self.injected + self.blocked


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationFigures:
    """The verdicts by which the samples of a run were answered, counted."""

    harmful: Actions
    twins: Actions
    degraded: dict[str, int]
    """Cause → verdicts that were worth less than usual."""
    turns_scored: int
    turns_total: int
    images_scored: int
    images_total: int
    unscanned: dict[str, int]
    """Reason → parts of dialogues that nobody looked at."""
    prompt_tokens: int
    completion_tokens: int
    median_milliseconds: float | None
    """Spent on one sample."""
    p95_milliseconds: float | None


def moderation_figures(verdicts: Iterable[StoredVerdict]) -> ModerationFigures:
    """Count the verdicts of a run: the last one of each sample, and the cost of all."""
    listed = list(verdicts)
    last = [each.verdict for each in listed if each.last]
    spent: dict[int, float] = {}
    for each in listed:
        spent[each.position] = spent.get(each.position, 0.0) + each.verdict.milliseconds
    milliseconds = sorted(spent.values())
    return ModerationFigures(
        harmful=_actions([each.verdict for each in listed if each.last and not each.twin]),
        twins=_actions([each.verdict for each in listed if each.last and each.twin]),
        degraded=_counted(verdict.degraded.cause for verdict in last if verdict.degraded is not None),
        turns_scored=sum(verdict.coverage.turns_scored for verdict in last),
        turns_total=sum(verdict.coverage.turns_total for verdict in last),
        images_scored=sum(verdict.coverage.images_scored for verdict in last),
        images_total=sum(verdict.coverage.images_total for verdict in last),
        unscanned=_counted(part.why for verdict in last for part in verdict.coverage.unscanned),
        prompt_tokens=sum(each.verdict.prompt_tokens for each in listed),
        completion_tokens=sum(each.verdict.completion_tokens for each in listed),
        median_milliseconds=_quantile(milliseconds, 0.5),
        p95_milliseconds=_quantile(milliseconds, 0.95),
    )


def moderation_json(figures: ModerationFigures) -> dict[str, Any]:
    """The figures as one document; its keys are described in docs/file-formats.md."""
    return {
        "harmful": _actions_json(figures.harmful),
        "twins": _actions_json(figures.twins),
        "degraded": {"n": sum(figures.degraded.values()), "causes": figures.degraded},
        "coverage": {
            "turns_scored": figures.turns_scored,
            "turns_total": figures.turns_total,
            "images_scored": figures.images_scored,
            "images_total": figures.images_total,
            "unscanned": figures.unscanned,
        },
        "tokens": {"prompt": figures.prompt_tokens, "completion": figures.completion_tokens},
        "milliseconds": {"median": figures.median_milliseconds, "p95": figures.p95_milliseconds},
    }


def print_moderation(entry: dict[str, Any], figures: ModerationFigures, console: Console) -> None:
    """A few lines on what the moderator did; `entry` is what the manifest says of it."""

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, highlight=False, markup=False)

    say(f"\nModerator {entry['name']} ({settings(entry)})", "bold")
    for kind, actions in (("harmful samples", figures.harmful), ("benign twins", figures.twins)):
        if actions.n:
            say(f"{actions.n:,} {kind}: {said_of(actions)}")
    say(f"Looked at {looked_at(figures)}")
    if figures.degraded:
        causes = ", ".join(f"{n:,} {cause}" for cause, n in figures.degraded.items())
        say(f"Degraded verdicts: {causes}", "yellow")
    say(f"Cost: {cost(figures)}")


def settings(entry: dict[str, Any]) -> str:
    """How a run's moderator was set: `inject late_system, on errors inject, threshold 0.50`."""
    position = f" {entry['identity']['position']}" if entry["action"] == Action.INJECT else ""
    return f"{entry['action']}{position}, on errors {entry['on_error']}, threshold {entry['threshold']:.2f}"


def said_of(actions: Actions) -> str:
    """`12 blocked, 3 injected, 85 allowed; 14 flagged`."""
    return (
        f"{actions.blocked:,} blocked, {actions.injected:,} injected, {actions.allowed:,} allowed; "
        f"{actions.flagged:,} flagged"
    )


def looked_at(figures: ModerationFigures) -> str:
    """`400 of 400 user turns and 0 of 100 pictures (not looked at: 100 pixels_not_scored)`."""
    said = f"{figures.turns_scored:,} of {figures.turns_total:,} user turns"
    if figures.images_total:
        said += f" and {figures.images_scored:,} of {figures.images_total:,} pictures"
    if figures.unscanned:
        reasons = ", ".join(f"{n:,} {why}" for why, n in figures.unscanned.items())
        said += f" (not looked at: {reasons})"
    return said


def cost(figures: ModerationFigures) -> str:
    """`1,200 tokens in, 60 out; 3.1 ms for one sample in the middle, 8.0 ms for 95 % of them at most`."""
    tokens = f"{figures.prompt_tokens:,} tokens in, {figures.completion_tokens:,} out"
    if figures.median_milliseconds is None or figures.p95_milliseconds is None:
        return tokens
    return f"{tokens}; {figures.median_milliseconds:,.1f} ms a sample (p95 {figures.p95_milliseconds:,.1f})"


def _actions(verdicts: Sequence[Verdict]) -> Actions:
    counts = Counter(verdict.action for verdict in verdicts)
    return Actions(
        allowed=counts[Action.ALLOW],
        injected=counts[Action.INJECT],
        blocked=counts[Action.BLOCK],
        flagged=sum(verdict.flagged for verdict in verdicts),
    )


def _actions_json(actions: Actions) -> dict[str, int]:
    return {
        "n": actions.n,
        "allow": actions.allowed,
        "inject": actions.injected,
        "block": actions.blocked,
        "flagged": actions.flagged,
    }


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _quantile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` of the sorted values do not exceed."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else None
