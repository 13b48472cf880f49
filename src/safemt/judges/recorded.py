"""`recorded/PATH`: labels from a file, by people or by another judge."""

from collections.abc import Sequence
from pathlib import Path

from safemt.benchmark.recorded import read_by_sample
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
        values, self._sha256 = read_by_sample(path, field="label")
        for (query_id, turns), value in values.items():
            if value not in set(Label):
                raise LabelsError(
                    "unknown_label",
                    f"{path}: the label of {query_id} at {turns} turns is {value!r}. Use safe, unsafe or "
                    "ungraded.",
                    path=path, query_id=query_id, turns=turns, label=value,
                )  # fmt: skip
        self._labels = {sample: Label(value) for sample, value in values.items()}

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
