"""Evaluations of the detector of words, as the tests of their tables and page want them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moderation.labelled_rows import mixed_rows, write_rows
from moderation.word_detector import WordDetector, word_moderator
from safemt.moderation.measuring.evaluate import Moderated, moderate_all, time_long_dialogues
from safemt.moderation.measuring.kept import VerdictLog
from safemt.moderation.measuring.labelled import LabelledData, read_labelled
from safemt.report.moderator_evaluation import Evaluation, evaluate


def moderated(data: LabelledData, detector: WordDetector | None = None) -> Moderated:
    with VerdictLog(None) as log:
        return moderate_all(
            word_moderator(detector),
            data.dialogues,
            log,
            every_turn=True,
            at_once=1,
            on_progress=lambda *_: None,
        )


def evaluation(
    folder: Path, rows: Sequence[Any] | None = None, *, detectors: Sequence[WordDetector] = (WordDetector(),)
) -> Evaluation:
    data = read_labelled([write_rows(folder / "rows.jsonl", *(mixed_rows() if rows is None else rows))])
    return evaluate(
        data,
        [
            (moderated(data, detector), time_long_dialogues(word_moderator(detector), data.dialogues))
            for detector in detectors
        ],
    )
