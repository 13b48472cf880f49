"""Caps on cost and tokens: where a run stops, what it says, and how it goes on."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Done, models, rows, safemt, write
from servers.client import ChatServer

RUN = ("run", "--benchmark", "bench", "--out", "out", "--text-only", "--concurrency", "4")
RULES: list[dict[str, Any]] = [
    {"mode": "judge", "do": "verdict", "latency_ms": 20},
    {"mode": "empty", "do": "empty_content"},
    {"mode": "target", "do": "reply", "latency_ms": 20},
]
PRICES = """
format: safemt-prices/1
models:
  openai/tested: {input: 1, output: 1}
  openai/judging: {input: 1, output: 1}
"""


@pytest.fixture
def server(chat_server: ChatServer, tmp_path: Path) -> ChatServer:
    chat_server.reset()
    write(tmp_path / "bench", rows(30, (1, 2)))
    (tmp_path / "prices.yaml").write_text(PRICES)
    return chat_server


def capped(done: Done, option: str) -> None:
    assert done.code == 3, done.err
    assert done.out == ""
    assert option in done.said
    assert "is reached" in done.said
    assert "What was finished is stored; the same command with a higher" in done.said
    assert "Traceback" not in done.err


def spent(tmp_path: Path) -> int:
    connection = sqlite3.connect(tmp_path / "out/run.sqlite")
    try:
        return int(
            connection.execute("SELECT sum(prompt_tokens + completion_tokens) FROM spend").fetchone()[0]
        )
    finally:
        connection.close()


def test_a_cap_on_tokens_stops_within_one_window_and_a_higher_one_goes_on(
    tmp_path: Path, server: ChatServer
) -> None:
    stopped = safemt(tmp_path, *RUN, *models(server), "--max-tokens", 6000)
    capped(stopped, "--max-tokens")
    calls = server.stats()["total"]
    used = spent(tmp_path)
    # Target and judge are one server here, so that at most 4 calls were in flight when the cap was reached.
    assert 6000 <= used <= 6000 + 4 * 1000
    assert f"{used:,}, 0 of it before this invocation" in stopped.said
    assert calls < 60

    again = safemt(tmp_path, *RUN, *models(server), "--max-tokens", 6000)
    capped(again, "--max-tokens")
    assert f"{used:,} of it before this invocation" in again.said
    assert server.stats()["total"] == calls

    done = safemt(tmp_path, *RUN, *models(server), "--max-tokens", 1_000_000, "--json")
    assert done.code == 0, done.err
    assert done.json["complete"] is True
    stats = server.stats()
    assert (stats["total"], stats["repeated_after_success"]) == (120, 0)
    tokens = done.json["tokens"]
    assert spent(tmp_path) == tokens["prompt"] + tokens["completion"]


def test_a_finished_run_is_shown_whatever_the_cap(tmp_path: Path, server: ChatServer) -> None:
    assert safemt(tmp_path, *RUN, *models(server)).code == 0
    done = safemt(tmp_path, *RUN, *models(server), "--max-tokens", 1)
    assert done.code == 0, done.err


def test_a_cap_on_cost_counts_target_and_judge_by_the_prices_given(
    tmp_path: Path, server: ChatServer
) -> None:
    options = (*models(server), "--prices", "prices.yaml")
    stopped = safemt(tmp_path, *RUN, *options, "--max-cost", 0.006)
    capped(stopped, "--max-cost")
    assert "The cap of $0.0060" in stopped.said
    assert 6000 <= spent(tmp_path) <= 10_000
    assert safemt(tmp_path, *RUN, *options, "--max-cost", 10).code == 0


def test_a_cap_on_cost_without_a_price_is_refused_before_any_call(tmp_path: Path, server: ChatServer) -> None:
    refused = safemt(tmp_path, *RUN, *models(server), "--max-cost", 5)
    assert refused.code == 2
    assert "--max-cost cannot be kept, because" in refused.said
    assert "--prices" in refused.said
    assert server.stats()["total"] == 0


def test_judging_again_counts_what_the_run_directory_spent_before(tmp_path: Path, server: ChatServer) -> None:
    assert safemt(tmp_path, *RUN, *models(server)).code == 0
    used = spent(tmp_path)
    other = ("--judge", "openai/other", "--judge-base-url", server.mode_url("judge"), "--concurrency", 4)
    stopped = safemt(tmp_path, "judge", "out", *other, "--max-tokens", used + 3000)
    capped(stopped, "--max-tokens")
    assert f"{used:,} of it before this invocation" in stopped.said
    assert safemt(tmp_path, "judge", "out", *other, "--max-tokens", 10**9).code == 0


def test_empty_replies_are_paid_for_and_stop_a_run_that_gets_nothing_else(
    tmp_path: Path, server: ChatServer
) -> None:
    stopped = safemt(tmp_path, *RUN, *models(server, target="empty"), "--max-tokens", 100)
    capped(stopped, "--max-tokens")
    assert server.stats()["total"] <= 4
