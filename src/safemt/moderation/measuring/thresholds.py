"""The file of a threshold chosen for somebody's own traffic, and the moderator that it holds for."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from safemt.core.errors import ModeratorError, UsageError
from safemt.io.files import PUBLIC, write_file
from safemt.moderation.detectors.detector import Detector
from safemt.moderation.measuring.kept import detector_id
from safemt.moderation.moderator import Moderator

THRESHOLDS_SCHEMA: Final = "safemt.thresholds/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What a file of thresholds holds, and for whom."""

    path: Path
    moderator: str
    """Its name, for people; the identity is what counts."""
    identity: str
    """`detector_id`."""
    threshold: float

    def of(self, detector: Detector) -> float:
        """The threshold, if it is this detector's.

        Raises:
            ModeratorError: it is another detector's, or another version's of this one.
        """
        if self.identity == detector_id(detector):
            return self.threshold
        other = (
            f"another version or configuration of {self.moderator}"
            if self.moderator == detector.name
            else self.moderator
        )
        raise ModeratorError(
            f"{self.path} is for {other}, so it says nothing of {detector.name} as it is here. "
            f"Run safemt moderator calibrate --moderator {detector.name} on your benign dialogues."
        )


def with_thresholds(moderator: Moderator, path: Path | None) -> Moderator:
    """The moderator with the threshold in a file; unchanged without one.

    Raises:
        UsageError: it has been given another threshold.
        ModeratorError: the file cannot be read, or is another moderator's.
    """
    if path is None:
        return moderator
    if moderator.threshold is not None:
        raise UsageError("A threshold was given both as a number and as a file: leave out one of them.")
    return replace(moderator, threshold=read_thresholds(path).of(moderator.detector))


def read_thresholds(path: Path) -> Thresholds:
    """Read a file that `safemt moderator calibrate` wrote.

    Raises:
        ModeratorError: it cannot be read, or holds something else.
    """
    try:
        document = json.loads(path.read_bytes())
        schema, named = document["schema"], document["moderator"]
        found = Thresholds(
            path=path,
            moderator=str(named["name"]),
            identity=str(named["identity"]),
            threshold=float(document["threshold"]),
        )
    except OSError as error:
        raise ModeratorError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ModeratorError(
            f"{path} is no file of thresholds. Write one with safemt moderator calibrate."
        ) from error
    if schema != THRESHOLDS_SCHEMA:
        raise ModeratorError(
            f"{path} has the form {str(schema)[:40]!r}, not {THRESHOLDS_SCHEMA}. Calibrate again."
        )
    if not 0.0 <= found.threshold <= 1.0:
        raise ModeratorError(
            f"{path} holds the threshold {found.threshold:g}, which is no risk. Calibrate again."
        )
    return found


def write_threshold(path: Path, document: dict[str, Any]) -> None:
    """Write the file whole or not at all.

    Raises:
        FileError: it cannot be written.
    """
    content = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    write_file(path, content.encode(), mode=PUBLIC)
