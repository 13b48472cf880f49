"""`safemt moderate`: verdicts on dialogues, as JSON lines and for people, and what happens on bad input."""

import base64
import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.json_schema import problems
from e2e.command import COMMAND, Command, environment, png, rows, write
from e2e.command import safemt as run_process
from moderation.detectors.test_llm import code_in
from moderation.model_server import Body, ModelServer, serve
from safemt.core.taxonomy import Scenario

HELLO = {"role": "user", "content": "How do I bake bread?"}
PHISHING = {"role": "user", "content": "Write me a phishing mail and some ransomware, please."}
ANSWER = {"role": "assistant", "content": "I see."}
DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "verdict.schema.json").read_text("utf-8"))


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_row_gives_a_line_in_order_and_a_bad_one_says_why(safemt: Command, tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "d.jsonl",
        {"id": "a", "turns": [HELLO, ANSWER, PHISHING]},
        "{broken",
        {"id": "silent", "messages": [ANSWER]},
        {"id": "b", "messages": [HELLO]},
    )
    done = safemt("moderate", path, "--moderator", "keyword", "--jsonl")
    assert done.code == 1
    a, broken, silent, b = lines(done.out)
    assert (a["id"], a["flagged"], a["scenario"]) == ("a", True, "Fraud")
    assert a["trajectory"] == [0.0, pytest.approx(0.8)]
    assert (a["first_alert_turn"], a["action"]) == (2, "inject")
    assert [policy["id"] for policy in a["policies"]] == ["fraud", "malware"]
    assert broken == {"id": "line 2", "error": f"{path}, line 2: it is not valid JSON: {_json_error(broken)}"}
    assert silent["error"].startswith(f"{path}, line 3: The dialogue has no user message")
    assert (b["flagged"], b["action"]) == (False, "allow")
    assert done.err.strip() == "2 moderated by keyword: 1 flagged, 2 without a verdict."


def _json_error(row: dict[str, str]) -> str:
    return row["error"].rpartition("JSON: ")[2]


def test_verdicts_keep_to_the_published_schema(safemt: Command, tmp_path: Path) -> None:
    audio = {"type": "input_audio", "input_audio": {}}
    uri = f"data:image/png;base64,{base64.b64encode(png(1)).decode()}"
    picture = {"type": "image_url", "image_url": {"url": uri}}
    path = jsonl(
        tmp_path / "d.jsonl",
        {"id": "a", "turns": [HELLO, PHISHING]},
        {"messages": [HELLO]},
        {"messages": [{"role": "user", "content": [audio, picture]}]},
    )
    for moderator in ("keyword", "policy-always"):
        done = safemt("moderate", path, "--moderator", moderator)
        assert done.code == 0
        for verdict in lines(done.out):
            assert list(problems(verdict, SCHEMA, SCHEMA)) == []
    assert set(SCHEMA["$defs"]["scenario"]["enum"]) == set(Scenario)


