"""The store: whose file it is, what it keeps, and what it says is still to do."""

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safemt.core.errors import CallFailure, RunError
from safemt.core.schema import ImageRef, Message, Sample
from safemt.core.taxonomy import Action, Label, Method, Outcome, Scenario
from safemt.core.verdict import Coverage, Degraded, PolicyRef, TurnRisk, Unscanned, Verdict
from safemt.endpoints.base import Reply
from safemt.endpoints.spend import Asked, Usage
from safemt.judges.base import Judgement
from safemt.run.database import SCHEMA_VERSION, STORE_FILE
from safemt.run.store import Store
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
VERDICT = Verdict(
    id="",
    moderator="keyword",
    risk=0.75,
    threshold=0.5,
    flagged=True,
    action=Action.INJECT,
    scenario=Scenario.FRAUD,
    scenarios={Scenario.FRAUD: 0.9},
    turns=(TurnRisk(turn=1, risk=0.75),),
    policies=(
        PolicyRef(id="fraud", version="1", sha256="ab"),
        PolicyRef(id="bias", version="1", sha256="cd"),
    ),
    coverage=Coverage(
        turns_scored=1,
        turns_total=1,
        images_scored=0,
        images_total=1,
        unscanned=(Unscanned(message=0, part=0, why="pixels_not_scored"),),
    ),
    milliseconds=1.5,
    prompt_tokens=7,
    completion_tokens=3,
)
TWIN = Sample("t", 1, Scenario.SATIRE, "?", (Message("user", "one"),), twin_of="q")
FAILED = CallFailure("http_500", "it broke")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a run, 100%?#"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    opened = Store.open_for_run(folder)
    opened.begin(
        setup="s", judge="j", manifest={"target": {"name": "ä"}}, plan=list(enumerate([SAMPLE, TWIN]))
    )
    yield opened
    opened.close()


def open_keys(store: Store, *, setup: str = "s", judge: str = "j", after: int = -1) -> list[str]:
    work = store.open_work(setup=setup, judge=judge, after=after, most=10)
    return [one.sample.query_id for one in work]


def key_of(store: Store, query_id: str) -> str:
    work = store.open_work(setup="none", judge="none", after=-1, most=10)
    return next(one.key for one in work if one.sample.query_id == query_id)


def answer(
    store: Store,
    query_id: str,
    reply: Reply,
    *,
    judged: bool = True,
    refused: bool = False,
    verdict: tuple[str, str] | None = None,
) -> None:
    key = f"response to {query_id}"
    store.add_response(key, reply, refused=refused, judged=judged, attempts=1, seconds=0.5)
    store.add_answer(setup="s", sample=key_of(store, query_id), turn=1, response=key, verdict=verdict)


def label(store: Store, query_id: str, said: Label, cause: str = "", *, judge: str = "j") -> None:
    judgement = Judgement(label=said, cause=cause, prompt_tokens=5, completion_tokens=7)
    store.add_label(
        judge=judge, sample=key_of(store, query_id), response=f"response to {query_id}", judgement=judgement
    )


def scored(store: Store, query_id: str, *, judge: str = "j") -> ScoredSample:
    return next(s for s in store.scored_samples(setup="s", judge=judge) if s.query_id == query_id)


def refused(opening: Callable[[Path], object], folder: Path) -> str:
    """The code of the error that `opening` ends with."""
    with pytest.raises(RunError) as error:
        opening(folder)
    assert str(error.value.fields["path"]) in str(error.value)
    return error.value.code


# Whose file it is


def test_a_second_process_is_refused_and_the_first_goes_on(store: Store, folder: Path) -> None:
    assert refused(Store.open_for_run, folder) == "run_in_use"
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
        assert refused(opening, folder) in ("not_a_store", "store_unusable")
    assert path.read_bytes() == before
    assert {file.name for file in folder.iterdir()} <= {STORE_FILE, "run.lock"}


