"""Runs `safemt` again and again, each time in a fork that may die before a chosen statement of its store.

    python mortal.py

Reads one JSON object a line and answers each with `{"code": N, "said": "…"}`. Its keys:

    arguments      of the command
    dies_before    the number, from 1, of the statement before which the process ends, with code 9; or null
    boundaries     whether only those statements count that begin or end a transaction, or follow one
    lives          seconds of processor time, so that a busy machine does not matter, after which the system
                   ends it, with the code of a process that died of a signal; or null

Nothing is cleaned up on the way out either way, as with `kill -9`.
"""

import json
import os
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from typing import IO, Any

from safemt.cli import main


def count_down(dies_before: int, *, boundaries: bool) -> Callable[[str], None]:
    """A trace callback that ends this process."""
    left = dies_before
    after_commit = False

    def before(statement: str) -> None:
        nonlocal left, after_commit
        word = statement.split(maxsplit=1)[0].upper().rstrip(";")
        here = not boundaries or after_commit or word in {"BEGIN", "COMMIT", "END", "ROLLBACK"}
        after_commit = word in {"COMMIT", "END"}
        left -= here
        if left == 0:
            os._exit(9)

    return before


def live(arguments: list[str], dies_before: int | None, *, boundaries: bool) -> None:
    """Be the command, in this process."""
    if dies_before is not None:
        before = count_down(dies_before, boundaries=boundaries)
        connect: Any = sqlite3.connect

        def traced(*where: Any, **options: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*where, **options)
            connection.set_trace_callback(before)
            return connection

        sqlite3.connect = traced  # type: ignore[assignment]
    sys.argv = ["safemt", *arguments]
    main()


def fork(order: dict[str, Any], said: IO[str]) -> int:
    """Do as ordered in a fork whose words go to `said`; give its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 70
    try:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
        if order["lives"] is not None:
            signal.setitimer(signal.ITIMER_PROF, order["lives"])  # nobody handles SIGPROF: it kills
        live(order["arguments"], order["dies_before"], boundaries=order["boundaries"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Take orders until stdin closes."""
    for module in ("cli.run", "cli.printing", "run.start", "targets.openai", "judges.llm"):
        import_module(f"safemt.{module}")  # once, for all forks
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            code = fork(json.loads(line), said)
            said.seek(0)
            sys.stdout.write(json.dumps({"code": code, "said": said.read()}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    serve()
