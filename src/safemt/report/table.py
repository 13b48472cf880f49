"""One table for terminal, Markdown and HTML: built once, drawn by three renderers that cut nothing."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Final

from safemt.report.text import UNKNOWN, Figure, one_line, percent

if TYPE_CHECKING:
    from rich.console import Console

GAP: Final = 2
"""Blanks between two columns on the terminal."""
LONGEST_WORD: Final = 24
"""Letters after which a word may be broken to make a table fit a terminal."""
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>|#~&])")


class Kind(Enum):
    """What a column holds, and so how it is aligned."""

    NUMBER = "n"
    TEXT = "t"
    GROUP = "g"
    """Text of the first column that is shown once for all rows that share it."""
    HEAT = "c"
    """Shares, shown in colour where there is colour."""


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a run or moderator, with its colour and what must be said wherever it is named."""

    text: str
    slot: int
    marks: tuple[str, ...] = ()
    """`simulated`, `partial`."""

    def __str__(self) -> str:
        return self.text + "".join(f" ({mark})" for mark in self.marks)


@dataclass(frozen=True, slots=True)
class Heat:
    """A share whose size shows as colour; `about` says what it rests on."""

    share: float | None
    about: str = ""

    def __str__(self) -> str:
        return percent(self.share).removesuffix(" %")


Cell = str | int | Figure | Name | Heat | None
Row = tuple[Cell, ...]
RULE: Final[Row] = ()
"""A row that is a line between the rows above and below it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and what stands under it."""

    heading: str
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
        return replace(
            self, title=f"{self.title} (first {most} of {len(self.rows):,})", rows=self.rows[:most]
        )


def columns(*headings: str, group: str = "", text: Iterable[str] = ()) -> tuple[Column, ...]:
    """Columns of numbers, but for those that are named in `text`; `group` heads one before them."""
    listed = set(text)
    kinds = [Column(each, Kind.TEXT if each in listed else Kind.NUMBER) for each in headings]
    return (*([Column(group, Kind.GROUP)] if group else []), *kinds)


def print_table(table: Table, console: "Console") -> None:
    """Print the table under its title, within the width of the console."""
    from rich.text import Text

    if table.rows:
        say(console)
        if table.title:
            say(console, table.title, "bold")
        for line in terminal_lines(table, console.width):
            console.print(Text(line), soft_wrap=True, highlight=False)


def say(console: "Console", text: str = "", style: str = "", *, wrap: bool = True) -> None:
    """Print `text` as it is, without markup; without `wrap` a long line (with a path in it) stays whole."""
    from rich.text import Text

    console.print(Text(text, style), soft_wrap=not wrap, highlight=False)


def terminal_lines(table: Table, width: int) -> list[str]:
    """The table in lines of at most `width` columns.

    Cells go on several lines where that makes it fit. Where nothing does, each row becomes a short list.
    """
    pieces = [[_pieces(cell) for cell in row] for row in _shown_rows(table)]
    headings = [one_line(column.heading).split() for column in table.columns]
    widths = _widths(headings, [row for row in pieces if len(row) == len(headings)], width)
    if widths is None:
        return list(_records(table, width))
    right = [column.kind in (Kind.NUMBER, Kind.HEAT) for column in table.columns]
    lines = [*_row_lines(headings, widths, right), "─" * (sum(widths) + GAP * (len(widths) - 1))]
    for row in pieces:
        if len(row) in (0, len(widths)):
            lines += _row_lines(row, widths, right) if row else [""]
        else:
            last = sum(widths[len(row) - 1 :]) + GAP * (len(widths) - len(row))
            lines += _row_lines(row, [*widths[: len(row) - 1], last], [*right[: len(row) - 1], False])
    return lines


def markdown_table(table: Table) -> str:
    """The table under a heading of level 2; empty without rows."""
    if not table.rows:
        return ""
    dashes = ("---:" if column.kind in (Kind.NUMBER, Kind.HEAT) else "---" for column in table.columns)
    lines = [f"## {markdown_text(table.title)}", ""]
    lines.append("| " + " | ".join(markdown_text(column.heading) for column in table.columns) + " |")
    lines.append("|" + "|".join(dashes) + "|")
    for row in table.rows:
        if row:
            cells = [markdown_text(_text(cell)) for cell in row] + [""] * (len(table.columns) - len(row))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", ""])


