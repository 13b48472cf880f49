"""The verdicts in a store: what is kept, and stores from before there were any."""

import sqlite3
from pathlib import Path

import pytest

from run.test_store import SAMPLE
from safemt.core.errors import RunError
from safemt.core.taxonomy import Action, Scenario
from safemt.core.verdict import Coverage, Degraded, PolicyRef, TurnRisk, Unscanned, Verdict
from safemt.run.store import STORE_FILE, Store
from safemt.run.verdicts import StoredVerdict


def verdict(action: Action = Action.INJECT, degraded: Degraded | None = None) -> Verdict:
    return Verdict(
        id="",
        moderator="keyword",
        risk=0.75,
        threshold=0.5,
        flagged=True,
        action=action,
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
        degraded=degraded,
        milliseconds=1.5,
        prompt_tokens=7,
        completion_tokens=3,
    )


def test_a_verdict_is_kept_by_moderator_and_conversation_and_the_newest_counts(tmp_path: Path) -> None:
    store = Store.open_for_run(tmp_path)
    store.verdicts.add_verdict(verdict(), moderator="m", conversation="c")
    assert store.verdicts.verdict(moderator="m", conversation="c") == StoredVerdict(
        Action.INJECT, ("fraud", "bias"), degraded=False
    )
    assert store.verdicts.verdict(moderator="other", conversation="c") is None
    degraded = Degraded(cause="timeout", message="too long")
    store.verdicts.add_verdict(verdict(Action.BLOCK, degraded), moderator="m", conversation="c")
    newest = store.verdicts.verdict(moderator="m", conversation="c")
    assert newest is not None
    assert (newest.action, newest.degraded) == (Action.BLOCK, True)
    assert store.tokens() == (7, 3)
    store.close()


def test_the_whole_verdict_comes_back_with_its_sample(tmp_path: Path) -> None:
    store = Store.open_for_run(tmp_path)
    store.begin(setup="s", judge="j", manifest={}, samples=[SAMPLE])
    [work] = store.open_work(setup="s", judge="j", after=-1, most=1)
    store.verdicts.add_verdict(verdict(), moderator="m", conversation="c")
    store.verdicts.add_moderated(setup="s", sample=work.key, turn=3, conversation="stale", response="old")
    store.verdicts.add_moderated(setup="s", sample=work.key, turn=2, conversation="c", response="r")
    assert list(store.verdicts.of_plan(setup="s", moderator="m")) == [], "not answered yet"
    store.add_answer(setup="s", sample=work.key, response="r")
    [found] = store.verdicts.of_plan(setup="s", moderator="m")
    assert (found.query_id, found.turns, found.twin, found.last) == (
        SAMPLE.query_id,
        SAMPLE.turns,
        False,
        True,
    )
    assert (found.action, found.flagged, found.degraded) == (Action.INJECT, True, None)
    assert (found.turns_scored, found.turns_total, found.images_scored, found.images_total) == (1, 1, 0, 1)
    assert (found.unscanned, found.milliseconds) == (("pixels_not_scored",), 1.5)
    assert (found.prompt_tokens, found.completion_tokens) == (7, 3)
    assert store.verdicts.responses(setup="s", sample=work.key) == ["r"]
    store.close()


def older_store(folder: Path) -> Path:
    """A store as safemt made them before there were moderators."""
    Store.open_for_run(folder).close()
    connection = sqlite3.connect(folder / STORE_FILE)
    connection.executescript("DROP TABLE verdicts; DROP TABLE moderated;")
    connection.close()
    return folder


def test_an_older_store_can_be_read_as_it_is(tmp_path: Path) -> None:
    folder = older_store(tmp_path)
    store = Store.open_for_reading(folder)
    assert list(store.verdicts.of_plan(setup="s", moderator="m")) == []
    assert store.verdicts.responses(setup="s", sample="x") == []
    assert store.verdicts.tokens() == (0, 0)
    store.close()


def test_an_older_store_gets_the_tables_when_a_run_continues_it(tmp_path: Path) -> None:
    store = Store.open_for_run(older_store(tmp_path))
    store.verdicts.add_verdict(verdict(), moderator="m", conversation="c")
    assert store.verdicts.verdict(moderator="m", conversation="c") is not None
    store.close()


def test_a_damaged_table_is_an_error_that_names_the_store(tmp_path: Path) -> None:
    store = Store.open_for_run(tmp_path)
    store._db.execute("DROP TABLE verdicts")
    with pytest.raises(RunError, match=STORE_FILE):
        store.verdicts.verdict(moderator="m", conversation="c")
    with pytest.raises(RunError, match=STORE_FILE):
        store.verdicts.add_verdict(verdict(), moderator="m", conversation="c")
    store.close()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"policies": 3}', "null", "9" * 400])
def test_a_verdict_that_nobody_wrote_is_an_error_that_names_the_store(tmp_path: Path, text: str) -> None:
    store = Store.open_for_run(tmp_path)
    store.begin(setup="s", judge="j", manifest={}, samples=[SAMPLE])
    [work] = store.open_work(setup="s", judge="j", after=-1, most=1)
    store.verdicts.add_verdict(verdict(), moderator="m", conversation="c")
    store.verdicts.add_moderated(setup="s", sample=work.key, turn=2, conversation="c", response="r")
    store.add_answer(setup="s", sample=work.key, response="r")
    store._db.execute("UPDATE verdicts SET verdict = ?", (text,))
    with pytest.raises(RunError, match="is damaged"):
        store.verdicts.verdict(moderator="m", conversation="c")
    with pytest.raises(RunError, match="is damaged"):
        list(store.verdicts.of_plan(setup="s", moderator="m"))
    store.close()
