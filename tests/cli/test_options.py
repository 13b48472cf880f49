"""Options and help: panels, examples, one meaning for each flag, and hints after a slip."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import click
import pytest

from e2e.command import Command
from safemt.cli import app
from safemt.cli.command import Command as SafemtCommand
from safemt.cli.command import Option
from safemt.cli.options import TABLE, Panel, flag_of
from safemt.cli.values import field_at
from safemt.run.config import RunConfig

CONTEXT: Final = click.Context(app, info_name="safemt")


def commands(group: click.Group = app, path: str = "safemt") -> Iterator[tuple[str, SafemtCommand]]:
    """Every command with its full name."""
    for name in group.list_commands(CONTEXT):
        found = group.get_command(CONTEXT, name)
        if isinstance(found, click.Group):
            yield from commands(found, f"{path} {name}")
        else:
            assert isinstance(found, SafemtCommand)
            yield f"{path} {name}", found


COMMANDS: Final = dict(commands())


def options(command: click.Command) -> list[Option]:
    return [param for param in command.params if isinstance(param, Option)]


def test_every_command_of_today_is_there() -> None:
    assert [name.removeprefix("safemt ") for name in COMMANDS] == [
        *("demo", "check", "estimate", "run", "merge", "status", "score", "compare", "report", "export"),
        *("judge", "judge-check", "moderate", "moderator eval", "moderator calibrate"),
        *("policy list", "policy show", "policy test", "serve", "monitor", "build", "examples"),
    ]


def test_a_flag_means_the_same_place_of_the_configuration_in_every_command() -> None:
    of_table = {setting.flag: path for path, setting in TABLE.items() if field_at(RunConfig, path)}
    paths: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for option in options(command):
            paths.setdefault(option.setting.flag, set()).add(option.setting.path)
    differing = {flag: found for flag, found in paths.items() if flag in of_table and len(found) > 1}
    # A build has turns, and label files have a target, without being runs.
    assert differing == {
        "--turns": {"selection.turns", "turns"},
        "--target": {"target.name", "target"},
    }


def test_a_place_of_the_configuration_has_one_flag_in_every_command() -> None:
    flags: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for option in options(command):
            flags.setdefault(option.setting.path, set()).add(option.setting.flag)
    assert [path for path, found in flags.items() if len(found) > 1] == []


def test_every_field_of_a_run_has_an_option() -> None:
    leaves = {
        "benchmark", "history", "seed",
        *(f"{model}.{field}" for model in ("target", "judge", "moderator")
          for field in ("name", "base_url", "api_key_env")),
        *(f"{model}.sampling.{field}" for model in ("target", "judge", "moderator")
          for field in ("temperature", "max_output_tokens")),
        "judge.routing", "judge.with_image",
        *(f"moderator.{field}" for field in (
            "action", "on_error", "threshold", "thresholds", "template", "band", "with_pictures", "policies",
            "policy_position", "policy_budget", "timeout",
        )),
        *(f"selection.{field}" for field in ("turns", "limit", "text_only", "skip_missing_images")),
        "limits.concurrency", "limits.timeout", "budget.max_cost", "budget.max_tokens", "budget.prices",
    }  # fmt: skip
    assert {path for path in TABLE if field_at(RunConfig, path)} == leaves
    assert flag_of("moderator.threshold") == "--moderator-threshold"
    assert (flag_of("target"), flag_of("out"), flag_of("nothing")) == ("--target", "--out", None)


def test_help_groups_the_options_of_a_run_in_panels(safemt: Command) -> None:
    lines = safemt("run", "--help").out.splitlines()
    panels = [line.removesuffix(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    of_run = [
        panel.value for panel in Panel if panel not in (Panel.ARGUMENTS, Panel.GATEWAY, Panel.GENERATOR)
    ]
    assert panels == [*of_run, "Examples"]
    at = {panel: lines.index(f"{panel}:") for panel in panels}
    where = next(n for n, line in enumerate(lines) if line.startswith("  --moderator-threshold "))
    assert at["Moderator"] < where < at["Selection"]


def test_help_lists_the_commands_in_groups(safemt: Command) -> None:
    shown = safemt("--help").out
    assert [line for line in shown.splitlines() if line.endswith(":")] == [
        "Options:", "Evaluate:", "Look:", "Judge:", "Moderate:", "Deploy:", "Build:",
    ]  # fmt: skip
    assert safemt().out == shown


def test_help_says_what_each_command_does(safemt: Command) -> None:
    for name, command in COMMANDS.items():
        summary = (command.help or "").partition("\n")[0]
        assert summary.endswith(".")
        assert summary in safemt(*name.split()[1:], "--help").said


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_two_examples_that_parse(safemt: Command, name: str) -> None:
    command = COMMANDS[name]
    shown = safemt(*name.split()[1:], "--help").out
    first, second = command.examples
    assert shown.rstrip().endswith(f"Examples:\n  {first}\n  {second}")
    for example in (first, second):
        for part in example.split(" < ")[0].split(" > ")[0].split(" && "):
            assert part.startswith("safemt ")
            words = shlex.split(part)
            found = next(each for each in COMMANDS if words[: len(each.split())] == each.split())
            COMMANDS[found].make_context("safemt", words[len(found.split()) :]).close()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("run", "--tempreature", "1"), "--temperature"),
        (("run", "--moderator-treshold", "1"), "--moderator-threshold"),
        (("moderate", "x", "--threshold", "1"), "--moderator-threshold"),
        (("reprot",), "report"),
        (("moderator", "evl"), "eval"),
    ],
)
def test_a_slip_is_answered_with_the_nearest_name(
    safemt: Command, arguments: tuple[str, ...], hint: str
) -> None:
    done = safemt(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: ")
    assert hint in done.err
    assert len(done.err.splitlines()) == 1


def test_an_unknown_command_points_to_the_help(safemt: Command) -> None:
    done = safemt("dance")
    assert (done.code, done.err) == (2, "Error: There is no command 'dance'. See safemt --help.\n")


@pytest.mark.parametrize(("command", "more"), [([], ["msgspec"]), (["run"], []), (["moderator", "eval"], [])])
def test_help_loads_nothing_heavy(command: list[str], more: list[str]) -> None:
    heavy = ["numpy", "aiohttp", "rich", "yaml", "onnxruntime", "pyarrow", "jinja2", "PIL", "orjson", *more]
    code = (
        "import sys\n"
        "from safemt.cli import app\n"
        f"try: app.main({[*command, '--help']}, prog_name='safemt')\n"
        "except SystemExit: pass\n"
        f"sys.stderr.write(' '.join(m for m in {heavy} if m in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: safemt")
    assert done.stderr == ""
