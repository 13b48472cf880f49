"""Words errors for the command line.

Below `cli/`, a message names a setting by its place in the configuration, in backticks. Here that place
becomes the option, and some errors get a sentence about the command that helps.
"""

import re
from collections.abc import Mapping
from typing import Final

from safemt.cli.options import flag_of
from safemt.core.errors import CapReached, DataError, RunStopped, SafemtError

_PLACE: Final = re.compile(r"`([a-z_.]+)`")

_ADDED: Final[Mapping[str, str]] = {
    "benchmark_has_errors": "List all errors with: safemt check {path}",
    "other_moderators_thresholds": "Use: safemt moderator calibrate --moderator {moderator}",
}
"""Sentences to add, by code, with the error's fields."""


def worded(error: SafemtError) -> str:
    """What the command line says about an error."""
    # The places in a message about a file are places in that file.
    message = str(error) if isinstance(error, DataError) else with_options(str(error))
    if error.code in _ADDED:
        message += " " + _ADDED[error.code].format(**error.fields)
    if not isinstance(error, RunStopped):
        return f"Error: {message}"
    cap = flag_of(str(error.fields.get("setting"))) or "cap"
    way_on = f"with a higher {cap} continues" if isinstance(error, CapReached) else "continues"
    return f"Stopped: {message}\nWhat was finished is stored; the same command {way_on}."


def with_options(message: str) -> str:
    """The message with options in place of settings."""
    return _PLACE.sub(lambda match: flag_of(match[1]) or match[0], message)
