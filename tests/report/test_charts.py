import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.report.charts import (
    Bar,
    Chart,
    Curve,
    Dot,
    Group,
    Point,
    Segment,
    Series,
    bar_chart,
    curve_chart,
    dot_chart,
    heat_chart,
    line_chart,
    panel_chart,
    plane_chart,
)
from safemt.report.marks import QUARTERS, Axis, difference_axis, rare_axis, share_axis, text_width
from safemt.stats.intervals import Estimate, Interval

NAMES = st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=60)
SHARES = st.floats(0, 1)
CIRCLE = "{http://www.w3.org/2000/svg}circle"


@st.composite
def estimates(draw: st.DrawFn, low: float = 0.0) -> Estimate:
    at = sorted(draw(st.floats(low, 1)) for _ in range(3))
    return Estimate(at[1], Interval(at[0], at[2]))


@st.composite
def all_series(draw: st.DrawFn) -> list[Series]:
    return [
        Series(
            draw(NAMES),
            slot,
            tuple(
                (k, draw(estimates()))
                for k in sorted(draw(st.sets(st.integers(1, 40), min_size=0, max_size=8)))
            ),
        )
        for slot in range(draw(st.integers(1, 10)))
    ]


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))  # noqa: S314, ours


def assert_inside(chart: Chart) -> ET.Element:
    """Both drawings; the wide one to look closer at."""
    _assert_inside(chart.narrow)
    return _assert_inside(chart.wide)


def _assert_inside(svg: str) -> ET.Element:
    assert not re.search(r'="(nan|inf|-inf|None)"|\bnan\b(?=[,"])', svg)
    root = parsed(svg)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for element in root.iter():
        boxes = {
            name: float(element.attrib[name]) for name in ("x", "x1", "x2", "cx") if name in element.attrib
        }
        assert all(-0.05 <= x <= width + 0.05 for x in boxes.values()), ET.tostring(element)
        rows = {
            name: float(element.attrib[name]) for name in ("y", "y1", "y2", "cy") if name in element.attrib
        }
        assert all(-0.05 <= y <= height + 0.05 for y in rows.values()), ET.tostring(element)
        if "width" in element.attrib:
            assert boxes["x"] + float(element.attrib["width"]) <= width + 0.1
            assert rows["y"] + float(element.attrib["height"]) <= height + 0.1
        for pair in element.attrib.get("points", "").split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
        if element.tag.endswith("}text"):
            assert_text_inside(element, boxes["x"], width)
    return root


def assert_text_inside(element: ET.Element, x: float, width: float) -> None:
    css = element.attrib["class"].split()
    long = text_width(
        element.text or "", 12.0 if {"tick", "axis-title", "hint", "value"} & set(css) else 13.0
    )
    start = x - long if "end" in css else x - long / 2 if "middle" in css else x
    # The estimate of widths is generous: it errs to the outside.
    assert start >= -0.1 * long - 1
    assert start + long <= width + 0.1 * long + 1


def dots_of(root: ET.Element, radius: float) -> list[ET.Element]:
    return [circle for circle in root.iter(CIRCLE) if float(circle.attrib["r"]) == radius]


@given(all_series())
def test_lines_bands_and_names_of_any_runs_stay_in_the_picture(series: list[Series]) -> None:
    root = assert_inside(line_chart("ASR", "a", series, y_title="ASR"))
    assert len(dots_of(root, 4.0)) == sum(len(one.shares) for one in series)


@given(st.lists(st.tuples(NAMES, all_series()), max_size=5))
def test_small_multiples_stay_in_the_picture_and_share_their_axes(
    panels: list[tuple[str, list[Series]]],
) -> None:
    root = assert_inside(panel_chart("ASR", "p", panels))
    dots = sum(len(one.shares) for _, series in panels for one in series)
    assert len(dots_of(root, 4.0)) == dots
    labels = [e.text for e in root.iter() if e.attrib.get("class") == "tick end"]
    assert len(set(labels)) * len(panels) == len(labels)


@given(st.lists(st.tuples(NAMES, st.none() | estimates(-1.0)), max_size=12), st.booleans())
def test_dots_and_their_intervals_stay_in_the_picture(
    rows: list[tuple[str, Estimate | None]], differences: bool
) -> None:
    if not differences:
        rows = [(name, None if e is None else Estimate(*map_share(e))) for name, e in rows]
    dots = tuple(Dot(name, i, e, "12.3 % (1.2–34.5)") for i, (name, e) in enumerate(rows))
    found = [dot.estimate for dot in dots]
    ends = (e.interval.high for e in found if e is not None)
    axis = difference_axis(found, "share") if differences else share_axis(ends, "share")
    groups = [Group("", dots[:2]), Group("a heading", dots[2:])]

    root = assert_inside(dot_chart("Dots", "d", groups, axis=axis))

    assert len(list(root.iter(CIRCLE))) == sum(dot.estimate is not None for dot in dots)


