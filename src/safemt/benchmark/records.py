"""One record of a benchmark, held to the form of its layout, becomes a sample or says why it cannot.

Kept silently: blanks around a turn, typographic escapes, two questions in one. Kept and reported: see
`quirks_of`. Refused: everything that would change what is asked or how it is counted.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from safemt.benchmark.layouts import META, Layout, RawRecord, parse_dialogue_text
from safemt.core.schema import Message, Role, Sample
from safemt.core.taxonomy import Method, Scenario, scenario_named

MAX_ID: Final = 200
"""Characters."""

_ID_FIELD: Final = {Layout.FOLDER: "id", Layout.HUB: "id", Layout.JSONL: "query_id"}
_IMAGE_FIELDS: Final = {
    Layout.FOLDER: ("image_path", "image_rel_path"),
    Layout.HUB: ("image_rel_path", "image_path"),
    Layout.JSONL: ("image",),
}
_ROLES: Final[dict[object, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}
_KINDS: Final = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
_HOLE: Final = re.compile(r"\b(?:Given|In|From|Using|With|Based on|Considering) ,", re.IGNORECASE)


class BadRecord(Exception):
    """A record cannot be used; `code` is the finding's code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def sample_of(record: RawRecord, layout: Layout) -> Sample:
    """The sample in a record, without its image, and with an empty question if the record has none.

    Raises:
        BadRecord: the record does not have the form of its layout.
    """
    fields = record.row.fields
    if fields is None:
        raise BadRecord("broken_record", f"{record.row.problem}; fix or remove it")
    query_id = _text(fields, _ID_FIELD[layout])
    if not query_id.strip() or len(query_id) > MAX_ID or not query_id.isprintable():
        raise BadRecord("bad_id", f"the id must be 1 to {MAX_ID} printable characters; rename it")
    scenario = _scenario(fields)
    dialogue = _dialogue(fields)
    return Sample(
        query_id=query_id,
        turns=_turns(fields, dialogue, record.file_turns),
        scenario=scenario,
        question=_question(fields),
        dialogue=dialogue,
        method=_method(fields),
        twin_of=optional_text(fields, "twin_of"),
        language=optional_text(fields, "language") or "en",
        meta={key: value for key in META if (value := optional_text(fields, key))},
    )


def readable_id(record: RawRecord, layout: Layout) -> str | None:
    """The query's id as findings show it, where the record has one."""
    value = (record.row.fields or {}).get(_ID_FIELD[layout])
    return value[:MAX_ID] if isinstance(value, str) and value.isprintable() else None


def image_field(layout: Layout) -> str:
    """The field that names the image in a layout."""
    return _IMAGE_FIELDS[layout][0]


def image_name(fields: dict[str, Any], layout: Layout) -> str | None:
    """The image's path as the record has it, with forward slashes.

    Raises:
        BadRecord: it is not text.
    """
    for name in _IMAGE_FIELDS[layout]:
        if path := optional_text(fields, name):
            return path.replace("\\", "/")
    return None


def optional_text(fields: dict[str, Any], name: str) -> str | None:
    """A field that is text, or absent.

    Raises:
        BadRecord: it is something else.
    """
    return None if fields.get(name) is None else _text(fields, name)


def quirks_of(dialogue: tuple[Message, ...]) -> Iterator[tuple[str, str]]:
    """What is odd about a dialogue that is kept as it is: the finding's code and message."""
    for position, message in enumerate(dialogue, start=1):
        content = message.content
        name = f"{message.role} message {position}"
        if not content.strip():
            yield "empty_turn", f"{name} is empty; kept as it is"
        if "<image>" in content:
            yield (
                "image_placeholder",
                f"{name} contains the text <image>; kept as it is, and the image is sent separately",
            )
        if " ," in content and _HOLE.search(content):
            yield "stripped_placeholder", f"{name} has a hole where a placeholder was stripped; kept as it is"
        if "\0" in content:
            yield "nul", f"{name} contains a NUL character, which some endpoints refuse; kept as it is"


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        raise BadRecord("bad_field", f"`{name}` is missing; add it")
    if not isinstance(value, str):
        kind = _KINDS.get(type(value), "an object")
        raise BadRecord("bad_field", f"`{name}` must be text, not {kind}; fix it")
    return value


def _question(fields: dict[str, Any]) -> str:
    question = optional_text(fields, "question") or ""
    return question if question.strip() else ""


def _scenario(fields: dict[str, Any]) -> Scenario:
    text = _text(fields, "scenario")
    scenario = scenario_named(text)
    if scenario is None:
        known = ", ".join(Scenario)
        raise BadRecord(
            "unknown_scenario", f"the scenario {text[:60]!r} is not one of the 17; use one of: {known}"
        )
    return scenario


def _method(fields: dict[str, Any]) -> Method | None:
    text = optional_text(fields, "method")
    if text is None:
        return None
    try:
        return Method(text)
    except ValueError:
        known = ", ".join(Method)
        raise BadRecord(
            "unknown_method", f"the method {text[:60]!r} is unknown; use none, or one of: {known}"
        ) from None


def _dialogue(fields: dict[str, Any]) -> tuple[Message, ...]:
    value: object = fields.get("dialogue")
    if isinstance(value, str):
        try:
            value = parse_dialogue_text(value)
        except ValueError as error:
            raise BadRecord("bad_dialogue", str(error)) from error
    if not isinstance(value, list) or not value:
        raise BadRecord("bad_dialogue", "`dialogue` must be a list of messages; add at least one")
    messages = tuple(map(_message, value, range(1, len(value) + 1)))
    for position, message in enumerate(messages, start=1):
        expected = "user" if position % 2 else "assistant"
        if message.role != expected:
            raise BadRecord(
                "wrong_order",
                f"message {position} has the role {message.role!r} instead of {expected!r}; a dialogue "
                "must alternate user, assistant, …, user, without a system message",
            )
    if messages[-1].role != "user":
        raise BadRecord("wrong_order", "the dialogue ends with the assistant; it must end with a user turn")
    return messages


def _message(item: object, position: int) -> Message:
    fields = item if isinstance(item, dict) else {}
    role, content = fields.get("role"), fields.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        raise BadRecord("wrong_role", f"message {position} needs a `role`: user or assistant")
    if not isinstance(content, str):
        raise BadRecord("bad_dialogue", f"message {position} needs a `content` that is text")
    if not content.isascii():
        try:
            content.encode()
        except UnicodeEncodeError as error:
            # Only a Python literal can contain one; no request and no file of ours can.
            raise BadRecord(
                "bad_dialogue",
                f"message {position} contains half a character (a lone surrogate); fetch it again",
            ) from error
    # Our own string for the role, so that the file's is not kept once per message.
    return Message(role=_ROLES[role], content=content)


def _turns(fields: dict[str, Any], dialogue: tuple[Message, ...], file_turns: int | None) -> int:
    turns = (len(dialogue) + 1) // 2
    stated = fields.get("turns")
    if stated is not None and (not isinstance(stated, int) or isinstance(stated, bool)):
        raise BadRecord("bad_field", "`turns` must be a whole number; fix or remove it")
    for number, source in ((stated, "`turns`"), (file_turns, "the file's name")):
        if number is not None and number != turns:
            raise BadRecord(
                "wrong_length",
                f"the dialogue has {turns} user turns, but {source} states {number}; fix one of the two",
            )
    return turns
