"""The layouts of published multi-turn sets, each read into the same rows."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson

from safemt.build.sources.files import categories_of, json_lines, read_bytes, text_of
from safemt.core.errors import BenchmarkError
from safemt.core.schema import Message, Role


class DialogueSet(StrEnum):
    """Sets that can be imported."""

    COSAFE = "cosafe"
    RED_QUEEN = "red-queen"
    SAFEDIALBENCH = "safedialbench"
    MTMCS = "mtmcs"
    MHJ = "mhj"
    ACTORATTACK = "actorattack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One dialogue of a set, in our words."""

    key: str
    """Unique in the set."""
    place: str
    """File and row, for messages."""
    dialogue: tuple[Message, ...]
    """As the set has it; assistant turns may be missing."""
    question: str = ""
    """The aim, where the set states it."""
    category: str = ""
    categories: tuple[str, ...] = ()
    language: str = "en"
    twin_of: str = ""
    """The key of the harmful dialogue whose safe variant this is."""
    image: str = ""
    """Relative to the set's folder."""


_Reader = Callable[[Path], Iterator[Imported]]
_ROLES: Final[Mapping[str, Role]] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
}


def read_dialogues(kind: DialogueSet, path: Path) -> Iterator[Imported]:
    """The dialogues of a set at `path`: its own files, or rows with `turns` and `question`.

    Raises:
        BenchmarkError: there is nothing of that set at `path`, or it cannot be read.
    """
    if not path.exists():
        raise BenchmarkError("no_such_file", f"There is no file or folder {path}.", path=path)
    common = _common_file(path)
    if common is not None:
        yield from _common(common)
        return
    found = 0
    for each in _READERS[kind](path):
        found += 1
        yield each
    if not found:
        raise BenchmarkError(
            "wrong_layout", f"{path} holds no dialogue in the layout of {kind.value}.", path=path
        )


def _common_file(path: Path) -> Path | None:
    """The file of dialogues with `turns`, if the set is kept in that form."""
    for name in ("dialogues.jsonl", "dialogues.jsonl.gz"):
        if path.is_dir() and (path / name).is_file():
            return path / name
    return path if path.name in ("dialogues.jsonl", "dialogues.jsonl.gz") else None


def _common(path: Path) -> Iterator[Imported]:
    for number, row in json_lines(path):
        place = f"{path.name}, row {number}"
        if isinstance(row, str):
            continue
        yield Imported(
            key=text_of(row, "id") or str(number),
            place=place,
            dialogue=messages_of(row.get("turns")),
            question=text_of(row, "question"),
            category=text_of(row, "category"),
            categories=categories_of(row),
            language=text_of(row, "language") or "en",
        )


def messages_of(turns: object) -> tuple[Message, ...]:
    """The user's and the assistant's messages in a list of objects; system messages are left out."""
    found = []
    for turn in turns if isinstance(turns, list) else ():
        if not isinstance(turn, dict):
            continue
        role = _ROLES.get(str(turn.get("role") or turn.get("from")))
        content = text_of(turn, "content", "body", "value")
        if role is not None and content:
            found.append(Message(role=role, content=content))
    return tuple(found)


def _cosafe(path: Path) -> Iterator[Imported]:
    """`CoSafe datasets/CATEGORY.json`: one list of messages a line; the category is the file's name."""
    folder = path / "CoSafe datasets" if (path / "CoSafe datasets").is_dir() else path
    for file in [path] if path.is_file() else sorted(folder.glob("*.json")):
        for number, line in enumerate(read_bytes(file).splitlines(), start=1):
            turns = _loaded(line)
            if isinstance(turns, list) and turns and isinstance(turns[0], dict):
                yield Imported(
                    key=f"{file.stem}-{number:03}",
                    place=f"{file.name}, row {number}",
                    dialogue=messages_of(turns),
                    category=file.stem,
                )


def _red_queen(path: Path) -> Iterator[Imported]:
    """JSON arrays of `action`, `query` (messages), `turn`, `type`, `category`.

    Chat-template texts are skipped.
    """
    for file in [path] if path.is_file() else sorted(path.rglob("*.json")):
        for number, row in enumerate(_array(file), start=1):
            query = row.get("query")
            if isinstance(query, str):
                query = _loaded(query.encode())
            if not isinstance(query, list):
                continue
            yield Imported(
                key=f"{file.stem}-{number:05}",
                place=f"{file.name}, row {number}",
                dialogue=messages_of(query),
                question=text_of(row, "action"),
                category=text_of(row, "category"),
                categories=categories_of(row),
            )


