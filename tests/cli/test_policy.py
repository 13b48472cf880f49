"""`safemt policy`: list, show and test."""

from pathlib import Path

import pytest

from e2e.command import safemt
from safemt.core.taxonomy import Scenario
from safemt.io.yaml import load_yaml
from safemt.moderation.policies.policy import policy_from, policy_yaml, read_policies

FRAUD = read_policies().by_scenario[Scenario.FRAUD]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a policy on fraud whose one example the `keyword` moderator judges rightly."""
    folder = tmp_path / "own"
    folder.mkdir()
    document = policy_yaml(FRAUD).split("examples:")[0].replace("version: '1'", "version: '2'")
    example = "examples:\n- flagged: true\n  dialogue:\n  - user: About a scam.\n"
    (folder / "mine.yaml").write_text(document + example, encoding="utf-8")
    return folder


def test_list_names_every_policy_and_whose_it_is(tmp_path: Path, own: Path) -> None:
    listed = safemt(tmp_path, "policy", "list", "--policies", own, env={"COLUMNS": "200"}).out.splitlines()
    assert len([line for line in listed if line.strip().endswith("safemt")]) == 17
    assert [line.split()[0] for line in listed if line.strip().endswith("own")] == ["fraud"]


def test_list_as_json_holds_everything(tmp_path: Path) -> None:
    document = safemt(tmp_path, "policy", "list", "--json").json
    assert document["sha256"] == read_policies().sha256
    assert [policy["id"] for policy in document["policies"]] == [p.id for p in read_policies().listed]
    shown = safemt(tmp_path, "policy", "show", "fraud", "--json").json
    assert shown == next(policy for policy in document["policies"] if policy["id"] == "fraud")
    assert (shown["full"], shown["scenario"], len(shown["examples"])) == (FRAUD.full, "Fraud", 4)


def test_show_says_what_a_target_is_told(tmp_path: Path) -> None:
    shown = safemt(tmp_path, "policy", "show", "fraud").said
    for text in (FRAUD.title, FRAUD.definition, *FRAUD.dont, *FRAUD.do, FRAUD.short, FRAUD.full):
        assert " ".join(text.split()) in shown


def test_show_yaml_prints_a_file_to_begin_with(tmp_path: Path) -> None:
    printed = safemt(tmp_path, "policy", "show", "fraud", "--yaml").out
    assert policy_from(load_yaml(printed, where="printed"), where="printed") == FRAUD


def test_an_unknown_policy_is_named_with_those_there_are(tmp_path: Path) -> None:
    done = safemt(tmp_path, "policy", "show", "frauds")
    assert done.code == 2
    assert "There is no policy 'frauds'. There are animal_abuse, bias," in done.said


def test_test_passes_where_every_example_comes_out_as_expected(tmp_path: Path, own: Path) -> None:
    done = safemt(tmp_path, "policy", "test", "fraud", "--moderator", "keyword", "--policies", own)
    assert (done.code, "1 of 1 examples as expected by keyword" in done.said) == (0, True)


def test_test_fails_and_shows_what_came_out_otherwise(tmp_path: Path) -> None:
    done = safemt(tmp_path, "policy", "test", "fraud", "bias", "--moderator", "policy-always")
    assert done.code == 1
    assert "fraud 2 of 2 0 of 2 fails" in done.said
    assert "fraud, example 3 should not be flagged: risk 1.00" in done.said
    assert "4 of 8 examples as expected by policy-always" in done.said


def test_test_as_json_has_each_verdict(tmp_path: Path) -> None:
    document = safemt(tmp_path, "policy", "test", "fraud", "--moderator", "policy-always", "--json").json
    assert (document["examples"], document["failed"]) == (4, 2)
    assert [(each["expected"], each["as_expected"]) for each in document["results"]] == [
        (True, True), (True, True), (False, False), (False, False),
    ]  # fmt: skip
    assert document["results"][0]["verdict"]["id"] == "fraud/1"


def test_a_policy_without_examples_says_so_and_does_not_fail(tmp_path: Path, own: Path) -> None:
    text = (own / "mine.yaml").read_text(encoding="utf-8").split("examples:")[0]
    (own / "mine.yaml").write_text(text, encoding="utf-8")
    done = safemt(tmp_path, "policy", "test", "fraud", "--moderator", "keyword", "--policies", own)
    assert (done.code, "no examples" in done.said) == (0, True)
