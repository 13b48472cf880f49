"""`safemt run` on bad input: one clear message with the way out, a failing exit code, and nothing lost."""

import json
import os
import sqlite3
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Done, png, row, rows, write

Command = Callable[..., Done]
SIMULATED = ("--target", "sim/steady", "--out", "out")


def refused(done: Done, *said: str, code: int, error: str = "") -> None:
    """One message that says all this, and nothing else; `error` is the code of what was raised."""
    assert done.code == code, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert done.err.count("Error") == 1
    assert not error or (done.error is not None and done.error.code == error), done
    for part in said:
        assert part in done.said, done.err
    assert max(map(len, done.err.splitlines())) < 600


def huge_png() -> bytes:
    """Says that it has 20,000 x 10,000 pixels: a bomb for whoever decodes it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0)
    small = png(0)
    return small[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


# The benchmark


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def bad_roles() -> dict[str, Any]:
    bad = row(0, 2)
    bad["dialogue"][1]["role"] = "user"
    return bad


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ("samples.jsonl", "is empty")),
        ('{"query_id": "q0", \n', ("not valid JSON", "samples.jsonl")),
        (lines(row(0, 1, scenario="Juggling")), ("Juggling", "not one of the 17", "q0")),
        (lines(row(0, 1), row(0, 1)), ("occurs twice at 1 turns", "remove or rename")),
        (lines(bad_roles()), ("message 2", "instead of 'assistant'")),
        (lines(row(0, 2) | {"turns": 4}), ("2 user turns", "4", "fix one of the two")),
        (lines([1, 2]), ("not a JSON object",)),
        (lines(row(0, 1) | {"dialogue": None}), ("`dialogue`",)),
    ],
)
def test_a_broken_benchmark(safemt: Command, tmp_path: Path, content: str, said: tuple[str, ...]) -> None:
    write(tmp_path / "bench", rows(1))
    (tmp_path / "bench/samples.jsonl").write_text(content, encoding="utf-8")
    refused(safemt("run", "--benchmark", "bench", *SIMULATED), *said, code=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"This is no picture.", ("not a PNG, JPEG, WebP or GIF",)),
        (huge_png(), ("megapixels", "shrink it")),
        (b"", ("not a PNG, JPEG, WebP or GIF",)),
    ],
)
def test_a_bad_picture(safemt: Command, tmp_path: Path, content: bytes, said: tuple[str, ...]) -> None:
    write(tmp_path / "bench", rows(1))
    (tmp_path / "bench/images/0.png").write_bytes(content)
    refused(safemt("run", "--benchmark", "bench", *SIMULATED), "images/0.png", *said, code=1)
    assert safemt("run", "--benchmark", "bench", *SIMULATED, "--text-only").code == 0


def test_a_benchmark_that_is_not_there(safemt: Command, tmp_path: Path) -> None:
    refused(safemt("run", "--benchmark", "nowhere", *SIMULATED), "no benchmark at nowhere", code=1)
    (tmp_path / "empty").mkdir()
    refused(safemt("run", "--benchmark", "empty", *SIMULATED), "holds no benchmark", code=1)


def test_text_that_no_utf8_can_hold_is_refused_or_kept_but_never_a_traceback(
    safemt: Command, tmp_path: Path
) -> None:
    dialogue = repr([{"role": "user", "content": "half a pair: \ud800"}])
    record = {"id": "q", "scenario": "Fraud", "image_rel_path": None, "dialogue": dialogue}
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/1_turn.jsonl").write_text(json.dumps(record), encoding="utf-8")
    done = safemt("run", "--benchmark", "bench", *SIMULATED, "--text-only")
    assert "Traceback" not in done.err
    assert done.code in {0, 1}


def test_names_that_no_utf8_can_hold_are_names(safemt: Command, tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff")
    write(tmp_path / f"bench{odd}", rows(2, (1,)))
    (tmp_path / f"labels{odd}.jsonl").write_text('{"query_id": "q0", "turns": 1, "label": "safe"}')
    judge = ("--judge", f"recorded/labels{odd}.jsonl")
    out = f"out{odd}"
    done = safemt("run", "--benchmark", f"bench{odd}", "--target", "sim/steady", *judge, "--out", out)
    assert done.code == 0, done.err
    assert json.loads((tmp_path / out / "results.json").read_text())["target"] == "sim/steady"
    for command in (("score", out), ("report", out, "--out", "report.html"), ("judge", out, *judge)):
        assert safemt(*command).code == 0


# The options


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (("--target", "sim/none"), "unknown_target", "sim/steady"),
        (("--target", "gpt-4o", "--judge", "refusal"), "unknown_target", "--target 'gpt-4o'"),
        (("--target", "openai/", "--judge", "refusal"), "unknown_target", "--target-base-url"),
        (("--judge", "gpt-4o"), "unknown_judge", "--judge 'gpt-4o'"),
        (("--judge", "recorded/nowhere.jsonl"), "", "nowhere.jsonl"),
        (("--target", "replay/nowhere.jsonl", "--judge", "refusal"), "", "nowhere.jsonl"),
        (("--target", "openai/m"), "no_judge", "Set --judge"),
        (("--text-only", "--skip-missing-images"), "settings_conflict", "--skip-missing-images"),
        (("--target-base-url", "http://x/v1"), "makes_no_calls", "--target-base-url"),
        (("--judge-api-key-env", "X"), "makes_no_calls", "--judge-api-key-env"),
        (
            ("--target", "openai/m", "--judge", "refusal", "--target-base-url", "localhost:8000"),
            "", "--target-base-url",
        ),
        (
            ("--target", "openai/m", "--judge", "refusal", "--target-api-key-env", "NOT_SET"),
            "", "NOT_SET is not set",
        ),
        (("--policies", "mine"), "no_moderator", "--policies needs a moderator. Add --moderator embedded"),
        (
            ("--moderator", "keyword", "--moderator-template", "x"),
            "setting_does_not_apply", "--moderator-template is for llm:openai/MODEL",
        ),
        (("--shards", "3"), "", "--shards"),
        (("--executor", "ray", "--shards", "1/2"), "settings_conflict", "--executor ray"),
        (("--executor", "ray", "--moderator", "keyword"), "no_moderator_on_ray", "Use --shards"),
    ],
)  # fmt: skip
def test_a_wrong_option(
    safemt: Command, tmp_path: Path, options: tuple[str, ...], error: str, said: str
) -> None:
    write(tmp_path / "bench", rows(1))
    refused(safemt("run", "--benchmark", "bench", *SIMULATED, *options), said, code=2, error=error)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "takes"),
    [
        (("--timeout", "inf"), "a number from 0.1 to 86400"),
        (("--timeout", "0"), "a number from 0.1 to 86400"),
        (("--limit", "0"), "a whole number of at least 1"),
        (("--limit", "1.5"), "a whole number"),
        (("--concurrency", "0"), "a whole number from 1 to 2000"),
        (("--max-output-tokens", "0"), "a whole number of at least 1"),
        (("--max-cost", "nan"), "a number of at least 0"),
        (("--temperature", "hot"), "a number from 0 to 2, or `default`"),
        (("--temperature", "nan"), "a number from 0 to 2"),
        (("--judge-temperature", "3"), "a number from 0 to 2"),
        (("--turns", "many"), "whole numbers of at least 1 separated by commas"),
        (("--turns", ""), "whole numbers"),
        (("--turns", "1,,2"), "whole numbers"),
        (("--turns", "0,1"), "whole numbers"),
        (("--moderator-band", "0.1"), "2 numbers from 0 to 1 separated by a comma"),
        (("--history", "invented"), "scripted or live"),
        (("--routing", "none"), "scenario or general"),
        (("--action", "allow"), "inject or block"),
    ],
)
def test_an_option_out_of_range_says_what_it_takes(
    safemt: Command, tmp_path: Path, options: tuple[str, str], takes: str
) -> None:
    write(tmp_path / "bench", rows(1))
    done = safemt("run", "--benchmark", "bench", *SIMULATED, *options)
    refused(done, f"{options[0]} takes {takes}", repr(options[1]), code=2)


def test_a_missing_key(safemt: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    done = safemt("run", "--benchmark", "demo", "--target", "openai/m", "--judge", "refusal", "--out", "out")
    refused(done, "OPENAI_API_KEY is not set", "--target-base-url", code=2)


@pytest.mark.parametrize("missing", ["--benchmark", "--target", "--out"])
def test_a_missing_option(safemt: Command, missing: str) -> None:
    given = {"--benchmark": "demo", "--target": "sim/steady", "--out": "out"}
    options = [part for name, value in given.items() if name != missing for part in (name, value)]
    refused(safemt("run", *options), f"Missing option '{missing}'.", code=2)


def test_a_number_of_turns_that_no_sample_has(safemt: Command, tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(1, (1, 2)))
    done = safemt("run", "--benchmark", "bench", *SIMULATED, "--turns", "2,3,5")
    refused(done, "no dialogues of 3, 5 turns; it has 1, 2", code=1)


def test_a_wrong_option_is_told_before_the_benchmark_is_read(safemt: Command) -> None:
    refused(safemt("run", "--benchmark", "nowhere", *SIMULATED, "--turns", "x"), "--turns takes", code=2)


# The run directory


def test_a_run_directory_that_is_a_file(safemt: Command, tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(1))
    (tmp_path / "out").write_text("mine")
    done = safemt("run", "--benchmark", "bench", *SIMULATED)
    refused(done, "out is a file", code=2)
    assert (tmp_path / "out").read_text() == "mine"


def test_a_run_directory_with_something_else_in_it(safemt: Command, tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(1))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/run.sqlite").write_text("mine\n" * 500)
    done = safemt("run", "--benchmark", "bench", *SIMULATED)
    refused(done, "not a store of safemt", code=2)
    assert (tmp_path / "out/run.sqlite").read_text() == "mine\n" * 500


def test_results_that_cannot_be_written(safemt: Command, tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(1))
    (tmp_path / "out/results.json").mkdir(parents=True)
    done = safemt("run", "--benchmark", "bench", *SIMULATED)
    assert done.code == 2
    assert "results.json exists and is not a plain file" in done.said
    assert "Traceback" not in done.err
    (tmp_path / "out/results.json").rmdir()
    done = safemt("run", "--benchmark", "bench", *SIMULATED)
    assert done.code == 0
    assert "2 of 2 samples are already done" in done.err


def test_nothing_is_lost_by_a_refused_command(safemt: Command, tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(3))
    assert safemt("run", "--benchmark", "bench", *SIMULATED).code == 0
    before = dumped(tmp_path / "out/run.sqlite")
    for wrong in (("--turns", "9"), ("--target", "sim/brittle"), ("--judge", "nobody"), ("--limit", "x")):
        assert safemt("run", "--benchmark", "bench", *SIMULATED, *wrong).code in {1, 2}
    assert dumped(tmp_path / "out/run.sqlite") == before


def dumped(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def test_names_with_brackets_are_names(safemt: Command, tmp_path: Path) -> None:
    write(tmp_path / "[bold]bench[/red]", rows(1))
    (tmp_path / "[").mkdir()
    responses = [{"query_id": "q0", "turns": k, "response": str(k)} for k in (1, 2)]
    (tmp_path / "[/x].jsonl").write_text(lines(*responses))
    done = safemt(
        "run", "--benchmark", "[bold]bench[/red]", "--target", "replay/[/x].jsonl", "--judge", "refusal",
        "--out", "[red][/out]",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "replay/[/x].jsonl" in done.out
    assert "Results: [red][/out]/results.json" in done.out
    assert "2 samples at 1, 2 turns" in done.err
