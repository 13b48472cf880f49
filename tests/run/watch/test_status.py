"""How far a run is, read from its store and its heartbeat."""

import asyncio
import json
import os
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from run.stores import TARGET, answer, begin, fail, sample
from safemt.core.errors import RunError
from safemt.core.taxonomy import Label
from safemt.endpoints.prices import Price, PriceTable
from safemt.endpoints.spend import Spend, Usage
from safemt.run.running import Tracker
from safemt.run.watch.events import EventLog
from safemt.run.watch.heartbeat import HEARTBEAT_FILE, keep_heartbeat, read_heartbeat
from safemt.run.watch.status import STALE_SECONDS, State, read_status

SAMPLES = [*(sample(f"q{number}") for number in range(5)), sample("q0-twin", twin_of="q0")]


def halfway(folder: Path) -> None:
    """A store in which one sample has each fate; the process that wrote it is gone."""
    with begin(folder, SAMPLES) as store:
        answer(store, SAMPLES[0], label=Label.UNSAFE)
        answer(store, SAMPLES[1], label=Label.UNGRADED)
        answer(store, SAMPLES[2], label=None)
        fail(store, SAMPLES[3])
        answer(store, SAMPLES[5], label=None)


def test_samples_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    halfway(tmp_path)
    status = read_status(tmp_path)
    assert (status.samples, status.done, status.left) == (6, 2, 2)
    assert status.labels == {"unsafe": 1}
    assert status.ungraded == {"http_500": 1, "unreadable_verdict": 1}
    [failure] = status.failures
    assert (failure.role, failure.cause, failure.samples, failure.message) == (
        "target", "http_500", 1, "It broke.",
    )  # fmt: skip
    assert (status.target, status.judge, status.simulated, status.shard) == (
        "openai/m", "openai/j", False, None,
    )  # fmt: skip
    assert 0 <= status.silent_seconds < 60


def test_what_was_spent_is_priced_by_the_prices_given(tmp_path: Path) -> None:
    halfway(tmp_path)
    status = read_status(tmp_path)
    assert status.spend == {TARGET: Usage(calls=4, prompt_tokens=40, completion_tokens=8)}
    assert status.cost is None
    prices = PriceTable({"openai/m": Price(input=1e6, output=0.0)})
    assert read_status(tmp_path, prices=prices).cost == 40


@pytest.mark.parametrize(
    ("ending", "state"),
    [("complete", State.COMPLETE), ("stopped: Interrupted.", State.STOPPED), (None, State.KILLED)],
)
def test_how_the_newest_invocation_ended_is_the_state(
    tmp_path: Path, ending: str | None, state: State
) -> None:
    with begin(tmp_path, SAMPLES) as store:
        if ending:
            store.end(ending)
    status = read_status(tmp_path)
    assert (status.state, status.in_use, status.ending) == (state, False, ending)


def test_a_run_is_running_as_long_as_a_process_holds_it(tmp_path: Path) -> None:
    with begin(tmp_path, SAMPLES):
        status = read_status(tmp_path)
        assert (status.state, status.in_use) == (State.RUNNING, True)


def test_a_shard_leaves_the_samples_of_the_others_out(tmp_path: Path) -> None:
    begin(tmp_path, SAMPLES[:2], whole=SAMPLES, shard="1/3").close()
    status = read_status(tmp_path)
    assert (status.samples, status.elsewhere, status.shard) == (2, 4, "1/3")


def test_what_is_no_run_and_what_is_damaged_have_codes(tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        read_status(tmp_path)
    assert error.value.code == "not_a_run"
    with begin(tmp_path, SAMPLES) as store:
        store._db.write("UPDATE invocations SET manifest = '{}'")
    with pytest.raises(RunError):
        read_status(tmp_path)


# The heartbeat


class Engine:
    """As much of an engine as a heartbeat tells."""

    def __init__(self) -> None:
        self.tracker = Tracker(total=10, done=4, already_done=4)
        self.spend = Spend()
        self.events = EventLog()
        self.retries = 3
        self.limits = {"http://h": 20}
        self.stopping = False

    def stop(self, reason: str) -> None:
        self.stopping = True

    async def run(self) -> None:
        pass


async def beat(folder: Path, engine: Engine) -> asyncio.Task[None]:
    """A heartbeat that has been written once."""
    task = asyncio.create_task(keep_heartbeat(engine, folder))
    async with asyncio.timeout(10):
        while not (folder / HEARTBEAT_FILE).exists():  # noqa: ASYNC110, a file has no event
            await asyncio.sleep(0.01)
    return task


async def test_a_heartbeat_tells_what_only_the_process_knows_and_ends_with_it(tmp_path: Path) -> None:
    task = await beat(tmp_path, Engine())
    found = read_heartbeat(tmp_path)
    assert found is not None
    assert (found.pid, found.host, found.rate) == (os.getpid(), socket.gethostname(), None)
    assert (found.limits, found.retries, found.stopping) == ({"http://h": 20}, 3, False)
    assert found.age < 60
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert read_heartbeat(tmp_path) is None
    assert not (tmp_path / HEARTBEAT_FILE).with_suffix(".part").exists()


async def test_a_fresh_heartbeat_gives_rate_and_time_left_and_a_stale_one_gives_neither(
    tmp_path: Path,
) -> None:
    with begin(tmp_path, SAMPLES):
        task = await beat(tmp_path, Engine())
        found = read_heartbeat(tmp_path)
        assert found is not None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        status = replace(read_status(tmp_path), heartbeat=replace(found, rate=2.0))
        assert (status.fresh is not None, status.seconds_left) == (True, 3.0)
        long_ago = datetime.now(UTC) - timedelta(seconds=STALE_SECONDS + 1)
        stale = replace(status, heartbeat=replace(found, rate=2.0, written=long_ago.isoformat()))
        assert (stale.fresh, stale.seconds_left) == (None, None)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pid": 1}', json.dumps({"written": "yesterday", "pid": 1, "host": "h"})]
)
def test_a_heartbeat_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / HEARTBEAT_FILE).write_text(text)
    assert read_heartbeat(tmp_path) is None


async def test_a_folder_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    task = asyncio.create_task(keep_heartbeat(Engine(), tmp_path / "missing"))
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
