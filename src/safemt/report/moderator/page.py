"""An evaluation of moderators as one self-contained HTML page, in the report's style and without texts."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from safemt.moderation.measuring.labelled import Truth
from safemt.report.figures import REPLICATES, SEED
from safemt.report.moderator import cells, drawings
from safemt.report.moderator.cells import comparison_rows
from safemt.report.moderator.evaluation import Evaluation
from safemt.report.moderator.figures import Group, ModeratorFigures
from safemt.report.page import words


def build_evaluation_page(evaluation: Evaluation, *, command: str) -> str:
    """The page as text; `command` is what made it."""
    style = files("safemt.report.page").joinpath("style.css").read_text("utf-8")
    digest = hashlib.sha256(style.encode("utf-8")).digest()
    environment = Environment(
        loader=PackageLoader("safemt.report.moderator", ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words.FILTERS)
    return environment.get_template("page.html.j2").render(
        evaluation=evaluation,
        moderators=evaluation.moderators,
        first=evaluation.moderators[0],
        data=evaluation.data,
        counts={truth.value: evaluation.data.count(truth) for truth in Truth},
        clusters=len({each.cluster for each in evaluation.data.dialogues}),
        rows=cells.figure_rows(evaluation.moderators[0]),
        cells=cells,
        drawings=drawings,
        words=words,
        groups_of=_groups_of,
        comparison_rows=comparison_rows,
        shown_turns=drawings.SHOWN_TURNS,
        command=command,
        replicates=REPLICATES,
        seed=SEED,
        safemt=version("safemt"),
        # Ours, from this package, and allowed by its hash.
        style=Markup(style),  # noqa: S704
        style_hash=f"sha256-{base64.b64encode(digest).decode('ascii')}",
        zip=zip,
        dict=dict,
    )


def _groups_of(truth: str, kind: str) -> Callable[[ModeratorFigures], Sequence[Group]]:
    """What takes the groups of one kind out of a moderator's figures; borderline ones have one kind only."""
    if truth == "borderline":
        return lambda figures: figures.borderline
    if truth == "harmful":
        return lambda figures: figures.harmful[kind]
    return lambda figures: figures.benign[kind]


def _shown(value: object) -> object:
    """Every value that the template shows passes here: no `None`, no text that hides itself."""
    if value is None:
        return words.NOTHING
    return words.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
