"""One table for terminal, Markdown and HTML: built once, drawn by three renderers that cut nothing."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Final, TypeVar

from safemt.report.text import UNKNOWN, Figure, one_line

if TYPE_CHECKING:
    from rich.console import Console

GAP: Final = 2
"""Blanks between two columns on the terminal."""
TALLEST: Final = 4
"""Lines of a row on the terminal; where one takes more, a table becomes lists."""
LONGEST_WORD: Final = 24
"""Letters after which a word may be broken to make a table fit a terminal."""
T = TypeVar("T")
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>|#~&])")


class Kind(Enum):
    """What a column holds, and so how it is aligned."""

    NUMBER = "n"
    TEXT = "t"
    GROUP = "g"
    """Text of the first column that is shown once for all rows that share it."""


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a run or moderator, with its colour and what must be said wherever it is named."""

    text: str
    slot: int
    marks: tuple[str, ...] = ()
    """`simulated`, `partial`."""

    def __str__(self) -> str:
        return self.text + "".join(f" ({mark})" for mark in self.marks)

    def __html__(self) -> str:
        marks = "".join(f' <span class="badge {escape(mark)}">{escape(mark)}</span>' for mark in self.marks)
        return f'<span class="run s{self.slot % 8}"><bdi>{escape(one_line(self.text))}</bdi></span>{marks}'


Cell = str | int | Figure | Name | None
Row = tuple[Cell, ...]
RULE: Final[Row] = ()
"""A row that is a line between the rows above and below it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and what is under it."""

    heading: str | Name
    kind: Kind = Kind.NUMBER


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings. A row shorter than the table ends in a remark that spans the rest."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def __html__(self) -> str:
        return html_table(self)

    def _repr_html_(self) -> str:
        return html_table(self)

    def first(self, most: int) -> "Table":
        """The first rows of the table; its title says how many there are if that is not all."""
        if len(self.rows) <= most:
            return self
        title = f"{self.title} (first {most} of {len(self.rows):,})"
        return replace(self, title=title, rows=self.rows[:most])


def columns(*headings: str | Name, group: str = "", text: Iterable[str] = ()) -> tuple[Column, ...]:
    """Columns of numbers, but for those that are named in `text`; `group` heads one before them."""
    listed: set[str | Name] = set(text)
    kinds = [Column(each, Kind.TEXT if each in listed else Kind.NUMBER) for each in headings]
    return (*([Column(group, Kind.GROUP)] if group else []), *kinds)


def by_figure(
    title: str, members: Sequence[tuple[Name, T]], figures: Iterable[tuple[str, Callable[[T], Cell]] | None]
) -> Table:
    """A figure in each row, a run or moderator in each column; None is a rule."""
    rows = (RULE if each is None else (each[0], *(each[1](of) for _, of in members)) for each in figures)
    heads = columns("Figure", *(name for name, _ in members), text=("Figure",))
    return Table(title, heads, tuple(rows))


def by_member(
    title: str,
    members: Sequence[tuple[Name, T]],
    headings: Sequence[str],
    rows: Callable[[T], Iterable[Row]],
    *,
    member: str = "Run",
    text: Iterable[str] = (),
    nothing: str = "",
) -> Table:
    """Several rows for each run or moderator, under its name where there are several.

    `nothing` is said in place of the rows of one that has none.
    """
    many = len(members) > 1
    listed: list[Row] = []
    for name, of in members:
        found = list(rows(of)) or ([(nothing,)] if nothing and many else [])
        listed += [(name, *row) for row in found] if many else found
    return Table(title, columns(*headings, group=member if many else "", text=text), tuple(listed))


def print_table(table: Table, console: "Console") -> None:
    """Print the table under its title, within the width of the console; nothing without rows."""
    if table.rows:
        say(console)
        if table.title:
            say(console, table.title, "bold")
        for line in terminal_lines(table, console.width):
            say(console, line, wrap=False)


def say(console: "Console", text: str = "", style: str = "", *, wrap: bool = True) -> None:
    """Print `text` as it is, without markup; without `wrap` a long line (with a path in it) stays whole."""
    from rich.text import Text

    console.print(Text(text, style), soft_wrap=not wrap, highlight=False)


def terminal_lines(table: Table, width: int) -> list[str]:
    """The table in lines of at most `width` columns.

    Cells go on several lines where that makes it fit. Where that does not do, each row becomes a short list.
    """
    rows = [[_pieces(cell) for cell in row] for row in _shown_rows(table)]
    headings = [_text(column.heading).split() for column in table.columns]
    widths = _widths(headings, [row for row in rows if len(row) == len(headings)], width)
    if widths is None:
        return list(_records(table, width))
    right = [column.kind is Kind.NUMBER for column in table.columns]
    lines = [*_row_lines(headings, widths, right), "─" * (sum(widths) + GAP * (len(widths) - 1))]
    for row in rows:
        if len(row) in (0, len(widths)):
            drawn = _row_lines(row, widths, right) if row else [""]
        else:
            last = sum(widths[len(row) - 1 :]) + GAP * (len(widths) - len(row))
            drawn = _row_lines(row, [*widths[: len(row) - 1], last], [*right[: len(row) - 1], False])
        if len(drawn) > TALLEST:
            return list(_records(table, width))
        lines += drawn
    return lines


def markdown_table(table: Table) -> str:
    """The table under a heading of level 2; empty without rows."""
    if not table.rows:
        return ""
    dashes = ("---:" if column.kind is Kind.NUMBER else "---" for column in table.columns)
    lines = [f"## {markdown_text(table.title)}", ""]
    lines.append("| " + " | ".join(markdown_text(_text(column.heading)) for column in table.columns) + " |")
    lines.append("|" + "|".join(dashes) + "|")
    for row in filter(None, table.rows):
        cells = [markdown_text(_text(cell)) for cell in row] + [""] * (len(table.columns) - len(row))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", ""])


