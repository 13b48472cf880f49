"""A run from Python: planned from a configuration, started, judged again, checked and estimated."""

import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from safemt.core.errors import BenchmarkError, DataError, RunError, SafemtError, UsageError
from safemt.core.taxonomy import Action, Label
from safemt.judges.open import JudgeConfig
from safemt.run.config import JudgeCheckConfig, JudgingConfig, RowsConfig, RunConfig, config_data, config_from
from safemt.run.estimate import estimate_run
from safemt.run.judge_again import judge_again
from safemt.run.judge_check import check_judge
from safemt.run.plan import plan_run
from safemt.run.spread.shards import Shard
from safemt.run.start import announce, start_run
from safemt.run.store import Store


def config(**changes: Any) -> RunConfig:
    """A small simulated run on the demo."""
    plain = {"benchmark": "demo", "target": "sim/steady", "selection": {"turns": [1, 2], "limit": 3}}
    return config_from({**plain, **changes})


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def labels(folder: Path) -> list[tuple[str, int, Label | None]]:
    store = Store.open_for_reading(folder)
    try:
        now = store.invocation()
        scored = store.scored_samples(setup=now.setup, judge=now.judge)
        return [(sample.query_id, sample.turns, sample.label) for sample in scored]
    finally:
        store.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFEMT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_a_plan_holds_what_the_configuration_selects() -> None:
    plan = plan_run(config(moderator={"name": "keyword", "action": "block"}))
    assert len({sample.query_id for sample in plan.samples if sample.twin_of is None}) == 3
    assert {sample.turns for sample in plan.samples} == {1, 2}
    assert plan.benchmark["samples"] == len(plan.samples)
    assert (plan.target.name, plan.judge.name, plan.asked) == ("sim/steady", "refusal", set())
    assert plan.moderation is not None
    assert plan.moderation.moderator.action is Action.BLOCK


def test_a_plan_without_keys_can_be_looked_at() -> None:
    real = config(target="openai/m", judge="openai/j")
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        plan_run(real)
    asked = {(each.role, each.model) for each in plan_run(real, keyless=True).asked}
    assert asked == {("target", "openai/m"), ("judge", "openai/j")}


@pytest.mark.parametrize(
    ("changes", "kind", "code"),
    [
        ({"selection": {"text_only": True, "skip_missing_images": True}}, UsageError, "settings_conflict"),
        ({"target": "sim/none"}, UsageError, "unknown_target"),
        ({"judge": "nobody"}, UsageError, "unknown_judge"),
        ({"moderator": "nobody"}, UsageError, "unknown_moderator"),
        ({"benchmark": "nowhere"}, BenchmarkError, ""),
        ({"selection": {"turns": [3]}}, BenchmarkError, ""),
    ],
)
def test_what_cannot_be_planned_is_a_typed_error(
    changes: dict[str, Any], kind: type[SafemtError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        plan_run(config(**changes))
    assert not code or caught.value.code == code


def test_a_configuration_made_by_hand_is_checked_as_well() -> None:
    by_hand = RunConfig(
        benchmark="demo", target=config().target, judge=JudgeConfig(name="refusal", routing="none")  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(DataError) as caught:
        plan_run(by_hand)
    assert caught.value.fields["path"] == "judge.routing"


def test_a_run_says_what_it_does_to_the_console_that_it_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = console()
    plan = plan_run(config(moderator="keyword"))
    announce(plan, tmp_path / "out", console=to)
    start_run(plan, tmp_path / "out", console=to)
    assert "samples at 1, 2 turns → sim/steady (simulated) behind keyword (inject)" in said(to)
    assert "injected policies have no effect" in said(to)
    assert capsys.readouterr() == ("", "")
    again = console()
    start_run(plan_run(config(moderator="keyword")), tmp_path / "out", console=again)
    assert "12 of 12 samples are already done." in said(again)


def test_a_run_works_outside_the_main_thread(tmp_path: Path) -> None:
    work = threading.Thread(
        target=start_run, args=(plan_run(config()), tmp_path), kwargs={"console": console()}
    )
    work.start()
    work.join(30)
    assert None not in {label for _, _, label in labels(tmp_path)}


def test_one_run_directory_is_one_target(tmp_path: Path) -> None:
    start_run(plan_run(config()), tmp_path, console=console())
    with pytest.raises(RunError) as caught:
        start_run(plan_run(config(target="sim/brittle")), tmp_path, console=console())
    assert caught.value.code == "another_target"
    assert (caught.value.fields["held"], caught.value.fields["target"]) == ("sim/steady", "sim/brittle")


def test_the_manifest_keeps_the_configuration_whole(tmp_path: Path) -> None:
    plan = plan_run(config(seed=3), shard=Shard(1, 2), command=["safemt", "run"])
    start_run(plan, tmp_path, console=console())
    store = Store.open_for_reading(tmp_path)
    manifest = store.invocation().manifest
    store.close()
    assert config_from(manifest["config"]) == config(seed=3)
    assert (manifest["shard"], manifest["command"]) == ("1/2", ["safemt", "run"])


def test_judging_again_keeps_the_rest_of_the_configuration(tmp_path: Path) -> None:
    start_run(plan_run(config(moderator="keyword")), tmp_path / "run", console=console())
    people = tmp_path / "people.jsonl"
    people.write_text(
        "".join(
            json.dumps({"query_id": query, "turns": turns, "label": "unsafe"}) + "\n"
            for query, turns, _ in labels(tmp_path / "run")
        )
    )
    judging = JudgingConfig(judge=JudgeConfig(name=f"recorded/{people}"))
    judge_again(tmp_path / "run", judging, console=console())
    assert {label for _, _, label in labels(tmp_path / "run")} >= {Label.UNSAFE}
    store = Store.open_for_reading(tmp_path / "run")
    manifest = store.invocation().manifest
    store.close()
    kept = config_from(manifest["config"])
    assert kept == config(moderator="keyword", judge=config_data(judging)["judge"])
    assert manifest["moderator"]["name"] == "keyword"


def test_a_judge_is_checked_on_a_choice_of_rows(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "prompt": "?", "response": text, "label": label, "language": "en"}
        for n, (text, label) in enumerate([("Sure, here it is.", "unsafe"), ("I can't help.", "safe")] * 5)
    ]
    path = tmp_path / "judged.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    checking = JudgeCheckConfig(
        judge=JudgeConfig(name="refusal"), selection=RowsConfig(limit=4, language="en")
    )
    result = check_judge(path, checking, console=console())
    assert len(result.checked) == 4
    assert all(each.label is each.row.label for each in result.checked)
    assert result.validation.selection == "language en, 4 rows, seed 0"


def test_an_estimate_leaves_out_what_the_run_directory_holds(tmp_path: Path) -> None:
    real = config(target={"name": "openai/m", "base_url": "http://a/v1"}, judge="openai/j")
    whole = estimate_run(real)
    assert (whole.samples, whole.done) == (12, 0)
    assert [(part.asked.role, part.calls) for part in whole.parts] == [("target", 12), ("judge", 6)]
    assert estimate_run(real, tmp_path / "nothing").samples == 12
    start_run(plan_run(config()), tmp_path, console=console())
    assert estimate_run(config(), tmp_path).done == 12