def markdown_text(text: str) -> str:
    """`text` on one line, which Markdown leaves as it is."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def html_table(table: Table) -> str:
    """The table as an HTML element, with its title as the caption."""
    kinds = [column.kind for column in table.columns]
    heat = ' class="heat"' if Kind.HEAT in kinds else ""
    head = "".join(f'<th scope="col"{_css(c.kind)}>{escape(one_line(c.heading))}</th>' for c in table.columns)
    caption = f"<caption>{escape(one_line(table.title))}</caption>"
    bodies = []
    for members in _bodies(table):
        rows = []
        for at, row in enumerate(members):
            cells = [_html_cell(cell, kind) for cell, kind in zip(row, kinds, strict=False)]
            if kinds[0] is Kind.GROUP:
                span = f' rowspan="{len(members)}"' if len(members) > 1 else ""
                cells[0] = f'<th scope="rowgroup"{span}>{cell_html(row[0])}</th>' if at == 0 else ""
            else:
                cells[0] = f'<th scope="row"{_css(kinds[0])}>{cell_html(row[0])}</th>'
            if len(row) < len(kinds):
                cells[-1] = f'<td colspan="{len(kinds) - len(row) + 1}">{cell_html(row[-1])}</td>'
            rows.append(f"<tr>{''.join(cells)}</tr>")
        bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    return f"<table{heat}>{caption}<thead><tr>{head}</tr></thead>{''.join(bodies)}</table>"


def _html_name(name: Name) -> str:
    """A name with its colour and marks."""
    marks = "".join(f' <span class="badge {escape(mark)}">{escape(mark)}</span>' for mark in name.marks)
    return f'<span class="run s{name.slot % 8}"><bdi>{escape(one_line(name.text))}</bdi></span>{marks}'


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


def _css(kind: Kind) -> str:
    return f' class="{kind.value}"' if kind in (Kind.NUMBER, Kind.HEAT) else ""


def _html_cell(cell: Cell, kind: Kind) -> str:
    if isinstance(cell, Heat):
        css = "c none" if cell.share is None else f"c h{round(10 * cell.share)}"
        about = f' title="{escape(cell.about)}"' if cell.about else ""
        return f'<td class="{css}"{about}>{cell_html(cell)}</td>'
    return f"<td{_css(kind)}>{cell_html(cell)}</td>"


def cell_html(cell: Cell) -> str:
    """The content of a cell as HTML."""
    if isinstance(cell, Name):
        return _html_name(cell)
    if isinstance(cell, Figure):
        interval = f' <span class="ci">{escape(cell.interval)}</span>' if cell.interval else ""
        value = escape(cell.text)
        return (f'<data value="{cell.value}">{value}</data>' if cell.value is not None else value) + interval
    if isinstance(cell, Heat) and cell.share is not None:
        return f'<data value="{cell.share}">{cell}</data>'
    if isinstance(cell, int):
        return f'<data value="{cell}">{cell:,}</data>'
    text = escape(_text(cell))
    return f"<bdi>{text}</bdi>" if isinstance(cell, str) and text else text


def _length(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _widths(
    headings: Sequence[Sequence[str]], rows: Sequence[Sequence[Sequence[str]]], room: int
) -> list[int] | None:
    """The width of each column, so that all fit into `room`; None where they cannot. Headings wrap freely."""
    cells = list(zip(*rows, strict=True)) or [()] * len(headings)
    least = [
        max(min(LONGEST_WORD, _length(piece)) for cell in (heading, *column) for piece in (*cell, ""))
        for heading, column in zip(headings, cells, strict=True)
    ]
    whole = [
        max(narrow, *(_length(" ".join(cell)) for cell in column), 0)
        for narrow, column in zip(least, cells, strict=True)
    ]
    spare = room - sum(least) - GAP * (len(least) - 1)
    if spare < 0:
        return None
    widths = list(least)
    for at in sorted(range(len(least)), key=lambda at: whole[at] - least[at]):
        more = min(spare, whole[at] - least[at])
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
            heading = f"{column.heading}: " if len(row) == len(table.columns) else ""
            for at, line in enumerate(_wrapped([*heading.split(), *_pieces(cell)], width - 4)):
                yield f"  {'  ' if at else ''}{line}"
