"""The account of what was spent, in the store: added to, kept, and given to stores that lack it."""

import sqlite3
from pathlib import Path

import pytest

from safemt.core.taxonomy import Label
from safemt.endpoints.base import Reply
from safemt.endpoints.spend import Asked, Usage
from safemt.judges.base import Judgement
from safemt.run.store import STORE_FILE, Store

TARGET = Asked("target", "openai/m", "http://127.0.0.1:8000")
JUDGE = Asked("judge", "openai/j", "https://api.openai.com")
MANIFEST = {
    "target": {"name": "openai/m"},
    "target_base_url": "http://127.0.0.1:8000/v1",
    "judge": {"id": "J", "name": "openai/j"},
    "judge_base_url": None,
}


def test_what_is_added_is_summed_by_who_was_asked_and_survives(tmp_path: Path) -> None:
    store = Store.open_for_run(tmp_path)
    store.add_spend(TARGET, Usage(calls=1, prompt_tokens=10, completion_tokens=2))
    store.add_spend(TARGET, Usage(calls=1, estimated=1, prompt_tokens=5, completion_tokens=1))
    store.add_spend(JUDGE, Usage(calls=1, prompt_tokens=7, completion_tokens=3))
    store.close()
    store = Store.open_for_reading(tmp_path)
    assert store.spend() == {
        TARGET: Usage(calls=2, estimated=1, prompt_tokens=15, completion_tokens=3),
        JUDGE: Usage(calls=1, prompt_tokens=7, completion_tokens=3),
    }
    store.close()


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A run directory as safemt 0.1 left it: with responses and labels, and no account of their tokens."""
    store = Store.open_for_run(tmp_path)
    store.begin(setup="S", judge="J", manifest=MANIFEST, samples=[])
    for number in range(3):
        reply = Reply("a", prompt_tokens=100, completion_tokens=10)
        store.add_response(f"r{number}", reply, refused=False, judged=True, attempts=1, seconds=0.1)
    judgement = Judgement(Label.SAFE, prompt_tokens=50, completion_tokens=5)
    store.add_label(judge="J", sample="s", response="r0", judgement=judgement)
    store.close()
    connection = sqlite3.connect(tmp_path / STORE_FILE)
    connection.execute("DROP TABLE spend")
    connection.commit()
    connection.close()
    return tmp_path


SPENT = {
    TARGET: Usage(calls=3, prompt_tokens=300, completion_tokens=30),
    JUDGE: Usage(calls=1, prompt_tokens=50, completion_tokens=5),
}


def test_an_older_store_is_given_the_account_once(older: Path) -> None:
    for _ in range(2):
        store = Store.open_for_run(older)
        assert store.spend() == SPENT
        store.close()


def test_an_older_store_that_is_only_read_tells_the_same_and_is_not_changed(older: Path) -> None:
    before = (older / STORE_FILE).read_bytes()
    store = Store.open_for_reading(older)
    assert store.spend() == SPENT
    store.close()
    assert (older / STORE_FILE).read_bytes() == before


def test_a_simulated_target_has_spent_nothing(tmp_path: Path) -> None:
    store = Store.open_for_run(tmp_path)
    store.begin(setup="S", judge="J", manifest=MANIFEST, samples=[])
    store.add_response("r", Reply("a"), refused=False, judged=True, attempts=1, seconds=0.1)
    store._db.execute("DROP TABLE spend")
    store.close()
    store = Store.open_for_run(tmp_path)
    assert store.spend() == {}
    store.close()
