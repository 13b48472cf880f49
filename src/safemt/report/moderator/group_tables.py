"""Figures of groups and of turns on the terminal: in full for one moderator, side by side for several."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from safemt.report.moderator.cells import number_cell, percent_cell
from safemt.report.moderator.figures import Group, ModeratorFigures

_GROUPS: Final = 24
"""Groups of one kind that are listed; --json has all."""
_INTERVAL: Final = 13
"""Characters of the longest interval, `(0.912–1.000)`."""
_TURNS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)


def print_groups(moderators: Sequence[ModeratorFigures], console: Console) -> None:
    """By source, scenario, method, language and length, on borderline dialogues, and turn by turn."""
    first = moderators[0]
    for kind in [kind for kind, groups in first.harmful.items() if len(groups) > 1]:
        console.print(
            _harmful_table(kind, {each.name: each.harmful[kind] for each in moderators}, first, console.width)
        )
    for kind, groups in first.benign.items():
        if len(groups) > 1:
            title = f"False alarms on benign by {kind}"
            columns = {each.name: each.benign[kind] for each in moderators}
            console.print(_alarm_table(title, kind, columns, first, console.width))
    if first.borderline:
        columns = {each.name: each.borderline for each in moderators}
        console.print(_alarm_table("Borderline by source", "source", columns, first, console.width))
        if any(group.auroc for group in first.borderline):
            if len(moderators) > 1:
                console.print(_area_table("AUROC on borderline by source", "source", columns, console.width))
            console.print(
                "On borderline dialogues the AUROC sets the harmful of the same source against them."
            )
    if len(first.turns) > 1:
        console.print(_turn_table(moderators, console.width))


def _harmful_table(
    kind: str, columns: Mapping[str, Sequence[Group]], first: ModeratorFigures, width: int
) -> Table:
    if len(columns) == 1:
        return _alarm_table(f"Harmful by {kind}", kind, columns, first, width)
    return _area_table(f"AUROC of harmful by {kind}", kind, columns, width)


def _area_table(title: str, kind: str, columns: Mapping[str, Sequence[Group]], width: int) -> Table:
    table = _table(title, kind, columns, width)
    for rows in _rows(columns):
        table.add_row(rows[0].name, f"{rows[0].dialogues:,}", *(number_cell(group.auroc) for group in rows))
    return table


def _alarm_table(
    title: str, kind: str, columns: Mapping[str, Sequence[Group]], first: ModeratorFigures, width: int
) -> Table:
    """Alarms at the default threshold; for a single moderator all that there is room for."""
    if len(columns) > 1:
        table = _table(f"{title}: alarms at the default threshold", kind, columns, width)
        for rows in _rows(columns):
            alarmed = [percent_cell(group.alarmed) for group in rows]
            table.add_row(rows[0].name, f"{rows[0].dialogues:,}", *alarmed)
        return table
    groups = next(iter(columns.values()))
    rates = [recall.rate for recall in first.ranking.recalls]
    with_area = ["AUROC"] if any(group.auroc for group in groups) else []
    known = [at for at, _ in enumerate(rates) if any(group.alarmed_at[at] for group in groups)]
    known = known[: max(0, _room(width) - len(with_area) - 1)]
    at_rates = [f"at {100 * rates[at]:g} %" for at in known]
    table = _table(title, kind, [*with_area, "alarm at default", *at_rates], width)
    for group in groups[:_GROUPS]:
        cells = [number_cell(group.auroc)] if with_area else []
        cells += [percent_cell(group.alarmed), *(percent_cell(group.alarmed_at[at]) for at in known)]
        table.add_row(group.name, f"{group.dialogues:,}", *cells)
    if len(groups) > _GROUPS:
        table.add_row(f"… and {len(groups) - _GROUPS:,} more: --json lists them all")
    return table


def _turn_table(moderators: Sequence[ModeratorFigures], width: int) -> Table:
    first = moderators[0]
    shown = [turn for turn in first.turns if turn.turn in (*_TURNS, len(first.turns))]
    if len(moderators) > 1:
        table = _table(
            "AUROC after each turn, of the dialogues that have as many",
            "turn",
            [each.name for each in moderators],
            width,
        )
        for turn in shown:
            cells = (number_cell(each.turns[turn.turn - 1].auroc) for each in moderators)
            table.add_row(str(turn.turn), f"{turn.harmful + turn.benign:,}", *cells)
        return table
    by_turn = dict(first.alerts.by_turn)
    table = _table(
        "After each turn, of the dialogues (harmful + benign) that have as many", "turn",
        ["AUROC", "alarm, harmful", "alarm, benign", "alarmed by then"], width,
    )  # fmt: skip
    for turn in shown:
        table.add_row(
            str(turn.turn), f"{turn.harmful:,} + {turn.benign:,}", number_cell(turn.auroc),
            percent_cell(turn.recall), percent_cell(turn.false_alarm_rate),
            percent_cell(by_turn.get(turn.turn)),
        )  # fmt: skip
    return table


def _rows(columns: Mapping[str, Sequence[Group]]) -> list[tuple[Group, ...]]:
    """Each group as all moderators have it: they read the same dialogues."""
    return list(zip(*columns.values(), strict=True))[:_GROUPS]


def _table(
    title: str, kind: str, columns: Mapping[str, Sequence[Group]] | Sequence[str], width: int
) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column(kind, overflow="fold")
    table.add_column("dialogues", justify="right")
    # Where there is room a line breaks before an interval, never within it.
    fits = len(columns) <= _room(width)
    for column in columns:
        table.add_column(column, justify="right", min_width=_INTERVAL if fits else None, overflow="fold")
    return table


def _room(width: int) -> int:
    """How many columns of figures go beside a name and a count."""
    return (width - 28) // (_INTERVAL + 3)
