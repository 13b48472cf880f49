"""Groups of commands. This module loads nothing but click, so that `safemt --help` is quick."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final

import click

HELP: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of every command."""


class Group(click.Group):
    """A group of commands. Without a command it shows its help; an unknown command suggests the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the help."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with help in place of nothing."""
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first of `args` names.

        Raises:
            click.UsageError: there is no such command.
        """
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            near = get_close_matches(name, self.list_commands(ctx), 1)
            hint = f" Did you mean {near[0]!r}?" if near else f" See {ctx.command_path} --help."
            raise click.UsageError(f"There is no command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group whose commands are in modules of their names, imported when they are needed."""

    def __init__(self, panels: Mapping[str, Mapping[str, str]], **attributes: Any) -> None:
        """`panels` are the headings of the help, with the summaries of their commands."""
        super().__init__(context_settings=HELP, **attributes)
        self._panels = panels

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the help."""
        return [name for summaries in self._panels.values() for name in summaries]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command called `name`."""
        if name not in self.list_commands(ctx):
            return None
        attribute = name.replace("-", "_")
        found: click.Command = getattr(import_module(f"safemt.cli.{attribute}"), attribute)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by panel, without importing them."""
        for panel, summaries in self._panels.items():
            with formatter.section(panel):
                formatter.write_dl(list(summaries.items()), col_max=20)
