"""A store that cannot be written, is somebody else's, is damaged, or lives with a clock that jumps."""

import ctypes
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.scenario import answers, records, results
from e2e.command import Command, finish, models, row, rows, start, write
from e2e.command import safemt as in_its_own_process
from safemt.core.errors import RunError, SafemtError
from safemt.report.html.run_page import run_page
from safemt.report.results import results_json, results_of
from safemt.report.runs import open_runs
from safemt.run import store as store_module
from safemt.run.store import Store
from safemt.run.watch.status import read_status
from servers.client import ChatServer

SIMULATED = ("run", "--benchmark", "bench", "--target", "sim/drifting", "--judge", "refusal")
RULES = [
    *answers("target", "judge"),
    {"mode": "hangs", "nth_from": 4, "do": "hang"},
    {"mode": "hangs", "do": "reply", "text": "Reply {sha}."},
]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a benchmark and a finished run of it, `out`."""
    folder = tmp_path_factory.mktemp("good")
    write(folder / "bench", rows(2, (1, 2), twins=True))
    done = in_its_own_process(folder, *SIMULATED, "--moderator", "keyword", "--out", "out")
    assert done.code == 0, done.err
    return folder


# Not to be written


def bound_by_permissions() -> None:
    """Take from root, in the process to be started, the power to write and read what is forbidden."""
    if os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.parametrize("killed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_store_that_may_only_be_read_is_one_message_and_can_be_scored(
    tmp_path: Path, server: ChatServer, killed: bool
) -> None:
    write(tmp_path / "bench", records(4, (1,)))
    options = ("run", "--benchmark", "bench", "--out", "out", "--concurrency", 1)
    if killed:
        process = start(tmp_path, *options, *models(server, target="hangs"))
        while server.stats()["total"] < 4:
            assert process.poll() is None
        process.kill()
        finish(process)
    else:
        assert in_its_own_process(tmp_path, *options, *models(server)).code == 0
    before = (tmp_path / "out/run.sqlite").read_bytes()
    for path in (*(tmp_path / "out").iterdir(), tmp_path / "out"):
        path.chmod(0o500)
    try:
        again = in_its_own_process(
            tmp_path, *options, *models(server), "--seed", 1, preexec_fn=bound_by_permissions
        )
        scored = in_its_own_process(tmp_path, "score", "out", "--json", preexec_fn=bound_by_permissions)
    finally:
        (tmp_path / "out").chmod(0o700)
    assert (again.code, again.out) == (2, ""), "permissions bind nobody here"
    assert again.err.count("Error:") == 1
    assert "Traceback" not in again.err + scored.err
    assert (tmp_path / "out/run.sqlite").read_bytes() == before
    if not killed:
        assert scored.json["complete"] is True


# Two at once


@pytest.mark.slow
def test_of_many_that_start_together_in_one_directory_one_runs(tmp_path: Path, server: ChatServer) -> None:
    write(tmp_path / "bench", records(10, (1,)))
    options = ("run", "--benchmark", "bench", "--out", "out", *models(server))
    together = [start(tmp_path, *options) for _ in range(4)]
    ended = [finish(process) for process in together]
    assert sorted({done.code for done in ended}) in ([0], [0, 2])
    for done in ended:
        assert done.code == 0 or "Another safemt process is working in out" in done.said
    assert server.stats()["repeated_after_success"] == 0
    assert len(results(tmp_path / "out")["labels"]) == 10


# A clock that jumps


def test_a_clock_that_jumps_back_changes_no_result(
    tmp_path: Path, safemt: Command, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "bench", records(4))
    options = ("run", "--benchmark", "bench", "--json", *models(server))
    assert safemt(*options, "--out", "whole").code == 0
    now = [datetime.now(UTC)]

    def backwards() -> str:
        now[0] -= timedelta(hours=1)
        return now[0].isoformat(timespec="milliseconds")

    monkeypatch.setattr(store_module, "_now", backwards)
    half = safemt(*options, "--out", "out", "--limit", 2)
    assert half.json["complete"] is True
    done = safemt(*options, "--out", "out")
    assert done.json["turns"]["2"]["n"] == 4
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    server.reset()
    assert safemt(*options, "--out", "out").json == done.json
    assert server.stats()["total"] == 0


# Another benchmark


def test_what_changed_is_asked_again_and_what_changed_back_is_not(
    tmp_path: Path, safemt: Command, server: ChatServer
) -> None:
    options = ("run", "--benchmark", "bench", "--out", "out", "--json", *models(server))
    write(tmp_path / "bench", records(6, (1,)))
    first = safemt(*options)
    changed = [row(0, 1, unsafe=True), *records(6, (1,))[1:]]
    write(tmp_path / "bench", changed)
    server.reset()
    second = safemt(*options)
    assert server.stats()["total"] == 2
    assert (first.json["turns"]["1"]["unsafe"], second.json["turns"]["1"]["unsafe"]) == (0, 1)
    assert len(results(tmp_path / "out")["responses"]) == 7
    write(tmp_path / "bench", records(6, (1,)))
    server.reset()
    third = safemt(*options)
    assert server.stats()["total"] == 0
    assert third.json["turns"] == first.json["turns"]


# Damaged, or made to do harm


def read_all(folder: Path) -> None:
    """Everything that reads a store; an error of safemt's own is what damage may cause."""

    def figures() -> None:
        results_json(results_of(folder))

    def page() -> None:
        with open_runs([folder]) as runs:
            run_page(runs, None, "", redact=False)

    def work() -> None:
        with Store.open_for_run(folder) as store:
            invocation = store.invocation()
            setup, judge = invocation.setup, invocation.judge
            for each in store.open_work(setup=setup, judge=judge, after=-1, most=100):
                store.label(judge=judge, sample=each.key, response="x")
                store.replies(setup=setup, sample=each.key)
            list(store.samples(setup=setup, judge=judge))
            list(store.verdicts(setup=setup))
            store.spend()
            for _, sample in store.plan():
                store.response(sample.query_id)

    def status() -> None:
        assert read_status(folder).silent_seconds >= 0

    complaints = []
    for reader in (figures, page, work, status):
        try:
            reader()
        except SafemtError as error:
            complaints.append(str(error))
    assert all(str(folder) in complaint for complaint in complaints)


