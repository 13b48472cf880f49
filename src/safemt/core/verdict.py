"""A moderator's verdict on a conversation, and its one JSON form (version 1, `docs/verdict.schema.json`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from safemt.core.errors import DataError
from safemt.core.taxonomy import Action, Scenario

VERDICT_SCHEMA: Final = "safemt.verdict/1"

Risk: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""In [0, 1], higher is riskier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRisk:
    """The risk after one user turn."""

    turn: int
    """Counts user messages, from 1."""
    risk: Risk | None
    """Risk of the conversation up to this turn; None if nothing could be scored."""
    turn_risk: Risk | None = None
    """Risk of this turn read by itself."""
    linkage: Risk | None = None
    """How far this turn serves the suspected intent, in [0, 1]: low for a new, harmless topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unscanned:
    """A part of a conversation that the moderator did not look at."""

    message: int
    """Counts all messages, from 0."""
    part: int
    """Counts the message's parts, from 0."""
    why: str
    """A short stable code: `pixels_not_scored`, `no_ocr`, `ocr_budget`, `unknown_part`, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of a conversation the moderator looked at."""

    turns_scored: int
    turns_total: int
    images_scored: int
    images_total: int
    unscanned: tuple[Unscanned, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """Why a verdict is less reliable than usual."""

    cause: str
    """A short stable code: `timeout`, `http_500`, `unreadable_verdict`, `ocr_budget`, …"""
    message: str
    """A sentence for people, without secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRef:
    """A policy, identified by its text: the same id and version with another text has another hash."""

    id: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A moderator's verdict on a conversation after its last message."""

    id: str
    moderator: str
    """The moderator's name, such as `embedded`."""
    risk: Risk | None
    """Risk of the whole conversation; None if nothing could be scored."""
    threshold: Risk
    """The risk from which a conversation is flagged."""
    flagged: bool
    action: Action
    scenario: Scenario | None
    """The likeliest scenario of a flagged conversation; None if no scenario fits well enough."""
    scenarios: Mapping[Scenario, Risk] = field(default_factory=dict)
    """How well each scenario fits, in [0, 1]; empty if the moderator does not score scenarios."""
    turns: tuple[TurnRisk, ...] = ()
    """One for each user turn so far."""
    policies: tuple[PolicyRef, ...] = ()
    """The policies that the target is given, in this order, if `action` is `inject`."""
    coverage: Coverage
    degraded: Degraded | None = None
    milliseconds: float
    """Time spent on the messages since the last verdict."""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def trajectory(self) -> tuple[float | None, ...]:
        """The risk after each user turn."""
        return tuple(turn.risk for turn in self.turns)

    @property
    def peak(self) -> float | None:
        """The highest risk after any turn."""
        return max((risk for risk in (*self.trajectory, self.risk) if risk is not None), default=None)

    @property
    def first_alert_turn(self) -> int | None:
        """The first user turn after which the conversation was flagged; None if it never was."""
        for turn in self.turns:
            if turn.risk is not None and turn.risk >= self.threshold:
                return turn.turn
        return None


def verdict_json(verdict: Verdict, *, exact: bool = False) -> dict[str, Any]:
    """A verdict as plain data for JSON: the fields of `Verdict`, and what follows from them.

    Numbers are rounded to six decimals, and milliseconds to two, unless `exact`.
    """
    fields = msgspec.to_builtins(verdict)
    shown = {
        "schema": VERDICT_SCHEMA,
        **fields,
        "trajectory": verdict.trajectory,
        "first_alert_turn": verdict.first_alert_turn,
    }
    if exact:
        return shown
    return {name: _rounded(value) for name, value in shown.items()} | {
        "milliseconds": round(verdict.milliseconds, 2)
    }


def verdict_from_json(data: object) -> Verdict:
    """The verdict that `verdict_json` wrote.

    Raises:
        DataError: `data` is not a verdict, or is one of another version.
    """
    if not isinstance(data, dict) or data.get("schema") != VERDICT_SCHEMA:
        raise DataError("not_a_verdict", f"This is not a verdict of the form {VERDICT_SCHEMA}.")
    try:
        return msgspec.convert(data, Verdict)
    except msgspec.ValidationError as error:
        raise DataError("not_a_verdict", f"This is not a verdict: {error}.") from error


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
