"""`safemt check`, run as a person runs it: what it prints, as a page and as JSON, and how it ends."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmark.sets import (
    folder_row,
    make_sample,
    make_samples,
    our_row,
    put,
    put_folder,
    put_images,
    put_ours,
)
from safemt.cli import main

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SAFEMT_SHARED", ROOT.parent / "shared"))
KEYS = {
    "name": str,
    "layout": str,
    "sha256": str,
    "samples": int,
    "queries": int,
    "rounds": list,
    "turns": dict,
    "scenarios": dict,
    "methods": dict,
    "benign_twins": int,
    "images": int,
    "missing_images": list,
    "ok": bool,
    "counts": dict,
    "findings": list,
}


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    def page(self) -> list[str]:
        """The lines of the page; nothing may be on stderr, and no line may be too long."""
        assert self.err == ""
        found = [line.rstrip() for line in self.out.splitlines()]
        assert max(map(len, found)) <= 80
        assert all(line.isprintable() for line in found)
        return found

    def document(self) -> dict[str, Any]:
        """The JSON document, whose shape is held here."""
        assert self.err == ""
        found: dict[str, Any] = json.loads(self.out)
        assert {key: type(value) for key, value in found.items()} == KEYS
        assert re.fullmatch(r"[0-9a-f]{64}", found["sha256"])
        assert sum(found["turns"].values()) == sum(found["scenarios"].values())
        assert found["samples"] == sum(found["turns"].values()) + found["benign_twins"]
        assert sum(found["counts"].values()) == len(found["findings"])
        for finding in found["findings"]:
            assert list(finding) == ["level", "code", "file", "index", "id", "message"]
            assert finding["level"] in {"error", "warning"}
            assert isinstance(finding["index"], int)
        assert found["ok"] is not any(finding["level"] == "error" for finding in found["findings"])
        assert self.code == (0 if found["ok"] else 1)
        return found


Check = Callable[..., Done]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs the command in this process, which is quicker than in one of its own."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str | Path, folder: Path = ROOT) -> Done:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["safemt", "check", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, *capsys.readouterr())

    return run


def test_it_is_a_command_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "safemt", "check", "demo"],
        env={**os.environ, "COLUMNS": "80", "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    lines = Done(done.returncode, done.stdout, done.stderr).page()
    assert (done.returncode, lines[-1]) == (0, "Usable: no errors, no warnings.")


def test_the_demo_is_usable(check: Check) -> None:
    done = check("demo")
    lines = done.page()
    assert done.code == 0
    assert lines[:2] == [
        "safemt-demo (jsonl layout)",
        "340 samples: 34 queries and 34 benign twins at 1, 2, 4, 6, 8 turns",
    ]
    assert "Samples by scenario and turns, without twins" in lines
    assert any(re.fullmatch(r"Hate Speech( +2){5}", line) for line in lines)
    assert any(re.fullmatch(r"all( +34){5}", line) for line in lines)
    assert lines[-2:] == [
        "34 different images; 0 samples lack their image",
        "Usable: no errors, no warnings.",
    ]
    found = check("demo", "--json").document()
    assert lines[2] == f"sha256 {found['sha256']}"
    assert found["rounds"] == [1, 2, 4, 6, 8]
    assert found["methods"] == {"gradual": 34, "hybrid": 34, "in_context": 34, "role_play": 34}
    assert (found["samples"], found["queries"], found["benign_twins"], found["images"]) == (340, 34, 170, 34)


def test_demo_is_the_shipped_one_wherever_one_stands(check: Check, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    assert check("demo", folder=tmp_path).code == 0
    done = check("./demo", folder=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: demo holds no benchmark: expected samples.jsonl,")


def test_the_published_sample_lacks_its_images_and_nothing_else(check: Check) -> None:
    folder = SHARED / "data/safemt_sample"
    if not folder.is_dir():
        pytest.skip(f"no SafeMT sample at {folder}: set SAFEMT_SHARED to the shared folder")
    ids = ["mllm_economic_harm_1", *(f"mllm_legal_opinion_{n}" for n in range(1, 6))]
    done = check(folder)
    lines = done.page()
    assert done.code == 1
    assert lines[:2] == ["safemt_sample (folder layout)", "18 samples: 6 queries at 1, 2, 4 turns"]
    assert "0 different images; 18 samples lack their image" in lines
    start = lines.index("error missing_image × 18")
    assert " ".join(lines[start + 1 : -2]).split() == ", ".join(ids).split()
    assert lines[-2:] == [
        "  Put them in place, run on text only, or leave these samples out.",
        "Not usable as it is: 18 of 18 samples lack their image, no warnings.",
    ]
    found = check(folder, "--json").document()
    assert (found["samples"], found["queries"], found["rounds"]) == (18, 6, [1, 2, 4])
    assert found["missing_images"] == ids
    assert found["counts"] == {"missing_image": 18}


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A benchmark with an error of most kinds, five of one kind, and two warnings."""
    samples = make_samples(12, (1, 2))
    put_folder(tmp_path, samples)
    put_images(tmp_path, samples)
    rows: list[Any] = [folder_row(sample) for sample in samples if sample.turns == 2]
    rows[0]["dialogue"][0]["content"] = ""
    rows[1]["scenario"] = "Boats"
    rows[2]["dialogue"][1]["role"] = "system"
    rows[3]["dialogue"] = "[bold]"
    rows[4]["id"] = rows[5]["id"]
    rows[6]["dialogue"][0]["content"] = "Given , how?"
    put(tmp_path / "2_turn.json", json.dumps([*rows, 7, 7, 7, 7, 7]))
    put(tmp_path / "images/illegal_activity/illegal_activity_7.png", b"not a picture")
    (tmp_path / "images/legal_opinion/legal_opinion_8.png").unlink()
    return tmp_path


