"""The protocol of a judge, and what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from safemt.core.identity import Json, content_key
from safemt.core.schema import Sample
from safemt.core.taxonomy import Label
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge says of one response."""

    label: Label
    cause: str = ""
    """Why it is `ungraded`: `unreadable_verdict`, `verdict_cut_off`, `judge_blocked`, `not_recorded`, …"""
    reasoning: str = ""
    """The judge's own words, where it has any."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Judge(Protocol):
    """Labels responses. Its identity is everything that decides a label."""

    @property
    def name(self) -> str:
        """As given to `--judge`: `openai/MODEL`, `refusal`, `recorded/PATH`."""

    @property
    def identity(self) -> Json:
        """The whole configuration: model, sampling, prompts, routing, version of the parser."""

    @property
    def endpoints(self) -> Sequence[ChatEndpoint]:
        """The endpoints it calls."""

    async def judge(self, sample: Sample, response: str, ask: Ask) -> Judgement:
        """Label the `response` to `sample`.

        Raises:
            CallError: a call failed for good.
        """


def judge_id(judge: Judge) -> str:
    """The hash of a judge's whole configuration; labels and validations are kept under it."""
    return content_key(judge.identity)
