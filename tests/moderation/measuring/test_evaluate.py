"""Moderators over labelled dialogues: each asked once, kept, and the same again for nothing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from moderation.labelled_rows import mixed_rows, write_rows
from moderation.model_server import Body, serve, shown
from moderation.word_detector import BAD, WordDetector, row, word_moderator
from safemt.core.errors import ModeratorError, RunStopped
from safemt.endpoints.asking import LimitedAsk
from safemt.moderation.detectors.guards.template import UNSAFE_TEXTS
from safemt.moderation.measuring.evaluate import (
    EARLY,
    LATE,
    LONG_DIALOGUES,
    Moderated,
    moderate_all,
    time_long_dialogues,
)
from safemt.moderation.measuring.kept import VerdictLog
from safemt.moderation.measuring.labelled import LabelledData, read_labelled
from safemt.moderation.moderator import Moderator
from safemt.moderation.open import open_moderator


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def guard(body: Body) -> str:
    """Answers as a guard that knows one word, and its canary."""
    bad = any(text in shown(body) for text in (*UNSAFE_TEXTS, BAD))
    return f"Safety: {'Unsafe' if bad else 'Safe'}\nCategories: {'Violent' if bad else 'None'}"


def moderate(
    moderator: Moderator, data: LabelledData, log: VerdictLog, *, every_turn: bool = False
) -> Moderated:
    return moderate_all(
        moderator,
        data.dialogues,
        log,
        every_turn=every_turn,
        at_once=4,
        on_progress=lambda _done, _total: None,
    )


def read(tmp_path: Path, *rows: Any) -> LabelledData:
    return read_labelled([write_rows(tmp_path / "rows.jsonl", *rows)])


def over(base_url: str) -> Moderator:
    return open_moderator(
        "guard/qwen3guard:guard",
        base_url=base_url,
        timeout=5,
        ask=LimitedAsk(4, role="moderator"),
    )


def test_verdicts_come_after_each_user_turn_in_the_order_of_the_dialogues(tmp_path: Path) -> None:
    ends = row("a", "harmful", "x", f"{BAD} {BAD}")
    ends["turns"].append({"role": "assistant", "content": "no"})
    data = read(tmp_path, ends, row("b", "benign", "y"))
    with VerdictLog(None) as log:
        found = moderate(word_moderator(), data, log)
    assert [(kept.id, kept.trajectory) for kept in found.verdicts] == [("a", (0.0, 0.4)), ("b", (0.0,))]
    assert len(found.milliseconds) == 3
    assert (found.asked, found.every_turn) == (2, True)


def test_equal_dialogues_are_read_once_and_kept_ones_not_at_all(tmp_path: Path) -> None:
    data = read(tmp_path, row("a", "harmful", "x"), row("b", "benign", "x"), row("c", "benign", "y"))
    first, second = WordDetector(), WordDetector(threshold=0.9)
    seen: list[tuple[int, int]] = []
    path = tmp_path / "verdicts.jsonl"
    with VerdictLog(path) as log:
        found = moderate_all(
            word_moderator(first), data.dialogues, log, every_turn=True, at_once=1,
            on_progress=lambda done, total: seen.append((done, total)),
        )  # fmt: skip
    assert (found.asked, len(first.asked), len(found.verdicts)) == (2, 2, 3)
    assert seen == [(0, 2), (1, 2), (2, 2)]
    with VerdictLog(path) as log:
        again = moderate(word_moderator(second), data, log)
        other = moderate(word_moderator(WordDetector(version=2)), data, log)
    assert (again.asked, len(second.asked)) == (0, 0)
    assert again.verdicts == found.verdicts
    assert other.asked == 2


def test_an_endpoint_is_asked_once_a_dialogue_or_after_each_turn(tmp_path: Path) -> None:
    data = read(tmp_path, row("a", "harmful", "one", f"two {BAD}"), row("b", "benign", "three"))
    with serve(guard) as server, VerdictLog(tmp_path / "v.jsonl") as log:
        at_end = moderate(over(server.base_url), data, log)
        calls = len(server.requests)
        each = moderate(over(server.base_url), data, log, every_turn=True)
        later = len(server.requests)
        assert moderate(over(server.base_url), data, log).asked == 0
    assert [kept.trajectory for kept in at_end.verdicts] == [(None, 1.0), (0.0,)]
    assert [kept.trajectory for kept in each.verdicts] == [(0.0, 1.0), (0.0,)]
    canary = 4
    assert (calls, later) == (canary + 2, 2 * canary + 5)
    assert (at_end.every_turn, each.every_turn) == (False, True)


def test_what_an_endpoint_fails_at_is_degraded_and_asked_again(tmp_path: Path) -> None:
    data = read(tmp_path, row("a", "harmful", f"bad {BAD}"), row("b", "benign", "broken"))
    broken = [True]

    def answer(body: Body) -> str | tuple[int, object]:
        if broken[0] and "broken" in str(body["messages"]):
            return 400, {"error": {"message": "no"}}
        return guard(body)

    with serve(answer) as server, VerdictLog(tmp_path / "v.jsonl") as log:
        first = moderate(over(server.base_url), data, log)
        broken[0] = False
        second = moderate(over(server.base_url), data, log)
    assert [kept.risk for kept in first.verdicts] == [1.0, None]
    assert first.verdicts[1].degraded
    assert [kept.risk for kept in second.verdicts] == [1.0, 0.0]
    assert (first.asked, second.asked) == (2, 1)


def test_an_endpoint_that_is_given_up_stops_it_and_what_was_finished_stays(tmp_path: Path) -> None:
    data = read(tmp_path, *(row(f"r{number}", "benign", f"text {number}") for number in range(30)))
    asked: list[Body] = []

    def answer(body: Body) -> str | tuple[int, object]:
        asked.append(body)
        return (401, {"error": {"message": "key"}}) if len(asked) > 12 else guard(body)

    with serve(answer) as server, VerdictLog(tmp_path / "v.jsonl") as log, pytest.raises(RunStopped):
        moderate(over(server.base_url), data, log)
    lines = (tmp_path / "v.jsonl").read_text().splitlines()
    assert 0 < len(lines) < 30


def test_a_guard_that_fails_its_canary_gives_no_figures(tmp_path: Path) -> None:
    data = read(tmp_path, row("a", "harmful", "x"))
    with serve(lambda _: "Safety: Safe") as server, VerdictLog(None) as log, pytest.raises(ModeratorError):
        moderate(over(server.base_url), data, log)


def test_long_dialogues_are_timed_for_moderators_of_this_machine_alone(tmp_path: Path) -> None:
    data = read(tmp_path, *mixed_rows(4))
    detector = WordDetector()
    times = time_long_dialogues(word_moderator(detector), data.dialogues)
    assert times is not None
    assert len(times.early) == len(times.late) == LONG_DIALOGUES
    assert len(detector.asked) == LONG_DIALOGUES + 1
    assert all(each >= 0 for each in (*times.early, *times.late))
    assert EARLY < LATE
    with serve(lambda _: "x") as server:
        far = over(server.base_url)
        assert time_long_dialogues(far, data.dialogues) is None
        asyncio.run(far.close())
    wordless = read(tmp_path, row("a", "benign", ""))
    assert time_long_dialogues(word_moderator(), wordless.dialogues) is None
