"""`openai/MODEL` as a judge: any chat model, with our rubric."""

from collections.abc import Sequence

from safemt.core.identity import Json
from safemt.core.schema import Sample
from safemt.core.taxonomy import Label
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint
from safemt.judges.base import Judgement
from safemt.judges.rubric import Routing, judge_messages, read_verdict, rubric_hash


class LLMJudge:
    """Asks a chat model for a verdict under the rubric."""

    def __init__(self, endpoint: ChatEndpoint, *, routing: Routing, with_image: bool) -> None:
        self._endpoint = endpoint
        self._routing = routing
        self._with_image = with_image
        self.name = f"openai/{endpoint.model}"
        self.endpoints: Sequence[ChatEndpoint] = (endpoint,)

    @property
    def identity(self) -> Json:
        """Model, sampling, routing, whether it sees the image, and the hash of the rubric."""
        return {
            "kind": "llm",
            "model": self._endpoint.model,
            "temperature": self._endpoint.sampling.temperature,
            "max_output_tokens": self._endpoint.sampling.max_output_tokens,
            "routing": self._routing,
            "with_image": self._with_image,
            "rubric": rubric_hash(),
        }

    async def judge(self, sample: Sample, response: str, ask: Ask) -> Judgement:
        """Judge with one call. A verdict that the output limit cut off is `ungraded`.

        Raises:
            CallError: the call failed, and retries did not help.
        """
        image = sample.image if self._with_image else None
        messages = judge_messages(sample, response, routing=self._routing, image=image)
        reply = await ask(self._endpoint, messages)
        label, cause = read_verdict(reply.text), ""
        if reply.blocked:
            label, cause = Label.UNGRADED, "judge_blocked"
        elif reply.finish_reason == "length":
            label, cause = Label.UNGRADED, "verdict_cut_off"
        elif label is Label.UNGRADED:
            cause = "unreadable_verdict"
        return Judgement(
            label=label,
            cause=cause,
            reasoning=reply.text,
            prompt_tokens=reply.prompt_tokens or 0,
            completion_tokens=reply.completion_tokens or 0,
        )
