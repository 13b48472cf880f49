"""`recorded/PATH`: labels from a file, by people or by another judge."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from safemt.benchmark.recorded import read_recorded
from safemt.core.errors import LabelsError
from safemt.core.identity import Json
from safemt.core.schema import Sample
from safemt.core.taxonomy import Label
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint
from safemt.judges.base import Judgement


class RecordedJudge:
    """Gives each sample the label in the file; a sample that is not in it is `ungraded`."""

    endpoints: Sequence[ChatEndpoint] = ()

    def __init__(self, path: Path) -> None:
        """Read the labels.

        Raises:
            LabelsError: the file cannot be read, or holds a label other than safe, unsafe and ungraded.
        """
        self.name = f"recorded/{path}"
        self._labels: dict[tuple[str, int], Label] = {}
        for row in read_recorded(path, field="label"):
            if row.value not in set(Label):
                raise LabelsError(
                    "unknown_label",
                    f"{path}: the label of {row.query_id} at {row.turns} turns is {row.value!r}. Use safe, "
                    "unsafe or ungraded.",
                    path=path,
                    query_id=row.query_id,
                    turns=row.turns,
                    label=row.value,
                )
            key = (row.query_id, row.turns)
            if self._labels.setdefault(key, Label(row.value)) != row.value:
                raise LabelsError(
                    "two_labels",
                    f"{path}: {row.query_id} at {row.turns} turns has two different labels. Keep one.",
                    path=path,
                    query_id=row.query_id,
                    turns=row.turns,
                )
        self._sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    @property
    def identity(self) -> Json:
        """The hash of the file."""
        return {"kind": "recorded", "sha256": self._sha256}

    async def judge(self, sample: Sample, response: str, ask: Ask) -> Judgement:
        """The recorded label, without a call."""
        label = self._labels.get((sample.query_id, sample.turns))
        if label is None:
            return Judgement(label=Label.UNGRADED, cause="not_recorded")
        return Judgement(label=label, cause="recorded_ungraded" if label is Label.UNGRADED else "")