columns = st.sampled_from(
    [
        *(("invocations", name) for name in ("started", "ended", "ending", "setup", "judge", "manifest")),
        *(
            ("samples", name)
            for name in ("key", "position", "query_id", "turns", "scenario", "method", "twin_of")
        ),
        *(("samples", name) for name in ("language", "question", "dialogue", "image")),
        *(("responses", name) for name in ("text", "blocked", "refused", "judged", "finish_reason", "model")),
        *(("responses", name) for name in ("prompt_tokens", "attempts", "seconds", "created")),
        *(("answers", name) for name in ("setup", "sample", "turn", "last", "response", "verdict")),
        ("identities", "hash"),
        *(("verdicts", name) for name in ("moderator", "conversation", "action", "verdict")),
        *(("spend", name) for name in ("role", "model", "calls", "prompt_tokens")),
        *(("labels", name) for name in ("judge", "sample", "label", "cause", "reasoning", "prompt_tokens")),
    ]
)
values = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.sampled_from(
        [
            *("9" * 5_000, "[" * 3_000, "[]", "{}", "null", '["a", 1]', '{"judge": null}', "[1, 2, 3, 4, 5]"),
            *('["a", "b", 1, 2, "../../etc/passwd"]', '{"target": {"name": 1}}', "safe", "Fraud", "\0"),
        ]
    )
)
fuzz = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(fuzz, max_examples=15)
@given(changes=st.lists(st.tuples(columns, values), min_size=1, max_size=2))
def test_a_store_with_other_values_is_read_or_refused(
    good: Path, tmp_path: Path, changes: list[tuple[tuple[str, str], Any]]
) -> None:
    shutil.copy(good / "out/run.sqlite", tmp_path / "run.sqlite")
    connection = sqlite3.connect(tmp_path / "run.sqlite")
    for (table, column), value in changes:
        # Names of this module; the value may break a rule of the table, and then stays out.
        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))  # noqa: S608
    connection.commit()
    connection.close()
    read_all(tmp_path)


@settings(fuzz, max_examples=20)
@given(seed=st.integers(0, 2**32), many=st.sampled_from([1, 4, 30]))
def test_a_store_of_which_bytes_have_changed_is_read_or_refused(
    good: Path, tmp_path: Path, seed: int, many: int
) -> None:
    content = bytearray((good / "out/run.sqlite").read_bytes())
    chance = random.Random(seed)
    for _ in range(many):
        content[chance.randrange(len(content))] = chance.randrange(256)
    (tmp_path / "run.sqlite").write_bytes(content)
    for beside in ("run.sqlite-wal", "run.sqlite-shm", "run.sqlite-journal"):
        (tmp_path / beside).unlink(missing_ok=True)
    read_all(tmp_path)


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS key, x FROM n"


@pytest.mark.parametrize(
    "harm",
    [
        "DROP TABLE labels",
        "ALTER TABLE samples ADD COLUMN more TEXT",
        "ALTER TABLE labels DROP COLUMN reasoning",
        f"CREATE VIEW more AS {ENDLESS}",
        f"DROP TABLE failures; CREATE VIEW failures AS {ENDLESS}",
        "CREATE TRIGGER t AFTER INSERT ON invocations BEGIN DELETE FROM responses; END",
    ],
)
def test_a_store_with_other_tables_is_refused_and_left_alone(good: Path, tmp_path: Path, harm: str) -> None:
    shutil.copy(good / "out/run.sqlite", tmp_path / "run.sqlite")
    connection = sqlite3.connect(tmp_path / "run.sqlite")
    connection.executescript(harm)
    connection.close()
    before = (tmp_path / "run.sqlite").read_bytes()
    opening: Callable[[Path], Store]
    for opening in (Store.open_for_run, Store.open_for_reading):
        with pytest.raises(RunError) as error:
            opening(tmp_path)
        assert error.value.code == "store_damaged"
    assert (tmp_path / "run.sqlite").read_bytes() == before


def test_statistics_and_indexes_of_ones_own_do_no_harm(good: Path, tmp_path: Path) -> None:
    shutil.copy(good / "out/run.sqlite", tmp_path / "run.sqlite")
    connection = sqlite3.connect(tmp_path / "run.sqlite")
    connection.executescript("CREATE INDEX mine ON samples (scenario); ANALYZE")
    connection.close()
    Store.open_for_run(tmp_path).close()
    assert results_of(tmp_path).pending == 0