def _safedialbench(path: Path) -> Iterator[Imported]:
    """JSONL of `task` and `history` (pairs of `user` and `bot`); the last answer is left out."""
    files = (
        [path] if path.is_file() else sorted(path.rglob("datasets_*.jsonl")) or sorted(path.rglob("*.jsonl"))
    )
    for file in files:
        chinese = "zh" in file.stem or "chinese" in file.parts or file.stem.endswith("cn")
        for number, row in json_lines(file):
            if isinstance(row, str) or not isinstance(row.get("history"), list):
                continue
            turns = [
                {"role": role, "content": pair.get(name)}
                for pair in row["history"]
                if isinstance(pair, dict)
                for role, name in (("user", "user"), ("assistant", "bot"))
            ]
            yield Imported(
                key=f"{file.stem}-{number:05}",
                place=f"{file.name}, row {number}",
                dialogue=messages_of(turns),
                category=text_of(row, "task"),
                categories=categories_of(row),
                language="zh" if chinese else "en",
            )


def _mtmcs(path: Path) -> Iterator[Imported]:
    """Rows with `multimodal_dialogue`; each gives an unsafe dialogue and its safe variant."""
    files = [path] if path.is_file() else sorted([*path.rglob("*.json"), *path.rglob("*.jsonl")])
    for file in files:
        rows = (
            _array(file)
            if file.suffix == ".json"
            else [r for _, r in json_lines(file) if not isinstance(r, str)]
        )
        for number, row in enumerate(rows, start=1):
            said = row.get("multimodal_dialogue")
            if not isinstance(said, dict):
                continue
            key = f"{file.stem}-{row.get('id', number)}"
            image = row.get("image")
            for kind in ("unsafe", "safe"):
                turns = [text_of(said, f"{kind}_{name}", name) for name in ("r1", "r2", "r3")]
                yield Imported(
                    key=key if kind == "unsafe" else f"{key}-safe",
                    place=f"{file.name}, row {number}",
                    dialogue=tuple(Message(role="user", content=turn) for turn in turns if turn),
                    question=text_of(row, "unsafe_intent") if kind == "unsafe" else turns[-1],
                    twin_of="" if kind == "unsafe" else key,
                    categories=categories_of(row),
                    image=image if isinstance(image, str) else "",
                )


def _mhj(path: Path) -> Iterator[Imported]:
    """`harmbench_behaviors.csv`: `message_N` holds JSON with `role` and `body`, up to an empty one."""
    for file in [path] if path.is_file() else sorted(path.rglob("*.csv")):
        with file.open(encoding="utf-8", newline="") as opened:
            for number, row in enumerate(csv.DictReader(opened), start=2):
                turns: list[Any] = []
                while text := (row.get(f"message_{len(turns)}") or "").strip():
                    turns.append(_loaded(text.encode()))
                if turns:
                    yield Imported(
                        key=f"{file.stem}-{number:04}",
                        place=f"{file.name}, row {number}",
                        dialogue=messages_of(turns),
                        question=text_of({k.lower(): v for k, v in row.items() if k}, "behavior", "question"),
                        categories=categories_of({str(k): v for k, v in row.items()}),
                    )


def _actorattack(path: Path) -> Iterator[Imported]:
    """`Attack_600.json`: `plain_query`, `category`, `multi_turn_queries`; user turns only."""
    files = (
        [path] if path.is_file() else sorted(path.rglob("Attack_600.json")) or sorted(path.rglob("*.json"))
    )
    for file in files:
        for number, row in enumerate(_array(file), start=1):
            turns = row.get("multi_turn_queries")
            if isinstance(turns, list):
                yield Imported(
                    key=f"{row.get('query_id', file.stem)}-{number:04}",
                    place=f"{file.name}, row {number}",
                    dialogue=tuple(Message(role="user", content=str(turn).strip()) for turn in turns if turn),
                    question=text_of(row, "plain_query"),
                    category=text_of(row, "category"),
                    categories=categories_of(row),
                )


def _array(file: Path) -> Sequence[dict[str, Any]]:
    try:
        document = orjson.loads(read_bytes(file))
    except orjson.JSONDecodeError as error:
        raise BenchmarkError("not_json", f"{file} is not valid JSON: {error}.", path=file) from error
    if isinstance(document, dict):
        document = [row for value in document.values() if isinstance(value, list) for row in value]
    return [row for row in document if isinstance(row, dict)] if isinstance(document, list) else []


def _loaded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


_READERS: Final[Mapping[DialogueSet, _Reader]] = {
    DialogueSet.COSAFE: _cosafe,
    DialogueSet.RED_QUEEN: _red_queen,
    DialogueSet.SAFEDIALBENCH: _safedialbench,
    DialogueSet.MTMCS: _mtmcs,
    DialogueSet.MHJ: _mhj,
    DialogueSet.ACTORATTACK: _actorattack,
}
