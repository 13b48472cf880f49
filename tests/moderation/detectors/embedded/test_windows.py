from hypothesis import given
from hypothesis import strategies as st

from safemt.moderation.detectors.embedded.unigram import BEGIN, END
from safemt.moderation.detectors.embedded.windows import (
    BEFORE,
    CURRENT,
    PART,
    context_window,
    kept_before,
    part_window,
    parts,
    sentences,
)

tokens = st.lists(st.integers(1000, 30000), max_size=400)


def numbered(text: str) -> list[int]:
    """A token for each word: a number that says which word it is."""
    return [1000 + int(word.strip("w.?!;")) for word in text.split()]


@given(st.lists(st.lists(st.integers(0, 9999), min_size=1, max_size=120), max_size=12))
def test_parts_cover_every_token_in_order_and_each_is_bounded(lengths: list[list[int]]) -> None:
    text = " ".join(" ".join(f"w{number}" for number in words) + "." for words in lengths)
    found = parts(text, numbered)
    assert all(len(part) <= PART for part in found)
    whole = iter(token for part in found for token in part)
    assert all(token in whole for token in numbered(text)), "in order, repeats where pieces overlap"


def test_a_text_that_fits_is_one_part() -> None:
    text = "w1 w2. w3!\nw4"
    assert parts(text, numbered) == [numbered(text)]


def test_a_text_without_letters_is_one_part() -> None:
    assert len(parts("?!" * 2000, lambda text: [1] if text else [])) == 1


def test_a_sentence_of_its_own_is_not_cut_in_the_middle() -> None:
    long = " ".join(f"w{number}" for number in range(28)) + "."
    short = " ".join(f"w{number}" for number in range(100, 112)) + "?"
    assert parts(f"{long} {short}", numbered) == [numbered(long), numbered(short)]


def test_sentences_end_at_marks_of_any_script_and_at_lines() -> None:
    assert sentences("One. Two?\nthree 今天好。明天呢\uff1f كيف؟ ...") == [
        "One.", "Two?", "three 今天好。", "明天呢\uff1f", "كيف؟",
    ]  # fmt: skip


@given(st.lists(tokens, max_size=6), tokens)
def test_a_context_window_is_bounded_and_ends_with_the_current_turn(
    before: list[list[int]], ids: list[int]
) -> None:
    window = context_window(before, ids)
    assert len(window) <= 1 + BEFORE + BEFORE + CURRENT + 1
    assert window[-1] == END
    if 0 < len(ids) <= CURRENT:
        assert window[-1 - len(ids) : -1] == ids


@given(st.lists(tokens, max_size=6), tokens)
def test_what_a_session_keeps_gives_the_same_context(before: list[list[int]], ids: list[int]) -> None:
    assert context_window(kept_before(before), ids) == context_window(before, ids)


def test_the_context_of_a_first_turn_is_the_turn_alone() -> None:
    assert context_window([], [2001, 2002]) == part_window([2001, 2002])


def test_the_newest_turns_come_first_to_the_places() -> None:
    before = [[1000 + number] * 30 for number in range(5)]
    assert context_window(before, [9000]) == [BEGIN, *[1003] * 18, END, *[1004] * 30, END, 9000, END]


def test_a_long_turn_keeps_its_two_ends() -> None:
    ids = list(range(1000, 1200))
    assert context_window([], ids)[1:-1] == [*ids[: CURRENT // 2], *ids[-CURRENT // 2 :]]
