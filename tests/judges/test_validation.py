from dataclasses import replace
from pathlib import Path

import pytest

from safemt.core.errors import FileError
from safemt.judges.validation import Validation, save_validation, validations_of
from safemt.stats.agreement import Confusion

COUNTS = Confusion(unsafe_as_unsafe=8, unsafe_as_safe=2, safe_as_safe=9, safe_as_unsafe=1)
OLD = Validation(
    judge="refusal",
    judge_id="ab" * 32,
    labels="people.jsonl",
    labels_sha256="cd" * 32,
    selection="language en",
    confusion=COUNTS,
    checked="2026-01-01T00:00:00+00:00",
    safemt="0.1.0",
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAFEMT_HOME", str(tmp_path))
    return tmp_path


def test_validations_come_back_newest_first_for_their_judge_only() -> None:
    new = replace(OLD, selection="all", checked="2026-02-01T00:00:00+00:00")
    for validation in (OLD, new, replace(OLD, judge_id="ef" * 32)):
        save_validation(validation)

    assert validations_of(OLD.judge_id) == [new, OLD]


def test_a_check_of_the_same_rows_replaces_the_earlier_one() -> None:
    newer = replace(OLD, checked="2026-03-01T00:00:00+00:00")
    save_validation(OLD)
    save_validation(newer)

    assert validations_of(OLD.judge_id) == [newer]


def test_files_that_cannot_be_read_are_passed_over(home: Path) -> None:
    path = save_validation(OLD)
    (path.parent / "broken.json").write_text("{")
    (path.parent / "other.json").write_text('{"judge": "x"}')

    assert validations_of(OLD.judge_id) == [OLD]


def test_a_home_that_is_no_folder_is_a_clear_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("SAFEMT_HOME", str(home / "file"))

    with pytest.raises(FileError) as caught:
        save_validation(OLD)
    assert caught.value.code == "cannot_write"
