"""How figures are written, everywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.report import text
from safemt.stats.intervals import Estimate, Interval


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (text.percent(0.2349), "23.5 %"),
        (text.percent(None), "–"),
        (text.points(-0.0004, signed=True), "0.0"),
        (text.points(-0.0294, signed=True), "−2.9"),
        (text.points(0.0851, signed=True), "+8.5"),
        (text.index(0.62912), "0.629"),
        (text.signed_index(-0.009), "−0.009"),
        (text.number(1234.56, 1), "1,234.6"),
        (text.quick(0.03217), "0.0322"),
        (text.quick(1234.5), "1,234"),
        (text.rate(0.001), "0.1 %"),
        (text.p_value(0.0004), "< 0.001"),
        (text.p_value(0.0341), "0.034"),
        (text.count(1, "query", "queries"), "1 query"),
        (text.count(2000, "query", "queries"), "2,000 queries"),
        (text.counted({"refused": 1200, "complied": 3}), "1,200 refused, 3 complied"),
        (text.date("2026-11-23T22:32:42+00:00"), "2026-11-23 22:32:42 UTC"),
        (text.date(None), "–"),
        ([text.duration(s) for s in (119.4, 7199, 7200, 172_800)], ["119 s", "119 min", "2.0 h", "2.0 days"]),
        (str(text.share(Estimate(0.235, Interval(0.124, 0.4)))), "23.5 % (12.4–40.0)"),
        (str(text.share(None, "no data")), "no data"),
        (
            str(text.in_words(Estimate(0.1, Interval(-0.03, 0.2)), text.signed_points)),
            "+10.0 (−3.0 to +20.0)",
        ),
        (str(text.in_words(Estimate(0.6, Interval(0.5, 0.7)), text.index)), "0.600 (0.500–0.700)"),
    ],
)  # fmt: skip
def test_each_kind_of_figure_has_one_form(written: object, expected: object) -> None:
    assert written == expected


@given(st.floats(-10, 10), st.integers(0, 4), st.booleans())
def test_a_number_reads_back_as_itself_and_zero_has_no_sign(value: float, digits: int, signed: bool) -> None:
    written = text.number(value, digits, signed=signed)
    assert float(written.replace("−", "-")) == pytest.approx(value, abs=0.51 * 10**-digits)
    assert "-" not in written
    if float(written.replace("−", "-")) == 0.0:
        assert written[0] == "0"


@given(st.text())
def test_hidden_characters_are_shown_by_their_code(raw: str) -> None:
    shown = text.visible(raw)
    assert not set("\u202e\u200b\u2066\x00\x1b\ufeff") & set(shown)
    assert text.visible(shown) == shown
    assert "\n" not in text.one_line(raw)
