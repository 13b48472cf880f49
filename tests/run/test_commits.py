"""What a turn of the loop brings is committed once, wholly or not at all, before anything is built on it."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from safemt.core.errors import RunError
from safemt.endpoints.base import Reply
from safemt.run.commits import Commits
from safemt.run.database import STORE_FILE
from safemt.run.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open_for_run(tmp_path)
    yield opened
    opened.close()


def add(store: Store, key: str, *, size: int = 3) -> None:
    store.add_response(key, Reply("x" * size), refused=False, judged=True, attempts=1, seconds=0.1)


def on_disk(store: Store) -> set[str]:
    """The keys of the responses that another process would find."""
    connection = sqlite3.connect(store.path.parent / STORE_FILE)
    try:
        return {key for (key,) in connection.execute("SELECT key FROM responses")}
    finally:
        connection.close()


async def test_what_happens_in_one_turn_shares_a_commit(store: Store) -> None:
    commits = Commits(store)
    statements: list[str] = []
    store._db.connection.set_trace_callback(statements.append)

    async def answer(number: int) -> None:
        add(store, f"first {number}")
        await commits.settled()
        add(store, f"second {number}")
        await commits.settled()

    with store.grouped():
        await asyncio.gather(*map(answer, range(20)))
    store._db.connection.set_trace_callback(None)
    assert statements.count("COMMIT") == 2
    assert len(on_disk(store)) == 40


async def test_nothing_goes_on_before_it_is_on_disk(store: Store) -> None:
    commits = Commits(store)
    with store.grouped():
        add(store, "one")
        assert store.response("one") is not None
        assert on_disk(store) == set()
        await commits.settled()
        assert on_disk(store) == {"one"}


async def test_a_turn_that_cannot_be_written_fails_for_all_who_took_part_and_the_next_goes_on(
    store: Store,
) -> None:
    commits = Commits(store)

    async def answer(key: str) -> None:
        add(store, key, size=1_000_000 if key == "large" else 3)
        await commits.settled()

    with store.grouped():
        await answer("before")
        pages = store._db.connection.execute("PRAGMA page_count").fetchone()[0]
        store._db.connection.execute(f"PRAGMA max_page_count = {pages}")
        ended = await asyncio.gather(*map(answer, ("small", "large", "later")), return_exceptions=True)
        assert [type(one) for one in ended] == [RunError] * 3
        assert on_disk(store) == {"before"}
        store._db.connection.execute("PRAGMA max_page_count = 1000000")
        await answer("after")
    assert on_disk(store) == {"before", "after"}


async def test_one_who_no_longer_waits_takes_nothing_from_the_others(store: Store) -> None:
    commits = Commits(store)

    async def answer(key: str) -> None:
        add(store, key)
        await commits.settled()

    with store.grouped():
        tasks = [asyncio.create_task(answer(key)) for key in ("stays", "leaves")]
        asyncio.get_running_loop().call_soon(tasks[1].cancel)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert ended[0] is None
    assert isinstance(ended[1], asyncio.CancelledError)
    assert on_disk(store) == {"stays", "leaves"}


async def test_what_nobody_waits_for_is_committed_at_the_end(store: Store) -> None:
    with store.grouped():
        add(store, "one")
    assert on_disk(store) == {"one"}
    add(store, "two")
    assert on_disk(store) == {"one", "two"}
