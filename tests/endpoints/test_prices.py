"""The table of prices: what it says, what it refuses, and that it never guesses."""

import re
from pathlib import Path

import pytest

from safemt.core.errors import DataError
from safemt.endpoints.prices import Price, read_prices

OPENAI = "https://api.openai.com"
INPUT = "models[...].input"


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_shipped_price_says_when_and_where_it_was_read_and_holds_there_alone() -> None:
    table = read_prices()
    assert table.models
    for price in table.models.values():
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", price.read)
        assert price.source.startswith("https://")
        assert price.origin == OPENAI
        assert 0 < price.input < price.output
    assert table.price("openai/gpt-4o-mini", OPENAI) is not None
    assert table.price("openai/gpt-4o-mini", "http://localhost:8000") is None


def test_an_unknown_model_has_no_price() -> None:
    assert read_prices().price("openai/no-such-model", OPENAI) is None
    assert read_prices().price("openai/gpt-4o-mini-of-tomorrow", OPENAI) is None


def test_own_prices_stand_in_place_of_and_beside_the_shipped_ones(tmp_path: Path) -> None:
    table = read_prices(
        own(
            tmp_path,
            "format: safemt-prices/1\nread: 2026-11-01\nmodels:\n"
            "  openai/gpt-4o: {input: 1, output: 2.5}\n  openai/Org/Mine-7B: {input: 0, output: 0}\n",
        )
    )
    assert table.price("openai/gpt-4o", OPENAI) == Price(input=1.0, output=2.5, read="2026-11-01")
    assert table.price("openai/Org/Mine-7B", "http://localhost:8000") == Price(
        input=0.0, output=0.0, read="2026-11-01"
    )
    assert table.price("openai/gpt-4.1", OPENAI) == read_prices().price("openai/gpt-4.1", OPENAI)


def test_a_price_may_hold_at_one_endpoint(tmp_path: Path) -> None:
    table = read_prices(
        own(
            tmp_path,
            "format: safemt-prices/1\nmodels: {openai/m: {input: 1, output: 2, origin: https://a.example/}}\n",
        )
    )
    assert table.price("openai/m", "https://a.example") is not None
    assert table.price("openai/m", "https://b.example") is None


def test_a_price_is_for_a_million_tokens() -> None:
    assert Price(input=2.0, output=8.0).of(500_000, 250_000) == 3.0


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        ("", "wrong_form", ""),
        ("a: [", "not_yaml", None),
        ("format: safemt-prices/2\nmodels: {openai/m: {input: 1, output: 1}}", "wrong_form", "format"),
        ("format: safemt-prices/1", "wrong_form", ""),
        ("format: safemt-prices/1\nmodels: {}", "wrong_form", "models"),
        ("format: safemt-prices/1\nmodels: {openai/m: {input: 1, output: 1}}\nmodel: {}", "wrong_form", ""),
        (
            "format: safemt-prices/1\nmodels: {gpt-4o: {input: 1, output: 1}}",
            "wrong_form",
            "key` in `$.models",
        ),
        ("format: safemt-prices/1\nmodels: {openai/m: 3}", "wrong_form", "models[...]"),
        ("format: safemt-prices/1\nmodels: {openai/m: {input: 1, out: 2}}", "wrong_form", "models[...]"),
        ("format: safemt-prices/1\nmodels: {openai/m: {input: 1}}", "wrong_form", "models[...]"),
        (
            "format: safemt-prices/1\nmodels: {openai/m: {input: -1, output: 2}}",
            "wrong_form",
            "models[...].input",
        ),
        ("format: safemt-prices/1\nmodels: {openai/m: {input: .nan, output: 2}}", "bad_number", None),
        (
            "format: safemt-prices/1\nmodels: {openai/m: {input: yes, output: 2}}",
            "wrong_form",
            "models[...].input",
        ),
        (
            "format: safemt-prices/1\nmodels: {openai/m: {input: '$1', output: 2}}",
            "wrong_form",
            "models[...].input",
        ),
    ],
)
def test_what_is_not_a_table_is_refused_with_a_sentence(
    tmp_path: Path, text: str, code: str, path: str | None
) -> None:
    with pytest.raises(DataError) as error:
        read_prices(own(tmp_path, text))
    found = error.value.fields.get("path")
    assert error.value.code == code
    assert found == path or str(found).startswith((path or "").split("[", maxsplit=1)[0])
    assert "prices.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_is_named_with_its_provider(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="openai/"):
        read_prices(own(tmp_path, "format: safemt-prices/1\nmodels: {gpt-4o: {input: 1, output: 1}}"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_prices(tmp_path / "none.yaml")
    assert (error.value.code, error.value.fields["path"]) == ("unreadable_file", tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError) as error:
        read_prices(tmp_path / "latin.yaml")
    assert error.value.code in ("not_yaml", "utf16")
