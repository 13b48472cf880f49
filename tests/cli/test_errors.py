"""How the command ends: an exit code for each kind of error, one message, and no traceback on purpose."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.command import COMMAND, Done, environment, rows, write
from e2e.command import safemt as safemt_process
from safemt.cli.errors import worded
from safemt.core.errors import (
    BenchmarkError,
    CapReached,
    DataError,
    LabelsError,
    RunError,
    RunStopped,
    SafemtError,
    UsageError,
)

Command = Callable[..., Done]


@pytest.mark.parametrize(
    ("error", "code", "prefix"),
    [
        (UsageError("wrong", "This is wrong."), 2, "Error: "),
        (BenchmarkError("wrong", "This is wrong."), 1, "Error: "),
        (RunError("wrong", "This is wrong."), 2, "Error: "),
        (LabelsError("wrong", "This is wrong."), 2, "Error: "),
        (RunStopped("wrong", "This is wrong."), 3, "Stopped: "),
        (RunStopped("interrupted", "Interrupted."), 130, "Stopped: "),
        (KeyboardInterrupt(), 130, ""),
        (OSError(28, "No space left on device", "file"), 1, "Error: "),
    ],
)
def test_each_error_has_a_message_and_an_exit_code(
    safemt: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, prefix: str
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr("safemt.cli.app.main", fail)
    done = safemt("anything")
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(prefix)
    if isinstance(error, SafemtError):
        assert str(error) in done.err


def test_a_setting_is_named_by_its_option() -> None:
    said = "`target.base_url` and `judge` and `out` but not `openai/MODEL` or `nothing.known`"
    assert worded(UsageError("wrong", said)) == (
        "Error: --target-base-url and --judge and --out but not `openai/MODEL` or `nothing.known`"
    )
    assert worded(DataError("wrong", "run.yaml, `target.base_url`: expected text.")) == (
        "Error: run.yaml, `target.base_url`: expected text."
    )


def test_a_command_that_helps_is_named() -> None:
    assert worded(BenchmarkError("benchmark_has_errors", "It has an error.", path="b")) == (
        "Error: It has an error. List all errors with: safemt check b"
    )


def test_a_stopped_run_says_how_it_continues() -> None:
    assert worded(RunStopped("wrong", "Gone.")) == (
        "Stopped: Gone.\nWhat was finished is stored; the same command continues."
    )
    reached = CapReached("cap_reached", "`budget.max_cost` is reached.", setting="budget.max_cost")
    assert worded(reached) == (
        "Stopped: --max-cost is reached.\n"
        "What was finished is stored; the same command with a higher --max-cost continues."
    )


def test_the_version(safemt: Command) -> None:
    assert safemt("--version").out.startswith("safemt 0.")


def test_output_in_an_old_encoding_is_no_reason_to_fail(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(2, (1, 2)))
    done = safemt_process(
        tmp_path, "run", "--benchmark", "bench", "--target", "sim/steady", "--out", "out",
        env={"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "Safety Index" in done.out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_output_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(2, (1, 2)))
    with Path("/dev/full").open("w") as full:
        done = safemt_process(
            tmp_path, "run", "--benchmark", "bench", "--target", "sim/steady", "--out", "out", stdout=full
        )
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "No space left on device" in done.err
    assert (tmp_path / "out/results.json").is_file()


def test_a_reader_that_leaves_early_is_no_error_to_talk_about(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(2, (1, 2)))
    process = subprocess.Popen(
        [*COMMAND, "run", "--benchmark", "bench", "--target", "sim/steady", "--out", "out", "--json"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert b"Traceback" not in errors
    assert b"Exception ignored" not in errors
    assert (tmp_path / "out/results.json").is_file()
