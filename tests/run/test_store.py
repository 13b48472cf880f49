"""The store: whose file it is, what it keeps, and what it says is still to do."""

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safemt.core.errors import CallFailure, RunError
from safemt.core.schema import ImageRef, Message, Sample
from safemt.core.taxonomy import Label, Method, Outcome, Scenario
from safemt.endpoints.base import Reply
from safemt.judges.base import Judgement
from safemt.run.store import STORE_FILE, Store
from safemt.stats.scores import ScoredSample

IMAGE = ImageRef("ab" * 32, "image/png", 3, 4, "images/ü.png")
SAMPLE = Sample(
    query_id="q",
    turns=2,
    scenario=Scenario.FRAUD,
    question="What? 'quoted' ünïcode \0 🙂",
    dialogue=(Message("user", "one\r\n"), Message("assistant", ""), Message("user", "three")),
    image=IMAGE,
    method=Method.HYBRID,
    language="de",
)
TWIN = Sample("t", 1, Scenario.SATIRE, "?", (Message("user", "one"),), twin_of="q")
FAILED = CallFailure("http_500", "it broke")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a run, 100%?#"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    opened = Store.open_for_run(folder)
    opened.begin(setup="s", judge="j", manifest={"target": {"name": "ä"}}, samples=[SAMPLE, TWIN])
    yield opened
    opened.close()


def open_keys(store: Store, *, setup: str = "s", judge: str = "j", after: int = -1) -> list[str]:
    work = store.open_work(setup=setup, judge=judge, after=after, most=10)
    return [one.sample.query_id for one in work]


def key_of(store: Store, query_id: str) -> str:
    work = store.open_work(setup="none", judge="none", after=-1, most=10)
    return next(one.key for one in work if one.sample.query_id == query_id)


def answer(store: Store, query_id: str, reply: Reply, *, judged: bool = True, refused: bool = False) -> None:
    key = f"response to {query_id}"
    store.add_response(key, reply, refused=refused, judged=judged, attempts=1, seconds=0.5)
    store.add_answer(setup="s", sample=key_of(store, query_id), response=key)


def label(store: Store, query_id: str, said: Label, cause: str = "", *, judge: str = "j") -> None:
    judgement = Judgement(label=said, cause=cause, prompt_tokens=5, completion_tokens=7)
    store.add_label(
        judge=judge, sample=key_of(store, query_id), response=f"response to {query_id}", judgement=judgement
    )


def scored(store: Store, query_id: str, *, judge: str = "j") -> ScoredSample:
    return next(s for s in store.scored_samples(setup="s", judge=judge) if s.query_id == query_id)


# Whose file it is


def test_a_second_process_is_refused_and_the_first_goes_on(store: Store, folder: Path) -> None:
    with pytest.raises(RunError, match="Another safemt process is working in"):
        Store.open_for_run(folder)
    answer(store, "q", Reply("yes"))
    store.close()
    Store.open_for_run(folder).close()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("a diary\n" * 100),
        lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096),
        lambda path: foreign(path, "CREATE TABLE diary (day TEXT)"),
        lambda path: foreign(path, "PRAGMA user_version = 1"),
        lambda path: foreign(path, "PRAGMA application_id = 77"),
    ],
)
def test_another_programs_file_is_refused_and_left_alone(folder: Path, make: Any) -> None:
    folder.mkdir()
    path = folder / STORE_FILE
    make(path)
    before = path.read_bytes()
    for opening in (Store.open_for_run, Store.open_for_reading):
        with pytest.raises(RunError, match=r"not a store of safemt|cannot be opened"):
            opening(folder)
    assert path.read_bytes() == before
    assert {file.name for file in folder.iterdir()} <= {STORE_FILE, "run.lock"}


