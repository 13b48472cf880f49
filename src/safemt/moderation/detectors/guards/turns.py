"""User turns scored one by one: the worst of them so far is the conversation's risk."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from safemt.core.schema import JUDGED_ROLES, ImageRef, Message
from safemt.core.taxonomy import Scenario
from safemt.moderation.detectors.detector import Assessment

Score: TypeAlias = Callable[[Sequence[Message]], Awaitable[Sequence[Assessment]]]
"""Gives an assessment of each message."""


class ScoredTurns:
    """The turns of one conversation with their scores. Each is scored once, and again if that failed."""

    def __init__(self) -> None:
        self._turns = 0
        self._waiting: list[tuple[int, Message]] = []
        """Turn (from 1) and what is still to be scored of it."""
        self._scores: dict[int, Assessment] = {}

    def add(self, message: Message, texts: Iterable[str], image: ImageRef | None) -> None:
        """Take in a message in pieces, the first with `image`. What a tool brings in counts to its turn."""
        if message.role not in JUDGED_ROLES:
            return
        self._turns += message.role == "user"
        first, *rest = texts
        pieces = [Message("user", first, image), *(Message("user", text) for text in rest)]
        self._waiting += [(max(self._turns, 1), piece) for piece in pieces]

    async def assess(self, score: Score) -> Assessment:
        """The worst turn so far, after `score` was asked about all that is still to be scored."""
        waiting = self._waiting
        scored = await score([message for _, message in waiting])
        self._waiting = []
        for (turn, message), assessment in zip(waiting, scored, strict=True):
            before = self._scores.get(turn)
            self._scores[turn] = worst([assessment] if before is None else [before, assessment])
            if assessment.degraded is not None:
                self._waiting.append((turn, message))
        newest = self._scores.get(self._turns)
        risks: list[float | None] = [None]
        for turn in range(1, self._turns + 1):
            known = [risks[-1], self._scores[turn].risk if turn in self._scores else None]
            risks.append(max((risk for risk in known if risk is not None), default=None))
        return replace(
            worst(scored),
            risk=risks[-1],
            turn_risk=newest.risk if newest else None,
            scenarios=worst(self._scores.values()).scenarios,
            earlier=risks[1:-1],
        )


def worst(assessments: Iterable[Assessment]) -> Assessment:
    """Several assessments as one: the highest risk and scores, the newest fault, all tokens."""
    listed = list(assessments)
    scenarios: dict[Scenario, float] = {}
    for each in listed:
        scenarios.update({s: max(score, scenarios.get(s, 0.0)) for s, score in each.scenarios.items()})
    return Assessment(
        risk=max((each.risk for each in listed if each.risk is not None), default=None),
        scenarios=scenarios,
        degraded=next((each.degraded for each in reversed(listed) if each.degraded), None),
        prompt_tokens=sum(each.prompt_tokens for each in listed),
        completion_tokens=sum(each.completion_tokens for each in listed),
    )