def map_share(e: Estimate) -> tuple[float, Interval]:
    return (e.value + 1) / 2, Interval((e.interval.low + 1) / 2, (e.interval.high + 1) / 2)


@given(st.lists(st.tuples(NAMES, estimates(), estimates()), min_size=1, max_size=8))
def test_points_of_the_plane_stay_in_the_picture(rows: list[tuple[str, Estimate, Estimate]]) -> None:
    points = [Point(name, slot, x, y) for slot, (name, x, y) in enumerate(rows)]
    assert_inside(plane_chart("Plane", "p", points, titles=("x", "y"), hint="here"))


@given(st.lists(st.tuples(NAMES, st.lists(st.integers(0, 10**6), min_size=3, max_size=3)), max_size=12))
def test_stacked_bars_fill_their_room_and_no_more(rows: list[tuple[str, list[int]]]) -> None:
    bars = tuple(Bar(name, tuple(counts)) for name, counts in rows)
    segments = [Segment(f"segment {i}", f"css{i}") for i in range(3)]
    assert_inside(bar_chart("Bars", "b", [Group("heading", bars[:1]), Group("", bars[1:])], segments))


@given(
    st.lists(st.tuples(NAMES, st.lists(st.none() | SHARES, min_size=3, max_size=3)), max_size=12),
    st.lists(NAMES, min_size=3, max_size=3),
)
def test_cells_of_a_matrix_stay_in_the_picture(
    rows: list[tuple[str, list[float | None]]], columns: list[str]
) -> None:
    root = assert_inside(heat_chart("Heat", "h", rows, columns))
    known = sum(value is not None for _, values in rows for value in values)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == known


@given(st.lists(st.tuples(SHARES, estimates()), min_size=2, max_size=8), st.booleans(), NAMES)
def test_curves_stay_within_their_axes(points: list[tuple[float, Estimate]], rare: bool, name: str) -> None:
    points.sort(key=lambda each: each[0])
    path = tuple((x, e.value) for x, e in points)
    curve = Curve(name=name, slot=0, points=path, marks=tuple(points), told="AUROC 0.5", steps=rare)
    axis = rare_axis("x") if rare else Axis(ticks=QUARTERS, title="x")
    root = assert_inside(curve_chart("ROC", "r", [curve], x=axis, y_title="y"))
    assert len(dots_of(root, 4.0)) == len(points)


def test_rounds_too_close_for_their_labels_are_spaced_evenly() -> None:
    e = Estimate(0.5, Interval(0.4, 0.6))
    series = [Series("m", 0, tuple((k, e) for k in (1, 2, 39, 40)))]
    root = parsed(line_chart("A", "a", series, y_title="ASR").narrow)

    places = [float(circle.attrib["cx"]) for circle in dots_of(root, 4.0)]
    steps = [b - a for a, b in pairwise(places)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.2)


def test_a_chart_is_told_in_words_and_its_texts_are_only_text() -> None:
    e = Estimate(0.235, Interval(0.124, 0.4))
    chart = line_chart("A <title>", "x", [Series("<b>&\u202e", 0, ((1, e),))], y_title="ASR")

    root = parsed(chart.wide)
    assert root.attrib["role"] == "img"
    assert [child.attrib["id"] for child in root[:2]] == root.attrib["aria-labelledby"].split()
    assert root[0].text == "A <title>"
    assert root[1].text == "<b>&[U+202E]: 1 turns 23.5 % (12.4–40.0)"


def test_a_chart_alone_carries_its_style() -> None:
    e = Estimate(0.5, Interval(0.4, 0.6))
    alone = line_chart("A", "x", [Series("m", 0, ((1, e), (8, e)))], y_title="ASR").standalone()
    root = ET.fromstring(alone)  # noqa: S314, ours
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    style = root[0].text or ""
    used = {css for element in root.iter() for css in element.attrib.get("class", "").split()}
    for css in used & {"line", "band", "dot", "grid", "s0"}:
        assert f".{css} " in style
    assert "prefers-color-scheme: dark" in style
    assert "url(" not in alone
