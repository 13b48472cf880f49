"""A judge beside people: as a document, and on the terminal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from safemt.core.taxonomy import Label
from safemt.judges.refusal_detector import Refusal, detect_refusal
from safemt.report.document import document
from safemt.report.table import Row, Table, columns, print_table, say
from safemt.report.text import count, in_words, number, one_line, share
from safemt.run.judge_check import Checked, JudgeCheck
from safemt.stats.agreement import Agreement, Confusion, agreement, confusion

if TYPE_CHECKING:
    from rich.console import Console

FIGURES: Final = tuple(each.name for each in fields(Agreement) if each.name != "confusion")
_GROUPS: Final[Mapping[str, tuple[str, Callable[[Checked], str]]]] = {
    "categories": ("category", lambda row: row.row.category),
    "languages": ("language", lambda row: row.row.sample.language),
}
_ORDER: Final = {Label.SAFE: 0, Label.UNSAFE: 1, Label.UNGRADED: 2}
_LISTED: Final = 20
_LETTERS: Final = 200


def judge_check_json(check: JudgeCheck) -> dict[str, Any]:
    """The whole check, described in docs/file-formats.md. It holds no text of the rows."""
    validation = check.validation
    detector = refusal_confusion(check)
    return {
        "judge": {"name": validation.judge, "id": validation.judge_id},
        "labels": {
            "file": validation.labels,
            "sha256": validation.labels_sha256,
            "selection": validation.selection,
            "rows": len(check.checked),
            "by_people": check.labelled_by_people,
        },
        **document(agreement(validation.confusion)),
        **{
            key: document({name: _agreement(rows) for name, rows in _grouped(check.checked, key).items()})
            for key in _GROUPS
        },
        "as_refusal_detector": None if detector is None else document(agreement(detector)),
        "disagreements": [
            {
                "id": row.row.sample.query_id,
                "category": row.row.category,
                "language": row.row.sample.language,
                "people": row.row.label,
                "judge": row.label,
                "cause": row.cause,
            }
            for row in disagreements(check.checked)
        ],
    }


def disagreements(checked: Sequence[Checked]) -> list[Checked]:
    """Where judge and people differ: unsafe called safe first, then safe called unsafe, then unreadable."""
    differing = [row for row in checked if row.label is not row.row.label]
    return sorted(differing, key=lambda row: (_ORDER[row.label], row.row.category, row.row.sample.query_id))


def refusal_confusion(check: JudgeCheck) -> Confusion | None:
    """The offline detector against people's labels of refusal, with a refusal as `unsafe`.

    None for other judges, and where the file does not label refusals.
    """
    if check.validation.judge != "refusal":
        return None
    pairs = [
        (
            _refusal_label(row.row.refused),
            _refusal_label(detect_refusal(row.row.response) is not Refusal.NONE),
        )
        for row in check.checked
        if row.row.refused is not None
    ]
    return confusion(pairs) if pairs else None


def print_judge_check(check: JudgeCheck, console: "Console", *, show_text: bool) -> None:
    """Print figures, groups and disagreements; the rows' texts only with `show_text`."""
    validation = check.validation
    who = "people" if check.labelled_by_people else "people and models"
    say(console)
    say(
        console,
        f"{validation.judge} against labels by {who} in {validation.labels} ({validation.selection}, "
        f"{count(len(check.checked), 'row')})",
        "bold",
    )
    _print_figures(validation.confusion, console, positive="unsafe", negative="safe")
    detector = refusal_confusion(check)
    if detector is not None:
        say(console)
        say(console, "As a refusal detector (full and partial refusals against full compliance)", "bold")
        _print_figures(detector, console, positive="refusal", negative="compliance")
        say(console, "As a judge of harm, above, it calls every compliance unsafe: it is a weak judge.")
    for key, (kind, _) in _GROUPS.items():
        groups = _grouped(check.checked, key)
        if len(groups) > 1:
            print_table(_group_table(kind, groups), console)
    _print_disagreements(check.checked, console, show_text=show_text)
    say(console, f"Kept for judge {validation.judge_id[:16]}: results and reports use it from now on.")


def _print_figures(counts: Confusion, console: "Console", *, positive: str, negative: str) -> None:
    figures = agreement(counts)

    def row(name: str) -> Row:
        estimate = getattr(figures, name)
        shown = in_words(estimate, lambda value: number(value, 2)) if name == "kappa" else share(estimate)
        return (name.replace("_", " ").capitalize(), shown)

    headings = ("Figure", "Value, 95 % interval")
    print_table(
        Table("", columns(*headings, text=("Figure",)), tuple(row(name) for name in FIGURES)), console
    )
    say(
        console,
        f"People {positive}: {counts.unsafe_as_unsafe:,} judged {positive}, {counts.unsafe_as_safe:,} judged "
        f"{negative}, {counts.unsafe_unread:,} ungraded\n"
        f"People {negative}: {counts.safe_as_safe:,} judged {negative}, {counts.safe_as_unsafe:,} judged "
        f"{positive}, {counts.safe_unread:,} ungraded",
    )


def _group_table(kind: str, groups: dict[str, list[Checked]]) -> Table:
    def row(name: str, rows: Sequence[Checked]) -> Row:
        figures = _agreement(rows)
        shown = (figures.accuracy, figures.sensitivity, figures.specificity)
        return (name, len(rows), *(share(estimate) for estimate in shown))

    headings = (kind.capitalize(), "Rows", "Accuracy", "Sensitivity", "Specificity")
    rows = tuple(row(name, members) for name, members in groups.items())
    return Table(f"By {kind}", columns(*headings, text=headings[:1]), rows)


def _print_disagreements(checked: Sequence[Checked], console: "Console", *, show_text: bool) -> None:
    differing = disagreements(checked)
    say(console)
    if not differing:
        say(console, "Judge and people agree on every row.")
        return
    say(console, f"Disagreements ({len(differing):,}; unsafe called safe first)", "bold")
    for row in differing[:_LISTED]:
        why = f" ({row.cause})" if row.cause else ""
        category = f" [{row.row.category}]" if row.row.category else ""
        said = f"{row.row.sample.query_id}{category}: people {row.row.label}, judge {row.label}{why}"
        say(console, f"  {said}", wrap=False)
        if show_text:
            for name, text in (("asked", row.row.sample.question), ("response", row.row.response)):
                say(console, f"    {name}: {one_line(text)[:_LETTERS]}", wrap=False)
    if len(differing) > _LISTED:
        say(console, f"  … and {len(differing) - _LISTED:,} more, which the JSON document lists")


def _grouped(checked: Sequence[Checked], key: str) -> dict[str, list[Checked]]:
    """The rows of each category or language that is named."""
    _, group_of = _GROUPS[key]
    groups: dict[str, list[Checked]] = {}
    for row in checked:
        if name := group_of(row):
            groups.setdefault(name, []).append(row)
    return dict(sorted(groups.items()))


def _agreement(rows: Sequence[Checked]) -> Agreement:
    return agreement(confusion((row.row.label, row.label) for row in rows))


def _refusal_label(refused: bool | None) -> str:
    return Label.UNSAFE if refused else Label.SAFE
