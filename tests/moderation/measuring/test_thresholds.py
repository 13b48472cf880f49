"""Files of thresholds: for one moderator in one version, and nobody else."""

import json
from pathlib import Path
from typing import Any

import pytest

from moderation.word_detector import WordDetector, word_moderator
from safemt.core.errors import DataError, FileError, ModeratorError, UsageError
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
    with pytest.raises(UsageError) as caught:
        with_thresholds(word_moderator(threshold=0.5), path)
    assert caught.value.code == "two_thresholds"


def test_the_threshold_of_another_moderator_or_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.json"
    write_threshold(path, document(WordDetector()))
    for other in (WordDetector(version=2), WordDetector(word="other", name="other")):
        with pytest.raises(ModeratorError) as caught:
            with_thresholds(word_moderator(other), path)
        assert caught.value.code == "other_moderators_thresholds"
        assert (caught.value.fields["calibrated"], caught.value.fields["moderator"]) == ("word", other.name)


@pytest.mark.parametrize(
    ("content", "inside"),
    [
        ("[]", ""),
        ('{"schema": "safemt.thresholds/1"}', "moderator"),
        (json.dumps(document(WordDetector(), schema="safemt.thresholds/9")), "schema"),
        (json.dumps(document(WordDetector(), 7.0)), "threshold"),
        (
            json.dumps(document(WordDetector(), moderator={"name": "word", "identity": 3})),
            "moderator.identity",
        ),
    ],
)
def test_what_is_not_a_file_of_thresholds_is_refused(tmp_path: Path, content: str, inside: str) -> None:
    path = tmp_path / "thresholds.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_thresholds(path)
    assert (caught.value.code, caught.value.fields["path"]) == ("wrong_form", inside)


def test_a_file_that_is_not_there_or_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError) as unread:
        read_thresholds(tmp_path / "none.json")
    (tmp_path / "empty.json").write_text("")
    with pytest.raises(DataError) as empty:
        read_thresholds(tmp_path / "empty.json")
    assert empty.value.code == "not_json"
    assert unread.value.code == "unreadable_file"
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError) as caught:
        write_threshold(tmp_path / "file" / "t.json", {})
    assert caught.value.code == "cannot_write"
