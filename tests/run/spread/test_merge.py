"""Joining run directories: what is brought together, and what is refused."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e.whole_run import contents
from run.stores import JUDGE, SETUP, answer, begin, fail, sample
from safemt.core.errors import RunError
from safemt.core.schema import Sample
from safemt.core.taxonomy import Label
from safemt.run.spread.merge import Merged, merge_runs
from safemt.run.store import Store

SAMPLES = [sample(f"q{number}", turns) for number in range(4) for turns in (1, 2)]
FIRST, SECOND = SAMPLES[:5], SAMPLES[5:]


def shard(folder: Path, number: int, samples: Sequence[Sample], **more: Any) -> Store:
    return begin(folder, samples, whole=SAMPLES, **{"shard": f"{number}/2", **more})


def parts(folder: Path) -> list[Path]:
    """Two finished shards."""
    for number, samples in enumerate((FIRST, SECOND), 1):
        with shard(folder / f"s{number}", number, samples) as store:
            for each in samples:
                answer(store, each, label=Label.UNSAFE if each.turns > 1 else Label.SAFE)
            store.end("complete")
    return [folder / "s1", folder / "s2"]


def refused(runs: Sequence[Path], out: Path) -> str:
    """The code of the refusal, which leaves nothing behind."""
    with pytest.raises(RunError) as error:
        merge_runs(runs, out, command=[])
    assert not out.exists()
    assert not list(out.parent.glob(".*merging*/results.json"))
    return error.value.code


def test_shards_become_the_run_that_one_process_would_have_written(tmp_path: Path) -> None:
    with begin(tmp_path / "whole", SAMPLES) as store:
        for each in SAMPLES:
            answer(store, each, label=Label.UNSAFE if each.turns > 1 else Label.SAFE)
    runs = parts(tmp_path)
    merged = merge_runs(runs, tmp_path / "all", command=["merge"])
    assert merged == Merged(samples=8, planned=8, unfinished=0, missing=[])
    assert contents(tmp_path / "all") == contents(tmp_path / "whole")
    with Store.open_for_reading(tmp_path / "all") as store:
        assert [sample for _, sample in store.plan()] == SAMPLES
        newest = store.invocation()
        assert (newest.ending, newest.manifest["merged"]) == ("complete", [str(run) for run in runs])
        assert newest.manifest["merged_shards"] == ["1/2", "2/2"]
        assert len(store.invocations()) == 3


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(4)), fates=st.lists(st.sampled_from("aulf-"), min_size=8, max_size=8))
def test_the_order_of_the_parts_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], fates: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    for number in range(4):
        with shard(folder / f"s{number}", number + 1, SAMPLES[2 * number : 2 * number + 2]) as store:
            for each, fate in zip(SAMPLES, fates, strict=True):
                if each not in SAMPLES[2 * number : 2 * number + 2] or fate == "-":
                    continue
                if fate == "f":
                    fail(store, each)
                else:
                    answer(store, each, label={"a": None, "u": Label.UNGRADED, "l": Label.SAFE}[fate])
    runs = [folder / f"s{number}" for number in range(4)]
    merge_runs(runs, folder / "one", command=[])
    merge_runs([runs[number] for number in order], folder / "other", command=[])
    assert contents(folder / "one") == contents(folder / "other")
    with Store.open_for_reading(folder / "one") as store:
        found = list(store.scored_samples(setup=SETUP, judge=JUDGE))
    assert [each.label is None for each in found] == [fate in "a-" for fate in fates]


def test_a_shard_that_is_missing_is_named_and_the_rest_is_still_to_do(tmp_path: Path) -> None:
    first, _ = parts(tmp_path)
    merged = merge_runs([first], tmp_path / "all", command=[])
    assert (merged.samples, merged.planned, merged.missing) == (5, 8, ["2/2"])
    with Store.open_for_reading(tmp_path / "all") as store:
        assert "2/2" in str(store.invocation().ending)


def test_an_ungraded_label_gives_way_and_a_success_ends_a_failure(tmp_path: Path) -> None:
    for number, label in ((1, Label.UNGRADED), (2, Label.SAFE)):
        with begin(tmp_path / f"s{number}", SAMPLES) as store:
            answer(store, SAMPLES[0], label=label)
            if number == 1:
                fail(store, SAMPLES[1])
                fail(store, SAMPLES[0], asked_of=JUDGE)
            else:
                answer(store, SAMPLES[1])
    for order in ((1, 2), (2, 1)):
        out = tmp_path / f"all{order[0]}"
        merge_runs([tmp_path / f"s{number}" for number in order], out, command=[])
        with Store.open_for_reading(out) as store:
            found = list(store.scored_samples(setup=SETUP, judge=JUDGE))
            assert [each.label for each in found[:2]] == [Label.SAFE, Label.SAFE]
            assert store.failures(setup=SETUP, judge=JUDGE) == []


# What is refused


def test_different_answers_to_one_request_are_refused(tmp_path: Path) -> None:
    runs = parts(tmp_path)
    with Store.open_for_run(runs[1]) as store:
        store.begin(
            setup=SETUP, judge=JUDGE, manifest=store.invocation().manifest, plan=list(enumerate(SAMPLES))
        )
        answer(store, SAMPLES[0], "another text")
    assert refused(runs, tmp_path / "all") == "runs_conflict"


def test_different_labels_of_one_judge_are_refused(tmp_path: Path) -> None:
    runs = parts(tmp_path)
    with Store.open_for_run(runs[1]) as store:
        store.begin(
            setup=SETUP, judge=JUDGE, manifest=store.invocation().manifest, plan=list(enumerate(SAMPLES))
        )
        answer(store, SAMPLES[0], label=Label.UNSAFE)
    assert refused(runs, tmp_path / "all") == "runs_conflict"


def test_different_places_of_one_sample_are_refused(tmp_path: Path) -> None:
    runs = parts(tmp_path)
    with Store.open_for_run(runs[1]) as store:
        manifest = store.invocation().manifest
        store.begin(setup=SETUP, judge=JUDGE, manifest=manifest, plan=[(0, SAMPLES[5])])
    assert refused(runs, tmp_path / "all") == "runs_conflict"


@pytest.mark.parametrize(
    "more",
    [
        {"target": {"name": "openai/other", "simulated": False}},
        {"judge": {"name": "openai/other", "id": JUDGE}},
        {"shard": "2/3"},
    ],
)
def test_parts_of_different_runs_are_refused(tmp_path: Path, more: dict[str, Any]) -> None:
    first, _ = parts(tmp_path)
    shard(tmp_path / "other", 2, SECOND, **more).close()
    assert refused([first, tmp_path / "other"], tmp_path / "all") == "not_one_run"


def test_a_run_that_is_named_twice_in_use_or_not_there_is_refused(tmp_path: Path) -> None:
    first, second = parts(tmp_path)
    assert refused([first, second, tmp_path / "s2/../s1"], tmp_path / "all") == "named_twice"
    with Store.open_for_run(second):
        assert refused([first, second], tmp_path / "all") == "run_in_use"
    assert refused([first, tmp_path], tmp_path / "all") == "not_a_run"


def test_a_place_that_is_taken_is_refused_and_left_alone(tmp_path: Path) -> None:
    runs = parts(tmp_path)
    out = tmp_path / "all"
    out.mkdir()
    (out / "mine").write_text("x")
    with pytest.raises(RunError) as error:
        merge_runs(runs, out, command=[])
    assert error.value.code == "out_exists"
    assert (out / "mine").read_text() == "x"


def test_what_a_killed_merge_left_is_cleared_away(tmp_path: Path) -> None:
    runs = parts(tmp_path)
    (tmp_path / ".all.merging").mkdir()
    (tmp_path / ".all.merging/run.sqlite").write_bytes(b"half of something")
    merge_runs(runs, tmp_path / "all", command=[])
    assert {path.name for path in tmp_path.iterdir()} == {"s1", "s2", "all"}


def test_the_parts_are_only_read(tmp_path: Path) -> None:
    runs = parts(tmp_path)
    before = [(run / "run.sqlite").read_bytes() for run in runs]
    merge_runs(runs, tmp_path / "all", command=[])
    assert [(run / "run.sqlite").read_bytes() for run in runs] == before
    connection = sqlite3.connect(tmp_path / "all/run.sqlite")
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
