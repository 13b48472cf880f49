import json
import re
from pathlib import Path
from typing import Any

import pytest

from browser.conftest import Open
from report.runs import ROUNDS, Answer, drifting, make_image, make_run, sample, samples
from safemt.core.schema import Sample
from safemt.core.taxonomy import Label
from safemt.report.export import write_report
from safemt.report.results import results_json, results_of

HOSTILE = (
    "</script><script>window.hacked = 1; alert(1)</script><!--"
    "<img src=x onerror='window.hacked=2'><svg onload=alert(3)> \u202eevil\u2028 {{7*7}} javascript:alert(4)"
)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    images = [make_image(folder, f"{i}.png", colour=c) for i, c in enumerate(("red", "green", "blue"))]
    asked = [
        sample(q, k, twin=twin, image=images[q % 3])
        for q in range(12)
        for twin in (False, True)
        for k in ROUNDS
    ]
    make_run(folder / "run", asked, benchmark=folder)
    write_report([folder / "run"], [folder / "report.html"])
    return folder / "report.html"


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")

    def half(s: Sample) -> Answer | None:
        return drifting(s) if int(s.query_id[1:].removesuffix("_twin")) < 6 else None

    runs = [
        make_run(folder / "a", samples(12), target="openai/a-model-with-quite-a-long-name-2026-11-23"),
        make_run(
            folder / "b", samples(12), lambda _: Answer(label=Label.UNSAFE), target="sim/b", simulated=True
        ),
        make_run(folder / "c", samples(12), lambda _: Answer(refused=True), target="openai/c"),
        make_run(folder / "d", samples(12), half, target="openai/d"),
    ]
    write_report(runs, [folder / "report.html"])
    return folder / "report.html"


def shown(page: Any) -> str:
    return str(page.inner_text("#shown"))


def open_entry(page: Any) -> str:
    """Click the first entry of the list open; its text."""
    page.click("#list summary >> nth=0")
    return opened_text(page)


def opened_text(page: Any) -> str:
    page.wait_for_selector("#list .body:not(:empty)")
    return str(page.inner_text("#list .body >> nth=0"))


def wait_for(page: Any, text: str) -> None:
    page.wait_for_selector(f'#shown:has-text("{text}")')


