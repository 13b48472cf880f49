"""Dialogues of known intent, to measure moderators on: read, labelled, and grouped into clusters."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from safemt.core.errors import DialogueError
from safemt.core.identity import content_key
from safemt.core.schema import Message
from safemt.io.files import hash_file
from safemt.io.rows import usual_file
from safemt.moderation.reading.dialogues import BadRow, Dialogue, read_dialogues

_NAMES: Final = ("dialogues.jsonl", "samples.jsonl")


class Truth(StrEnum):
    """What a dialogue is, according to its source."""

    HARMFUL = "harmful"
    BENIGN = "benign"
    BORDERLINE = "borderline"
    """It sounds harmful and is not: a set of its own for false alarms, never mixed with the benign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledDialogue:
    """A dialogue, what it is, and which others it depends on."""

    dialogue: Dialogue
    truth: Truth
    source: str
    """The data set."""
    cluster: str
    """Dialogues of one cluster are not independent. See `clusters_of`."""
    key: str
    """Hash of the messages: equal dialogues are moderated once."""

    @property
    def turns(self) -> int:
        """User turns."""
        return sum(message.role == "user" for message in self.dialogue.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A file that was read."""

    path: Path
    sha256: str
    """Of the file as it is, compressed or not."""
    dialogues: int
    """How many of its dialogues are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledData:
    """All dialogues of some files, and what was left out."""

    dialogues: tuple[LabelledDialogue, ...]
    files: tuple[DataFile, ...]
    unlabelled: int
    """Rows whose label is none of the three."""
    without_user: int
    """Dialogues without a user message, which cannot be moderated."""
    bad_rows: tuple[str, ...]
    """What is wrong with the rows that hold no dialogue, in sentences."""

    def count(self, truth: Truth) -> int:
        """How many dialogues are `truth`."""
        return sum(each.truth is truth for each in self.dialogues)


def read_labelled(paths: Sequence[Path]) -> LabelledData:
    """Read files, or folders that hold `dialogues.jsonl` or `samples.jsonl` (either may be gzipped).

    Raises:
        DialogueError: a file cannot be read, or no row of any has a label.
    """
    found: list[tuple[Dialogue, Truth, str]] = []
    files, bad = [], []
    unlabelled = without_user = 0
    for path in dict.fromkeys(map(_file, paths)):
        before = len(found)
        for row in read_dialogues(path):
            if isinstance(row, BadRow):
                bad.append(row.problem)
            elif row.label not in list(Truth):
                unlabelled += 1
            elif not any(message.role == "user" for message in row.messages):
                without_user += 1
            else:
                found.append((row, Truth(row.label), row.source or _source(path)))
        files.append(DataFile(path=path, sha256=hash_file(path), dialogues=len(found) - before))
    if not found:
        problem = f" The first problem: {bad[0]}" if bad else ""
        raise DialogueError(
            "no_labels",
            "No dialogue with a label was found. Each row needs a `label` (harmful, benign or borderline), "
            f"or must be a row of a benchmark: its samples are harmful, and its twins are benign.{problem}",
            paths=paths,
        )
    clusters = clusters_of([(row, source) for row, _, source in found])
    return LabelledData(
        dialogues=tuple(
            LabelledDialogue(
                dialogue=row, truth=truth, source=source, cluster=cluster, key=dialogue_key(row.messages)
            )
            for (row, truth, source), cluster in zip(found, clusters, strict=True)
        ),
        files=tuple(files),
        unlabelled=unlabelled,
        without_user=without_user,
        bad_rows=tuple(bad),
    )


def clusters_of(rows: Sequence[tuple[Dialogue, str]]) -> list[str]:
    """The cluster of each `(dialogue, source)`, by the first of these that the dialogue has.

    1. The query from which it, its rounds and its twins were grown.
    2. The source's question, which translations and other wordings share.
    3. A template: assistant turns that another dialogue of the source repeats word for word.

    A dialogue with none of them is a cluster of its own.
    """
    templates = [_template(row) for row, _ in rows]
    shared = Counter((source, template) for (_, source), template in zip(rows, templates, strict=True))
    clusters = []
    for number, ((row, source), template) in enumerate(zip(rows, templates, strict=True)):
        if row.query:
            kind = f"query {row.query}"
        elif row.question:
            kind = f"question {row.question}"
        elif template and shared[source, template] > 1:
            kind = f"template {template}"
        else:
            kind = f"row {number}"
        clusters.append(f"{source}: {kind}")
    return clusters


def dialogue_key(messages: Sequence[Message]) -> str:
    """The hash of everything that a moderator is shown."""
    return content_key([message.identity for message in messages])


def _template(row: Dialogue) -> str:
    """The assistant's side of a dialogue, as a hash; empty if it has none."""
    said = [message.content for message in row.messages if message.role == "assistant"]
    return content_key(said) if any(said) else ""


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise DialogueError(
            "no_such_file", f"There is no file {path}. Give files or folders of dialogues.", path=path
        )
    if (usual := usual_file(path, _NAMES)) is not None:
        return usual
    raise DialogueError(
        "no_dialogues",
        f"{path} holds neither dialogues.jsonl nor samples.jsonl (.gz or not). Name the file itself.",
        path=path,
    )


def _source(path: Path) -> str:
    """A name for the data of a file that names none: its folder's if the file has one of the usual names."""
    name = path.name.removesuffix(".gz")
    return path.resolve().parent.name if name in _NAMES else name.rpartition(".")[0] or path.name
