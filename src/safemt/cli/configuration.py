"""Makes a configuration from a file and the options of a command."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from safemt.cli.options import TABLE
from safemt.cli.values import fields_of
from safemt.core.errors import UsageError

REQUIRED: Final = ("benchmark", "target.name")
"""What a run cannot do without; a configuration file may give it."""


def configuration(
    config: type[msgspec.Struct], given: Mapping[str, Any], file: Path | None
) -> msgspec.Struct:
    """A configuration from a file, or else from the defaults of its type, overridden by options.

    Args:
        config: The type of the configuration.
        given: The values of the options that were given, by their place in the configuration.
        file: A configuration file, for a run.

    Raises:
        DataError: the file cannot be read, or a value does not fit.
        UsageError, click.UsageError: something that a run needs is missing.
    """
    from safemt.io.yaml import typed
    from safemt.run.config import RunConfig, config_from, read_config_data

    data: Any = _defaults(config) if file is None else read_config_data(file)
    if isinstance(data, dict):  # anything else is left to the check of the types
        for path, value in given.items():
            _put(data, path.split("."), value)
        _require_moderator(data, given, file)
        missing = next((path for path in REQUIRED if path.partition(".")[0] not in data), None)
        if missing and config is RunConfig:
            raise click.UsageError(f"Missing option '{TABLE[missing].flag}'.")
    if config is RunConfig:
        return config_from(data, where=str(file or "the command line"))
    return typed(data, config, where="the command line")


def _require_moderator(data: Mapping[str, Any], given: Mapping[str, Any], file: Path | None) -> None:
    """Raise the error about a moderator's settings on a command line that names no moderator."""
    moderator = data.get("moderator")
    if file is None and isinstance(moderator, dict) and "name" not in moderator:
        setting = next(path for path in given if path.startswith("moderator."))
        raise UsageError(
            "no_moderator",
            f"`{setting}` needs a moderator. Add `moderator` embedded, or drop `{setting}`.",
            setting=setting,
        )


def _defaults(config: type[msgspec.Struct]) -> dict[str, Any]:
    """The sections of a configuration that have a default, as plain data."""
    return {
        name: msgspec.to_builtins(info.default, enc_hook=str)
        for name, info in fields_of(config).items()
        if isinstance(info.default, msgspec.Struct)
    }


def _put(data: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set the value at `path`, unless a section on the way is no mapping."""
    *sections, last = path
    for name in sections:
        section = data.get(name)
        if not isinstance(section, dict | None):
            return
        # A copy: two names of a YAML file may be aliases of one section.
        data[name] = data = dict(section or {})
    data[last] = None if value is msgspec.UNSET else value
