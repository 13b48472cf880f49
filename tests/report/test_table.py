"""One table, three renderers: nothing is cut, nothing escapes its cell."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from report.pages import tables
from safemt.report.table import (
    RULE,
    Name,
    Row,
    Table,
    columns,
    html_table,
    markdown_table,
    print_table,
    terminal_lines,
)
from safemt.report.text import Figure

CELLS = st.one_of(
    st.text(alphabet="ab <|*_`&\n\u202e漢", max_size=40),
    st.integers(0, 10**7),
    st.builds(Figure, st.just("12.3 %"), st.just("10.0–15.0"), st.floats(0, 1)),
    st.none(),
)


@st.composite
def drawn_tables(draw: st.DrawFn) -> Table:
    wide = draw(st.integers(2, 7))
    rows = draw(st.lists(st.lists(CELLS, min_size=wide, max_size=wide).map(tuple), min_size=1, max_size=6))
    return Table(
        "A title", columns("Name", *(f"figure {i}" for i in range(1, wide)), text=("Name",)), tuple(rows)
    )


def example(*rows: Row) -> Table:
    return Table("Runs", columns("Turns", "ASR", "Verdict", group="Run", text=("Verdict",)), rows)


A = Name("model-a", 0, ("simulated",))
ROWS: tuple[Row, ...] = (
    (A, 1, Figure("23.5 %", "12.4–40.0", 0.235), "higher"),
    (A, 8, Figure("50.0 %", "34.1–65.9", 0.5), "lower"),
    RULE,
    (Name("model-b", 1), "nothing tried yet"),
)


def test_a_group_is_named_once_and_a_remark_spans_the_rest() -> None:
    assert terminal_lines(example(*ROWS), 80) == [
        "Run                  Turns                 ASR  Verdict",
        "───────────────────────────────────────────────────────",
        "model-a (simulated)      1  23.5 % (12.4–40.0)  higher",
        "                         8  50.0 % (34.1–65.9)  lower",
        "",
        "model-b              nothing tried yet",
    ]


def test_a_figure_breaks_before_its_interval_and_nowhere_else() -> None:
    assert terminal_lines(example(*ROWS[:2]), 46)[2:] == [
        "model-a          1             23.5 %  higher",
        "(simulated)               (12.4–40.0)",
        "                 8             50.0 %  lower",
        "                          (34.1–65.9)",
    ]


def test_rows_that_do_not_fit_at_all_become_lists() -> None:
    assert terminal_lines(example(ROWS[0]), 30) == [
        "model-a (simulated)",
        "  Turns: 1",
        "  ASR: 23.5 % (12.4–40.0)",
        "  Verdict: higher",
    ]


@given(drawn_tables(), st.sampled_from([40, 60, 80, 120]))
def test_no_line_is_too_long_and_no_letter_is_lost(table: Table, width: int) -> None:
    lines = terminal_lines(table, width)
    assert all(cell_len(line) <= width for line in lines)
    shown = "".join(lines)
    for row in table.rows:
        for cell in row:
            if isinstance(cell, Figure):
                assert cell.text.split()[0] in shown
                assert f"({cell.interval})" in shown
            elif isinstance(cell, int):
                assert f"{cell:,}" in shown or f"{cell:,}"[:10] in shown


@given(drawn_tables())
def test_markdown_and_html_hold_every_cell_in_its_place(table: Table) -> None:
    lines = markdown_table(table).splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines[2:] if line} == {len(table.columns) + 1}
    [rows] = tables(html_table(table)).values()
    assert [len(row) for row in rows] == [len(table.columns)] * (len(table.rows) + 1)
    for row, shown in zip(table.rows, rows[1:], strict=True):
        for cell, text in zip(row, shown, strict=True):
            if isinstance(cell, int):
                assert text == f"{cell:,}"
            elif cell is None:
                assert text == "–"


def test_html_marks_names_and_keeps_unrounded_values() -> None:
    page = html_table(example(*ROWS))
    assert page.count('<span class="badge simulated">simulated</span>') == 1
    assert '<th scope="rowgroup" rowspan="2">' in page
    assert '<data value="0.235">23.5 %</data> <span class="ci">12.4–40.0</span>' in page
    assert '<td colspan="3"><bdi>nothing tried yet</bdi></td>' in page


def test_a_long_table_may_be_shortened_and_says_so() -> None:
    table = Table("Groups", columns("Name", "n", text=("Name",)), tuple((f"g{i}", i) for i in range(30)))
    assert table.first(30) is table
    assert (table.first(2).title, len(table.first(2).rows)) == ("Groups (first 2 of 30)", 2)


@pytest.mark.parametrize("rows", [(), ROWS])
def test_an_empty_table_is_not_printed(rows: Any) -> None:
    console = Console(width=80)
    with console.capture() as capture:
        print_table(example(*rows), console)
    assert bool(capture.get()) == bool(rows)
    assert bool(markdown_table(example(*rows))) == bool(rows)
