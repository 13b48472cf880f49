"""The protocol of a judge, and its judgement."""

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
    """What a judge says about one response."""

    label: Label
    cause: str = ""
    """Why it is `ungraded`: `unreadable_verdict`, `verdict_cut_off`, `judge_blocked`, `not_recorded`, …"""
    reasoning: str = ""
    """The judge's own words, if it gives any."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Judge(Protocol):
    """Labels responses. Its identity is everything that decides a label."""

    @property
    def name(self) -> str:
        """As in the configuration: `openai/MODEL`, `refusal`, `recorded/PATH`, `panel:A,B,C`."""

    @property
    def identity(self) -> Json:
        """The whole configuration: model, sampling, prompts, routing and the version of the parser."""

    @property
    def endpoints(self) -> Sequence[ChatEndpoint]:
        """The endpoints it calls."""

    async def judge(self, sample: Sample, response: str, ask: Ask) -> Judgement:
        """Label the `response` to `sample`.

        Raises:
            CallError: a call failed, and retries did not help.
        """


def judge_id(judge: Judge) -> str:
    """The hash of a judge's identity; labels and validations are kept under it."""
    return content_key(judge.identity)
