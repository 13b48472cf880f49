"""An evaluation on disk: the document and the page, each written whole or not at all."""

import json
from pathlib import Path

from safemt.io.files import PUBLIC, write_file
from safemt.report.moderator.document import evaluation_json
from safemt.report.moderator.evaluation import Evaluation
from safemt.report.moderator.page import build_evaluation_page


def write_evaluation(evaluation: Evaluation, folder: Path, *, command: str) -> tuple[Path, Path]:
    """Write `evaluation.html` and `evaluation.json`; neither holds a text of a dialogue.

    Raises:
        FileError: they cannot be written.
    """
    document = json.dumps(evaluation_json(evaluation), ensure_ascii=False, indent=2, allow_nan=False)
    texts = {
        folder / "evaluation.html": build_evaluation_page(evaluation, command=command),
        folder / "evaluation.json": f"{document}\n",
    }
    for path, text in texts.items():
        write_file(path, text.encode(), mode=PUBLIC)
    page, data = texts
    return page, data
