"""`safemt examples`: files that the other commands take as they are."""

import shlex
from pathlib import Path

from e2e.command import Command


def test_every_command_that_it_names_works(safemt: Command, tmp_path: Path) -> None:
    done = safemt("examples", "samples")
    assert done.code == 0, done.err
    named = [line.strip() for line in done.out.splitlines() if line.startswith("  safemt ")]
    assert [shlex.split(line)[1] for line in named] == [
        "run", "moderate", "moderator", "judge-check", "build",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "dialogues.jsonl", "judged.jsonl", "labelled.jsonl", "queries.jsonl", "run.yaml",
    ]  # fmt: skip
    for line in named:
        quick = ("--moderator", "keyword") if "moderat" in line else ()
        result = safemt(*shlex.split(line)[1:], *quick)
        assert result.code == 0, (line, result.err)


def test_existing_files_are_kept(safemt: Command, tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/run.yaml").write_text("mine")
    done = safemt("examples", "samples")
    assert (done.code, done.out) == (2, "")
    assert done.error is not None
    assert done.error.code == "file_exists"
    assert (tmp_path / "samples/run.yaml").read_text() == "mine"
    assert len(list((tmp_path / "samples").iterdir())) == 1


def test_the_labelled_dialogues_are_enough_for_a_threshold(safemt: Command) -> None:
    safemt("examples", "samples")
    data = ("--data", "samples/labelled.jsonl")
    done = safemt("moderator", "calibrate", *data, "--moderator", "keyword", "--fpr", "0.1")
    assert done.code == 0, done.err
