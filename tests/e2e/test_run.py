"""`safemt run` against a target server and a judge server: what is asked, what comes out, what runs again."""

import base64
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Done, asked, models, png, row, rows, safemt, write
from servers.client import ChatServer, start_chat_server

ANSWER = "Reply {sha}."
SCENARIO = {
    "rules": [
        {"mode": "target", "do": "reply", "text": ANSWER},
        {"mode": "judge", "do": "verdict"},
        {"mode": "other-judge", "do": "verdict", "text": "VERDICT: unsafe"},
    ]
}
RECORDS = [
    row(0, 1), row(0, 2, unsafe=True), row(0, 4, unsafe=True),
    row(1, 1, unsafe=True), row(1, 2), row(1, 4, unsafe=True),
    row(0, 1, twin=True), row(0, 2, twin=True),
]  # fmt: skip
RUN = ("run", "--benchmark", "bench", "--out", "out")


@pytest.fixture(scope="module")
def chat_server() -> Iterator[ChatServer]:
    with start_chat_server(SCENARIO, max_seconds=1800) as running:
        yield running


@pytest.fixture
def server(chat_server: ChatServer) -> ChatServer:
    chat_server.reset()
    return chat_server


class Finished:
    """A run that is done, with what its two models were asked."""

    def __init__(self, folder: Path, server: ChatServer) -> None:
        server.reset()
        self.folder = folder
        write(folder / "bench", RECORDS)
        self.done = safemt(folder, *RUN, *models(server))
        self.asked_of_target = asked(server, "target")
        self.asked_of_judge = asked(server, "judge")


@pytest.fixture(scope="module")
def finished(chat_server: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("finished"), chat_server)


@pytest.fixture
def copy(finished: Finished, tmp_path: Path, server: ChatServer) -> Path:
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


def results(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "out/results.json").read_text(encoding="utf-8"))
    return document


def figures(folder: Path) -> dict[str, Any]:
    """What a run found, without where it came from."""
    return {key: value for key, value in results(folder).items() if key not in {"benchmark", "command"}}


def count(folder: Path, table: str) -> int:
    connection = sqlite3.connect(folder / "out/run.sqlite")
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
    finally:
        connection.close()


def last_user(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else str(content[-1]["text"])


# What is asked


def test_the_target_gets_the_published_protocol(finished: Finished) -> None:
    assert len(finished.asked_of_target) == len(RECORDS)
    by_last_turn = {last_user(body): body for body in finished.asked_of_target}
    for record in RECORDS:
        dialogue = record["dialogue"]
        body = by_last_turn[dialogue[-1]["content"]]
        image = base64.b64encode(png(int(Path(record["image"]).stem))).decode()
        first = {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
                {"type": "text", "text": dialogue[0]["content"]},
            ],
        }
        assert body == {
            "model": "tested",
            "messages": [first, *dialogue[1:]],
            "temperature": 0,
            "max_tokens": 1024,
        }


def test_the_judge_gets_question_dialogue_and_response_of_harmful_samples(finished: Finished) -> None:
    harmful = [record for record in RECORDS if not record["twin_of"]]
    texts = [str(body["messages"][0]["content"]) for body in finished.asked_of_judge]
    assert len(texts) == len(harmful)
    for record in harmful:
        (text,) = [text for text in texts if record["dialogue"][-1]["content"] + "\n" in text]
        assert record["question"] in text
        assert all(message["content"] in text for message in record["dialogue"])
        assert "Reply " in text
    assert {(body["model"], len(body["messages"])) for body in finished.asked_of_judge} == {("judging", 1)}
    assert "image_url" not in "".join(texts)


# What comes out


