"""Killed at any point, the same command ends with the same results and makes no finished call again."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from chaos import mortal
from chaos.scenario import answers, check_store, finished_calls, records, results
from e2e.command import environment, models, write
from servers.client import ChatServer

RUN = ("run", "--benchmark", "bench", "--concurrency", "3", "--json")
DIED, KILLED = 9, -signal.SIGPROF
RULES = answers("target", "judge")


@dataclass(slots=True)
class Command:
    """Runs `safemt` in forks of one process that has loaded it once."""

    process: subprocess.Popen[str]

    @classmethod
    def started(cls, folder: Path) -> Self:
        return cls(
            subprocess.Popen(
                [sys.executable, mortal.__file__],
                cwd=folder,
                env=environment(folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )

    def run(
        self,
        *arguments: str,
        dies_before: int | None = None,
        boundaries: bool = False,
        lives: float | None = None,
    ) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order = {
            "arguments": arguments,
            "dies_before": dies_before,
            "boundaries": boundaries,
            "lives": lives,
        }
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "Traceback" not in answer["said"], answer["said"]
        code: int = answer["code"]
        return code


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    started = Command.started(tmp_path)
    yield started
    started.process.communicate()


def calls_made(server: ChatServer) -> set[str]:
    return {entry["sha256"] for entry in server.log()}


def die_everywhere(tmp_path: Path, server: ChatServer, command: Command, *, boundaries: bool) -> int:
    """Die before every statement in turn, each time go on, and compare; give the number of deaths."""
    write(tmp_path / "bench", records(1, (1, 2)))
    options = (*RUN, *models(server))
    assert command.run(*options, "--out", "whole") == 0
    whole = results(tmp_path / "whole")
    assert len(whole["labels"]) == 2
    for deaths in range(10_000):
        out = f"out{deaths}"
        code = command.run(*options, "--out", out, dies_before=deaths + 1, boundaries=boundaries)
        if code != DIED:
            assert code == 0
            assert results(tmp_path / out) == whole
            return deaths
        check_store(tmp_path / out)
        finished = finished_calls(tmp_path / out)
        server.reset()
        assert command.run(*options, "--out", out) == 0
        assert results(tmp_path / out) == whole, f"killed before statement {deaths + 1}"
        assert not finished & calls_made(server)
        assert server.stats()["repeated_after_success"] == 0
        assert len(calls_made(server)) == 4 - len(finished)
    raise AssertionError("it never came to its end")


def test_killed_at_the_edge_of_any_transaction(tmp_path: Path, server: ChatServer, command: Command) -> None:
    assert die_everywhere(tmp_path, server, command, boundaries=True) > 10


@pytest.mark.slow
def test_killed_before_any_statement(tmp_path: Path, server: ChatServer, command: Command) -> None:
    assert die_everywhere(tmp_path, server, command, boundaries=False) > 60


@pytest.mark.slow
def test_killed_again_and_again_it_still_comes_to_its_end(
    tmp_path: Path, server: ChatServer, command: Command
) -> None:
    write(tmp_path / "bench", records(2, (1, 2)))
    options = (*RUN, *models(server))
    assert command.run(*options, "--out", "whole") == 0
    server.reset()
    lives, further = 1, 9
    while command.run(*options, "--out", "out", dies_before=further) == DIED:
        lives += 1
        # Each life is a little longer than the last: one that ends before its first result brings nothing.
        further += 3
    assert lives > 5
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert server.stats()["total"] < 8 * lives


@pytest.mark.slow
def test_killed_at_thirty_random_moments(tmp_path: Path, server: ChatServer, command: Command) -> None:
    write(tmp_path / "bench", records(50, (1, 2)))
    options = (*RUN, "--concurrency", "4", *models(server))
    assert command.run(*options, "--out", "whole") == 0
    whole = results(tmp_path / "whole")
    chance = random.Random(30)
    deaths = runs = 0
    finished: set[str] = set()
    # A run that comes to its end in spite of its deaths makes way for the next.
    while deaths < 30 or finished:
        lives = chance.uniform(0.001, 0.3) if deaths < 30 else None
        server.reset()
        code = command.run(*options, "--out", f"out{runs}", lives=lives)
        assert not finished & calls_made(server)
        kept, finished = finished, finished_calls(tmp_path / f"out{runs}")
        assert kept <= finished
        if code == 0:
            assert results(tmp_path / f"out{runs}") == whole
            runs += 1
            finished = set()
        else:
            assert code == KILLED
            check_store(tmp_path / f"out{runs}")
            deaths += 1
    assert runs > 0