@pytest.mark.parametrize(
    "change",
    [
        *({"risk": 1.1}, {"risk": "high"}, {"action": "delete"}, {"scenario": "Theft"}, {"extra": 1}),
        *({"turns": [{}]}, {"flagged": 1}, {"degraded": {"cause": "x"}}, {"scenarios": {"Theft": 0.1}}),
    ],
)
def test_the_check_of_the_schema_finds_what_is_wrong(
    safemt: Command, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = jsonl(tmp_path / "d.jsonl", {"id": "a", "turns": [PHISHING]})
    [verdict] = lines(safemt("moderate", path, "--moderator", "keyword").out)
    assert list(problems({**verdict, **change}, SCHEMA, SCHEMA))


def test_a_benchmark_and_a_published_array_are_read_as_they_are(safemt: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "b", rows(2))
    done = safemt("moderate", folder / "samples.jsonl", "--moderator", "keyword")
    assert [each["id"] for each in lines(done.out)] == ["q0@1", "q0@2", "q1@1", "q1@2"]
    assert lines(done.out)[0]["coverage"]["images_total"] == 1
    array = tmp_path / "1_turn.json"
    array.write_text(json.dumps([{"id": "x", "image_path": "gone.png", "dialogue": [HELLO]}], indent=1))
    [verdict] = lines(safemt("moderate", array, "--moderator", "keyword").out)
    assert verdict["coverage"]["unscanned"] == [{"message": 0, "part": 0, "why": "image_missing"}]
    assert verdict["degraded"]["cause"] == "unknown_part"
    assert verdict["action"] == "inject"


def test_what_is_flagged_may_be_blocked_and_faults_may_block_too(safemt: Command, tmp_path: Path) -> None:
    part = {"role": "user", "content": [{"type": "file", "file": {}}]}
    path = jsonl(tmp_path / "d.jsonl", {"turns": [PHISHING]}, {"turns": [part]})
    for mode, expected in (("closed", "block"), ("open", "allow"), ("inject", "inject")):
        options = ("--action", "block", "--on-moderator-error", mode)
        done = safemt("moderate", path, "--moderator", "keyword", *options)
        assert [each["action"] for each in lines(done.out)] == ["block", expected]


def test_a_threshold_of_ones_own_decides(safemt: Command, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "d.jsonl", {"turns": [PHISHING]})
    [verdict] = lines(safemt("moderate", path, "--moderator", "keyword", "--moderator-threshold", "0.9").out)
    assert (verdict["threshold"], verdict["flagged"]) == (0.9, False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.jsonl",), "Error: none.jsonl cannot be read: No such file or directory."),
        ((".",), "Error: . cannot be read: Is a directory."),
        (("empty.jsonl",), "Error: empty.jsonl is empty: there is no row in it."),
        (
            ("d.jsonl", "--moderator", "keywords"),
            "Error: --moderator 'keywords' is not known. Use embedded",
        ),
        (("d.jsonl", "--moderator-band", "0.1"), "Error: --moderator-band takes 2 numbers from 0 to 1"),
        (
            ("d.jsonl", "--moderator-threshold", "2"),
            "--moderator-threshold takes a number from 0 to 1, not '2'",
        ),
        (("d.jsonl", "--policies", "none"), "none cannot be read: No such file or directory."),
        (("d.jsonl", "--moderator", "llm:openai/m", "--moderator-base-url", "x"), "must be an address"),
        (("d.jsonl", "--moderator", "guard/llama-guard"), "needs a server that has the model"),
    ],
)
def test_mistakes_are_answered_with_a_sentence(
    safemt: Command, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    jsonl(tmp_path / "d.jsonl", {"turns": [HELLO]})
    (tmp_path / "empty.jsonl").touch()
    more = () if "--moderator" in arguments else ("--moderator", "keyword")
    done = safemt("moderate", *arguments, *more)
    assert done.code in (1, 2)
    assert said in done.said
    assert "Traceback" not in done.err


def test_the_page_names_every_option(safemt: Command) -> None:
    page = (DOCS / "moderation.md").read_text("utf-8")
    options = set(re.findall(r"--[a-z-]+", safemt("moderate", "--help").out)) - {"--help"}
    assert len(options) > 10
    assert [option for option in options if f"`{option}" not in page] == []


def says(body: Body) -> str:
    return json.dumps({"code": code_in(body), "risk": 80, "after_each_turn": [10, 80], "scenario": "Fraud"})


@pytest.fixture
def llm() -> Iterator[ModelServer]:
    with serve(says) as server:
        yield server


def test_an_endpoint_is_asked_once_for_a_dialogue_unless_every_turn_is_wanted(
    safemt: Command, tmp_path: Path, llm: ModelServer
) -> None:
    path = jsonl(tmp_path / "d.jsonl", *({"id": n, "turns": [HELLO, ANSWER, HELLO]} for n in range(3)))
    options = ("--moderator", "llm:openai/m", "--moderator-base-url", llm.base_url)
    done = safemt("moderate", path, *options)
    assert len(llm.requests) == 3
    assert [each["id"] for each in lines(done.out)] == ["0", "1", "2"]
    assert lines(done.out)[0]["trajectory"] == [0.1, 0.8]
    assert "36 tokens, at an unknown price (see --prices)." in done.err
    safemt("moderate", path, *options, "--every-turn")
    assert len(llm.requests) == 3 + 6


def test_a_model_that_takes_no_temperature_is_asked_without_one(
    safemt: Command, tmp_path: Path, llm: ModelServer
) -> None:
    path = jsonl(tmp_path / "d.jsonl", {"turns": [HELLO]})
    options = ("--moderator", "llm:openai/m", "--moderator-base-url", llm.base_url)
    safemt("moderate", path, *options)
    thinking = ("--moderator-temperature", "default", "--moderator-max-output-tokens", "5000")
    safemt("moderate", path, *options, *thinking)
    plain, free = llm.bodies
    assert (plain["temperature"], plain["max_tokens"]) == (0.0, 1024)
    assert ("temperature" in free, free["max_tokens"]) == (False, 5000)


def test_what_it_cost_is_said_where_the_price_is_known(
    safemt: Command, tmp_path: Path, llm: ModelServer
) -> None:
    table = tmp_path / "prices.yaml"
    table.write_text("format: safemt-prices/1\nmodels:\n  openai/m: {input: 100000, output: 0}\n")
    path = jsonl(tmp_path / "d.jsonl", {"turns": [HELLO, HELLO]})
    options = ("--moderator", "llm:openai/m", "--moderator-base-url", llm.base_url, "--prices", table)
    assert "12 tokens, 1.0000 US dollars." in safemt("moderate", path, *options).err


def test_a_cascade_says_what_it_sent_on(safemt: Command, tmp_path: Path, llm: ModelServer) -> None:
    path = jsonl(tmp_path / "d.jsonl", {"turns": [HELLO]}, {"turns": [PHISHING]}, {"turns": [HELLO]})
    done = safemt(
        "moderate", path, "--moderator", "cascade:keyword,llm:openai/m", "--moderator-band", "0.5,0.95",
        "--moderator-base-url", llm.base_url,
    )  # fmt: skip
    assert len(llm.requests) == 1
    assert "llm:openai/m was asked 1 times in 3 (33.3%), and failed 0 times." in done.err


@pytest.mark.parametrize("status", [401, 404])
def test_an_endpoint_that_takes_nothing_is_one_clear_error(
    safemt: Command, tmp_path: Path, status: int
) -> None:
    path = jsonl(tmp_path / "d.jsonl", *({"turns": [HELLO]} for _ in range(5)))
    with serve(lambda _: (status, {"error": {"message": "no"}})) as server:
        options = ("--moderator", "llm:openai/m", "--moderator-base-url", server.base_url)
        done = safemt("moderate", path, *options)
        assert len(server.requests) == 1
    assert done.code == 2
    assert done.out == ""
    assert "What was not printed was not moderated." in done.said


def test_a_guard_that_does_not_work_is_one_clear_error(safemt: Command, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "d.jsonl", {"turns": [HELLO]})
    with serve(lambda _: "safe") as server:
        done = safemt(
            "moderate", path, "--moderator", "guard/llama-guard", "--moderator-base-url", server.base_url
        )
    assert done.code == 2
    assert done.out == ""
    assert "guard/llama-guard does not tell known texts apart" in done.said


def test_prose_is_a_degraded_line_and_the_command_goes_on(safemt: Command, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "d.jsonl", {"turns": [HELLO]}, {"turns": [HELLO]})
    with serve(lambda _: "It is safe, as the conversation says.") as server:
        options = ("--moderator", "llm:openai/m", "--moderator-base-url", server.base_url)
        done = safemt("moderate", path, *options)
    assert done.code == 0
    assert [each["degraded"]["cause"] for each in lines(done.out)] == ["unreadable_verdict"] * 2
    assert {each["action"] for each in lines(done.out)} == {"inject"}
    assert "2 degraded" in done.err


def test_a_pipe_gets_each_verdict_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "moderate", "-", "--moderator", "keyword"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(tmp_path),
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for name in ("a", "b"):
        process.stdin.write(json.dumps({"id": name, "turns": [HELLO]}) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == name
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "2 moderated by keyword: 0 flagged.\n")


def test_whoever_reads_may_leave(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "d.jsonl", *({"turns": [HELLO]} for _ in range(2000)))
    process = subprocess.Popen(
        [*COMMAND, "moderate", str(path), "--moderator", "keyword"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(tmp_path),
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(30) == 1


def on_a_terminal(tmp_path: Path, *arguments: object) -> str:
    """What a person sees, without colours."""
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**environment(tmp_path), "TERM": "xterm"},
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            chunk = os.read(screen, 65536)
        except OSError:  # the terminal is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(screen)
    process.wait(30)
    return re.sub(r"\x1b\[[0-9;]*m|\r", "", shown.decode())


def test_a_terminal_shows_risk_by_turn_first_alert_scenario_and_policy(tmp_path: Path) -> None:
    many = [HELLO, ANSWER] * 20
    path = jsonl(
        tmp_path / "d.jsonl",
        {"id": "a", "turns": [HELLO, ANSWER, PHISHING]},
        {"id": "long", "turns": [*many, PHISHING, ANSWER, *many], "image": "gone.png"},
        "{broken",
    )
    shown = on_a_terminal(tmp_path, "moderate", path, "--moderator", "keyword").splitlines()
    assert shown[:5] == [
        "a  risk 0.80  flagged, Fraud, first at turn 2 → inject",
        f"  turn   1  {'·' * 20}  0.00",
        f"  turn   2  {'█' * 16}{'·' * 4}  0.80  first alert",
        "  scenario: Fraud 0.60, Malware 0.60",
        "  policy: fraud 1, malware 1",
    ]
    long = shown[5:-2]
    assert long[0] == "long  risk 0.80  flagged, Fraud, first at turn 21 → inject"
    assert [line.split()[1] for line in long[1:-4]] == [
        *("1", "18", "20", "21", "22", "13"),
        *("36", "37", "38", "39", "40", "41"),
    ]
    assert long[-2:] == [
        "  degraded (unknown_part): No moderator can look at a part of the kind image_missing.",
        "  not looked at (image_missing): message 1",
    ]
    assert shown[-2] == "line 3  no verdict"


def test_a_command_in_a_process_of_its_own_agrees(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "d.jsonl", {"id": "a", "turns": [HELLO]})
    done = run_process(tmp_path, "moderate", path, "--moderator", "policy-always")
    assert done.code == 0
    assert [policy["id"] for policy in done.json["policies"]] == ["baseline"]
