"""Checking judges against people, judging runs again, and using what is known of a judge."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from e2e.command import asked, rows, safemt, write
from servers.client import start_chat_server

JUDGING = {
    "rules": [
        {"mode": "judge", "do": "verdict"},
        {"mode": "strict", "do": "reply", "text": "VERDICT: unsafe"},
        {"do": "reply", "text": "A plain answer."},
    ]
}


def labels(path: Path, *rows: Mapping[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def person(number: int, label: str, response: str, **fields: object) -> dict[str, object]:
    return {"id": f"p{number}", "prompt": "How do kites fly?", "response": response, "label": label, **fields}


def test_a_judge_is_checked_against_people_once_and_known_from_then_on(tmp_path: Path) -> None:
    people = [person(n, "unsafe", "Said: UNSAFE-MARK", category="a") for n in range(40)]
    people += [person(n + 40, "safe", "Said nothing.", category="b", language="de") for n in range(60)]
    people[0]["response"] = "Said nothing."
    labels(tmp_path / "people.jsonl", *people)
    write(tmp_path / "bench", rows(6, (1, 2)))
    with start_chat_server(JUDGING) as server:
        judge = ("--judge", "openai/j", "--judge-base-url", server.mode_url("judge"))

        first = safemt(tmp_path, "judge-check", "people.jsonl", *judge, "--json")
        calls = server.stats()["total"]
        again = safemt(tmp_path, "judge-check", "people.jsonl", *judge)
        assert server.stats()["total"] == calls == 100

        run = ("run", "--benchmark", "bench", "--out", "out", "--target", "openai/t")
        done = safemt(tmp_path, *run, "--target-base-url", server.mode_url("x"), *judge, "--json")

    assert first.code == 0, first.err
    assert first.json["confusion"]["unsafe_as_unsafe"] == 39
    assert first.json["confusion"]["unsafe_as_safe"] == 1
    assert first.json["confusion"]["safe_as_safe"] == 60
    assert first.json["sensitivity"]["value"] == pytest.approx(39 / 40)
    assert first.json["sensitivity"]["interval"][0] < 39 / 40 < first.json["sensitivity"]["interval"][1]
    assert set(first.json["categories"]) == {"a", "b"}
    assert set(first.json["languages"]) == {"en", "de"}
    assert [row["id"] for row in first.json["disagreements"]] == ["p0"]
    assert "p0 [a]: people unsafe, judge safe" in again.said
    assert "kites" not in first.out + again.out  # texts only when asked for
    assert done.json["judge_validation"]["labels"] == "people.jsonl"
    assert done.json["turns"]["1"]["corrected"]["standing"] == "corrected"
    assert "kites" in safemt(tmp_path, "judge-check", "people.jsonl", "--judge", "refusal", "--show-text").out


def test_a_run_is_judged_again_without_asking_the_target(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(6, (1, 2), twins=True))
    with start_chat_server(JUDGING) as server:
        run = ("run", "--benchmark", "bench", "--out", "out", "--target", "openai/t")
        address = ("--target-base-url", server.mode_url("target"))
        first = safemt(tmp_path, *run, *address, "--judge", "refusal", "--json")
        before = len(asked(server, "target"))

        strict = ("--judge", "openai/j", "--judge-base-url", server.mode_url("strict"), "--judge-with-image")
        done = safemt(tmp_path, "judge", "out", *strict, "--json")

        assert len(asked(server, "target")) == before
        requests = asked(server, "strict")
        assert len(requests) == 12  # the twins are not judged
        assert all(request["messages"][0]["content"][0]["type"] == "image_url" for request in requests)

        (tmp_path / "bench/images/0.png").write_bytes(b"another picture")
        spoiled = safemt(tmp_path, "judge", "out", *strict, "--routing", "general")
    assert first.json["turns"]["1"]["asr"] == 1.0  # to the refusal judge an answer is unsafe
    assert done.json["turns"]["1"]["asr"] == 1.0
    assert done.json["judge"]["name"] == "openai/j"
    (other,) = done.json["other_judges"]
    assert (other["name"], other["shared"]) == ("refusal", 12)
    assert other["agreement"]["value"] == 1.0
    assert spoiled.code != 0
    assert "has changed" in spoiled.said
    assert safemt(tmp_path, "judge", "out", "--judge", "refusal", "--json").json["judge"]["name"] == "refusal"


def test_samples_without_a_response_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(2, (1,)))
    labels(tmp_path / "one.jsonl", {"query_id": "q0", "turns": 1, "response": "A plain answer."})
    safemt(
        tmp_path,
        "run",
        "--benchmark",
        "bench",
        "--out",
        "out",
        "--target",
        "replay/one.jsonl",
        "--judge",
        "refusal",
    )
    labels(tmp_path / "labels.jsonl", *({"query_id": f"q{n}", "turns": 1, "label": "safe"} for n in range(2)))

    done = safemt(tmp_path, "judge", "out", "--judge", "recorded/labels.jsonl", "--json")

    assert done.json["turns"]["1"] | {"interval": None, "if_ungraded": None} == {
        "asr": 0.0, "n": 2, "unsafe": 0, "safe": 1, "ungraded": 1, "interval": None, "if_ungraded": None,
    }  # fmt: skip
    assert done.json["ungraded"]["causes"] == {"not_recorded": 1}


def test_labels_by_people_on_a_part_of_the_run_sharpen_its_figures(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(30, (1,)))
    safemt(tmp_path, "run", "--benchmark", "bench", "--out", "out", "--target", "sim/steady")
    labels(
        tmp_path / "people.jsonl", *({"query_id": f"q{n}", "turns": 1, "label": "safe"} for n in range(10))
    )

    powered = safemt(tmp_path, "score", "out", "--people", "people.jsonl", "--json").json[
        "prediction_powered"
    ]

    assert (powered["labelled"], powered["unlabelled"]) == (10, 20)
    assert "By people’s standard" in safemt(tmp_path, "score", "out", "--people", "people.jsonl").said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("judge", "nowhere", "--judge", "refusal"), "nowhere is not a run directory"),
        (("judge-check", "nowhere.jsonl", "--judge", "refusal"), "nowhere.jsonl cannot be read"),
        (("judge-check", "bad.jsonl", "--judge", "refusal"), "bad.jsonl, line 1 has a label 'maybe'"),
        (("judge-check", "good.jsonl", "--judge", "gpt"), "--judge 'gpt' is not known"),
        (
            ("judge-check", "good.jsonl", "--judge", "refusal", "--language", "xx"),
            "no row in the language 'xx'",
        ),
        (("compare", "nowhere", "elsewhere"), "nothing to score at nowhere"),
    ],
)
def test_what_cannot_work_is_one_clear_message(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    labels(tmp_path / "bad.jsonl", person(0, "maybe", "x"))
    labels(tmp_path / "good.jsonl", person(0, "safe", "x"))

    done = safemt(tmp_path, *arguments)

    assert done.code != 0
    assert words in done.said
    assert "Traceback" not in done.err
