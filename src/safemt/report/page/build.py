"""From run directories to the page, written whole or not at all."""

import base64
import hashlib
import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from safemt.core.errors import UsageError
from safemt.report import moderation
from safemt.report.compare import Compared, compare_runs
from safemt.report.figures import REPLICATES, SEED
from safemt.report.page import dialogues, drawings, words
from safemt.report.page.dialogues import dialogue_data
from safemt.report.page.drawings import ReportRun
from safemt.report.page.stored import read_invocations
from safemt.report.page.thumbnails import SIDE
from safemt.report.results import results_of
from safemt.run.database import is_run
from safemt.stats.agreement import agreement

_PACKAGE: Final = "safemt.report.page"
_TOGETHER: Final = re.compile(r"(\([^()]{1,40}\)|[\d.]+ %)")


def load_runs(folders: Sequence[Path]) -> tuple[ReportRun, ...]:
    """Read the runs (or folders of published labels) of a report.

    Raises:
        RunError: a store cannot be read.
        LabelsError: there is nothing to report.
        UsageError: a run is named twice.
    """
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise UsageError("A run is named twice; name each once.")
    results = [results_of(folder) for folder in folders]
    names = _names(folders, [one.target for one in results])
    return tuple(
        ReportRun(name, slot, folder, one, tuple(read_invocations(folder)) if is_run(folder) else ())
        for slot, (name, folder, one) in enumerate(zip(names, folders, results, strict=True))
    )


def compare_if_fair(runs: Sequence[ReportRun], *, force: bool) -> tuple[Compared | None, str]:
    """The comparison of all runs with the first, or why there is none."""
    if len(runs) < 2:
        return None, ""
    compared = compare_runs([(run.name, run.results) for run in runs], force=True)
    if compared.differing and not force:
        return None, "; ".join(compared.differing)
    return compared, ""


def build_page(runs: Sequence[ReportRun], *, redact: bool, force: bool = False) -> str:
    """The page as text.

    `redact` leaves out every text and image of the dialogues; `force` compares runs though their benchmarks
    or judges differ.

    Raises:
        RunError: a store cannot be read.
    """
    style, script = (files(_PACKAGE).joinpath(name).read_text("utf-8") for name in ("style.css", "script.js"))
    compared, unfair = compare_if_fair(runs, force=force)
    data = dialogue_data(runs, redact=redact)
    environment = Environment(
        loader=PackageLoader(_PACKAGE, ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["keep_together"] = _keep_together
    environment.filters.update(words.FILTERS)
    return environment.get_template("page.html.j2").render(
        runs=runs,
        compared=compared,
        unfair=unfair,
        judged=_by_judge(runs),
        moderated=[run for run in runs if run.results.moderation is not None],
        moderation=moderation,
        drawings=drawings,
        words=words,
        agreement=agreement,
        rounds=sorted({k for run in runs for k in run.results.scores.turns}),
        data=data,
        limits={
            "message": dialogues.MESSAGE_LIMIT,
            "answer": dialogues.ANSWER_LIMIT,
            "texts": dialogues.TEXT_LIMIT // 1_000_000,
            "side": SIDE,
        },
        redact=redact,
        replicates=REPLICATES,
        seed=SEED,
        safemt=version("safemt"),
        # Ours, from this package, and allowed to run by their hashes; data is escaped for script elements.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
        raw=Markup,
        command=lambda run: shlex.join(map(str, run.results.provenance.get("command") or ())),
        zip=zip,
        pretty=lambda content: json.dumps(content, indent=2, ensure_ascii=False),
    )


def _by_judge(runs: Sequence[ReportRun]) -> list[tuple[dict[str, Any] | None, list[ReportRun]]]:
    """The runs by who labelled them; label files by nobody known."""
    groups: dict[str | None, list[ReportRun]] = {}
    for run in runs:
        judge = run.results.provenance.get("judge")
        groups.setdefault(judge["id"] if judge else None, []).append(run)
    return [(group[0].results.provenance.get("judge"), group) for group in groups.values()]


def _names(folders: Sequence[Path], targets: Sequence[str]) -> list[str]:
    """Each run's target; with its folder, and at last its number, where that tells no two apart."""
    names = list(targets)
    with_folder = [
        f"{target}, {folder.name or folder}" for target, folder in zip(targets, folders, strict=True)
    ]
    numbered = [f"{name} ({number})" for number, name in enumerate(with_folder, start=1)]
    for longer in (with_folder, numbered):
        counts = Counter(names)
        names = [long if counts[name] > 1 else name for name, long in zip(names, longer, strict=True)]
    return names


def _shown(value: Any) -> Any:
    """Every value that the template shows passes here: no `None`, no text that hides itself."""
    if value is None:
        return words.NOTHING
    return words.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _keep_together(text: str) -> Markup:
    """`text` escaped, with what stands in brackets, and a number and its %, kept on one line."""
    return Markup(_TOGETHER.sub(r'<span class="together">\1</span>', str(escape(words.visible(text)))))  # noqa: S704


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
