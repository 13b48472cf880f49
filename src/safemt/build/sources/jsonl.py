"""JSONL: one query a line, or the research schema of dialogues with labels (harmful rows only)."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from safemt.build.queries import Ledger, PictureSource, RawQuery, Reject, Stage
from safemt.build.sources.files import categories_of, json_lines, safe_name, text_of
from safemt.build.words import load_data
from safemt.core.taxonomy import SCENARIO_BY_SLUG

QUERY_FIELDS: Final = ("query", "question", "prompt", "text", "behavior", "goal")
_POLICY: Final = frozenset({"legal_opinion", "financial_advice", "health_consultation", "political"})
"""Scenarios of policy rather than harm: rows labelled `borderline` in these categories are queries."""


def read_jsonl(path: Path, *, images: Path | None, ledger: Ledger) -> Iterator[RawQuery]:
    """The rows of one file. Benign rows come along only as one side of a contrast pair.

    Raises:
        BenchmarkError: the file cannot be read, or an image path leads out of its folder.
    """
    for number, row in json_lines(path):
        place = f"{path.name}, row {number}"
        if isinstance(row, str):
            ledger.add(Reject(stage=Stage.READING, reason="broken_row", place=place, detail=row))
            continue
        if isinstance(row.get("turns"), list) and "label" in row:
            query = _research_row(row, place, path, images)
        else:
            query = _plain_row(row, place, path, images)
        if query is None:
            label = text_of(row, "label")[:20]
            ledger.add(
                Reject(stage=Stage.READING, reason="not_harmful", place=place, detail=f"label {label!r}")
            )
        else:
            yield query


def _plain_row(row: Mapping[str, Any], place: str, path: Path, images: Path | None) -> RawQuery | None:
    if text_of(row, "label") in ("benign", "safe", "borderline"):
        return None
    return RawQuery(
        text=text_of(row, *QUERY_FIELDS),
        place=place,
        source=text_of(row, "source") or path.name.split(".")[0],
        source_id=text_of(row, "id", "query_id"),
        licence=text_of(row, "licence", "license") or known_licence(text_of(row, "source").lower()),
        family=text_of(row, "source").lower(),
        category=text_of(row, "category"),
        categories=categories_of(row),
        scenario=text_of(row, "scenario"),
        language=text_of(row, "language"),
        picture=_picture(text_of(row, "image", "image_path"), place, images or path.parent),
        key_phrase=text_of(row, "key_phrase"),
    )


def _research_row(row: Mapping[str, Any], place: str, path: Path, images: Path | None) -> RawQuery | None:
    """Of a dialogue with several user turns, the `question` is the query; else the last user turn."""
    category = text_of(row, "category")
    meta = row.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    pair = contrast_pair(category, meta)
    policy = "_".join(category.lower().split()) in _POLICY & set(SCENARIO_BY_SLUG)
    label = row.get("label")
    if label != "harmful" and not (label == "borderline" and policy) and not pair:
        return None
    turns = [turn for turn in row["turns"] if isinstance(turn, dict) and turn.get("role") == "user"]
    said = text_of(turns[-1], "content") if turns else ""
    question = text_of(row, "question") or said
    source = text_of(row, "source") or path.parent.name
    method = text_of(row, "method").split(" (")[0]
    family = set_in(method) or source.lower()
    return RawQuery(
        text=question,
        place=place,
        source=f"{source}/{method}" if set_in(method) else source,
        source_id=text_of(row, "id"),
        licence=text_of(row, "licence", "license") or known_licence(family),
        family=family,
        category=category,
        categories=categories_of(row),
        language=text_of(row, "language"),
        picture=_picture(text_of(row, "image"), place, images or path.parent),
        picture_text=_picture_text(meta, said, question),
        key_phrase=text_of(meta, "instruction"),
        harmful=label == "harmful" or (policy and not pair),
        pair=pair,
    )


def set_in(method: str) -> str:
    """The set that a row of a collection of several sets comes from, as its `method` names it."""
    for family in ("harmbench", "strongreject", "do-not-answer", "advbench", "malicious_instruct"):
        if method.startswith(family):
            return family
    return ""


def known_licence(family: str) -> str:
    """The licence of a well-known set."""
    return str(_licences().get(family, "not stated"))


@cache
def _licences() -> Mapping[str, str]:
    table: Mapping[str, str] = load_data("licences.yaml")
    return table


def contrast_pair(category: str, meta: Mapping[str, Any]) -> str:
    """XSTest's pairs: `homonyms` and `contrast_homonyms` on the same focus word belong together."""
    focus = text_of(meta, "focus")
    if not focus or "prompt_label" not in meta:
        return ""
    kind = re.sub(r"^contrast_", "", category)
    kind = {
        "nons_group_real_discr": "discr",
        "real_group_nons_discr": "discr",
        "privacy_public": "privacy",
    }.get(kind, kind)
    return f"{kind}:{focus.lower()}"


def _picture_text(meta: Mapping[str, Any], said: str, question: str) -> str:
    """What the picture should hold where the set says: a description, or the context of a question."""
    described = text_of(meta, "image_description")
    if described:
        return described
    if question != said and meta.get("has_context"):
        return said.removesuffix(question).rstrip().removesuffix("---").rstrip()
    return ""


def _picture(name: str, place: str, root: Path) -> PictureSource | None:
    return PictureSource(root=root, name=safe_name(name, place)) if name else None
