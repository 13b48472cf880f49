"""What one request format knows: its conversations, where policies go, and how a refusal looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from safemt.core.errors import DialogueError
from safemt.core.schema import Message
from safemt.moderation.policies.inject import Position, inject
from safemt.moderation.policies.policy import Policy
from safemt.serve.problems import Problem, invalid

Body = dict[str, Any]
"""A parsed request."""

_MARK: Final = 17
"""Characters at the end of a guidance that hold its mark and the bracket."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the moderator reads of a request."""

    messages: tuple[Message, ...]
    after: str | None = None
    """The id of an earlier response, or of a conversation at the upstream, that these messages continue."""


@dataclass(frozen=True, slots=True)
class Guidance:
    """The policies for one conversation as text, and where it goes."""

    position: Position
    text: str
    """A message of its own, or what is appended to a text (it then begins with a blank line)."""


class Dialect(Protocol):
    """One request format."""

    name: str
    """Of the endpoint in metrics and audit logs: `chat`, `responses`, `messages`, `completions`."""
    places: Sequence[Position]
    """The positions that the format allows; the first stands in for those that it does not."""

    def conversations(self, body: Body) -> list[Conversation]:
        """The conversations that the request asks the model to continue; nearly always one.

        Raises:
            Problem: the request does not have the form of this dialect.
        """

    def with_guidance(self, body: Body, guidance: Mapping[int, Guidance]) -> Body:
        """A copy of the request with guidance in some of its conversations, by their place in the list."""

    def refusal(self, body: Body, text: str) -> Mapping[str, Any]:
        """The response in which the model would have refused."""

    def refusal_stream(self, body: Body, text: str) -> bytes:
        """The same response as server-sent events."""

    def error(self, problem: Problem) -> Mapping[str, Any]:
        """The body of an error."""


def guidance_for(
    messages: Sequence[Message], policies: Sequence[Policy], position: Position, budget: int
) -> Guidance:
    """The text that `inject` would add to `messages`; a late system message if there is no user message."""
    try:
        injected = inject(messages, policies, position=position, budget=budget)
    except DialogueError:
        return guidance_for(messages, policies, Position.LATE_SYSTEM, budget)
    if position is Position.LATE_SYSTEM:
        return Guidance(position, injected[-1].content)
    if position is Position.SYSTEM:
        changed = injected[0]
    else:
        changed = next(each for each in reversed(injected) if each.role == "user")
    text = changed.content
    start = text.rindex(f"[guidance {text[-_MARK:-1]}]")
    return Guidance(position, f"\n\n{text[start:]}" if start else text[start:])


def with_suffix(content: object, suffix: str, part_type: str) -> list[Any] | str:
    """A message's content, a text or a list of parts, with `suffix` at its end."""
    if isinstance(content, str):
        return content + suffix
    parts = list(content) if isinstance(content, list) else []
    return [*parts, {"type": part_type, "text": suffix.lstrip("\n")}]


def last_user(messages: Sequence[Any]) -> int | None:
    """The place of the last message whose role is `user`."""
    places = (n for n in range(len(messages) - 1, -1, -1) if _role(messages[n]) == "user")
    return next(places, None)


def _role(message: object) -> object:
    return message.get("role") if isinstance(message, dict) else None


def list_of(body: Body, name: str) -> list[Any]:
    """A field of the body that must be a list with something in it.

    Raises:
        Problem: it is not.
    """
    value = body.get(name)
    if not isinstance(value, list) or not value:
        raise invalid("invalid_messages", f"`{name}` must be a list that is not empty.", name)
    return value


def model_of(body: Body) -> str:
    """The model that the request names, cut to a length that fits into a log."""
    model = body.get("model")
    return model[:200] if isinstance(model, str) else ""


def events(*data: Mapping[str, Any], named: bool = False, done: bool = False) -> bytes:
    """Server-sent events; with `named` each has an event line with its `type`."""
    lines: list[bytes] = []
    for each in data:
        head = b"event: %s\n" % str(each["type"]).encode() if named else b""
        lines.append(b"%sdata: %s\n\n" % (head, orjson.dumps(each)))
    return b"".join([*lines, b"data: [DONE]\n\n"] if done else lines)
