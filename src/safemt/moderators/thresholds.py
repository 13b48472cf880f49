"""The file of a threshold chosen for somebody's own traffic, and the moderator that it holds for."""

import json
from pathlib import Path
from typing import Any, Final

from safemt.core.errors import ModeratorError
from safemt.moderators.detector import Detector
from safemt.moderators.kept import detector_id

THRESHOLDS_SCHEMA: Final = "safemt.thresholds/1"


def read_threshold(path: Path, detector: Detector) -> float:
    """The threshold in a file that `safemt moderator calibrate` wrote for exactly this detector.

    Raises:
        ModeratorError: the file cannot be read, or holds for another detector or another version of it.
    """
    try:
        document = json.loads(path.read_bytes())
        schema, named = document["schema"], document["moderator"]
        threshold, name, identity = float(document["threshold"]), str(named["name"]), str(named["identity"])
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
    if identity != detector_id(detector):
        whose = f"of {name}" if name != detector.name else f"of {name} in another version or configuration"
        raise ModeratorError(
            f"{path} holds the threshold {whose}, and says nothing of {detector.name} as it is now. "
            f"Run safemt moderator calibrate --moderator {detector.name} on your benign dialogues."
        )
    return threshold


def write_threshold(path: Path, document: dict[str, Any]) -> None:
    """Write the file whole or not at all.

    Raises:
        ModeratorError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(
            json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )
        part.replace(path)
    except OSError as error:
        raise ModeratorError(f"{path} cannot be written: {error.strerror}.") from error
