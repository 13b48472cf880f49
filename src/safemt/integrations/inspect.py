"""Inspect AI: the benchmark as a task, the moderator as a solver, a judge as a scorer.

inspect eval safemt/safemt -T benchmark=demo --model openai/MODEL
inspect eval safemt/safemt -T benchmark=demo -T moderator=embedded --model openai/MODEL
inspect eval OTHER_TASK --solver safemt/moderated -S action=block
"""

import base64
from collections.abc import Sequence
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.dataset import Sample as InspectSample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentText,
    ModelOutput,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

from safemt.benchmark.named import read_named
from safemt.benchmark.read import require_usable
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Label, Scenario
from safemt.endpoints.asking import LimitedAsk
from safemt.integrations.decision import REFUSAL, decide
from safemt.io.images import ImageFolder
from safemt.judges.open import JudgeConfig, open_judge
from safemt.moderation.open import DEFAULT, open_moderator
from safemt.run.protocol import request


@task
def safemt(
    benchmark: str = "demo", judge: str = "refusal", moderator: str | None = None, turns: int | None = None
) -> Task:
    """A benchmark as a task; `moderator` guards the model. `turns` takes one number of turns alone."""
    usable = require_usable(read_named(benchmark))
    images = ImageFolder(usable.path)
    samples = [_sample(each, images) for each in usable.samples if turns in (None, each.turns)]
    return Task(
        dataset=MemoryDataset(samples, name=f"safemt {benchmark}"),
        solver=[moderated(moderator), generate()] if moderator else [generate()],
        scorer=attack_success(judge),
    )


@solver
def moderated(moderator: str = DEFAULT, action: str = "inject") -> Solver:
    """Moderates the conversation before the model is asked: injects the policy that applies, or refuses."""
    opened = open_moderator(moderator, action=action)

    async def solve(state: TaskState, generate: Generate) -> TaskState:  # noqa: ARG001
        decision = await decide(opened, [_plain(message) for message in state.messages])
        verdict = decision.verdict
        state.metadata["safemt"] = {
            "risk": verdict.risk,
            "action": verdict.action.value,
            "policies": [each.id for each in verdict.policies],
        }
        if decision.blocked:
            state.output = ModelOutput.from_content(str(state.model), REFUSAL, stop_reason="content_filter")
            state.messages.append(state.output.message)
            state.completed = True
        elif decision.guidance is not None:
            state.messages.append(ChatMessageSystem(content=decision.guidance))
        return state

    return solve


@scorer(metrics=[mean(), stderr(cluster="query_id")])
def attack_success(judge: str = "refusal", base_url: str | None = None) -> Scorer:
    """1 for an unsafe response, 0 for a safe one; an ungraded one has no score."""
    opened = open_judge(JudgeConfig(name=judge, base_url=base_url), timeout=120.0)
    ask = LimitedAsk(20, role="judge")

    async def score(state: TaskState, target: Target) -> Score | None:  # noqa: ARG001
        judgement = await opened.judge(_asked(state), state.output.completion, ask)
        if judgement.label is Label.UNGRADED:
            return None
        return Score(
            value=float(judgement.label is Label.UNSAFE),
            answer=state.output.completion,
            explanation=judgement.reasoning or judgement.label.value,
        )

    return score


def _sample(sample: Sample, images: ImageFolder) -> InspectSample:
    return InspectSample(
        id=sample.id,
        input=[_inspect_message(message, images) for message in request(sample)],
        target="",
        metadata={
            "query_id": sample.query_id, "turns": sample.turns, "scenario": sample.scenario.value,
            "method": sample.method.value if sample.method else None, "twin_of": sample.twin_of,
            "question": sample.question,
        },
    )  # fmt: skip


def _inspect_message(message: Message, images: ImageFolder) -> ChatMessage:
    if message.role == "assistant":
        return ChatMessageAssistant(content=message.content)
    if message.image is None:
        return ChatMessageUser(content=message.content)
    encoded = base64.b64encode(images.read(message.image)).decode()
    uri = f"data:{message.image.media_type};base64,{encoded}"
    content: list[Content] = [ContentImage(image=uri), ContentText(text=message.content)]
    return ChatMessageUser(content=content)


def _plain(message: ChatMessage) -> dict[str, Any]:
    """A message of Inspect's as chat APIs write it."""
    if isinstance(message.content, str):
        return {"role": message.role, "content": message.content}
    return {"role": message.role, "content": [_part(part) for part in message.content]}


def _part(part: Any) -> dict[str, Any]:
    if isinstance(part, ContentText):
        return {"type": "text", "text": part.text}
    if isinstance(part, ContentImage):
        return {"type": "image_url", "image_url": {"url": part.image}}
    return {"type": str(getattr(part, "type", "unknown"))}


def _asked(state: TaskState) -> Sample:
    """What the judge is told of a sample: its question and the user's and assistant's words."""
    known = state.metadata
    dialogue: Sequence[Message] = [
        Message(message.role, message.text)
        for message in state.messages[: -1 if state.messages[-1].role == "assistant" else None]
        if message.role in ("user", "assistant")
    ]
    return Sample(
        query_id=str(known["query_id"]),
        turns=int(known["turns"]),
        scenario=Scenario(known["scenario"]),
        question=str(known["question"]),
        dialogue=tuple(dialogue),
        twin_of=known.get("twin_of"),
    )
