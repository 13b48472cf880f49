"""Makes a command from a function: its options from the table, its configuration from the options.

    @command("out", "as_json", config=RunConfig, examples=("safemt run --config run.yaml --out runs/x",))
    def run(config: RunConfig, *, out: Path | None, as_json: bool) -> int | None: ...

The function gets one configuration, and its other options as keywords. It returns an exit code; None is 0.
"""

from collections.abc import Callable, Sequence
from inspect import getdoc
from pathlib import Path
from typing import Any, TypeAlias

import click
import msgspec

from safemt.cli import summary_of
from safemt.cli.configuration import REQUIRED, configuration
from safemt.cli.groups import HELP, Group
from safemt.cli.options import TABLE, Panel, Setting, use
from safemt.cli.values import Value, field_at

Function: TypeAlias = Callable[..., int | None]


class Option(click.Option):
    """An option with its setting."""

    def __init__(self, setting: Setting, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.setting = setting

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """The flags with what they take, and the help text; the negation of a flag is left out."""
        flags = ", ".join(sorted(self.opts, key=len))
        return f"{flags} {self.metavar}" if self.metavar else flags, self.help or ""


class Argument(click.Argument):
    """A positional argument with a help text."""

    def __init__(self, name: str, help_text: str, **attributes: Any) -> None:
        attributes.setdefault("type", click.Path(path_type=Path))
        super().__init__([name], **{"required": True, **attributes})
        self.help_text = help_text


class Command(click.Command):
    """A command whose help shows its options in panels and ends with examples."""

    examples: Sequence[str] = ()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the arguments, then the options by panel."""
        panels: dict[Panel, list[tuple[str, str]]] = {panel: [] for panel in Panel}
        for param in self.get_params(ctx):
            if isinstance(param, Argument):
                panels[Panel.ARGUMENTS].append((param.make_metavar(ctx), param.help_text))
            elif isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                panel = param.setting.heading if isinstance(param, Option) else Panel.OUTPUT
                panels[panel].append(record)
        for panel, records in panels.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records, col_max=32)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, as long as they are."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example}\n")


def command(
    *settings: str | Setting,
    config: type[msgspec.Struct] | None = None,
    arguments: Sequence[Argument] = (),
    examples: Sequence[str],
    name: str | None = None,
) -> Callable[[Function], Command]:
    """Make a command from a function. Its help is the summary in `safemt.cli`, then the docstring.

    Args:
        settings: Paths in the table of options, or settings of this command alone.
        config: The type of the configuration that the function gets first, made from the settings.
        arguments: The positional arguments.
        examples: Command lines that the help ends with.
        name: The name of the command; None is the function's.
    """
    chosen = [TABLE[each] if isinstance(each, str) else each for each in settings]
    of_config = {each.path for each in chosen if config and not each.multiple and field_at(config, each.path)}

    def decorate(function: Function) -> Command:
        def callback(**values: Any) -> int | None:
            use(chosen)
            taken = {each.path: values.pop(_identifier(each)) for each in chosen}
            file = taken.pop("config", None) if config else None
            keywords = {
                each.path.replace(".", "_"): _argument(each, taken[each.path])
                for each in chosen
                if each.path in taken and each.path not in of_config
            }
            if config is None:
                return function(**values, **keywords)
            given = {path: value for path, value in taken.items() if path in of_config and value is not None}
            return function(configuration(config, given, file), **values, **keywords)

        called = name or function.__name__.replace("_", "-")
        made = Command(
            called,
            callback=callback,
            params=[*arguments, *(_option(each, config, negatable="config" in settings) for each in chosen)],
            help="\n\n".join(filter(None, (summary_of(called), getdoc(function)))),
            context_settings=HELP,
        )
        made.examples = examples
        return made

    return decorate


def group(name: str, commands: Sequence[Command]) -> Group:
    """A command with commands of its own."""
    return Group(
        name,
        {each.name or "": each for each in commands},
        help=summary_of(name),
        context_settings=HELP,
    )


def paths_of(config: type[msgspec.Struct], *sections: str) -> list[str]:
    """The paths in the table that a configuration type has; with `sections` only those of these sections."""
    return [
        path
        for path in TABLE
        if field_at(config, path) and (not sections or path.startswith(tuple(sections)))
    ]


def _identifier(setting: Setting) -> str:
    return setting.path.replace(".", "__")


def _argument(setting: Setting, value: Any) -> Any:
    """What the function gets for an option of its own."""
    if value is not None:
        return value
    return False if setting.kind is bool else setting.default


def _option(setting: Setting, config: type | None, *, negatable: bool) -> Option:
    field = field_at(config, setting.path) if config else None
    kind, default = field or (setting.kind, setting.default)
    flags = [setting.flag, *([setting.short] if setting.short else [])]
    shown = ""
    attributes: dict[str, Any] = {}
    if kind is bool:
        attributes["is_flag"] = True
        if field and negatable:
            flags[0] = f"{flags[0]}/--no-{flags[0].removeprefix('--')}"
    else:
        plain = field is not None and not setting.multiple
        attributes["type"] = value = Value(kind, default=default, plain=plain)
        attributes["metavar"] = setting.takes or value.name
        if default not in (None, "", msgspec.NODEFAULT) and not setting.multiple:
            shown = f" [default: {_shown(default)}]"
        elif setting.required or (default is msgspec.NODEFAULT and setting.path in REQUIRED):
            shown = " [required]"
    return Option(
        setting,
        param_decls=[_identifier(setting), *flags],
        default=None,
        required=setting.required,
        multiple=setting.multiple,
        help=setting.help + shown,
        **attributes,
    )


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
