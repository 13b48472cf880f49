"""What a moderator did in a run: its actions, what it looked at, what hindered it, what it cost."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from safemt.core.taxonomy import Action
from safemt.core.verdict import Verdict
from safemt.report.document import Shape
from safemt.report.text import counted, index, number
from safemt.run.rows import StoredVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """How often something happened, by cause."""

    SHAPE: ClassVar = Shape(extra=("n",))

    causes: Mapping[str, int]

    @classmethod
    def of(cls, causes: Iterable[str]) -> Self:
        """Causes counted, the most frequent first."""
        return cls(causes=dict(Counter(causes).most_common()))

    @property
    def n(self) -> int:
        """How often in all."""
        return sum(self.causes.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """How many samples of one kind were answered under each action."""

    SHAPE: ClassVar = Shape(extra=("n",))

    allow: int
    inject: int
    block: int
    flagged: int
    """Found risky. The moderator acts on others only where its verdict is degraded."""

    @property
    def n(self) -> int:
        """All of them."""
        return self.allow + self.inject + self.block

    def __str__(self) -> str:
        return (
            f"{self.block:,} blocked, {self.inject:,} injected, {self.allow:,} allowed; "
            f"{self.flagged:,} flagged"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of the dialogues the moderator looked at."""

    turns_scored: int
    turns_total: int
    images_scored: int
    images_total: int
    unscanned: Mapping[str, int]
    """Reason → parts of dialogues that it did not look at."""

    def __str__(self) -> str:
        said = f"{self.turns_scored:,} of {self.turns_total:,} user turns"
        if self.images_total:
            said += f" and {self.images_scored:,} of {self.images_total:,} pictures"
        return said + (f" (not looked at: {counted(self.unscanned)})" if self.unscanned else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """Tokens that a model read and wrote."""

    prompt: int
    completion: int

    def __str__(self) -> str:
        return f"{self.prompt:,} tokens in, {self.completion:,} out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Milliseconds:
    """Time that the moderator spent on one sample; None without a verdict."""

    median: float | None
    p95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """The verdicts under which the samples of a run were answered, counted."""

    harmful: Actions
    twins: Actions
    degraded: Causes
    """Verdicts that are worth less than usual."""
    coverage: Coverage
    tokens: TokenCount
    milliseconds: Milliseconds

    @property
    def cost(self) -> str:
        """`1,200 tokens in, 60 out; 3.1 ms per sample (p95 8.0)`."""
        times = self.milliseconds
        if times.median is None:
            return str(self.tokens)
        return f"{self.tokens}; {number(times.median, 1)} ms per sample (p95 {number(times.p95, 1)})"


def protection(verdicts: Iterable[StoredVerdict]) -> Protection:
    """Count the verdicts of a run: the last one of each sample, and the cost of all."""
    listed = list(verdicts)
    last = [each for each in listed if each.last]
    covered = [each.verdict.coverage for each in last]
    spent: defaultdict[int, float] = defaultdict(float)
    for each in listed:
        spent[each.position] += each.verdict.milliseconds
    times = sorted(spent.values())
    return Protection(
        harmful=_actions([each.verdict for each in last if not each.twin]),
        twins=_actions([each.verdict for each in last if each.twin]),
        degraded=Causes.of(found.cause for each in last if (found := each.verdict.degraded)),
        coverage=Coverage(
            turns_scored=sum(each.turns_scored for each in covered),
            turns_total=sum(each.turns_total for each in covered),
            images_scored=sum(each.images_scored for each in covered),
            images_total=sum(each.images_total for each in covered),
            unscanned=Causes.of(part.why for each in covered for part in each.unscanned).causes,
        ),
        tokens=TokenCount(
            prompt=sum(each.verdict.prompt_tokens for each in listed),
            completion=sum(each.verdict.completion_tokens for each in listed),
        ),
        milliseconds=Milliseconds(median=_quantile(times, 0.5), p95=_quantile(times, 0.95)),
    )


def settings(entry: Mapping[str, Any]) -> str:
    """How a run's moderator was set: `inject late_system, on error inject, threshold 0.500`."""
    position = f" {entry['identity']['position']}" if entry["action"] == Action.INJECT else ""
    return f"{entry['action']}{position}, on error {entry['on_error']}, threshold {index(entry['threshold'])}"


def _actions(verdicts: Sequence[Verdict]) -> Actions:
    counts = Counter(verdict.action for verdict in verdicts)
    return Actions(
        allow=counts[Action.ALLOW],
        inject=counts[Action.INJECT],
        block=counts[Action.BLOCK],
        flagged=sum(verdict.flagged for verdict in verdicts),
    )


def _quantile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` of the sorted values do not exceed."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else None
