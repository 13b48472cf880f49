import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.report.page.charts import (
    NARROW,
    WIDE,
    Bar,
    BarGroup,
    Dot,
    DotGroup,
    Point,
    Segment,
    Series,
    bar_chart,
    difference_scale,
    dot_chart,
    plane_chart,
    share_scale,
    turns_chart,
)
from safemt.report.page.marks import spread, text_width
from safemt.stats.intervals import Estimate, Interval

WIDTHS = (WIDE, NARROW)
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


def assert_inside(svg: str) -> ET.Element:
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


@given(all_series(), st.sampled_from(WIDTHS))
def test_lines_bands_and_names_of_any_runs_stay_in_the_picture(series: list[Series], width: int) -> None:
    root = assert_inside(turns_chart(series, width=width, title="ASR", uid="a"))

    dots = [circle for circle in root.iter(CIRCLE) if float(circle.attrib["r"]) == 4.0]
    assert len(dots) == sum(len(one.shares) for one in series)


@given(
    st.lists(st.tuples(NAMES, st.none() | estimates(-1.0)), max_size=12),
    st.booleans(),
    st.sampled_from(WIDTHS),
)
def test_dots_and_their_intervals_stay_in_the_picture(
    rows: list[tuple[str, Estimate | None]], differences: bool, width: int
) -> None:
    if not differences:
        rows = [(name, None if e is None else Estimate(*map_share(e))) for name, e in rows]
    dots = tuple(Dot(name, i, e, "12.3 % (1.2–34.5)") for i, (name, e) in enumerate(rows))
    scale = (difference_scale if differences else share_scale)([dot.estimate for dot in dots], title="share")
    groups = [DotGroup("", dots[:2]), DotGroup("a heading", dots[2:])]

    root = assert_inside(dot_chart(groups, scale=scale, width=width, title="Dots", uid="d"))

    assert len(list(root.iter(CIRCLE))) == sum(dot.estimate is not None for dot in dots)


def map_share(e: Estimate) -> tuple[float, Interval]:
    return (e.value + 1) / 2, Interval((e.interval.low + 1) / 2, (e.interval.high + 1) / 2)


@given(st.lists(st.tuples(NAMES, estimates(), estimates()), min_size=1, max_size=8), st.sampled_from(WIDTHS))
def test_points_of_the_plane_stay_in_the_picture(
    rows: list[tuple[str, Estimate, Estimate]], width: int
) -> None:
    points = [Point(name, slot, x, y) for slot, (name, x, y) in enumerate(rows)]
    assert_inside(plane_chart(points, width=width, title="Plane", uid="p"))


@given(
    st.lists(st.tuples(NAMES, st.lists(st.integers(0, 10**6), min_size=3, max_size=3)), max_size=12),
    st.sampled_from(WIDTHS),
)
def test_stacked_bars_fill_their_room_and_no_more(rows: list[tuple[str, list[int]]], width: int) -> None:
    bars = tuple(Bar(name, tuple(counts)) for name, counts in rows)
    segments = [Segment(f"segment {i}", f"css{i}") for i in range(3)]
    groups = [BarGroup("heading", bars[:1]), BarGroup("", bars[1:])]

    assert_inside(bar_chart(groups, segments, width=width, title="Bars", uid="b"))


@given(st.lists(st.floats(0, 100), max_size=12), st.floats(0.5, 30))
def test_names_are_spread_apart_in_their_order(wanted: list[float], gap: float) -> None:
    places = spread(wanted, gap=gap, low=0, high=100)

    in_order = [places[i] for i in sorted(range(len(wanted)), key=wanted.__getitem__)]
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)
    needed = min(gap, 100 / max(1, len(wanted) - 1))
    assert all(b - a >= needed - 1e-6 for a, b in pairwise(in_order))


def test_names_at_the_ends_of_four_close_lines_do_not_overlap() -> None:
    sure = Interval(0.4, 0.6)
    series = [
        Series(f"model-{i}", i, ((1, Estimate(0.5, sure)), (8, Estimate(0.5 + i / 1000, sure))))
        for i in range(4)
    ]

    root = parsed(turns_chart(series, width=WIDE, title="ASR", uid="a"))

    ends = sorted(float(e.attrib["y"]) for e in root.iter() if e.attrib.get("class", "").startswith("name"))
    assert len(ends) == 4
    assert all(b - a >= 17.9 for a, b in pairwise(ends))


def test_names_of_points_in_one_place_do_not_overlap() -> None:
    at = Estimate(0.3, Interval(0.2, 0.4))
    root = parsed(
        plane_chart([Point(f"model-{i}", i, at, at) for i in range(4)], width=WIDE, title="P", uid="p")
    )

    boxes = [
        (float(e.attrib["x"]), float(e.attrib["y"]))
        for e in root.iter()
        if "name" in e.attrib.get("class", "")
    ]
    assert len(boxes) == 4
    for i, (x, y) in enumerate(boxes):
        assert all(abs(y - other_y) >= 17.9 or abs(x - other_x) >= 50 for other_x, other_y in boxes[i + 1 :])


def test_rounds_too_close_for_their_labels_are_spaced_evenly() -> None:
    e = Estimate(0.5, Interval(0.4, 0.6))
    root = parsed(
        turns_chart([Series("m", 0, tuple((k, e) for k in (1, 2, 39, 40)))], width=NARROW, title="A", uid="a")
    )

    places = [float(c.attrib["cx"]) for c in root.iter(CIRCLE) if float(c.attrib["r"]) == 4.0]
    steps = [b - a for a, b in pairwise(places)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.2)


def test_a_chart_is_told_in_words_and_its_texts_are_only_text() -> None:
    e = Estimate(0.235, Interval(0.124, 0.4))
    svg = turns_chart([Series("<b>&\u202e", 0, ((1, e),))], width=WIDE, title="A <title>", uid="x")

    root = parsed(svg)
    assert root.attrib["role"] == "img"
    assert [child.attrib["id"] for child in root[:2]] == root.attrib["aria-labelledby"].split()
    assert root[0].text == "A <title>"
    assert root[1].text == "<b>&[U+202E]: 1 turns 23.5 % (12.4–40.0)"
