"""A judge beside people: as a document, and on the terminal."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from safemt.core.taxonomy import Label
from safemt.judges.refusal_detector import Refusal, detect_refusal
from safemt.report.figures import estimate_json
from safemt.run.judge_check import Checked, JudgeCheck
from safemt.stats.agreement import Agreement, Confusion, agreement, confusion
from safemt.stats.intervals import Estimate

FIGURES: Final = (
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "f1",
    "kappa",
    "readable",
)
_LISTED: Final = 20


def judge_check_json(check: JudgeCheck) -> dict[str, Any]:
    """The whole check; its keys are described in docs/file-formats.md. Holds no text of the rows."""
    validation = check.validation
    as_detector = refusal_confusion(check)
    return {
        "judge": {"name": validation.judge, "id": validation.judge_id},
        "labels": {
            "file": validation.labels,
            "sha256": validation.labels_sha256,
            "selection": validation.selection,
            "rows": len(check.checked),
            "by_people": check.labelled_by_people,
        },
        **agreement_json(agreement(validation.confusion)),
        "categories": _groups_json(check.checked, lambda row: row.row.category),
        "languages": _groups_json(check.checked, lambda row: row.row.sample.language),
        "as_refusal_detector": None if as_detector is None else agreement_json(agreement(as_detector)),
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


def agreement_json(figures: Agreement) -> dict[str, Any]:
    """Confusion counts, and every figure with its 95 % interval; null where nothing can be said."""
    counts = figures.confusion
    return {
        "confusion": {name: getattr(counts, name) for name in Confusion.__slots__},
        **{name: estimate_json(getattr(figures, name)) for name in FIGURES},
    }


def disagreements(checked: Sequence[Checked]) -> list[Checked]:
    """Where judge and people differ: unsafe called safe first, then safe called unsafe, then unreadable."""
    order = {Label.SAFE: 0, Label.UNSAFE: 1, Label.UNGRADED: 2}
    differing = [row for row in checked if row.label is not row.row.label]
    return sorted(differing, key=lambda row: (order[row.label], row.row.category, row.row.sample.query_id))


def refusal_confusion(check: JudgeCheck) -> Confusion | None:
    """The offline detector against people's labels of refusal, `unsafe` standing for a refusal.

    None for other judges, and where the file says nothing of refusals.
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


def print_judge_check(check: JudgeCheck, console: Console, *, show_text: bool) -> None:
    """Figures, groups and disagreements; the rows' texts only with `show_text`."""
    validation = check.validation
    who = "people" if check.labelled_by_people else "people and models"
    console.print(
        f"\n[bold]{validation.judge}[/bold] against labels by {who} in {validation.labels} "
        f"({validation.selection}, {len(check.checked):,} rows)",
        highlight=False,
        soft_wrap=True,
    )
    _print_figures(validation.confusion, console, positive="unsafe", negative="safe")
    detector = refusal_confusion(check)
    if detector is not None:
        console.print(
            "\n[bold]As a refusal detector[/bold] (full and partial refusals against full compliance)"
        )
        _print_figures(detector, console, positive="refusal", negative="compliance")
        console.print("Above, as a judge of harm, it calls every compliance unsafe: weak, as stated.")
    _print_groups("category", check.checked, lambda row: row.row.category, console)
    _print_groups("language", check.checked, lambda row: row.row.sample.language, console)
    _print_disagreements(check.checked, console, show_text=show_text)
    console.print(f"Kept for judge {validation.judge_id[:16]}; score and report pick it up.", highlight=False)


def _print_figures(counts: Confusion, console: Console, *, positive: str, negative: str) -> None:
    figures = agreement(counts)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name in FIGURES:
        estimate: Estimate | None = getattr(figures, name)
        table.add_row(name.replace("_", " "), *_cells(estimate, signed=name == "kappa"))
    console.print(table)
    console.print(
        f"people {positive}: {counts.unsafe_as_unsafe:,} judged {positive}, {counts.unsafe_as_safe:,} judged "
        f"{negative}, {counts.unsafe_unread:,} ungraded\n"
        f"people {negative}: {counts.safe_as_safe:,} judged {negative}, {counts.safe_as_unsafe:,} judged "
        f"{positive}, {counts.safe_unread:,} ungraded",
        highlight=False,
    )


def _print_groups(
    kind: str, checked: Sequence[Checked], group_of: Callable[[Checked], str], console: Console
) -> None:
    groups = sorted({group_of(row) for row in checked if group_of(row)})
    if len(groups) < 2:
        return
    table = Table(
        title=f"By {kind}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.add_column(kind, no_wrap=True)
    for heading in ("rows", "accuracy", "sensitivity", "specificity"):
        table.add_column(heading, justify="right")
    for group in groups:
        rows = [row for row in checked if group_of(row) == group]
        figures = agreement(confusion((row.row.label, row.label) for row in rows))
        shown = (figures.accuracy, figures.sensitivity, figures.specificity)
        table.add_row(group, f"{len(rows):,}", *(_short(estimate) for estimate in shown))
    console.print(table)


def _print_disagreements(checked: Sequence[Checked], console: Console, *, show_text: bool) -> None:
    differing = disagreements(checked)
    if not differing:
        console.print("No disagreement.")
        return
    console.print(
        f"\n[bold]Disagreements[/bold] ({len(differing):,}; unsafe called safe first)", highlight=False
    )
    for row in differing[:_LISTED]:
        why = f" ({row.cause})" if row.cause else ""
        category = f" [{row.row.category}]" if row.row.category else ""
        console.print(
            f"  {row.row.sample.query_id}{category}: people {row.row.label}, judge {row.label}{why}",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
        if show_text:
            for name, text in (("asked", row.row.sample.question), ("response", row.row.response)):
                shown = " ".join(text.split())[:200]
                console.print(f"    {name}: {shown}", highlight=False, markup=False, soft_wrap=True)
    if len(differing) > _LISTED:
        console.print(f"  … and {len(differing) - _LISTED:,} more; --json lists them all", highlight=False)


def _groups_json(checked: Sequence[Checked], group_of: Callable[[Checked], str]) -> dict[str, Any]:
    groups = sorted({group_of(row) for row in checked if group_of(row)})
    return {
        group: agreement_json(
            agreement(confusion((r.row.label, r.label) for r in checked if group_of(r) == group))
        )
        for group in groups
    }


def _cells(estimate: Estimate | None, *, signed: bool = False) -> tuple[str, str]:
    if estimate is None:
        return "–", ""
    low, high = estimate.interval.low, estimate.interval.high
    if signed:
        return f"{estimate.value:.2f}", f"{low:.2f} to {high:.2f}"
    return f"{100 * estimate.value:.1f} %", f"{100 * low:.1f}–{100 * high:.1f}"


def _short(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    low, high = estimate.interval.low, estimate.interval.high
    return f"{100 * estimate.value:.0f} % ({100 * low:.0f}–{100 * high:.0f})"


def _refusal_label(refused: bool | None) -> str:
    return Label.UNSAFE if refused else Label.SAFE
