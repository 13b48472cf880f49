from hypothesis import given
from hypothesis import strategies as st

from safemt.moderation.detectors.embedded.windows import (
    BEFORE,
    BREAK,
    CURRENT,
    OVERLAP,
    START,
    WINDOW,
    context_window,
    kept_before,
    turn_windows,
)

tokens = st.lists(st.integers(1000, 30000), max_size=400)


@given(tokens)
def test_windows_cover_every_token_in_order(ids: list[int]) -> None:
    windows = turn_windows(ids)
    assert all(len(window) <= WINDOW and window[0] == START and window[-1] == BREAK for window in windows)
    joined = windows[0][1:-1]
    for window in windows[1:]:
        assert joined[-OVERLAP:] == window[1 : 1 + OVERLAP]
        joined += window[1 + OVERLAP : -1]
    assert joined == ids


@given(st.lists(tokens, max_size=6), tokens)
def test_a_context_window_is_bounded_and_ends_with_the_current_turn(
    before: list[list[int]], ids: list[int]
) -> None:
    window = context_window(before, ids)
    assert len(window) <= 1 + BEFORE + BEFORE + CURRENT + 1
    assert window[-1] == BREAK
    if 0 < len(ids) <= CURRENT:
        assert window[-1 - len(ids) : -1] == ids


@given(st.lists(tokens, max_size=6), tokens)
def test_what_a_session_keeps_gives_the_same_context(before: list[list[int]], ids: list[int]) -> None:
    assert context_window(kept_before(before), ids) == context_window(before, ids)


def test_the_context_of_a_first_turn_is_the_turn_alone() -> None:
    assert [context_window([], [2001, 2002])] == turn_windows([2001, 2002])


def test_the_newest_turns_come_first_to_the_places() -> None:
    before = [[1000 + number] * 30 for number in range(5)]
    assert context_window(before, [9000]) == [START, *[1003] * 18, BREAK, *[1004] * 30, BREAK, 9000, BREAK]


def test_a_long_turn_keeps_its_two_ends() -> None:
    ids = list(range(1000, 1200))
    assert context_window([], ids)[1:-1] == [*ids[: CURRENT // 2], *ids[-CURRENT // 2 :]]
