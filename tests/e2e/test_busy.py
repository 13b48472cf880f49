"""A run with many calls at once: results that share a commit are lost together or not at all."""

import sqlite3
from pathlib import Path

from e2e.command import Row, finish, models, rows, safemt, start, write
from servers.client import ChatServer, start_chat_server

AT_ONCE = 16
RUN = ("run", "--benchmark", "bench", "--out", "out", "--concurrency", AT_ONCE)
RULES: list[Row] = [
    {"mode": "target", "do": "reply", "text": "Reply {sha}.", "latency_ms": 20},
    {"mode": "judge", "do": "verdict", "latency_ms": 20},
]


def kept(folder: Path) -> dict[str, int]:
    """How many rows a killed run left; what is in the WAL counts."""
    connection = sqlite3.connect(folder / "out/run.sqlite")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in ("responses", "answers", "labels")
        }
    finally:
        connection.close()


def answered(server: ChatServer) -> int:
    return int(server.stats()["by_status"].get("200", 0))


def test_a_busy_run_that_is_killed_loses_one_result_of_each_worker_at_most(tmp_path: Path) -> None:
    with start_chat_server({"rules": RULES}) as server:
        write(tmp_path / "bench", rows(60, (1, 2)))
        process = start(tmp_path, *RUN, *models(server))
        assert process.stderr is not None
        while answered(server) < 100:
            assert process.poll() is None, finish(process)
        process.kill()
        finish(process)
        found = kept(tmp_path)
        assert found["responses"] == found["answers"]
        assert found["responses"] >= found["labels"]
        assert answered(server) - found["responses"] - found["labels"] <= AT_ONCE
        done = safemt(tmp_path, *RUN, *models(server), "--json")
        assert done.code == 0, done.err
        assert done.json["complete"] is True
        assert kept(tmp_path) == {"responses": 120, "answers": 120, "labels": 120}
        stats = server.stats()
        assert stats["repeated_after_success"] <= AT_ONCE
        assert stats["max_in_flight"] <= AT_ONCE
