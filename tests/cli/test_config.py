"""`--config` and `--print-config`: one configuration from a file and from options, and bad files."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

from e2e.command import Command, Done
from run.test_config import configs
from safemt.cli.printing import print_yaml
from safemt.io.yaml import load_yaml
from safemt.run.config import RunConfig, config_data, config_from
from safemt.run.manifest import without_keys
from safemt.run.store import Store

SIMULATED = "benchmark: demo\ntarget: sim/steady\n"


def shown(done: Done) -> dict[str, Any]:
    """The configuration that was printed."""
    assert done.code == 0, done.err
    found = load_yaml(done.out, where="stdout")
    assert isinstance(found, dict)
    return found


def test_options_override_the_file(safemt: Command, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        "benchmark: demo\n"
        "target: {name: openai/m, base_url: 'http://a/v1', sampling: {temperature: 1}}\n"
        "judge: openai/j\n"
        "moderator: keyword\n"
        "selection: {turns: [1, 2], text_only: true, limit: 5}\n"
    )
    options = (
        "--target", "openai/n", "--temperature", "default", "--turns", "4,8", "--no-text-only",
        "--moderator-threshold", "0.25", "--action", "block", "--judge-max-output-tokens", "99",
    )  # fmt: skip
    config = config_from(shown(safemt("run", "--config", "run.yaml", *options, "--print-config")))
    assert (config.target.name, config.target.base_url) == ("openai/n", "http://a/v1")
    assert config.target.sampling.temperature is None
    assert (config.selection.turns, config.selection.text_only, config.selection.limit) == ((4, 8), False, 5)
    assert config.moderator is not None
    assert (config.moderator.name, config.moderator.threshold) == ("keyword", 0.25)
    assert config.moderator.action == "block"
    assert (config.judge.name, config.judge.sampling.max_output_tokens) == ("openai/j", 99)


def test_options_alone_make_a_configuration_that_can_be_fed_back(safemt: Command, tmp_path: Path) -> None:
    options = ("--benchmark", "demo", "--target", "sim/steady", "--moderator", "1e3", "--seed", "7")
    first = safemt("run", *options, "--print-config")
    (tmp_path / "run.yaml").write_text(first.out)
    again = safemt("run", "--config", "run.yaml", "--print-config")
    assert again.out == first.out
    assert shown(again)["judge"]["name"] == "refusal"
    (tmp_path / "run.json").write_text(json.dumps(shown(again), indent="\t"))
    assert safemt("run", "--config", "run.json", "--print-config").out == first.out


@given(configs)
def test_any_configuration_can_be_printed_and_fed_back(config: RunConfig) -> None:
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        print_yaml(config_data(config))
    assert config_from(load_yaml(stream.getvalue(), where="stdout")) == config


def test_a_run_from_a_file_is_the_run_from_its_options(safemt: Command, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(SIMULATED + "selection: {limit: 3}\n")
    by_file = safemt("run", "--config", "run.yaml", "--out", "a", "--json")
    options = ("--benchmark", "demo", "--target", "sim/steady", "--limit", "3")
    by_options = safemt("run", *options, "--out", "b", "--json")
    assert by_file.code == by_options.code == 0
    different = {"command"}
    one, other = (
        {k: v for k, v in done.json.items() if k not in different} for done in (by_file, by_options)
    )
    assert one == other
    again = safemt("run", *options, "--out", "a")
    assert "102" not in again.err
    assert "are already done" in again.err


def test_a_flag_leaves_the_other_names_of_an_alias_alone(safemt: Command, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        "benchmark: demo\ntarget: &m {name: openai/m, base_url: 'http://a/v1'}\njudge: *m\n"
    )
    found = shown(safemt("run", "--config", "run.yaml", "--target-base-url", "http://b/v1", "--print-config"))
    assert (found["target"]["base_url"], found["judge"]["base_url"]) == ("http://b/v1", "http://a/v1")


def test_a_printed_configuration_needs_no_key_and_no_run_directory(
    safemt: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    options = ("--benchmark", "nowhere", "--target", "openai/m", "--judge", "openai/j")
    assert shown(safemt("run", *options, "--print-config"))["benchmark"] == "nowhere"


def test_estimate_takes_the_configuration_of_a_run(safemt: Command, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        "benchmark: demo\ntarget: openai/m\njudge: openai/j\nselection: {limit: 2}\nmoderator: embedded\n"
    )
    done = safemt("estimate", "--config", "run.yaml", "--turns", "1", "--json")
    assert done.code == 0, done.err
    assert done.json["samples"] == 4


def bomb() -> str:
    levels = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]\n"]
    levels += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)]
    return "".join(levels)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SIMULATED + "targt: x\n", "targt"),
        (SIMULATED + "selection: {limit: many}\n", "`selection.limit`"),
        ("benchmark: demo\ntarget: {name: sim/steady, sampling: {temperature: 3}}\n",
         "`target.sampling.temperature`"),
        (SIMULATED + "judge: {temprature: 1}\n", "temprature"),
        (SIMULATED + "moderator: {action: block}\n", "`moderator.name`"),
        ("- 1\n- 2\n", "run.yaml"),
        ("", "run.yaml"),
        ("just text", "run.yaml"),
        ("benchmark: demo\n\ttarget: x\n", "line 2"),
        (bomb(), "run.yaml"),
        ("x" * 11_000_000, "run.yaml"),
        ("a: &a [*a]\n", "run.yaml"),
        ("[" * 100_000, "run.yaml"),
        ("benchmark: !!python/name:os.system demo\n", "run.yaml"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_sentence_with_the_path_inside(
    safemt: Command, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "run.yaml").write_text(content)
    done = safemt("run", "--config", "run.yaml", "--out", "out")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: ")
    assert len(done.err.splitlines()) == 1, done.err
    assert len(done.err) < 500
    assert said in done.err
    assert "run.yaml" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["missing.yaml", "folder", "missing.json", "run.json"])
def test_a_file_that_is_none_is_one_sentence(safemt: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "run.json").write_text("{broken")
    done = safemt("run", "--config", name, "--out", "out")
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert name in done.err


def test_a_key_that_was_given_for_its_variables_name_is_not_kept() -> None:
    judge = {"name": "b", "api_key_env": "MY_KEY"}
    data = {"target": {"name": "a", "api_key_env": "sk-0123abc"}, "judge": judge, "seed": 1}
    assert without_keys(data) == {"target": {"name": "a", "api_key_env": None}, "judge": judge, "seed": 1}


def test_the_run_keeps_its_whole_configuration(safemt: Command, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(SIMULATED + "moderator: {name: keyword, action: block}\n")
    assert safemt("run", "--config", "run.yaml", "--limit", "2", "--out", "out").code == 0
    store = Store.open_for_reading(tmp_path / "out")
    kept = store.invocation().manifest["config"]
    store.close()
    printed = shown(safemt("run", "--config", "run.yaml", "--limit", "2", "--print-config"))
    assert kept == printed
    assert yaml.safe_load(yaml.safe_dump(kept)) == kept
