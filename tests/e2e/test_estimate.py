"""`safemt estimate` beside the run that it speaks of."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Row, models, rows, safemt, write
from servers.client import ChatServer, start_chat_server

ASK = ("--benchmark", "bench", "--text-only")
TEXT = "A plain reply of the target, which is made long enough to count for something. " * 8
VERDICT = "The response does nothing of the kind, so there is nothing to object to here.\nVERDICT: {label}"
RULES: list[dict[str, Any]] = [
    {"mode": "judge", "do": "verdict", "text": VERDICT},
    {"mode": "target", "do": "reply", "text": TEXT},
]
PRICES = "format: safemt-prices/1\nmodels:\n  openai/tested: {input: 1, output: 2}\n"


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with start_chat_server({"rules": RULES}, max_seconds=1800) as running:
        yield running


def long_rows(queries: int, **options: Any) -> list[Row]:
    made = rows(queries, (1, 2), **options)
    for record in made:
        for message in record["dialogue"]:
            message["content"] += " The rest of this message makes it as long as real ones are." * 12
    return made


def parts(document: Any) -> dict[str, Any]:
    return {part["role"]: part for part in document["models"]}


@pytest.mark.parametrize("history", ["scripted", "live"])
def test_calls_are_exact_and_tokens_near_what_the_endpoint_reports(
    tmp_path: Path, server: ChatServer, history: str
) -> None:
    write(tmp_path / "bench", long_rows(20, twins=True))
    options = (*ASK, *models(server), "--history", history)
    before = safemt(tmp_path, "estimate", *options, "--json")
    assert before.code == 0, before.err
    server.reset()
    done = safemt(tmp_path, "run", *options, "--out", "out", "--json")
    assert done.code == 0, done.err
    tokens = done.json["tokens"]
    estimated = parts(before.json)
    assert server.stats()["total"] == estimated["target"]["calls"] + estimated["judge"]["calls"]
    assert estimated["judge"]["calls"] == 40
    assert estimated["target"]["calls"] == (80 if history == "scripted" else 120)
    sent = [part["input_tokens"] for part in before.json["models"]]
    assert sum(each["expected"] for each in sent) == pytest.approx(tokens["prompt"], rel=0.3)
    assert tokens["prompt"] <= sum(each["worst"] for each in sent)
    assert tokens["completion"] <= sum(part["output_tokens"]["worst"] for part in before.json["models"])

    after = safemt(tmp_path, "estimate", *options, "--out", "out", "--json")
    assert [part["calls"] for part in after.json["models"]] == [0]
    assert after.json["done"] == 80
    assert "No call is left to make" in safemt(tmp_path, "estimate", *options, "--out", "out").out


def test_a_small_run_first_turns_assumed_lengths_of_answers_into_measured_ones(
    tmp_path: Path, server: ChatServer
) -> None:
    write(tmp_path / "bench", long_rows(40))
    options = (*ASK, *models(server), "--out", "out")
    assumed = parts(safemt(tmp_path, "estimate", *options, "--json").json)
    assert assumed["target"]["output_per_call"] == {"expected": 300.0, "seen": 0}
    assert safemt(tmp_path, "run", *options, "--limit", 10).code == 0
    server.reset()
    measured = safemt(tmp_path, "estimate", *options, "--json")
    of_target = parts(measured.json)["target"]
    assert of_target["output_per_call"] == {"expected": -(-len(TEXT) // 4), "seen": 20}
    assert (of_target["calls"], measured.json["done"]) == (60, 20)
    assert server.stats()["total"] == 0


def test_an_unknown_price_is_unknown_and_a_given_one_is_counted(tmp_path: Path, server: ChatServer) -> None:
    write(tmp_path / "bench", rows(4))
    (tmp_path / "prices.yaml").write_text(PRICES)
    options = (*ASK, *models(server))
    table = safemt(tmp_path, "estimate", *options)
    assert "unknown" in table.out
    assert "$" not in table.out
    half = safemt(tmp_path, "estimate", *options, "--prices", "prices.yaml", "--json").json
    assert half["cost"] is None
    of_target = parts(half)["target"]
    sent, received = of_target["input_tokens"], of_target["output_tokens"]
    assert of_target["cost"]["expected"] == pytest.approx(
        (sent["expected"] + 2 * received["expected"]) / 1e6, rel=0.01
    )
    assert parts(half)["judge"]["cost"] is None
    whole = safemt(tmp_path, "estimate", *ASK, "--target", "openai/gpt-4o", "--judge", "openai/gpt-4.1-mini")
    assert "unknown" not in whole.out
    assert "price read on 2026-" in whole.out


def test_it_needs_no_key_and_counts_images_by_a_formula_that_it_names(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(2, (1,)))
    done = safemt(
        tmp_path,
        "estimate",
        *("--benchmark", "bench", "--target", "openai/gpt-4o", "--judge", "openai/gpt-4o", "--json"),
        env={"OPENAI_API_KEY": ""},
    )
    assert done.code == 0, done.err
    of_target, of_judge = done.json["models"]
    assert of_target["image_tokens"] == "85 + 170 for each tile of 512 px"
    assert of_target["input_tokens"]["expected"] > 2 * 255
    assert (of_judge["images"], of_judge["image_tokens"]) == (0, None)


def test_a_simulated_run_and_an_offline_judge_cost_nothing(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(3))
    done = safemt(tmp_path, "estimate", *ASK, "--target", "sim/steady", "--json")
    assert done.json == {"samples": 6, "done": 6, "models": [], "cost": {"expected": 0.0, "worst": 0.0}}