def foreign(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("version", [-1, 0, 1, SCHEMA_VERSION + 1, 1_000])
def test_another_version_is_refused_and_left_alone(store: Store, folder: Path, version: int) -> None:
    store.close()
    path = folder / STORE_FILE
    foreign(path, f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    for opening in (Store.open_for_run, Store.open_for_reading):
        with pytest.raises(RunError) as error:
            opening(folder)
        assert (error.value.code, error.value.fields["version"]) == ("other_version", version)
    assert path.read_bytes() == before


def test_a_folder_that_is_a_file_or_lies_in_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert refused(Store.open_for_run, tmp_path / "file") == "not_a_directory"
    assert refused(Store.open_for_run, tmp_path / "file" / "inner") == "unusable_directory"
    (tmp_path / "out" / STORE_FILE).mkdir(parents=True)
    assert refused(Store.open_for_run, tmp_path / "out") == "store_unusable"


def test_a_refused_folder_is_free_for_others_again(folder: Path) -> None:
    folder.mkdir()
    (folder / STORE_FILE).write_text("a diary\n" * 100)
    with pytest.raises(RunError):
        Store.open_for_run(folder)
    (folder / STORE_FILE).unlink()
    Store.open_for_run(folder).close()


def test_there_is_nothing_to_read_where_no_run_began(tmp_path: Path) -> None:
    assert refused(Store.open_for_reading, tmp_path) == "not_a_run"
    (tmp_path / STORE_FILE).touch()
    assert refused(Store.open_for_reading, tmp_path) == "no_run_yet"
    Store.open_for_run(tmp_path).close()
    with Store.open_for_reading(tmp_path) as reader, pytest.raises(RunError) as error:
        reader.invocation()
    assert error.value.code == "no_run_yet"


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
    store.begin(setup="s", judge="k", manifest={}, plan=list(enumerate([TWIN])))
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
        assert refused(Store.open_for_run, folder) == "unusable_directory"
        Store.open_for_reading(folder).close()
    finally:
        folder.chmod(stat.S_IRWXU)


def test_a_damaged_store_is_an_error_and_not_a_traceback(store: Store, folder: Path) -> None:
    store.close()
    path = folder / STORE_FILE
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xaa" * (len(content) - 8192)
    path.write_bytes(content)

    def read(folder: Path) -> None:
        with Store.open_for_reading(folder) as reader:
            list(reader.scored_samples(setup="s", judge="j"))

    assert refused(read, folder) == "store_unusable"


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


def test_every_invocation_is_known(store: Store) -> None:
    store.end("complete")
    assert store.invocation().ending == "complete"
    store.begin(setup="s2", judge="j2", manifest={"n": 2}, plan=list(enumerate([SAMPLE])))
    newest = store.invocation()
    assert (newest.setup, newest.judge, newest.manifest, newest.ended) == ("s2", "j2", {"n": 2}, None)
    assert store.invocations()[0].manifest == {"target": {"name": "ä"}}
    assert store.invocations()[1] == newest


def test_a_new_plan_replaces_the_old_one_and_keeps_its_answers(store: Store) -> None:
    answer(store, "q", Reply("yes"))
    label(store, "q", Label.SAFE)
    store.begin(setup="s", judge="j", manifest={}, plan=list(enumerate([TWIN])))
    assert open_keys(store) == ["t"]
    store.begin(setup="s", judge="j", manifest={}, plan=list(enumerate([TWIN, SAMPLE])))
    assert open_keys(store) == ["t"]


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
                store.begin(setup="s", judge="j", manifest={}, plan=list(enumerate(samples)))
                assert store.plan() == list(enumerate(samples))
                work = store.open_work(setup="s", judge="j", after=-1, most=100)
                assert [(one.position, one.sample) for one in work] == list(enumerate(samples))
        finally:
            store.close()


def test_a_plan_that_cannot_be_written_leaves_the_old_one(store: Store) -> None:
    broken = Sample("q", 1, Scenario.FRAUD, "\ud800", (Message("user", "x"),))
    with pytest.raises(UnicodeEncodeError):
        store.begin(setup="s", judge="j", manifest={}, plan=list(enumerate([TWIN, broken])))
    assert open_keys(store) == ["q", "t"]
    answer(store, "q", Reply("yes"))


def test_what_is_spent_is_summed_by_who_was_asked_and_survives(store: Store, folder: Path) -> None:
    target = Asked("target", "openai/m", "http://127.0.0.1:8000")
    judge = Asked("judge", "openai/j", "https://api.openai.com")
    store.add_spend(target, Usage(calls=1, prompt_tokens=10, completion_tokens=2))
    store.add_spend(target, Usage(calls=1, estimated=1, prompt_tokens=5, completion_tokens=1))
    store.add_spend(judge, Usage(calls=1, prompt_tokens=7, completion_tokens=3))
    store.close()
    with Store.open_for_reading(folder) as reader:
        assert reader.spend() == {
            target: Usage(calls=2, estimated=1, prompt_tokens=15, completion_tokens=3),
            judge: Usage(calls=1, prompt_tokens=7, completion_tokens=3),
        }


def test_answers_take_the_tokens_of_all_their_turns_once(store: Store) -> None:
    assert store.answer_tokens(setup="s") == (0, 0)
    for turn, query in ((1, "q"), (2, "q"), (1, "t")):
        reply = Reply("yes", prompt_tokens=10 * turn, completion_tokens=turn)
        store.add_response(f"turn {turn}", reply, refused=False, judged=True, attempts=1, seconds=0.1)
        store.add_answer(
            setup="s", sample=key_of(store, query), turn=turn, response=f"turn {turn}", last=turn == 2
        )
    assert store.answer_tokens(setup="s") == (30, 3)
    assert store.answer_tokens(setup="another") == (0, 0)


# Verdicts


def test_a_verdict_is_kept_by_moderator_and_conversation_and_the_newest_counts(store: Store) -> None:
    store.add_verdict(VERDICT, moderator="m", conversation="c")
    assert store.verdict(moderator="m", conversation="c") == VERDICT
    assert store.verdict(moderator="other", conversation="c") is None
    newer = replace(
        VERDICT, action=Action.BLOCK, degraded=Degraded(cause="timeout", message="It took too long.")
    )
    store.add_verdict(newer, moderator="m", conversation="c")
    assert store.verdict(moderator="m", conversation="c") == newer


def test_verdicts_come_back_with_their_samples_once_those_are_answered(store: Store) -> None:
    key = key_of(store, "q")
    store.add_verdict(VERDICT, moderator="m", conversation="first")
    store.add_verdict(VERDICT, moderator="m", conversation="second")
    store.add_response("r", Reply("yes"), refused=False, judged=True, attempts=1, seconds=0.5)

    def add(turn: int, conversation: str, *, last: bool) -> None:
        verdict = ("m", conversation)
        store.add_answer(setup="s", sample=key, turn=turn, response="r", last=last, verdict=verdict)

    add(2, "first", last=True)
    assert len(list(store.verdicts(setup="s"))) == 1
    add(1, "first", last=False)
    assert list(store.verdicts(setup="s")) == [], "the dialogue took another course and has no end yet"
    assert store.replies(setup="s", sample=key) == [("r", Reply("yes"))]
    add(2, "second", last=True)
    found = list(store.verdicts(setup="s"))
    assert [(each.position, each.twin, each.last, each.verdict) for each in found] == [
        (0, False, False, VERDICT),
        (0, False, True, VERDICT),
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"policies": 3}', "null", "9" * 400])
def test_a_verdict_that_nobody_wrote_is_damage(store: Store, text: str) -> None:
    store.add_verdict(VERDICT, moderator="m", conversation="c")
    answer(store, "q", Reply("yes"), verdict=("m", "c"))
    store._db.connection.execute("UPDATE verdicts SET verdict = ?", (text,))
    for read in (
        lambda _: store.verdict(moderator="m", conversation="c"),
        lambda _: list(store.verdicts(setup="s")),
        lambda _: list(store.samples(setup="s", judge="j")),
    ):
        assert refused(read, store.path) == "store_damaged"


# Everything that is known of a sample


def test_a_sample_is_read_with_its_texts_its_labels_and_its_verdicts(store: Store) -> None:
    store.add_verdict(VERDICT, moderator="m", conversation="c")
    answer(store, "q", Reply("yes", finish_reason="stop", prompt_tokens=3), verdict=("m", "c"))
    label(store, "q", Label.UNSAFE)
    store.begin(
        setup="s",
        judge="another",
        manifest={"judge": {"id": "another", "name": "a judge"}},
        plan=store.plan(),
    )
    label(store, "q", Label.SAFE, judge="another")
    store.add_failure(asked_of="s", sample=key_of(store, "t"), failure=FAILED)
    first, second = store.samples(setup="s", judge="j")
    assert (first.sample, first.scored.label, first.key) == (SAMPLE, Label.UNSAFE, key_of(store, "q"))
    assert first.reply == Reply("yes", finish_reason="stop", prompt_tokens=3)
    assert (first.attempts, first.seconds, first.verdicts) == (1, 0.5, (VERDICT,))
    assert {judge: said.label for judge, said in first.labels.items()} == {
        "j": Label.UNSAFE,
        "another": Label.SAFE,
    }
    assert (second.sample, second.scored.outcome, second.scored.cause) == (TWIN, Outcome.ERROR, "http_500")
    assert (second.reply, second.attempts, second.labels, second.verdicts) == (None, 0, {}, ())
    assert store.other_judges(setup="s", judge="j") == {"another": "a judge"}


states = st.sampled_from(["to do", "failed", "answered", "refused", "blocked", "labelled", "ungraded"])


@settings(deadline=None)
@given(st.lists(states, min_size=4, max_size=4))
def test_samples_and_scored_samples_agree_whatever_happened(found: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, Store.open_for_run(Path(folder)) as store:
        samples = [replace(SAMPLE, query_id=f"q{number}") for number in range(4)]
        store.begin(setup="s", judge="j", manifest={}, plan=list(enumerate(samples)))
        for sample, state in zip(samples, found, strict=True):
            name = sample.query_id
            if state == "failed":
                store.add_failure(asked_of="s", sample=key_of(store, name), failure=FAILED)
            elif state != "to do":
                blocked = state == "blocked"
                answer(store, name, Reply(name, blocked), judged=not blocked, refused=state == "refused")
            if state in ("labelled", "ungraded"):
                label(store, name, Label.UNSAFE if state == "labelled" else Label.UNGRADED, "unreadable")
        whole = list(store.samples(setup="s", judge="j"))
        assert [each.scored for each in whole] == list(store.scored_samples(setup="s", judge="j"))
        assert [each.sample for each in whole] == samples
        for each, state in zip(whole, found, strict=True):
            assert (each.reply is None) == (state in ("to do", "failed"))
            assert list(each.labels) == (["j"] if state in ("labelled", "ungraded") else [])


# What is still to do, and what became of what is done


def test_a_sample_is_open_until_it_is_answered_and_labelled(store: Store) -> None:
    assert open_keys(store) == ["q", "t"]
    answer(store, "q", Reply("yes"))
    assert open_keys(store) == ["q", "t"]
    label(store, "q", Label.UNSAFE)
    assert open_keys(store) == ["t"]
    answer(store, "t", Reply("yes"))
    assert open_keys(store) == []
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
    assert store.failures(setup="s", judge="j") == []


def test_a_twin_is_safe_once_it_is_answered_and_an_error_before(store: Store) -> None:
    store.add_failure(asked_of="s", sample=key_of(store, "t"), failure=FAILED)
    assert scored(store, "t").outcome is Outcome.ERROR
    answer(store, "t", Reply("no"), refused=True)
    assert (scored(store, "t").label, scored(store, "t").outcome) == (Label.SAFE, Outcome.REFUSED)


# When it cannot be written


def test_a_full_disk_is_one_message_and_loses_nothing(store: Store, folder: Path) -> None:
    answer(store, "q", Reply("yes"))
    pages = store._db.connection.execute("PRAGMA page_count").fetchone()[0]
    store._db.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(RunError, match="database or disk is full") as error:
        store.add_response("big", Reply("x" * 1_000_000), refused=False, judged=True, attempts=1, seconds=0.0)
    assert error.value.code == "store_unusable"
    label(store, "q", Label.SAFE)
    store.close()
    again = Store.open_for_run(folder)
    assert again.response("big") is None
    assert scored(again, "q").label is Label.SAFE
    assert again._db.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    again.close()


def test_a_copy_taken_in_the_middle_of_a_run_is_whole(store: Store, folder: Path, tmp_path: Path) -> None:
    answer(store, "q", Reply("yes"))
    shutil.copytree(folder, tmp_path / "copy")
    copied = Store.open_for_run(tmp_path / "copy")
    assert scored(copied, "q").outcome is Outcome.COMPLIED
    copied.close()
