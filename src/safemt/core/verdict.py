"""What a moderator says of a conversation: version 1, as `docs/verdict.schema.json` describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from safemt.core.taxonomy import Action, Scenario

VERDICT_SCHEMA: Final = "safemt.verdict/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRisk:
    """What a moderator thought after one user turn."""

    turn: int
    """Counts user messages, from 1."""
    risk: float | None
    """Of the conversation up to here, in [0, 1]; None where nothing could be scored."""
    turn_risk: float | None = None
    """Of this turn read by itself, in [0, 1]."""
    linkage: float | None = None
    """How far this turn serves the suspected intent, in [0, 1]: low for a new, harmless topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unscanned:
    """A part of a conversation that nobody looked at."""

    message: int
    """Counts all messages, from 0."""
    part: int
    """Counts the message's parts, from 0."""
    why: str
    """A short stable code: `pixels_not_scored`, `no_ocr`, `ocr_budget`, `unknown_part`, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of a conversation was looked at."""

    turns_scored: int
    turns_total: int
    images_scored: int
    images_total: int
    unscanned: tuple[Unscanned, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """Why a verdict is worth less than usual."""

    cause: str
    """A short stable code: `timeout`, `http_500`, `unreadable_verdict`, `ocr_budget`, …"""
    message: str
    """A sentence for people, without secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRef:
    """A policy by what it says: the same id and version with another text has another hash."""

    id: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a moderator says of a conversation after its last message."""

    id: str
    moderator: str
    """As given to `--moderator`."""
    risk: float | None
    """Of the conversation as it stands, in [0, 1], higher is riskier; None where nothing could be scored."""
    threshold: float
    """From which risk on a conversation is flagged."""
    flagged: bool
    action: Action
    scenario: Scenario | None
    """The likeliest scenario of a flagged conversation; None where none fits well enough to say so."""
    scenarios: Mapping[Scenario, float] = field(default_factory=dict)
    """How far each scenario fits, in [0, 1]; empty where the moderator does not say."""
    turns: tuple[TurnRisk, ...] = ()
    """One for each user turn so far."""
    policies: tuple[PolicyRef, ...] = ()
    """What the target is handed, in this order, if `action` is `inject`."""
    coverage: Coverage
    degraded: Degraded | None = None
    milliseconds: float
    """Spent on the messages since the last verdict."""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def trajectory(self) -> tuple[float | None, ...]:
        """The risk after each user turn."""
        return tuple(turn.risk for turn in self.turns)

    @property
    def first_alert_turn(self) -> int | None:
        """The first user turn after which the conversation was flagged; None if it never was."""
        for turn in self.turns:
            if turn.risk is not None and turn.risk >= self.threshold:
                return turn.turn
        return None


def verdict_json(verdict: Verdict) -> dict[str, object]:
    """The published form of a verdict, for one line of JSON."""
    return {
        "schema": VERDICT_SCHEMA,
        "id": verdict.id,
        "moderator": verdict.moderator,
        "risk": _rounded(verdict.risk),
        "threshold": _rounded(verdict.threshold),
        "flagged": verdict.flagged,
        "action": verdict.action.value,
        "scenario": verdict.scenario.value if verdict.scenario else None,
        "scenarios": {scenario.value: _rounded(score) for scenario, score in verdict.scenarios.items()},
        "trajectory": [_rounded(risk) for risk in verdict.trajectory],
        "first_alert_turn": verdict.first_alert_turn,
        "turns": [
            {
                "turn": turn.turn,
                "risk": _rounded(turn.risk),
                "turn_risk": _rounded(turn.turn_risk),
                "linkage": _rounded(turn.linkage),
            }
            for turn in verdict.turns
        ],
        "policies": [
            {"id": policy.id, "version": policy.version, "sha256": policy.sha256}
            for policy in verdict.policies
        ],
        "coverage": {
            "turns_scored": verdict.coverage.turns_scored,
            "turns_total": verdict.coverage.turns_total,
            "images_scored": verdict.coverage.images_scored,
            "images_total": verdict.coverage.images_total,
            "unscanned": [
                {"message": each.message, "part": each.part, "why": each.why}
                for each in verdict.coverage.unscanned
            ],
        },
        "degraded": (
            {"cause": verdict.degraded.cause, "message": verdict.degraded.message}
            if verdict.degraded
            else None
        ),
        "milliseconds": round(verdict.milliseconds, 2),
        "prompt_tokens": verdict.prompt_tokens,
        "completion_tokens": verdict.completion_tokens,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
