"""Files of thresholds: for one moderator in one version, and nobody else."""

import json
from pathlib import Path
from typing import Any

import pytest

from moderation.word_detector import WordDetector, word_moderator
from safemt.core.errors import FileError, ModeratorError, UsageError
from safemt.moderation.measuring.kept import detector_id
from safemt.moderation.measuring.thresholds import (
    THRESHOLDS_SCHEMA,
    read_thresholds,
    with_thresholds,
    write_threshold,
)


def document(detector: WordDetector, threshold: float = 0.7, **changes: Any) -> dict[str, Any]:
    return {
        "schema": THRESHOLDS_SCHEMA,
        "moderator": {"name": detector.name, "identity": detector_id(detector)},
        "threshold": threshold,
        **changes,
    }


def test_a_threshold_is_read_and_used_for_its_own_moderator(tmp_path: Path) -> None:
    path = tmp_path / "new" / "thresholds.json"
    write_threshold(path, document(WordDetector()))
    assert [each.name for each in path.parent.iterdir()] == ["thresholds.json"]
    assert with_thresholds(word_moderator(), path).flag_from == 0.7
    assert with_thresholds(word_moderator(), None).flag_from == 0.4
    with pytest.raises(UsageError, match="leave out one"):
        with_thresholds(word_moderator(threshold=0.5), path)


def test_the_threshold_of_another_moderator_or_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.json"
    write_threshold(path, document(WordDetector()))
    with pytest.raises(ModeratorError, match="is for another version or configuration of word"):
        read_thresholds(path).of(WordDetector(version=2))
    with pytest.raises(
        ModeratorError, match=r"is for word, so it says nothing of other as it is here\. Run safemt"
    ):
        read_thresholds(path).of(WordDetector(word="other", name="other"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is no file of thresholds"),
        ("[]", "is no file of thresholds"),
        ('{"schema": "safemt.thresholds/1"}', "is no file of thresholds"),
        (json.dumps(document(WordDetector(), schema="safemt.thresholds/9")), "has the form"),
        (json.dumps(document(WordDetector(), 7.0)), "which is no risk"),
    ],
)
def test_what_is_no_file_of_thresholds_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "thresholds.json"
    path.write_text(content)
    with pytest.raises(ModeratorError, match=said):
        read_thresholds(path)


def test_a_file_that_is_not_there_or_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModeratorError, match="cannot be read"):
        read_thresholds(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError) as caught:
        write_threshold(tmp_path / "file" / "t.json", {})
    assert caught.value.code == "cannot_write"