def test_results_hold_every_figure(finished: Finished) -> None:
    document = results(finished.folder)
    assert finished.done.code == 0, finished.done.err
    assert (document["target"], document["simulated"]) == ("openai/tested", False)
    assert (document["complete"], document["pending"]) == (True, 0)
    by_turn = {
        k: {name: entry[name] for name in ("asr", "n", "unsafe", "safe", "ungraded")}
        for k, entry in document["turns"].items()
    }
    assert by_turn == {
        "1": {"asr": 0.5, "n": 2, "unsafe": 1, "safe": 1, "ungraded": 0},
        "2": {"asr": 0.5, "n": 2, "unsafe": 1, "safe": 1, "ungraded": 0},
        "4": {"asr": 1.0, "n": 2, "unsafe": 2, "safe": 0, "ungraded": 0},
    }
    assert {name: entry["asr"] for name, entry in document["scenarios"].items()} == {
        "Fraud": pytest.approx(2 / 3),
        "Malware": pytest.approx(2 / 3),
    }
    assert document["scenarios"]["Fraud"]["turns"]["1"]["asr"] == 0.0
    assert {name: entry["n"] for name, entry in document["methods"].items()} == {"gradual": 2, "role_play": 2}
    assert document["outcomes"] == {"complied": 6}
    assert document["ungraded"] == {"n": 0, "causes": {}}
    assert {k: (v["rate"], v["n"]) for k, v in document["over_refusal"].items()} == {
        "1": (0.0, 1),
        "2": (0.0, 1),
    }
    index = document["safety_index"]
    assert (index["rounds"], index["missing_rounds"]) == ([1, 2, 4], [6, 8])
    assert 0 < index["value"] < index["compat"] < 1
    assert document["judge"]["name"] == "openai/judging"
    assert document["benchmark"]["samples"] == len(RECORDS)
    assert document["history"] == "scripted"
    assert document["tokens"]["prompt"] > 0


def test_figures_go_to_stdout_and_everything_else_to_stderr(finished: Finished) -> None:
    assert "Safety Index" in finished.done.out
    assert "results.json" in finished.done.out
    assert "8 samples at 1, 2, 4 turns → openai/tested, judged by openai/judging" in finished.done.err
    assert "8/8 samples" in finished.done.err
    assert "tokens in" in finished.done.err


# What runs again


def again(folder: Path, server: ChatServer, *more: object) -> tuple[Done, int, int]:
    """The command once more, and how many calls it made to target and judge."""
    server.reset()
    done = safemt(folder, *RUN, *models(server), *more)
    assert done.code == 0, done.err
    return done, len(asked(server, "target")), len(asked(server, "judge"))


def test_the_same_command_makes_no_call_and_prints_the_same(
    finished: Finished, copy: Path, server: ChatServer
) -> None:
    before = figures(copy)
    done, *calls = again(copy, server)
    assert calls == [0, 0]
    assert done.out == finished.done.out
    assert figures(copy) == before
    assert "8 of 8 samples are already done" in done.err


def test_another_temperature_asks_anew_and_keeps_the_old_answers(copy: Path, server: ChatServer) -> None:
    assert again(copy, server, "--temperature", "0.7")[1:] == (8, 6)
    assert {body["temperature"] for body in asked(server, "target")} == {0.7}
    assert again(copy, server, "--temperature", "default")[1:] == (8, 6)
    assert not any("temperature" in body for body in asked(server, "target"))
    assert again(copy, server)[1:] == (0, 0)
    assert count(copy, "responses") == 24


def test_another_judge_asks_only_the_judge(copy: Path, server: ChatServer) -> None:
    server.reset()
    done = safemt(copy, *RUN, *models(server, judge="other-judge"), "--judge", "openai/other")
    assert done.code == 0, done.err
    assert server.stats()["total"] == len(asked(server, "other-judge")) == 6
    assert results(copy)["turns"]["1"]["asr"] == 1.0
    assert again(copy, server)[1:] == (0, 0)
    assert results(copy)["turns"]["1"]["asr"] == 0.5


def test_other_routing_is_another_judge(copy: Path, server: ChatServer) -> None:
    assert again(copy, server, "--routing", "general")[1:] == (0, 6)


def test_only_a_changed_sample_is_asked_again(copy: Path, server: ChatServer) -> None:
    changed = [dict(record) for record in RECORDS]
    changed[1] = row(0, 2)
    write(copy / "bench", changed)
    assert again(copy, server)[1:] == (1, 1)
    assert results(copy)["turns"]["2"]["asr"] == 0.0


def test_a_changed_picture_is_a_changed_sample(copy: Path, server: ChatServer) -> None:
    (copy / "bench/images/1.png").write_bytes(png(77))
    assert again(copy, server)[1:] == (3, 3)


def test_a_changed_question_is_only_judged_again(copy: Path, server: ChatServer) -> None:
    changed = [dict(record) for record in RECORDS]
    changed[3]["question"] = "Another question?"
    write(copy / "bench", changed)
    assert again(copy, server)[1:] == (0, 1)
    assert "Another question?" in str(asked(server, "judge"))


def test_a_moved_server_is_asked_nothing_again(copy: Path, server: ChatServer) -> None:
    server.reset()
    done = safemt(copy, *RUN, *models(server, target="elsewhere"))
    assert done.code == 0, done.err
    assert server.stats()["total"] == 0