def foreign(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_newer_version_is_refused_and_left_alone(store: Store, folder: Path) -> None:
    store.close()
    path = folder / STORE_FILE
    foreign(path, "PRAGMA user_version = 2")
    before = path.read_bytes()
    for opening in (Store.open_for_run, Store.open_for_reading):
        with pytest.raises(RunError, match=r"is of store version 2; this safemt reads version 1"):
            opening(folder)
    assert path.read_bytes() == before


def test_a_folder_that_is_a_file_or_lies_in_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="is a file; a run needs a directory"):
        Store.open_for_run(tmp_path / "file")
    with pytest.raises(RunError, match="Not a directory"):
        Store.open_for_run(tmp_path / "file" / "inner")
    (tmp_path / "out" / STORE_FILE).mkdir(parents=True)
    with pytest.raises(RunError, match="cannot be opened"):
        Store.open_for_run(tmp_path / "out")


def test_a_refused_folder_is_free_for_others_again(folder: Path) -> None:
    folder.mkdir()
    (folder / STORE_FILE).write_text("a diary\n" * 100)
    with pytest.raises(RunError):
        Store.open_for_run(folder)
    (folder / STORE_FILE).unlink()
    Store.open_for_run(folder).close()


def test_there_is_nothing_to_read_where_no_run_began(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is no run directory: it holds no run\.sqlite"):
        Store.open_for_reading(tmp_path)
    (tmp_path / STORE_FILE).touch()
    with pytest.raises(RunError, match="is empty: the run never began"):
        Store.open_for_reading(tmp_path)
    Store.open_for_run(tmp_path).close()
    reader = Store.open_for_reading(tmp_path)
    with pytest.raises(RunError, match="holds no run yet"):
        reader.invocation()
    reader.close()


def test_a_closed_store_is_one_plain_file_that_a_reader_leaves_as_it_is(store: Store, folder: Path) -> None:
    answer(store, "q", Reply("yes"))
    store.close()
    names = {STORE_FILE, "run.lock"}
    assert {file.name for file in folder.iterdir()} == names
    before = (folder / STORE_FILE).read_bytes()
    assert before[18:20] == b"\1\1"  # file format: no WAL needed to read it
    reader = Store.open_for_reading(folder)
    assert scored(reader, "q").outcome is Outcome.COMPLIED
    reader.close()
    assert {file.name for file in folder.iterdir()} == names
    assert (folder / STORE_FILE).read_bytes() == before


def test_a_reader_keeps_the_state_it_began_with_and_holds_up_nobody(store: Store, folder: Path) -> None:
    reader = Store.open_for_reading(folder)
    assert scored(reader, "q").outcome is None
    answer(store, "q", Reply("yes"))
    store.begin(setup="s", judge="k", manifest={}, samples=[TWIN])
    assert scored(reader, "q").outcome is None
    assert reader.invocation().judge == "j"
    store.close()
    reader.close()
    later = Store.open_for_reading(folder)
    assert [s.query_id for s in later.scored_samples(setup="s", judge="k")] == ["t"]
    assert later.invocation().judge == "k"
    later.close()


def test_a_reader_cannot_write(store: Store, folder: Path) -> None:
    reader = Store.open_for_reading(folder)
    with pytest.raises(RunError):
        reader.end("complete")
    reader.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_a_folder_that_cannot_be_written_is_refused_but_can_be_read(store: Store, folder: Path) -> None:
    store.close()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(RunError, match="cannot be used"):
            Store.open_for_run(folder)
        Store.open_for_reading(folder).close()
    finally:
        folder.chmod(stat.S_IRWXU)


def test_a_damaged_store_is_an_error_and_not_a_traceback(store: Store, folder: Path) -> None:
    store.close()
    path = folder / STORE_FILE
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xaa" * (len(content) - 8192)
    path.write_bytes(content)
    reader = Store.open_for_reading(folder)
    with pytest.raises(RunError, match=r"cannot be used: .*malformed"):
        list(reader.scored_samples(setup="s", judge="j"))
    reader.close()


# What it keeps


def test_a_sample_comes_back_as_it_was(store: Store) -> None:
    work = store.open_work(setup="s", judge="j", after=-1, most=10)
    assert [one.sample for one in work] == [SAMPLE, TWIN]
    assert [one.position for one in work] == [0, 1]
    assert open_keys(store, after=0) == ["t"]


def test_a_response_comes_back_as_it_was_and_the_first_stays(store: Store) -> None:
    reply = Reply("yes \0 🙂", True, "content_filter", "m-2024", 3, None)
    store.add_response("k", reply, refused=False, judged=True, attempts=2, seconds=1.0)
    store.add_response("k", Reply("no"), refused=False, judged=True, attempts=1, seconds=1.0)
    assert store.response("k") == reply
    assert store.response("other") is None


def test_the_newest_invocation_and_the_first_manifest_are_known(store: Store) -> None:
    store.end("complete")
    assert store.invocation().ending == "complete"
    store.begin(setup="s2", judge="j2", manifest={"n": 2}, samples=[SAMPLE])
    newest = store.invocation()
    assert (newest.setup, newest.judge, newest.manifest, newest.ended) == ("s2", "j2", {"n": 2}, None)
    assert store.first_manifest() == {"target": {"name": "ä"}}


def test_a_new_plan_replaces_the_old_one_and_keeps_its_answers(store: Store) -> None:
    answer(store, "q", Reply("yes"))
    label(store, "q", Label.SAFE)
    store.begin(setup="s", judge="j", manifest={}, samples=[TWIN])
    assert open_keys(store) == ["t"]
    store.begin(setup="s", judge="j", manifest={}, samples=[TWIN, SAMPLE])
    assert open_keys(store) == ["t"]
    assert store.count_open(setup="s", judge="j") == 1


POOL = [
    Sample(f"q{number}", 1, Scenario.FRAUD, "?", (Message("user", "one"),), image=image, language=language)
    for number in range(4)
    for image, language in ((None, "en"), (IMAGE, "en"), (replace(IMAGE, path="moved.png"), "de"))
]
plans = st.lists(st.sampled_from(POOL), unique_by=lambda sample: sample.query_id)


@settings(deadline=None)
@given(st.lists(plans, min_size=1, max_size=5))
def test_after_any_plans_the_newest_is_the_plan(listed: list[list[Sample]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open_for_run(Path(folder))
        try:
            for samples in listed:
                store.begin(setup="s", judge="j", manifest={}, samples=samples)
                assert store.plan() == samples
                work = store.open_work(setup="s", judge="j", after=-1, most=100)
                assert [(one.position, one.sample) for one in work] == list(enumerate(samples))
        finally:
            store.close()


def test_a_plan_that_cannot_be_written_leaves_the_old_one(store: Store) -> None:
    broken = Sample("q", 1, Scenario.FRAUD, "\ud800", (Message("user", "x"),))
    with pytest.raises(UnicodeEncodeError):
        store.begin(setup="s", judge="j", manifest={}, samples=[TWIN, broken])
    assert open_keys(store) == ["q", "t"]
    answer(store, "q", Reply("yes"))


def test_tokens_of_targets_and_judges_are_summed(store: Store) -> None:
    assert store.tokens() == (0, 0)
    answer(store, "q", Reply("yes", prompt_tokens=10, completion_tokens=20))
    answer(store, "t", Reply("yes"))
    label(store, "q", Label.SAFE)
    assert store.tokens() == (15, 27)


# What is still to do, and what became of what is done


def test_a_sample_is_open_until_it_is_answered_and_labelled(store: Store) -> None:
    assert open_keys(store) == ["q", "t"]
    answer(store, "q", Reply("yes"))
    assert open_keys(store) == ["q", "t"]
    label(store, "q", Label.UNSAFE)
    assert open_keys(store) == ["t"]
    answer(store, "t", Reply("yes"))
    assert (open_keys(store), store.count_open(setup="s", judge="j")) == ([], 0)
    assert open_keys(store, judge="k") == ["q"]
    assert open_keys(store, setup="s2") == ["q", "t"]


def test_what_a_judge_could_not_tell_is_still_to_do(store: Store) -> None:
    answer(store, "q", Reply("yes"))
    label(store, "q", Label.UNGRADED, "unreadable_verdict")
    assert open_keys(store) == ["q", "t"]
    found = scored(store, "q")
    assert (found.label, found.outcome, found.cause) == (
        Label.UNGRADED,
        Outcome.COMPLIED,
        "unreadable_verdict",
    )
    key = key_of(store, "q")
    assert store.label(judge="j", sample=key, response="response to q") is None
    label(store, "q", Label.SAFE)
    assert store.label(judge="j", sample=key, response="response to q") is Label.SAFE
    assert store.label(judge="j", sample=key, response="another") is None


def test_a_blocked_response_needs_no_label(store: Store) -> None:
    answer(store, "q", Reply("", blocked=True), judged=False)
    assert open_keys(store) == ["t"]
    found = scored(store, "q")
    assert (found.label, found.outcome, found.cause) == (Label.SAFE, Outcome.BLOCKED, "")


@pytest.mark.parametrize(
    ("reply", "refused", "said", "outcome"),
    [
        (Reply("yes"), False, Label.UNSAFE, Outcome.COMPLIED),
        (Reply("yes"), False, Label.SAFE, Outcome.COMPLIED),
        (Reply("no"), True, Label.SAFE, Outcome.REFUSED),
        (Reply("no, but"), True, Label.UNSAFE, Outcome.COMPLIED),
        (Reply("It begins", blocked=True), False, Label.UNSAFE, Outcome.BLOCKED),
    ],
)
def test_outcomes_say_how(store: Store, reply: Reply, refused: bool, said: Label, outcome: Outcome) -> None:
    answer(store, "q", reply, refused=refused)
    assert scored(store, "q").label is None
    label(store, "q", said)
    assert (scored(store, "q").label, scored(store, "q").outcome) == (said, outcome)


def test_failures_are_ungraded_with_their_cause_until_a_success(store: Store) -> None:
    key = key_of(store, "q")
    store.add_failure(asked_of="s", sample=key, failure=FAILED)
    found = scored(store, "q")
    assert (found.label, found.outcome, found.cause) == (Label.UNGRADED, Outcome.ERROR, "http_500")
    assert open_keys(store) == ["q", "t"]
    answer(store, "q", Reply("yes"))
    assert scored(store, "q").label is None
    store.add_failure(asked_of="j", sample=key, failure=FAILED)
    found = scored(store, "q")
    assert (found.label, found.outcome, found.cause) == (
        Label.UNGRADED,
        Outcome.COMPLIED,
        "judge_http_500",
    )
    label(store, "q", Label.SAFE)
    assert (scored(store, "q").label, scored(store, "q").cause) == (Label.SAFE, "")
    assert store._all("SELECT * FROM failures") == []


def test_a_twin_is_safe_once_it_is_answered_and_an_error_before(store: Store) -> None:
    store.add_failure(asked_of="s", sample=key_of(store, "t"), failure=FAILED)
    assert scored(store, "t").outcome is Outcome.ERROR
    answer(store, "t", Reply("no"), refused=True)
    assert (scored(store, "t").label, scored(store, "t").outcome) == (Label.SAFE, Outcome.REFUSED)


# When it cannot be written


def test_a_full_disk_is_one_message_and_loses_nothing(store: Store, folder: Path) -> None:
    answer(store, "q", Reply("yes"))
    pages = store._one("PRAGMA page_count")[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(RunError, match=r"cannot be used: database or disk is full.*is safe"):
        store.add_response("big", Reply("x" * 1_000_000), refused=False, judged=True, attempts=1, seconds=0.0)
    label(store, "q", Label.SAFE)
    store.close()
    again = Store.open_for_run(folder)
    assert again.response("big") is None
    assert scored(again, "q").label is Label.SAFE
    assert again._one("PRAGMA integrity_check") == ("ok",)
    again.close()


def test_a_copy_taken_in_the_middle_of_a_run_is_whole(store: Store, folder: Path, tmp_path: Path) -> None:
    answer(store, "q", Reply("yes"))
    shutil.copytree(folder, tmp_path / "copy")
    copied = Store.open_for_run(tmp_path / "copy")
    assert scored(copied, "q").outcome is Outcome.COMPLIED
    copied.close()
