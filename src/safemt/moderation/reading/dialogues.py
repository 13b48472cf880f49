"""Dialogues from a file or a pipe, one at a time, in the forms in which people have them.

- ours: the rows of `samples.jsonl` (docs/file-formats.md), and the published SafeMT files;
- chat requests: `{"messages": […]}` as sent to a chat-completions API;
- plain: `{"id", "turns": [{"role", "content"}], "image"?}`.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from safemt.benchmark.layouts import parse_dialogue_text
from safemt.core.errors import DialogueError
from safemt.core.schema import Message, Part, UnknownPart
from safemt.core.taxonomy import Scenario, scenario_named
from safemt.io.images import ImageFolder, ImageProblem, inspect_image, locate_image
from safemt.io.row import Row
from safemt.io.rows import STDIN, read_rows
from safemt.moderation.reading.chat import message_of

_DIALOGUE_FIELDS: Final = ("messages", "dialogue", "turns")
_IMAGE_FIELDS: Final = ("image", "image_path", "image_rel_path")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """A dialogue to moderate, and what else its row tells."""

    id: str
    """The row's id, or its place (`line 3`) if it has none."""
    messages: tuple[Message, ...]
    place: str = ""
    """File and row, for messages."""
    label: str | None = None
    """`harmful`, `benign` or `borderline` in labelled data."""
    source: str | None = None
    query: str | None = None
    """Shared by all dialogues grown from the same query, benign twins too."""
    question: str | None = None
    """The question behind the dialogue in the source's words; translations of one row share it."""
    scenario: Scenario | None = None
    method: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that holds no dialogue, and why."""

    id: str
    problem: str
    """A sentence that names file and line."""


def read_dialogues(source: Path | io.BufferedReader) -> Iterator[Dialogue | BadRow]:
    """The dialogues of a file, or of a stream such as stdin, in order; a bad row does not end it.

    Any form that `read_rows` takes; one row in memory at a time. Pictures that rows name are looked for
    beside the file (for a stream: in the working directory) and nowhere else.

    Raises:
        DialogueError: it cannot be read at all, or is empty.
    """
    name = str(source) if isinstance(source, Path) else STDIN
    folder = source.parent if isinstance(source, Path) else Path()
    images = ImageFolder(folder, cache_bytes=0)
    for row in read_rows(source, error=DialogueError, lone_surrogates=True):
        yield _dialogue(row, f"{name}, {row.place}", folder, images)


def _dialogue(row: Row, place: str, folder: Path, images: ImageFolder) -> Dialogue | BadRow:
    fields = row.fields or {}
    row_id = _id(fields, row.place)
    if row.problem:
        return BadRow(id=row_id, problem=f"{place}: {row.problem}.")
    try:
        messages = _with_image(_messages(fields), fields, folder, images)
    except DialogueError as error:
        return BadRow(id=row_id, problem=f"{place}: {error}")
    return Dialogue(
        id=row_id,
        place=place,
        messages=messages,
        label=_label(fields),
        source=_text(fields, "source"),
        query=_text(fields, "twin_of") or _text(fields, "query_id"),
        question=_text(fields, "question"),
        scenario=scenario_named(fields.get("scenario")),
        method=_text(fields, "method"),
        language=_text(fields, "language"),
    )


def _id(fields: Mapping[str, Any], place: str) -> str:
    """`query_id@k` in our own rows, as everywhere else; else the row's `id`."""
    query, turns = fields.get("query_id"), fields.get("turns")
    if isinstance(query, str) and query:
        return f"{query}@{turns}" if isinstance(turns, int) else query
    value = fields.get("id")
    usable = isinstance(value, str | int) and not isinstance(value, bool) and value != ""
    return str(value) if usable else place


def _messages(fields: Mapping[str, Any]) -> tuple[Message, ...]:
    for name in _DIALOGUE_FIELDS:
        listed = fields.get(name)
        if isinstance(listed, str):  # as the hub has it
            try:
                listed = parse_dialogue_text(listed)
            except ValueError as error:
                raise DialogueError("bad_dialogue", f"`{name}`: {error}.", field=name) from error
        if isinstance(listed, list):
            if not listed:
                raise DialogueError(
                    "empty_dialogue", f"`{name}` is empty, so there is nothing to moderate.", field=name
                )
            return tuple(message_of(each, f"message {number}") for number, each in enumerate(listed, 1))
    raise DialogueError(
        "no_messages",
        "there is no list of messages. Give `messages` as in a chat request, `dialogue` as in a benchmark, "
        "or `turns`, each message with `role` and `content`.",
    )


def _with_image(
    messages: tuple[Message, ...], fields: Mapping[str, Any], folder: Path, images: ImageFolder
) -> tuple[Message, ...]:
    """The messages with the row's picture before the text of the first user message, as it is sent."""
    name = next((value for field in _IMAGE_FIELDS if (value := _text(fields, field))), None)
    first = next((place for place, message in enumerate(messages) if message.role == "user"), None)
    if name is None or first is None:
        return messages
    shown = Message("user", (_picture(name, folder, images), *messages[first].parts))
    return (*messages[:first], shown, *messages[first + 1 :])


def _picture(name: str, folder: Path, images: ImageFolder) -> Part:
    """The picture that a row names, or an unknown part if nobody can look at it."""
    try:
        path = locate_image(folder, name)
        if path is None:
            return UnknownPart("image_missing")
        return replace(inspect_image(path, name), source=images)
    except ImageProblem as problem:
        if problem.code == "image_outside":
            raise DialogueError(problem.code, f"{problem}.", image=name) from problem
        return UnknownPart(problem.code)


def _label(fields: Mapping[str, Any]) -> str | None:
    """What the row says; a row of a benchmark is harmful unless it is a benign twin."""
    if "query_id" in fields and "dialogue" in fields:
        return "benign" if fields.get("twin_of") else "harmful"
    return _text(fields, "label")


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and value else None