def test_a_broken_set_lists_errors_before_warnings_and_ends_on_a_verdict(check: Check, broken: Path) -> None:
    done = check(broken)
    lines = done.page()
    assert done.code == 1
    assert [line for line in lines if line.startswith(("error", "warning"))] == [
        "error broken_record × 5",
        "error not_an_image × 2",
        "error missing_image × 2",
        "error unknown_scenario × 1",
        "error wrong_order × 1",
        "error bad_dialogue × 1",
        "error misaligned × 1",
        "error duplicate_id × 1",
        "warning empty_turn × 1",
        "warning stripped_placeholder × 1",
    ]
    start = lines.index("error broken_record × 5")
    assert lines[start + 1 : start + 5] == [
        "  2_turn.json, record 13: it is not a JSON object; fix or remove it",
        "  2_turn.json, record 14: it is not a JSON object; fix or remove it",
        "  2_turn.json, record 15: it is not a JSON object; fix or remove it",
        "  … and 2 more, which the JSON document lists",
    ]
    start = lines.index("error missing_image × 2")
    assert lines[start + 1] == "  mllm_legal_opinion_8"
    start = lines.index("warning empty_turn × 1")
    assert lines[start + 1 : start + 3] == [
        "  2_turn.json, record 1 (mllm_animal_abuse_0): user message 1 is empty; kept as",
        "  it is",
    ]
    assert lines[-1] == "Not usable: 14 errors, 2 warnings."


def test_the_json_lists_every_finding_in_order(check: Check, broken: Path) -> None:
    found = check(broken, "--json").document()
    assert len(found["findings"]) == 16
    places = [(finding["file"], finding["index"]) for finding in found["findings"]]
    assert places == sorted(places)
    assert found["missing_images"] == ["mllm_legal_opinion_8"]
    assert found["findings"][-1] == {
        "level": "error",
        "code": "broken_record",
        "file": "2_turn.json",
        "index": 16,
        "id": None,
        "message": "it is not a JSON object; fix or remove it",
    }


def test_warnings_alone_leave_a_benchmark_usable(check: Check, tmp_path: Path) -> None:
    put_images(tmp_path, [make_sample()])
    put(tmp_path / "samples.jsonl", json.dumps(our_row(make_sample(), question="Sorry, no.")) + "\n")
    put(tmp_path / "benchmark.json", '{"name": "[bold]boats[/bold] [/x] \\u001b[31m"}')
    done = check(tmp_path)
    lines = done.page()
    assert done.code == 0
    assert lines[:2] == ["[bold]boats[/bold] [/x] \ufffd[31m (jsonl layout)", "1 sample: 1 query at 1 turns"]
    assert lines[-4:] == [
        "warning question_is_refusal × 1",
        "  samples.jsonl, line 1 (mllm_fraud_1): the question is itself a refusal; kept",
        "  as it is",
        "Usable: no errors, 1 warning.",
    ]


def test_a_set_without_a_single_sample_is_not_usable(check: Check, tmp_path: Path) -> None:
    done = check(put(tmp_path / "notes.jsonl", '{"text": "a note"}\n'))
    lines = done.page()
    assert done.code == 1
    assert lines == [
        "notes.jsonl (hub layout)",
        "error bad_field × 1",
        "  notes.jsonl, line 1: `id` is missing; add it",
        "Not usable: 1 error, no warnings.",
    ]


def test_very_many_missing_images_do_not_fill_the_screen(check: Check, tmp_path: Path) -> None:
    done = check(put_ours(tmp_path, make_samples(500, (1,))))
    lines = done.page()
    assert done.code == 1
    assert len(lines) < 60
    assert "  … and 470 more, which the JSON document lists" in lines


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "There is no benchmark at nowhere: no such file or folder."),
        ("empty", "empty holds no benchmark: expected samples.jsonl,"),
        ("broken.json", "broken.json is empty: there is no row in it."),
        ("hub:boats", "write hub:OWNER/NAME or hub:OWNER/NAME@REVISION."),
    ],
)
def test_what_cannot_be_read_is_one_message_on_stderr(
    check: Check, tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path / "broken.json", "[]")
    done = check(name, "--json", folder=tmp_path)
    assert done.code == (2 if name.startswith("hub:") else 1)
    assert done.out == ""
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert says in done.err