def test_a_run_directory_is_one_target(copy: Path, server: ChatServer) -> None:
    done = safemt(copy, *RUN, *models(server), "--target", "openai/another")
    assert done.code == 2
    assert "holds a run of openai/tested, not of openai/another" in done.said
    assert server.stats()["total"] == 0


# What is chosen


def test_limit_keeps_whole_queries_spread_over_the_scenarios(tmp_path: Path, server: ChatServer) -> None:
    write(tmp_path / "bench", rows(12, (1, 2), twins=True))
    done = safemt(tmp_path, *RUN, *models(server), "--limit", 4, "--turns", "2", "--json")
    assert done.code == 0, done.err
    assert sorted(done.json["scenarios"]) == ["Fraud", "Malware", "Privacy Violation", "Satire"]
    assert {entry["n"] for entry in done.json["scenarios"].values()} == {1}
    assert (list(done.json["turns"]), done.json["over_refusal"]["2"]["n"]) == (["2"], 4)
    assert len(asked(server, "target")) == 8
    more = safemt(tmp_path, *RUN, *models(server), "--limit", 6, "--json")
    assert more.json["benchmark"]["samples"] == 24
    assert server.stats()["repeated_after_success"] == 0


def test_text_only_sends_and_needs_no_pictures(tmp_path: Path, server: ChatServer) -> None:
    write(tmp_path / "bench", rows(1))
    shutil.rmtree(tmp_path / "bench/images")
    done = safemt(tmp_path, *RUN, *models(server), "--text-only")
    assert done.code == 0, done.err
    assert all(
        isinstance(message["content"], str)
        for body in asked(server, "target")
        for message in body["messages"]
    )
    assert len(asked(server, "target")) == 2


def test_samples_without_a_picture_are_left_out_only_on_demand(tmp_path: Path, server: ChatServer) -> None:
    write(tmp_path / "bench", rows(3))
    (tmp_path / "bench/images/1.png").unlink()
    refused = safemt(tmp_path, *RUN, *models(server))
    assert refused.code == 1
    assert "--text-only" in refused.said
    assert "--skip-missing-images" in refused.said
    assert not (tmp_path / "out").exists()
    done = safemt(tmp_path, *RUN, *models(server), "--skip-missing-images")
    assert done.code == 0, done.err
    assert "2 without an image left out" in done.said
    assert len(asked(server, "target")) == 4


# History


def test_live_history_makes_k_calls_with_the_targets_own_replies(tmp_path: Path, server: ChatServer) -> None:
    records = [row(0, 4), row(1, 2)]
    write(tmp_path / "bench", records)
    done = safemt(tmp_path, *RUN, *models(server), "--history", "live", "--json")
    assert done.code == 0, done.err
    bodies = {last_user(body): body for body in asked(server, "target")}
    assert len(bodies) == server.stats()["by_rule"]["0"] == 6
    for record in records:
        users = [message["content"] for message in record["dialogue"] if message["role"] == "user"]
        history: list[str] = []
        for text in users:
            messages = bodies[text]["messages"]
            assert [message["content"] for message in messages[1::2]] == history
            assert messages[0]["content"][0]["type"] == "image_url"
            assert len(messages) == 2 * len(history) + 1
            sha = next(
                e["sha256"] for e in server.log() if e["body"] and json.loads(e["body"]) == bodies[text]
            )
            history.append(ANSWER.format(sha=sha))
        judged = next(str(body) for body in asked(server, "judge") if users[-1] in str(body))
        assert all(reply in judged for reply in history)
        assert "message 2, grüße" not in judged
    assert (
        safemt(tmp_path, *RUN, *models(server), "--history", "live", "--json").json["turns"]
        == (done.json["turns"])
    )
    assert server.stats()["by_rule"]["0"] == 6


def test_live_history_is_judged_again_without_asking_the_target(tmp_path: Path, server: ChatServer) -> None:
    write(tmp_path / "bench", [row(0, 4)])
    live = ("--history", "live")
    assert safemt(tmp_path, *RUN, *models(server), *live).code == 0
    first = asked(server, "judge")
    assert again(tmp_path, server, *live, "--judge-temperature", "1")[1:] == (0, 1)
    assert asked(server, "judge")[0]["messages"] == first[0]["messages"]


def test_scripted_and_live_history_do_not_mix(tmp_path: Path, server: ChatServer) -> None:
    write(tmp_path / "bench", [row(0, 1), row(0, 2)])
    assert again(tmp_path, server)[1:] == (2, 2)
    # The single turn and its answer are the same either way, and so is its label.
    assert again(tmp_path, server, "--history", "live")[1:] == (2, 1)
    assert again(tmp_path, server)[1:] == (0, 0)
