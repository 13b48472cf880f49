"""Kept verdicts: found again, never misread, and asked for again where they were degraded."""

from dataclasses import replace
from pathlib import Path

import pytest

from moderation.word_detector import BAD, WordDetector, word_moderator
from safemt.core.errors import ModeratorError
from safemt.core.schema import Message
from safemt.core.taxonomy import Scenario
from safemt.core.verdict import Degraded
from safemt.moderation.measuring.kept import KeptVerdict, VerdictLog, detector_id, kept_verdict, verdict_key


def kept(key: str = "k", **changes: object) -> KeptVerdict:
    session = word_moderator().open()
    verdicts = [session.append(Message("user", (text,))) for text in ("hi", f"{BAD} {BAD}", "bye")]
    found = kept_verdict(key, verdicts)
    return replace(found, verdict=replace(found.verdict, **changes))  # type: ignore[arg-type]


def test_a_verdict_is_kept_with_its_course_and_cost() -> None:
    found = kept()
    verdict = found.verdict
    assert verdict.trajectory == (0.0, 0.4, 0.4)
    assert (verdict.risk, verdict.peak, verdict.scenarios) == (0.4, 0.4, {Scenario.FRAUD: 0.4})
    assert len(found.milliseconds) == 3
    assert verdict.milliseconds == pytest.approx(sum(found.milliseconds))
    assert (verdict.prompt_tokens, verdict.completion_tokens) == (21, 3)
    assert (verdict.coverage.turns_scored, verdict.coverage.turns_total) == (3, 3)


def test_what_was_kept_is_found_again_and_a_torn_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "out" / "verdicts.jsonl"
    first = kept("one")
    with VerdictLog(path) as log:
        log.add(first)
        log.add(kept("two", degraded=Degraded(cause="timeout", message="too late")))
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


@pytest.mark.parametrize("line", ["[1]", "{}", '{"key": "k", "verdict": {}, "milliseconds": []}', "x"])
def test_a_file_of_other_things_is_not_taken_for_verdicts(tmp_path: Path, line: str) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(ModeratorError) as caught:
        VerdictLog(path)
    assert (caught.value.code, caught.value.fields["line"]) == ("not_kept_verdicts", 1)


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModeratorError) as caught:
        VerdictLog(tmp_path / "file" / "verdicts.jsonl")
    assert caught.value.code == "not_writable"


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
