"""Responses that people have labelled, to check a judge against (docs/file-formats.md)."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from safemt.core.errors import LabelsError
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Label, Scenario, scenario_named
from safemt.io.files import hash_file
from safemt.io.rows import require_rows


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """One response and people's label of it."""

    sample: Sample
    """What was asked; `query_id` is the row's id."""
    response: str
    label: Label
    category: str
    """As in the file; empty if it has none."""
    refused: bool | None
    """Whether people called the response a refusal, full or partial; None where the file does not say."""


@dataclass(frozen=True, slots=True)
class JudgedFile:
    """A file of judged rows."""

    path: Path
    sha256: str
    rows: tuple[JudgedRow, ...]
    labelled_by_people: bool
    """False if the file says that a model labelled some of its rows."""


def read_judged(path: Path, *, language: str | None = None) -> JudgedFile:
    """Read rows of `turns` or `prompt`, `response` and `label`, in any form that `read_rows` takes.

    `language` keeps only the rows in that language.

    Raises:
        LabelsError: `missing_field`, `unknown_label`, `bad_turns`, `id_twice`, `no_such_language`, or as for
            `require_rows`.
    """
    rows: list[JudgedRow] = []
    by_people = True
    languages: set[str] = set()
    seen: set[str] = set()
    for fields, place in require_rows(path, error=LabelsError):
        row = _row(fields, place)
        if row.sample.query_id in seen:
            raise LabelsError(
                "id_twice", f"{place} repeats the id {row.sample.query_id[:200]!r}. Rename one.", place=place
            )
        seen.add(row.sample.query_id)
        languages.add(row.sample.language)
        if language is None or row.sample.language == language:
            rows.append(row)
            by_people = by_people and _annotators(fields).get("type", "human") == "human"
    if not rows:
        raise LabelsError(
            "no_such_language",
            f"{path} has no row in the language {language!r}; it has {', '.join(sorted(languages))}.",
            path=path,
            language=language,
        )
    return JudgedFile(path=path, sha256=hash_file(path), rows=tuple(rows), labelled_by_people=by_people)


def _row(fields: dict[str, Any], place: str) -> JudgedRow:
    response, label = fields.get("response"), fields.get("label")
    if not isinstance(response, str):
        raise LabelsError(
            "missing_field", f"{place} has no text `response`. Add it.", place=place, field="response"
        )
    if label not in (Label.SAFE, Label.UNSAFE):
        shown = "of another kind" if isinstance(label, (list, dict)) else repr(label)[:60]
        raise LabelsError(
            "unknown_label", f"{place} has a label {shown}; people's labels are safe or unsafe.", place=place
        )
    dialogue = _dialogue(fields, place)
    category = fields.get("category") if isinstance(fields.get("category"), str) else ""
    question = fields.get("question")
    return JudgedRow(
        sample=Sample(
            query_id=str(fields.get("id") or place.rpartition(" ")[2]),
            turns=(len(dialogue) + 1) // 2,
            # Rows of any other scenario are judged by the general rubric, as this one is.
            scenario=scenario_named(fields.get("scenario") or category) or Scenario.ILLEGAL_ACTIVITY,
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
    """`turns` up to the last user message, or `prompt`; successive messages of one role become one."""
    turns = fields.get("turns")
    if turns is None and isinstance(fields.get("prompt"), str):
        return (Message(role="user", content=fields["prompt"]),)
    if not isinstance(turns, list) or not all(
        isinstance(m, dict) and m.get("role") in ("user", "assistant") and isinstance(m.get("content"), str)
        for m in turns
    ):
        raise LabelsError(
            "bad_turns",
            f"{place} needs `turns`, a list of user and assistant messages, or `prompt`.",
            place=place,
        )
    messages = tuple(
        Message(role=role, content="\n\n".join(m["content"] for m in group))
        for role, group in groupby(turns, key=lambda m: m["role"])
    )
    if not messages or messages[0].role != "user" or messages[-1].role != "user":
        raise LabelsError(
            "bad_turns", f"{place}: `turns` must begin and end with a user message.", place=place
        )
    return messages


def _refused(fields: dict[str, Any]) -> bool | None:
    final = str(_annotators(fields).get("final_label") or "")
    return "refusal" in final if final.endswith(("compliance", "refusal")) else None


def _annotators(fields: dict[str, Any]) -> dict[str, Any]:
    value = fields.get("annotators")
    return value if isinstance(value, dict) else {}
