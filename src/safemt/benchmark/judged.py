"""Responses that people have labelled: what a judge is checked against (docs/file-formats.md)."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

from safemt.core.errors import LabelsError
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import SCENARIO_BY_SLUG, Label, Scenario
from safemt.io.packed import read_unpacked


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """One response with people's label."""

    sample: Sample
    """What was asked; `query_id` is the row's id."""
    response: str
    label: Label
    category: str
    """As the file has it; empty where it has none."""
    refused: bool | None
    """Whether people called the response a refusal, full or partial; None where the file does not say."""


@dataclass(frozen=True, slots=True)
class JudgedFile:
    """A file of judged rows."""

    path: Path
    sha256: str
    rows: tuple[JudgedRow, ...]
    labelled_by_people: bool
    """False where the file itself says that a model labelled some of its rows."""


def read_judged(path: Path, *, language: str | None = None) -> JudgedFile:
    """Read a JSONL file (also `.gz`) of `turns` or `prompt`, `response` and `label`.

    `language` keeps the rows of that language only.

    Raises:
        LabelsError: the file cannot be read, a row lacks something, or nothing is left.
    """
    text = read_unpacked(path)
    rows: list[JudgedRow] = []
    by_people = True
    languages: set[str] = set()
    seen: set[str] = set()
    for fields, place in _parsed(text, path):
        row = _row(fields, place)
        if row.sample.query_id in seen:
            raise LabelsError(f"{place} has the id {row.sample.query_id!r} for the second time.")
        seen.add(row.sample.query_id)
        languages.add(row.sample.language)
        if language is None or row.sample.language == language:
            rows.append(row)
            by_people = by_people and _annotators(fields).get("type", "human") == "human"
    if not rows and languages:
        raise LabelsError(
            f"{path} has no row in language {language!r}; it has: {', '.join(sorted(languages))}."
        )
    if not rows:
        raise LabelsError(f"{path} is empty: there is no row in it.")
    return JudgedFile(
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        rows=tuple(rows),
        labelled_by_people=by_people,
    )


def _parsed(text: bytes, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    for number, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise LabelsError(f"{place} is not valid JSON: {error.msg}.") from error
        if not isinstance(fields, dict):
            raise LabelsError(f"{place} is not a JSON object.")
        yield fields, place


def _row(fields: dict[str, Any], place: str) -> JudgedRow:
    response, label = fields.get("response"), fields.get("label")
    if not isinstance(response, str):
        raise LabelsError(f"{place} has no text `response`.")
    if label not in (Label.SAFE, Label.UNSAFE):
        shown = "of another kind" if isinstance(label, (list, dict)) else repr(label)[:60]
        raise LabelsError(f"{place} has the label {shown}; people's labels here are safe or unsafe.")
    dialogue = _dialogue(fields, place)
    category = fields.get("category") if isinstance(fields.get("category"), str) else ""
    question = fields.get("question")
    return JudgedRow(
        sample=Sample(
            query_id=str(fields.get("id") or place.rpartition(" ")[2]),
            turns=(len(dialogue) + 1) // 2,
            scenario=_scenario(fields.get("scenario") or category),
            question=question if isinstance(question, str) and question.strip() else dialogue[-1].content,
            dialogue=dialogue,
            language=str(fields.get("language") or "en"),
        ),
        response=response,
        label=Label(label),
        category=category or "",
        refused=_refused(fields),
    )


def _dialogue(fields: dict[str, Any], place: str) -> tuple[Message, ...]:
    """`turns` up to the last user message, or `prompt`; several messages in a row of one role become one."""
    turns = fields.get("turns")
    if turns is None and isinstance(fields.get("prompt"), str):
        return (Message(role="user", content=fields["prompt"]),)
    if not isinstance(turns, list) or not all(
        isinstance(m, dict) and m.get("role") in ("user", "assistant") and isinstance(m.get("content"), str)
        for m in turns
    ):
        raise LabelsError(
            f"{place} has neither `turns`, a list of user and assistant messages, nor `prompt`."
        )
    messages = tuple(
        Message(role=role, content="\n\n".join(m["content"] for m in group))
        for role, group in groupby(turns, key=lambda m: m["role"])
    )
    if not messages or messages[0].role != "user" or messages[-1].role != "user":
        raise LabelsError(f"{place}: `turns` must begin and end on a user message.")
    return messages


def _scenario(text: object) -> Scenario:
    """The row's scenario where it names one of the 17; else one that has the general rubric."""
    slug = "_".join(text.lower().split()) if isinstance(text, str) else ""
    return SCENARIO_BY_SLUG.get(slug, Scenario.ILLEGAL_ACTIVITY)


def _refused(fields: dict[str, Any]) -> bool | None:
    final = str(_annotators(fields).get("final_label") or "")
    return "refusal" in final if final.endswith(("compliance", "refusal")) else None


def _annotators(fields: dict[str, Any]) -> dict[str, Any]:
    value = fields.get("annotators")
    return value if isinstance(value, dict) else {}