def markdown_text(text: str) -> str:
    """`text` on one line, which Markdown leaves as it is."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def html_table(table: Table) -> str:
    """The table as an HTML element, with its title as the caption."""
    css = [f' class="{column.kind.value}"' for column in table.columns]
    heads = zip(table.columns, css, strict=True)
    head = "".join(f'<th scope="col"{c}>{cell_html(column.heading)}</th>' for column, c in heads)
    grouped = table.columns[0].kind is Kind.GROUP
    bodies = []
    for members in _bodies(table):
        rows = []
        for at, row in enumerate(members):
            cells = [f"<td{c}>{cell_html(cell)}</td>" for cell, c in zip(row, css, strict=False)]
            span = f' rowspan="{len(members)}"' if grouped and len(members) > 1 else ""
            scope = "rowgroup" if grouped else "row"
            cells[0] = f'<th scope="{scope}"{span}>{cell_html(row[0])}</th>' if at == 0 or not grouped else ""
            if len(row) < len(css):
                cells[-1] = f'<td colspan="{len(css) - len(row) + 1}">{cell_html(row[-1])}</td>'
            rows.append(f"<tr>{''.join(cells)}</tr>")
        bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    caption = f"<caption>{escape(one_line(table.title))}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead>{''.join(bodies)}</table>"


def cell_html(cell: Cell) -> str:
    """The content of a cell as HTML."""
    if isinstance(cell, Name):
        return cell.__html__()
    if isinstance(cell, Figure):
        interval = f' <span class="ci">{escape(cell.interval)}</span>' if cell.interval else ""
        value = escape(cell.text)
        return (f'<data value="{cell.value}">{value}</data>' if cell.value is not None else value) + interval
    if isinstance(cell, int):
        return f'<data value="{cell}">{cell:,}</data>'
    text = escape(_text(cell))
    return f"<bdi>{text}</bdi>" if cell else text


def _text(cell: Cell) -> str:
    if cell is None:
        return UNKNOWN
    return f"{cell:,}" if isinstance(cell, int) else one_line(str(cell))


def _pieces(cell: Cell) -> list[str]:
    """The parts of a cell that stay on one line: words, or a figure and its interval."""
    if isinstance(cell, Figure):
        return [cell.text, f"({cell.interval})"] if cell.interval else [cell.text]
    return _text(cell).split()


def _shown_rows(table: Table) -> Iterator[Row]:
    """The rows with a group's name in its first row alone."""
    before: Cell = None
    for row in table.rows:
        grouped = bool(row) and table.columns[0].kind is Kind.GROUP
        yield ("", *row[1:]) if grouped and row[0] == before else row
        before = row[0] if grouped else None


def _bodies(table: Table) -> list[list[Row]]:
    """The rows in groups: those of one name, or those between two rules."""
    if table.columns[0].kind is Kind.GROUP:
        return [list(members) for _, members in groupby(filter(None, table.rows), key=lambda row: row[0])]
    return [list(members) for there, members in groupby(table.rows, key=bool) if there]


def _length(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _widths(
    headings: Sequence[Sequence[str]], rows: Sequence[Sequence[Sequence[str]]], room: int
) -> list[int] | None:
    """The width of each column, so that all fit into `room`; None where they cannot.

    What is left beside the longest pieces goes to the columns that lack least, and last to headings.
    """
    widths = [
        max(min(LONGEST_WORD, _length(piece)) for cell in column for piece in (*cell, ""))
        for column in zip(headings, *rows, strict=True)
    ]
    spare = room - sum(widths) - GAP * (len(widths) - 1)
    if spare < 0:
        return None
    whole = [max(_length(" ".join(cell)) for cell in column) for column in zip(*rows, strict=True)]
    wanted = sorted(enumerate(whole), key=lambda each: each[1] - widths[each[0]])
    for at, width in (*wanted, *((at, _length(" ".join(heading))) for at, heading in enumerate(headings))):
        more = min(spare, max(0, width - widths[at]))
        widths[at] += more
        spare -= more
    return widths


def _row_lines(row: Sequence[Sequence[str]], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    """The lines of one row, each cell wrapped to the width of its column."""
    cells = [_wrapped(pieces, width) for pieces, width in zip(row, widths, strict=True)]
    lines = []
    for at in range(max(map(len, cells))):
        parts = []
        for cell, width, end in zip(cells, widths, right, strict=True):
            text = cell[at] if at < len(cell) else ""
            blanks = " " * (width - _length(text))
            parts.append(blanks + text if end else text + blanks)
        lines.append((" " * GAP).join(parts).rstrip())
    return lines


def _wrapped(pieces: Sequence[str], width: int) -> list[str]:
    lines = [""]
    for piece in pieces:
        joined = f"{lines[-1]} {piece}" if lines[-1] else piece
        if _length(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in piece:
            if _length(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _records(table: Table, width: int) -> Iterator[str]:
    """Each row as its first cell, and below it each other one after its heading."""
    for row in filter(None, table.rows):
        yield from _wrapped(_text(row[0]).split(), width)
        for column, cell in zip(table.columns[1:], row[1:], strict=False):
            heading = f"{_text(column.heading)}:".split() if len(row) == len(table.columns) else []
            for at, line in enumerate(_wrapped([*heading, *_pieces(cell)], width - 4)):
                yield f"  {'  ' if at else ''}{line}"
