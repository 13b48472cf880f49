"""The page of an evaluation of moderators in a browser: it fits, it is legible, it asks for nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from browser.conftest import Open
from moderation.word_detector import WordDetector
from report.moderator_evaluations import evaluation
from safemt.report.export import write_evaluation


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """Of one moderator, and of three with hostile and long names."""
    folder = tmp_path_factory.mktemp("worth")
    many = (
        WordDetector(),
        WordDetector(word="good", name="llm:openai/a-model-with-quite-a-long-name-2026-11-23"),
        WordDetector(word="hello", name="</title><img src=x onerror=alert(1)> \u202eevil"),
    )
    one = write_evaluation(evaluation(folder / "1"), folder / "one", command="safemt")
    three = write_evaluation(evaluation(folder / "2", detectors=many), folder / "three", command="safemt")
    return one[0], three[0]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1100])
def test_nothing_stands_over_the_edge(
    open_page: Open, pages: Sequence[Path], number: int, scheme: str, width: int
) -> None:
    page = open_page(pages[number], width=width, scheme=scheme, ready="main")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for details in page.query_selector_all("details"):
        details.evaluate("each => { each.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert outside_their_charts(page) == []


def test_one_chart_of_each_pair_is_shown(open_page: Open, pages: Sequence[Path]) -> None:
    for width, shown, hidden in ((390, "narrow", "wide"), (1100, "wide", "narrow")):
        page = open_page(pages[1], width=width, ready="main")
        assert all(each.is_visible() for each in page.query_selector_all(f".chart.{shown}"))
        assert not any(each.is_visible() for each in page.query_selector_all(f".chart.{hidden}"))


def test_a_curve_stays_within_its_axes(open_page: Open, pages: Sequence[Path]) -> None:
    page = open_page(pages[1], ready="main")
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('#roc .chart.wide svg')].map(svg => {
            const view = svg.viewBox.baseVal;
            return [...svg.querySelectorAll('path.line')].map(path => {
                const box = path.getBBox();
                const [right, bottom] = [box.x + box.width, box.y + box.height];
                return [box.x >= 0, box.y >= 0, right <= view.width, bottom <= view.height];
            });
        })"""
    )
    assert [len(paths) for paths in boxes] == [3, 3]
    assert all(all(path) for paths in boxes for path in paths)


def test_charts_and_tables_have_names_for_who_cannot_see_them(open_page: Open, pages: Sequence[Path]) -> None:
    for path in pages:
        page = open_page(path, ready="main")
        nameless = page.evaluate(
            """() => [
                ...[...document.querySelectorAll("svg")].filter((chart) =>
                    chart.getAttribute("aria-labelledby").split(" ")
                        .some((id) => document.querySelectorAll("#" + id).length !== 1)),
                ...[...document.querySelectorAll("table")].filter((table) => !table.caption),
                ...document.querySelectorAll("th:not([scope])"),
            ].map((element) => element.outerHTML.slice(0, 200))"""
        )
        assert nameless == []


def outside_their_charts(page: Any) -> list[str]:
    """Texts of charts that stand over the edge of the page."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('svg text')].filter(text => {
            const box = text.getBoundingClientRect();
            return box.width > 0 && (box.left < 0 || box.right > window.innerWidth + 1);
        }).map(text => text.textContent)"""
    )
    return found
