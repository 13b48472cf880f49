"""An evaluation on disk: the document and the page, each written whole or not at all."""

import json
from pathlib import Path

from safemt.core.errors import RunError
from safemt.report.moderator.document import evaluation_json
from safemt.report.moderator.evaluation import Evaluation
from safemt.report.moderator.page import build_evaluation_page


def write_evaluation(evaluation: Evaluation, folder: Path, *, command: str) -> tuple[Path, Path]:
    """Write `evaluation.html` and `evaluation.json`; neither holds a text of a dialogue.

    Raises:
        RunError: they cannot be written.
    """
    document = json.dumps(evaluation_json(evaluation), ensure_ascii=False, indent=2, allow_nan=False)
    texts = {
        folder / "evaluation.html": build_evaluation_page(evaluation, command=command),
        folder / "evaluation.json": f"{document}\n",
    }
    for path, text in texts.items():
        part = path.with_name(f"{path.name}.part")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error.strerror}.") from error
    page, data = texts
    return page, data
