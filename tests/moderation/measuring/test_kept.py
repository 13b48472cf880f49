"""Kept verdicts: found again, never misread, and asked for again where they were degraded."""

import dataclasses
from pathlib import Path

import pytest

from moderation.word_detector import BAD, WordDetector, word_moderator
from safemt.core.errors import ModeratorError
from safemt.core.schema import Message
from safemt.moderation.measuring.kept import KeptVerdict, VerdictLog, detector_id, kept_verdict, verdict_key


def kept(key: str = "k", **changes: object) -> KeptVerdict:
    session = word_moderator().open()
    verdicts = [session.append(Message("user", (text,))) for text in ("hi", f"{BAD} {BAD}", "bye")]
    return dataclasses.replace(kept_verdict(key, "d", verdicts), **changes)  # type: ignore[arg-type]


def test_a_verdict_is_kept_with_its_course_and_cost() -> None:
    found = kept()
    assert found.trajectory == (0.0, 0.4, 0.4)
    assert (found.risk, found.peak, found.scenario) == (0.4, 0.4, "Fraud")
    assert len(found.milliseconds) == 3
    assert (found.prompt_tokens, found.completion_tokens) == (21, 3)
    assert (found.turns_scored, found.turns_total, found.degraded) == (3, 3, None)


def test_what_was_kept_is_found_again_and_a_torn_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "out" / "verdicts.jsonl"
    first = kept("one")
    with VerdictLog(path) as log:
        log.add(first)
        log.add(kept("two", degraded="timeout"))
    with path.open("ab") as stream:
        stream.write(b'{"key": "thr')
    with VerdictLog(path) as log:
        assert log.get("one") == first
        assert log.get("two") is None
        assert log.get("three") is None
        log.add(kept("two"))
    with VerdictLog(path) as log:
        assert log.get("two") is not None
    assert len(path.read_text().splitlines()) == 3


def test_without_a_file_verdicts_are_kept_in_memory() -> None:
    with VerdictLog(None) as log:
        log.add(kept())
        assert log.get("k") is not None


@pytest.mark.parametrize("line", ["[1]", "{}", '{"key": 1, "trajectory": [], "milliseconds": []}', "x"])
def test_a_file_of_other_things_is_not_taken_for_verdicts(tmp_path: Path, line: str) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(ModeratorError, match="line 1: this is no verdict"):
        VerdictLog(path)


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModeratorError, match="cannot be written"):
        VerdictLog(tmp_path / "file" / "verdicts.jsonl")


def test_the_key_changes_with_detector_dialogue_and_mode_but_not_with_the_threshold() -> None:
    base = WordDetector()
    assert detector_id(base) == detector_id(WordDetector(threshold=0.9))
    keys = {
        verdict_key(base, "d", every_turn=True),
        verdict_key(base, "d", every_turn=False),
        verdict_key(base, "e", every_turn=True),
        verdict_key(WordDetector(version=2), "d", every_turn=True),
    }
    assert len(keys) == 4
