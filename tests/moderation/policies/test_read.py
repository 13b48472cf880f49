"""Reading policies: the packaged ones hold what they must, a user's own replace them, mistakes are named."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from safemt.core.errors import DataError, ModeratorError
from safemt.core.taxonomy import SCENARIO_BY_SLUG, Scenario
from safemt.moderation.policies.inject import FRAME, approximate_tokens
from safemt.moderation.policies.policy import (
    BASELINE,
    Policy,
    policy_data,
    policy_from,
    policy_yaml,
    read_policies,
)

SCHEMA = Path(__file__).parents[3] / "docs" / "policy.schema.json"
PACKAGED = read_policies().listed


def document(**changes: Any) -> dict[str, Any]:
    whole = yaml.safe_load(policy_yaml(read_policies().by_scenario[Scenario.FRAUD]))
    return {**whole, **changes}


def write(folder: Path, name: str, content: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(
        content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8"
    )
    return folder


# The packaged ones


def test_there_is_one_for_each_scenario_and_a_baseline() -> None:
    assert [policy.id for policy in PACKAGED] == [*SCENARIO_BY_SLUG, BASELINE]
    assert [policy.scenario for policy in PACKAGED] == [*Scenario, None]


@pytest.mark.parametrize("policy", PACKAGED, ids=lambda policy: policy.id)
def test_each_has_examples_of_both_kinds_in_more_than_one_turn(policy: Policy) -> None:
    for flagged in (True, False):
        dialogues = [example.dialogue for example in policy.examples if example.flagged is flagged]
        assert len(dialogues) >= 2
        assert max(map(len, dialogues)) >= 3
    first_turns = [
        {e.messages[0] for e in policy.examples if e.flagged is flagged} for flagged in (True, False)
    ]
    assert first_turns[0] & first_turns[1], "an example of each kind should begin alike: the turns must tell"


@pytest.mark.parametrize("policy", PACKAGED, ids=lambda policy: policy.id)
def test_each_fits_the_room_that_is_planned_for_it(policy: Policy) -> None:
    assert approximate_tokens(policy.short) <= 70
    assert approximate_tokens(policy.full) <= 200
    assert len(policy.dont) >= 3
    assert len(policy.do) >= 3


@pytest.mark.parametrize(
    "scenario", [Scenario.FINANCIAL_ADVICE, Scenario.HEALTH_CONSULTATION, Scenario.LEGAL_OPINION]
)
def test_advice_needs_a_disclaimer_caution_and_a_professional_in_both_lengths(scenario: Scenario) -> None:
    policy = read_policies().by_scenario[scenario]
    for text in (policy.short, policy.full):
        assert "you are no " in text
        assert "general" in text
        assert "caution" in text or "care" in text
        assert "recommend" in text


def test_no_text_that_a_target_gets_accuses_the_user() -> None:
    for text in [FRAME, *(text for policy in PACKAGED for text in (policy.short, policy.full))]:
        assert not {"malicious", "attacker", "jailbreak", "the user is", "bad faith"} & {
            word
            for word in ("malicious", "attacker", "jailbreak", "the user is", "bad faith")
            if word in text.lower()
        }


# A user's own


def test_an_own_policy_replaces_the_packaged_one_and_leaves_the_others(tmp_path: Path) -> None:
    own = read_policies(
        write(tmp_path, "mine.yaml", document(version="7", full="Our own words on fraud. " * 20))
    )
    packaged = read_policies()
    assert own.by_scenario[Scenario.FRAUD].version == "7"
    assert own.by_scenario[Scenario.FRAUD].full.startswith("Our own words on fraud.")
    assert own.by_scenario[Scenario.BIAS] == packaged.by_scenario[Scenario.BIAS]
    assert own.baseline == packaged.baseline
    assert own.sha256 != packaged.sha256


def test_the_hash_of_a_set_is_that_of_what_targets_are_told(tmp_path: Path) -> None:
    other_notes = read_policies(write(tmp_path, "mine.yml", document(dont=["Something else."], examples=[])))
    assert other_notes.sha256 == read_policies().sha256
    assert read_policies(write(tmp_path, "mine.yml", document(title="Deceit"))).sha256 != other_notes.sha256


@pytest.mark.parametrize("policy", PACKAGED, ids=lambda policy: policy.id)
def test_a_policy_survives_being_written_and_read(policy: Policy) -> None:
    assert policy_from(yaml.safe_load(policy_yaml(policy)), where="again") == policy
    assert policy_from(json.loads(json.dumps(policy_data(policy))), where="again") == policy


USER, ASSISTANT = {"user": "Hi"}, {"assistant": "Hi"}


@pytest.mark.parametrize(
    ("changes", "inside", "said"),
    [
        ({"id": "fraude"}, "", "`id` is 'fraude', which is not one of animal_abuse, "),
        ({"id": "bias"}, "", "`scenario` must be Bias if `id` is bias"),
        ({"id": "baseline"}, "", "`scenario` must be null if `id` is baseline"),
        ({"scenario": "Frod"}, "scenario", ""),
        ({"version": 1}, "version", ""),
        ({"full": None}, "full", ""),
        ({"short": "  "}, "short", ""),
        ({"short": "word " * 500}, "", "`short` is longer than `full`"),
        ({"do": "Help."}, "do", ""),
        ({"dont": []}, "dont", ""),
        ({"dont": ["Do not.", {"a": "b"}]}, "dont[1]", ""),
        ({"donts": ["x"]}, "", "donts"),
        ({"examples": {}}, "examples", ""),
        ({"examples": [{"flagged": True}]}, "examples[0]", "dialogue"),
        ({"examples": [{"flagged": "yes", "dialogue": [USER]}]}, "examples[0].flagged", ""),
        ({"examples": [{"flagged": True, "dialogue": []}]}, "examples[0].dialogue", ""),
        ({"examples": [{"flagged": True, "dialogue": [{"system": "Hi"}]}]}, "examples[0].dialogue", ""),
        ({"examples": [{"flagged": True, "dialogue": [{}]}]}, "examples[0].dialogue[0]", ""),
        ({"examples": [{"flagged": True, "dialogue": [USER, ASSISTANT]}]}, "examples[0]", "on a `user` turn"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_field(
    tmp_path: Path, changes: dict[str, Any], inside: str, said: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_policies(write(tmp_path, "mine.yaml", document(**changes)))
    assert caught.value.code == "wrong_form"
    assert caught.value.fields["where"] == str(tmp_path / "mine.yaml")
    assert inside in str(caught.value.fields["path"])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("id: fraud\nversion: [", "not_yaml"),
        ("!!python/object/apply:os.getcwd []", "not_yaml"),
        ("id: fraud\nid: fraud", "key_twice"),
        ("- id: fraud", "wrong_form"),
        ("", "wrong_form"),
        ("id: fraud", "wrong_form"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(DataError) as caught:
        read_policies(write(tmp_path, "mine.yaml", text))
    assert caught.value.code == code
    assert str(tmp_path / "mine.yaml") in str(caught.value)


def test_two_files_for_one_scenario_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", document())
    with pytest.raises(ModeratorError) as caught:
        read_policies(write(tmp_path, "b.yaml", document()))
    assert (caught.value.code, caught.value.fields["id"]) == ("policy_twice", "fraud")


def test_a_folder_without_policies_or_that_is_none_is_refused(tmp_path: Path) -> None:
    for folder, code in ((tmp_path, "no_policies"), (tmp_path / "nowhere", "unreadable_policies")):
        with pytest.raises(ModeratorError) as caught:
            read_policies(folder)
        assert caught.value.code == code
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError):
        read_policies(tmp_path)


# The published schema


def test_the_schema_knows_what_the_reader_knows() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    properties = schema["properties"]
    assert tuple(properties) == Policy.__struct_fields__
    assert tuple(schema["required"]) == Policy.__struct_fields__[:-1]
    assert properties["id"]["enum"] == [*SCENARIO_BY_SLUG, BASELINE]
    assert properties["scenario"]["enum"] == [*(scenario.value for scenario in Scenario), None]
