"""Words errors for the command line.

Below `cli/`, a message names a setting by its place in the configuration, in backticks. Here that place
becomes the option, and the few errors that need another sentence on the command line get one.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from safemt.cli.options import flag_of
from safemt.core.errors import CapReached, DataError, RunStopped, SafemtError

_PLACE: Final = re.compile(r"`([a-z_.]+)`")

_REWORDED: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {}
"""Other sentences, by code; each is made from the error's fields."""


def worded(error: SafemtError) -> str:
    """What the command line says about an error."""
    reword = _REWORDED.get(error.code)
    message = with_flags(reword(error.fields) if reword else str(error), keep=isinstance(error, DataError))
    if not isinstance(error, RunStopped):
        return f"Error: {message}"
    cap = flag_of(str(error.fields.get("setting"))) or "cap"
    way_on = f"with a higher {cap} continues" if isinstance(error, CapReached) else "continues"
    return f"Stopped: {message}\nWhat was finished is stored; the same command {way_on}."


def with_flags(message: str, *, keep: bool = False) -> str:
    """The message with options in place of configuration paths.

    With `keep` the paths stay, as in a message about a configuration file.
    """
    if keep:
        return message
    return _PLACE.sub(lambda match: flag_of(match[1]) or match[0], message)
