"""The command itself."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.exceptions import UsageError as OptionError
from click.testing import CliRunner

from safemt.cli import app
from safemt.core.errors import UsageError


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["build", *map(str, arguments)], standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_it_prints_counts_the_hash_and_what_was_left_out(
    tmp_path: Path, queries_file: Callable[..., Path]
) -> None:
    out = tmp_path / "made"
    printed = invoke("--queries", queries_file(), "--out", out, "--count", 6, "--turns", "1,2")
    assert "12 samples of 6 queries (6 at 1, 6 at 2 turns)" in printed
    assert "build " in printed
    assert "DATASHEET.md" in printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--turns", "1,zwei"], "--turns"),
        (["--turns", "0"], "--turns"),
        (["--methods", "gradual,magic"], "gradual, role_play, in_context, hybrid"),
        (["--methods", "hybrid", "--turns", "1,2"], "no form at 2 turns"),
        (["--generator", "oracle"], "template or openai/MODEL"),
        (["--generator", "template", "--resume"], "makes no calls"),
        (["--generator", "openai/writer"], "OPENAI_API_KEY is not set"),
        (["--language", "de"], "templates are in English"),
    ],
)
def test_options_that_do_not_fit_are_named(
    tmp_path: Path,
    queries_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises((UsageError, OptionError), match=says):
        invoke("--queries", queries_file(), "--out", tmp_path / "made", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["mild.jsonl"]


def test_the_command_loads_nothing_of_the_builder_before_it_is_called() -> None:
    code = (
        "import sys, safemt.cli.build\n"
        "print([m for m in sys.modules if m.startswith(('safemt.build', 'yaml', 'numpy'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
