"""From a published set of dialogues to a benchmark that `safemt run` takes."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safemt.benchmark.write import write_benchmark
from safemt.build import output
from safemt.build.importing.layouts import DialogueSet, Imported, read_dialogues
from safemt.build.queries import Ledger, RawQuery, Reject, Stage
from safemt.build.scenario import Assignment, assign_scenario
from safemt.build.screening import child_abuse
from safemt.core.errors import BenchmarkError
from safemt.core.identity import content_key
from safemt.core.schema import ImageRef, Message, Sample
from safemt.io.images import ImageProblem, inspect_image, locate_image

SOURCE_FILE: Final = "import.json"
UNRECORDED: Final = "(The answer to this turn is not recorded.)"
"""Stands for an assistant turn that the set does not have. Such a benchmark is for live history."""
_LICENCES: Final = {
    DialogueSet.ACTORATTACK: "MIT (third party)",
    DialogueSet.MHJ: "CC BY-NC 4.0 (third party)",
}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What an import took and left out."""

    samples: int
    by_turns: dict[int, int]
    by_scenario: dict[str, int]
    scenario_by: dict[str, int]
    low_confidence: int
    """Samples whose scenario was guessed with less than 0.2."""
    left_out: dict[str, int]
    unrecorded: int
    """Samples with assistant turns that the set does not have: run them with live history."""


def import_set(kind: DialogueSet, path: Path, out: Path) -> ImportSummary:
    """Write the dialogues of a set as a benchmark at `out`.

    The scenario comes from the set's category where that names one, else from the classifier. Rows about the
    abuse of children, or about minors and sex, are refused.

    Raises:
        BenchmarkError: nothing of that set is at `path`, it cannot be read, or no dialogue is left.
        UsageError: `out` exists.
    """
    ledger = Ledger()
    with output.finished_at_once(out) as folder:
        rows = list(_screened(read_dialogues(kind, path), ledger))
        if not rows:
            raise BenchmarkError("no_dialogues", f"No dialogue of {path} can be used.", path=path)
        found = [(row, _assigned(row)) for row in rows]
        ids = {row.key: f"{assigned.scenario.slug}_{_UNSAFE.sub('_', row.key)}" for row, assigned in found}
        harmful = {row.key: assigned for row, assigned in found if not row.twin_of}
        images = _Images(path if path.is_dir() else path.parent, folder)
        samples = [
            _sample(kind, row, harmful.get(row.twin_of, assigned), ids, images) for row, assigned in found
        ]
        build = content_key([kind.value, sorted(sample.id for sample in samples)])
        about = {
            "name": kind.value,
            "build": build,
            "licence": _LICENCES.get(kind, "not stated"),
            "description": f"Dialogues of {kind.value}, imported by safemt.",
        }
        write_benchmark(folder, samples, about=about)
        summary = _summary(samples, found, ledger)
        output.write_json(folder / SOURCE_FILE, _document(kind, path, summary))
        output.write_lines(folder / output.REJECTS_FILE, (output.reject_row(r) for r in ledger.rejects))
    return summary


def _screened(rows: Iterable[Imported], ledger: Ledger) -> Iterable[Imported]:
    seen: set[str] = set()
    for row in rows:
        fault = _fault(row)
        if not fault and row.key in seen:
            fault = "same_id"
        if fault:
            ledger.add(Reject(Stage.SCREENING, reason=fault, place=row.place))
            continue
        seen.add(row.key)
        yield row


def _fault(row: Imported) -> str:
    texts = [message.content for message in row.dialogue]
    if child_abuse([row.question, *texts], [row.category, *row.categories]):
        return "minors_and_sex"
    if not any(message.role == "user" for message in row.dialogue):
        return "no_user_turn"
    return ""


def _assigned(row: Imported) -> Assignment:
    asked = row.question or [m.content for m in row.dialogue if m.role == "user"][-1]
    category = row.category.replace("_", " ")
    return assign_scenario(
        RawQuery(text=asked, place=row.place, source="", family="dialogues", category=category)
    )


def _sample(
    kind: DialogueSet, row: Imported, assigned: Assignment, ids: dict[str, str], images: "_Images"
) -> Sample:
    dialogue = alternating(row.dialogue)
    users = [message.content for message in dialogue if message.role == "user"]
    return Sample(
        query_id=ids[row.key],
        turns=len(users),
        scenario=assigned.scenario,
        question=row.question or users[-1],
        dialogue=dialogue,
        image=images.copied(row.image) if row.image else None,
        twin_of=ids.get(row.twin_of) if row.twin_of else None,
        language=row.language,
        meta={"source": kind.value, "licence": _LICENCES.get(kind, "not stated")},
    )


def alternating(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The messages as user, assistant, …, user: a last answer is left out, a missing one is marked.

    Two messages of the user in a row with no answer between get the mark `UNRECORDED`; two of the assistant
    are joined.
    """
    found: list[Message] = []
    for message in messages:
        if not found and message.role != "user":
            continue
        if found and found[-1].role == message.role:
            if message.role == "user":
                found.append(Message(role="assistant", content=UNRECORDED))
            else:
                found[-1] = Message(role="assistant", content=f"{found[-1].content}\n{message.content}")
                continue
        found.append(message)
    if found and found[-1].role == "assistant":
        found.pop()
    return tuple(found)


class _Images:
    """Copies the images that dialogues show into the benchmark."""

    def __init__(self, root: Path, out: Path) -> None:
        self._root = root
        self._out = out / "images"

    def copied(self, name: str) -> ImageRef | None:
        try:
            path = locate_image(self._root, name)
            if path is None:
                return None
            ref = inspect_image(path, name)
        except ImageProblem:
            return None
        self._out.mkdir(exist_ok=True)
        target = f"images/{ref.sha256}{path.suffix.lower()}"
        (self._out.parent / target).write_bytes(path.read_bytes())
        return ImageRef(ref.sha256, ref.media_type, ref.width, ref.height, target)


def _summary(
    samples: list[Sample], found: list[tuple[Imported, Assignment]], ledger: Ledger
) -> ImportSummary:
    return ImportSummary(
        samples=len(samples),
        by_turns=dict(sorted(Counter(sample.turns for sample in samples).items())),
        by_scenario=dict(sorted(Counter(sample.scenario.value for sample in samples).items())),
        scenario_by=dict(sorted(Counter(assigned.by for _, assigned in found).items())),
        low_confidence=sum(assigned.confidence < 0.2 for _, assigned in found),
        left_out=dict(sorted(Counter(reject.reason for reject in ledger.rejects).items())),
        unrecorded=sum(any(m.content == UNRECORDED for m in sample.dialogue) for sample in samples),
    )


def _document(kind: DialogueSet, path: Path, summary: ImportSummary) -> dict[str, Any]:
    return {
        "set": kind.value,
        "from": path.name,
        "samples": summary.samples,
        "by_turns": {str(turns): count for turns, count in summary.by_turns.items()},
        "by_scenario": summary.by_scenario,
        "scenario_by": summary.scenario_by,
        "low_confidence": summary.low_confidence,
        "left_out": summary.left_out,
        "unrecorded": summary.unrecorded,
    }
