"""One worker of a cluster, without the cluster: what it hands over, and that nothing is asked twice."""

import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from safemt.core.errors import UsageError
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Scenario
from safemt.judges.base import judge_id
from safemt.run.config import config_from
from safemt.run.plan import open_models
from safemt.run.protocol import History, setup_key
from safemt.run.spread.ray_executor import ray_cluster
from safemt.run.spread.ray_worker import ADDITIONS, Ended, News, Task, Worker
from safemt.run.spread.shards import Shard
from safemt.run.store import Store

CONFIG = config_from({"benchmark": "demo", "target": "sim/steady"})
TARGET, JUDGE = open_models(CONFIG, None)
SETUP, JUDGE_ID = setup_key(TARGET, History.SCRIPTED), judge_id(JUDGE)
SAMPLES = [
    Sample(
        query_id=f"q{number}",
        turns=1,
        scenario=Scenario.FRAUD,
        question="?",
        dialogue=(Message("user", f"text {number}"),),
    )
    for number in range(30)
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open_for_run(tmp_path / "run")
    opened.begin(setup=SETUP, judge=JUDGE_ID, manifest={}, plan=list(enumerate(SAMPLES)))
    yield opened
    opened.close()


def task(tmp_path: Path, shard: Shard, **changes: Any) -> Task:
    return Task(
        safemt=changes.get("safemt", version("safemt")),
        config=changes.get("config", CONFIG),
        images=tmp_path,
        boundary=None,
        shard=shard,
        concurrency=2,
    )


def add(store: Store, news: News) -> None:
    for name, arguments, named in news.additions:
        assert name in ADDITIONS
        getattr(store, name)(*arguments, **named)


def left(store: Store) -> int:
    """How many samples are still to do."""
    return sum(sample.label is None for sample in store.scored_samples(setup=SETUP, judge=JUDGE_ID))


async def test_what_two_workers_hand_over_is_the_whole_run(tmp_path: Path, store: Store) -> None:
    copy = store.copy()
    counted = 0
    for number in (1, 2):
        worker = Worker(task(tmp_path, Shard(number, 2)), copy)
        assert await worker.run() == Ended()
        news = await worker.news()
        add(store, news)
        counted += news.done
        assert sum(event == "label" for event, _ in news.events) == news.done
        assert sum(news.graded.values()) == news.done
        assert (await worker.news()).additions == []
    assert counted == 30
    assert left(store) == 0
    scored = list(store.scored_samples(setup=SETUP, judge=JUDGE_ID))
    assert [sample.query_id for sample in scored] == [sample.query_id for sample in SAMPLES]


async def test_a_shard_that_is_taken_up_again_does_only_what_had_not_arrived(
    tmp_path: Path, store: Store
) -> None:
    first = Worker(task(tmp_path, Shard(1, 1)), store.copy())
    await first.run()
    news = await first.news()
    labelled = [place for place, (name, *_) in enumerate(news.additions) if name == "add_label"]
    for name, arguments, named in news.additions[: labelled[9] + 1]:
        getattr(store, name)(*arguments, **named)
    still = left(store)
    assert 0 < still <= 20
    second = Worker(task(tmp_path, Shard(1, 1)), store.copy())
    assert await second.run() == Ended()
    again = await second.news()
    assert again.done == still
    add(store, again)
    assert left(store) == 0


async def test_a_worker_that_has_not_begun_has_no_news(tmp_path: Path, store: Store) -> None:
    worker = Worker(task(tmp_path, Shard(1, 2)), store.copy())
    news = await worker.news()
    assert (news.additions, news.events, news.done, news.limits) == ([], [], 0, {})
    await worker.stop("Interrupted.")


async def test_an_error_comes_back_by_name(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Worker(task(tmp_path, Shard(1, 1), safemt="0.0.1"), store.copy())
    ended = await other.run()
    assert ended.error == "UsageError"
    assert "0.0.1" in ended.message
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    keyless = config_from({"benchmark": "demo", "target": "openai/m", "judge": "refusal"})
    ended = await Worker(task(tmp_path, Shard(1, 1), config=keyless), store.copy()).run()
    assert ended.error == "UsageError"
    assert "OPENAI_API_KEY" in ended.message


def test_a_copy_of_a_store_is_a_store(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "run.sqlite").write_bytes(store.copy())
    copied = Store.open_for_reading(folder)
    assert [sample.id for _, sample in copied.plan()] == [sample.id for sample in SAMPLES]
    copied.close()


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError) as error, ray_cluster("auto", None):
        pass
    assert error.value.code == "ray_not_installed"
