"""What is sent to a target: the published protocol, and the live variant."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from safemt.core.identity import Json, content_key
from safemt.core.schema import Message, Sample
from safemt.targets.base import Target


class History(StrEnum):
    """Whose assistant turns the dialogue has."""

    SCRIPTED = "scripted"
    """The pre-filled ones, as published: one call per sample."""
    LIVE = "live"
    """The target's own replies: k calls per sample."""


def request(sample: Sample) -> list[Message]:
    """The whole dialogue, the image before the text of the first user message, no system message."""
    first, *rest = sample.dialogue
    return [Message(role=first.role, content=first.content, image=sample.image), *rest]


def as_asked(sample: Sample, history: History, replies: Sequence[str]) -> Sample:
    """`sample` as its next request has it, after `replies` of the target: whole, or with the live history.

    The judge gets this, too: a response belongs to the conversation that it ended.
    """
    return sample if history is History.SCRIPTED else live_sample(sample, replies)


def live_sample(sample: Sample, replies: Sequence[str]) -> Sample:
    """`sample` up to user turn `len(replies) + 1`, with the target's own replies between the user turns."""
    users = [message for message in sample.dialogue if message.role == "user"][: len(replies) + 1]
    dialogue = [users[0]]
    for reply, user in zip(replies, users[1:], strict=True):
        dialogue += [Message(role="assistant", content=reply), user]
    return replace(sample, dialogue=tuple(dialogue))


def call_key(target: Target, messages: Sequence[Message], sample: Sample) -> str:
    """The content key of one call: the same request to the same model is the same call."""
    content: dict[str, Json] = {
        "target": target.identity,
        "messages": [message.identity for message in messages],
        "sample": sample.id if target.answers_by_sample else None,
    }
    return content_key(content)


def setup_key(target: Target, history: History, moderation: Json = None) -> str:
    """Identifies how samples are asked: answers of different setups are not mixed.

    `moderation` is the identity of the moderator before the target; None if there is none.
    """
    setup: dict[str, Json] = {"target": target.identity, "history": history}
    return content_key(setup if moderation is None else {**setup, "moderation": moderation})
