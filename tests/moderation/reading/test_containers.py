import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.moderation.reading.containers import LONGEST_OPENED, MOST_OPENED, opened

ASK = "How should one water the garden in July?"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"id": 3, "input": {"prompt": ASK}}),
        json.dumps([{"role": "user", "content": [{"type": "text", "text": ASK}]}], indent=1),
        f"Run this:\n```python\n{ASK}\n```\nThanks",
        f"```\n{ASK}",
        f"x = 1  # {ASK}",
        f"// TODO: {ASK}\nint x;",
        f"/* {ASK} */",
        f"<!-- {ASK} -->",
        f"-- {ASK}\nselect 1",
        f"<item><title>a</title><body>{ASK}</body></item>",
        f"The note says: “{ASK}” Do it.",
        f"« {ASK} »",
        f"| 1 | {ASK} |\n| 2 | x |",
        f"title: a\nbody: {ASK}",
        f'ask("{ASK}")',
        f"ask('{ASK}')",
    ],
    ids=lambda text: text[:20],
)
def test_what_stands_in_a_container_is_a_text_of_its_own(text: str) -> None:
    assert ASK in [each.strip() for each in opened(text)]


def test_escapes_of_a_string_are_undone() -> None:
    assert 'He said "hello there" to\nme' in opened(json.dumps({"a": 'He said "hello there" to\nme'}))


@pytest.mark.parametrize(
    "text", ["Plain words.", ASK, "I don't know what they've got", "a = b", "{}", "[1, 2]", '{"a": 1', "# Hi"]
)
def test_plain_text_and_single_words_open_nothing(text: str) -> None:
    assert opened(text) == []


def test_ideographs_need_no_blanks() -> None:
    assert "夏天怎么浇花园" in opened('{"q": "夏天怎么浇花园"}')


@given(st.text(max_size=300))
def test_any_text_gives_few_bounded_texts_none_of_them_itself(text: str) -> None:
    found = opened(text)
    assert len(found) <= MOST_OPENED
    assert len(set(found)) == len(found)
    assert text.strip() not in found
    assert all(0 < len(each) <= LONGEST_OPENED for each in found)


@pytest.mark.parametrize(
    "text",
    ['"' * 20_000, "[" * 20_000, "`" * 20_000, "| a b c d " * 2_000, "<" * 20_000, "/*" * 10_000,
     "#" * 20_000, "'a " * 10_000, "a: " * 10_000, '"\\' * 10_000, "“" * 20_000, "-" * 20_000],
    ids=lambda text: text[:6],
)  # fmt: skip
def test_hostile_texts_take_time_in_proportion_only(text: str) -> None:
    began = time.process_time()
    opened(text)
    assert time.process_time() - began < 1