@pytest.mark.parametrize("width", [1100, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["one", "several"])
def test_charts_are_drawn_and_nothing_runs_over_the_edge(
    request: pytest.FixtureRequest, open_page: Open, tmp_path: Path, which: str, scheme: str, width: int
) -> None:
    page = open_page(request.getfixturevalue(which), width=width, scheme=scheme)

    charts = [box for chart in page.query_selector_all("svg") if (box := chart.bounding_box())]
    assert len(charts) == (8 if which == "one" else 9)
    assert all(box["width"] > 300 and box["height"] > 40 for box in charts)
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in charts)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for fold in page.query_selector_all("details.figures > summary"):
        fold.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) > 380) == (scheme == "light")
    page.screenshot(path=tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_no_two_texts_of_a_chart_lie_on_each_other(several: Path, open_page: Open) -> None:
    for width in (1100, 390):
        overlapping = open_page(several, width=width).evaluate(
            """() => [...document.querySelectorAll("svg")].flatMap((chart) => {
                const texts = [...chart.querySelectorAll("text")]
                    .map((t) => [t.textContent, t.getBoundingClientRect()]);
                return texts.flatMap(([one, a], i) => texts.slice(i + 1)
                    .filter(([, b]) => a.width && a.left < b.right - 1 && b.left < a.right - 1
                        && a.top < b.bottom - 4 && b.top < a.bottom - 4)
                    .map(([other]) => [one, other]));
            })"""
        )
        assert overlapping == []


def test_figures_read_back_are_those_of_the_results_document(one: Path, open_page: Open) -> None:
    document = results_json(results_of(one.parent / "run"))
    page = open_page(one)
    page.click("#asr summary")

    rows = page.query_selector_all("#asr tbody tr")
    assert len(rows) == len(ROUNDS) + 1
    for k, row in zip(ROUNDS, rows, strict=False):
        entry = document["turns"][str(k)]
        low, high = (f"{100 * end:.1f}" for end in entry["interval"])
        figures = [entry["unsafe"], entry["safe"], entry["ungraded"]]
        cells = [cell.inner_text() for cell in row.query_selector_all("th, td")]
        assert cells == [str(k), f"{100 * entry['asr']:.1f} % {low}–{high}", *map(str, figures)]
    si = document["safety_index"]
    assert page.inner_text(".tiles dd >> nth=0").startswith(f"{si['value']:.3f}")


def test_the_list_shows_fifty_and_turns_its_pages(one: Path, open_page: Open) -> None:
    page = open_page(one)
    assert shown(page) == "120 samples; showing 1–50"

    page.click("#next")
    page.click("#next")

    assert shown(page) == "120 samples; showing 101–120"
    assert len(page.query_selector_all("#list > li")) == 20
    assert page.is_disabled("#next")
    assert page.evaluate("document.activeElement.id") == "previous"


def test_filters_leave_what_they_say(one: Path, open_page: Open) -> None:
    page = open_page(one)

    page.select_option("#by-turns", label="8 turns")
    page.select_option("#by-label", label="unsafe")
    wait_for(page, " of 120 samples")

    expected = [
        s
        for q in range(12)
        if drifting(s := sample(q, 8)).label is Label.UNSAFE and drifting(s).text and not drifting(s).blocked
    ]
    assert shown(page) == f"{len(expected)} of 120 samples"
    ids = [entry.inner_text() for entry in page.query_selector_all("#list .id")]
    assert ids == [s.query_id for s in expected]
    page.click("text=Clear filters")
    wait_for(page, "120 samples; showing")
    page.select_option("#by-scenario", label="Bias")
    wait_for(page, "10 of 120")
    page.select_option("#by-method", label="none")
    wait_for(page, "2 of 120")
    page.select_option("#by-outcome", label="error")
    wait_for(page, "0 of 120")


def test_search_finds_texts_and_ids(one: Path, open_page: Open) -> None:
    page = open_page(one)

    page.fill("#search", "WORDS 3-8-0-false")
    wait_for(page, "1 of 120 samples")
    assert page.inner_text("#list .id") == "q3"
    page.fill("#search", "q11_twin")
    wait_for(page, "5 of 120 samples")
    page.fill("#search", "nothing holds this")
    wait_for(page, "0 of 120 samples")


def test_texts_stay_folded_until_a_click(one: Path, open_page: Open) -> None:
    page = open_page(one)
    assert "words 0-1-0" not in page.inner_text("body")
    assert "question 0" not in page.content().partition("<script")[0]

    body = open_entry(page)

    assert "question 0" in body
    assert "words 0-1-0" in body
    picture = page.query_selector("#list .picture").bounding_box()
    assert picture["width"] == 96
    assert picture["height"] == 64
    page.click("#list summary >> nth=0")
    assert "words 0-1-0" not in page.inner_text("body")


def test_everything_works_by_keyboard(one: Path, open_page: Open) -> None:
    page = open_page(one)
    page.focus("#search")
    page.keyboard.type("words 2-4-")
    wait_for(page, "2 of 120")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    page.keyboard.press("Enter")
    assert "words 2-4-0" in opened_text(page)
    page.keyboard.press("Enter")
    assert not page.is_visible("#list .body >> nth=0")
    page.focus("#by-turns")
    page.keyboard.press("End")
    wait_for(page, "0 of 120")
    page.focus("text=Clear filters")
    page.keyboard.press("Enter")
    wait_for(page, "120 samples; showing")
    page.focus("#next")
    page.keyboard.press("Enter")
    assert shown(page) == "120 samples; showing 51–100"


def test_pictures_are_blurred_until_opened_or_asked_for(one: Path, open_page: Open) -> None:
    page = open_page(one)
    blur = "getComputedStyle(document.querySelector('#list .frame img')).filter"

    assert page.evaluate(blur).startswith("blur")
    page.uncheck("#blur")
    assert page.evaluate(blur) == "none"


def test_hostile_texts_do_nothing_and_are_shown_as_they_are(tmp_path: Path, open_page: Open) -> None:
    folder = make_run(
        tmp_path / "run",
        [sample(1, k, text=HOSTILE) for k in ROUNDS],
        lambda s: Answer(
            text="y" * 1_000_000 if s.turns == 8 else HOSTILE, label=Label.UNSAFE, reasoning=HOSTILE
        ),
        target=HOSTILE,
    )
    write_report([folder], [tmp_path / "report.html"])
    page = open_page(tmp_path / "report.html", width=390)

    for summary in page.query_selector_all("#list summary"):
        summary.click()
    page.wait_for_selector("#list li:last-child .body:not(:empty)")

    assert page.evaluate("window.hacked") is None
    assert "[U+202E]evil[U+2028]" in page.inner_text("#list .response >> nth=0")
    assert "</script><script>window.hacked = 1" in page.inner_text("#list .response >> nth=0")
    assert "Cut here: 992,000 more characters" in page.inner_text("#list")
    assert not page.query_selector_all("main img:not([src^='data:image/webp'])")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_redacted_page_has_nothing_to_open(one: Path, open_page: Open) -> None:
    redacted = one.parent / "redacted.html"
    write_report([one.parent / "run"], [redacted], redact=True)
    page = open_page(redacted)

    assert not page.query_selector_all("#list details, #list img, #blur")
    assert shown(page) == "120 samples; showing 1–50"
    page.fill("#search", "words")
    wait_for(page, "0 of 120 samples")


def test_on_paper_folds_stay_folded_and_charts_are_light(one: Path, open_page: Open, tmp_path: Path) -> None:
    page = open_page(one, scheme="dark")
    page.emulate_media(media="print")

    assert page.is_visible("#asr .chart.wide svg")
    assert not page.is_visible("#filters")
    assert "words 0-1-0" not in page.inner_text("body")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(252, 251, 248)"
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").stat().st_size > 20_000


def test_an_unfinished_run_and_a_simulated_one_say_so(several: Path, open_page: Open) -> None:
    page = open_page(several)

    banners = " ".join(banner.inner_text() for banner in page.query_selector_all(".banner"))
    assert "SIMULATED. sim/b is not a real model" in banners
    assert "PARTIAL. openai/d has 60 samples still to do" in banners
    page.select_option("#by-label", label="still to do")
    wait_for(page, "60 of 480 samples")
    assert "No response yet." in open_entry(page)


def test_charts_and_tables_have_names_for_who_cannot_see_them(several: Path, open_page: Open) -> None:
    page = open_page(several)

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
    index = json.loads(page.query_selector("#data-index").text_content())
    assert len(index["rows"]) == 480
