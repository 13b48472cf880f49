"""The file of a threshold chosen on somebody's own traffic, and the moderator that it holds for."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from safemt.core.errors import ModeratorError, UsageError
from safemt.io.files import PUBLIC, write_file
from safemt.io.yaml import read_json, typed
from safemt.moderation.detectors.detector import Detector
from safemt.moderation.measuring.kept import detector_id
from safemt.moderation.moderator import Moderator

THRESHOLDS_SCHEMA: Final = "safemt.thresholds/1"


class CalibratedModerator(msgspec.Struct, frozen=True):
    """The moderator that a threshold holds for."""

    name: str
    """For people; the identity is what counts."""
    identity: str
    """`detector_id`."""


class Thresholds(msgspec.Struct, frozen=True):
    """What safemt reads in a file of thresholds; the file also says how the threshold was chosen."""

    schema: Literal["safemt.thresholds/1"]
    moderator: CalibratedModerator
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)]


def with_thresholds(moderator: Moderator, path: Path | None) -> Moderator:
    """The moderator with the threshold in a file; unchanged if `path` is None.

    Raises:
        UsageError: it has been given another threshold.
        DataError: the file is not one of thresholds.
        ModeratorError: the threshold is for another detector, or for another version of this one.
    """
    if path is None:
        return moderator
    if moderator.threshold is not None:
        raise UsageError(
            "two_thresholds", "Give either `moderator.threshold` or `moderator.thresholds`, not both."
        )
    return replace(moderator, threshold=threshold_for(moderator.detector, read_thresholds(path), path))


def threshold_for(detector: Detector, thresholds: Thresholds, path: Path) -> float:
    """The threshold in the file at `path`, if it is this detector's.

    Raises:
        ModeratorError: it is for another detector, or for another version of this one.
    """
    calibrated = thresholds.moderator
    if calibrated.identity == detector_id(detector):
        return thresholds.threshold
    same = calibrated.name == detector.name
    other = f"another version or configuration of {calibrated.name}" if same else calibrated.name
    raise ModeratorError(
        "other_moderators_thresholds",
        f"{path} holds a threshold for {other}, which does not apply to {detector.name} as it is here. "
        "Calibrate this moderator on your benign dialogues.",
        path=path,
        calibrated=calibrated.name,
        moderator=detector.name,
    )


def read_thresholds(path: Path) -> Thresholds:
    """Read a file that `safemt moderator calibrate` wrote.

    Raises:
        DataError: it cannot be read, or holds something else; the message names the field.
    """
    return typed(read_json(path), Thresholds, where=str(path))


def write_threshold(path: Path, document: dict[str, Any]) -> None:
    """Write the file whole or not at all.

    Raises:
        FileError: it cannot be written.
    """
    content = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    write_file(path, content.encode(), mode=PUBLIC)
