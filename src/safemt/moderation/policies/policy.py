"""Policies: what a target is told about each scenario, read from YAML files.

`docs/policies.md` describes the files, and `docs/policy.schema.json` does so for editors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import yaml

from safemt.core.errors import ModeratorError
from safemt.core.identity import content_key
from safemt.core.schema import Message
from safemt.core.taxonomy import SCENARIO_BY_SLUG, Scenario
from safemt.core.verdict import PolicyRef
from safemt.io.yaml import load_yaml, read_yaml, typed

BASELINE: Final = "baseline"
"""The id of the policy that belongs to no scenario."""
MOST_POLICIES: Final = 2
"""More than two scenarios at once mean doubt, not two intents."""
FITS: Final = 0.3
"""The score from which a scenario counts as found."""

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Texts = Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1)]
_Turn = Annotated[dict[Literal["user", "assistant"], _Text], msgspec.Meta(min_length=1, max_length=1)]


class Example(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A conversation, and whether a moderator should flag it."""

    flagged: bool
    dialogue: Annotated[tuple[_Turn, ...], msgspec.Meta(min_length=1)]
    """Turns as `{"user": text}` or `{"assistant": text}`; the last is the user's."""

    def __post_init__(self) -> None:
        if "user" not in self.dialogue[-1]:
            raise ValueError("`dialogue` must end on a `user` turn")

    @property
    def messages(self) -> tuple[Message, ...]:
        """The dialogue as messages."""
        return tuple(Message(role, text) for turn in self.dialogue for role, text in turn.items())


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to help with in one scenario, and what not. The fields are those of a policy file."""

    id: _Text
    """The scenario's slug, or `baseline`."""
    version: _Text
    scenario: Scenario | None
    """None for the baseline, which applies where no scenario is known."""
    title: _Text
    definition: _Text
    dont: _Texts
    """What not to help with."""
    do: _Texts
    """What to help with, and how."""
    short: _Text
    full: _Text
    """The texts that a target is given: `short` where the budget of tokens is tight."""
    examples: tuple[Example, ...] = ()
    """What `safemt policy test` runs."""

    def __post_init__(self) -> None:
        if self.id not in (*SCENARIO_BY_SLUG, BASELINE):
            known = ", ".join([*SCENARIO_BY_SLUG, BASELINE])
            raise ValueError(f"`id` is {self.id!r}, which is not one of {known}")
        if self.scenario is not SCENARIO_BY_SLUG.get(self.id):
            expected = SCENARIO_BY_SLUG[self.id].value if self.id in SCENARIO_BY_SLUG else "null"
            raise ValueError(f"`scenario` must be {expected} if `id` is {self.id}")
        if len(self.short) > len(self.full):
            raise ValueError("`short` is longer than `full`, which it replaces if tokens are scarce")

    @property
    def ref(self) -> PolicyRef:
        """What identifies this policy in a verdict."""
        return PolicyRef(
            id=self.id, version=self.version, sha256=content_key({"short": self.short, "full": self.full})
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """A whole set: one policy for each scenario, and the baseline."""

    baseline: Policy
    by_scenario: Mapping[Scenario, Policy]

    @property
    def listed(self) -> tuple[Policy, ...]:
        """All of them: the scenarios' in alphabetical order, then the baseline."""
        return (*(self.by_scenario[each] for each in sorted(self.by_scenario)), self.baseline)

    @property
    def sha256(self) -> str:
        """Identifies the set by everything it tells a target."""
        return content_key([[policy.id, policy.title, policy.ref.sha256] for policy in self.listed])


def select_policies(policies: Policies, scenarios: Mapping[Scenario, float]) -> tuple[Policy, ...]:
    """The policies of the scenarios that fit, best first; the baseline if none does."""
    order = list(Scenario)
    found = sorted(
        (scenario for scenario, score in scenarios.items() if score >= FITS),
        key=lambda scenario: (-scenarios[scenario], order.index(scenario)),
    )
    return tuple(policies.by_scenario[scenario] for scenario in found[:MOST_POLICIES]) or (policies.baseline,)


def read_policies(folder: Path | None = None) -> Policies:
    """The shipped policies, each replaced by the one with the same id in `folder`, if there is one.

    Raises:
        ModeratorError: the folder cannot be read, holds no policy, or two with the same id.
        DataError: a file is not a policy; the message names the file and the field.
    """
    policies = dict(_shipped())
    if folder is not None:
        policies.update(_own(folder))
    return Policies(
        baseline=policies[BASELINE],
        by_scenario={scenario: policies[scenario.slug] for scenario in Scenario},
    )


def policy_from(data: object, *, where: str) -> Policy:
    """The policy in the data of a YAML file, with blanks around texts removed; `where` names the file.

    Raises:
        DataError: it is not a policy; the message names the field.
    """
    return typed(_stripped(data), Policy, where=where)


def policy_data(policy: Policy) -> dict[str, Any]:
    """A policy as plain data, which `policy_from` reads back."""
    return dict(msgspec.to_builtins(policy))


def policy_yaml(policy: Policy) -> str:
    """A policy as the text of its file."""
    return yaml.safe_dump(
        msgspec.json.decode(msgspec.json.encode(policy)), sort_keys=False, allow_unicode=True, width=100
    )


@cache
def _shipped() -> Mapping[str, Policy]:
    folder = files("safemt.moderation.policies").joinpath("data")
    names = [f"{each}.yaml" for each in (*SCENARIO_BY_SLUG, BASELINE)]
    read = [
        policy_from(load_yaml(folder.joinpath(name).read_bytes(), where=name), where=name) for name in names
    ]
    return {policy.id: policy for policy in read}


def _own(folder: Path) -> Mapping[str, Policy]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError as error:
        raise ModeratorError(
            "unreadable_policies",
            f"The policies in {folder} cannot be read: {error.strerror}.",
            folder=folder,
        ) from error
    if not paths:
        raise ModeratorError(
            "no_policies",
            f"{folder} holds no policy: no file there ends in .yaml. Write one for each policy to replace.",
            folder=folder,
        )
    found: dict[str, Policy] = {}
    for path in paths:
        policy = policy_from(read_yaml(path), where=str(path))
        if policy.id in found:
            raise ModeratorError(
                "policy_twice",
                f"{path} has the `id` {policy.id}, and so has another file in that folder.",
                path=path,
                id=policy.id,
            )
        found[policy.id] = policy
    return found


def _stripped(data: object) -> object:
    if isinstance(data, str):
        return data.strip()
    if isinstance(data, list):
        return [_stripped(each) for each in data]
    return {key: _stripped(each) for key, each in data.items()} if isinstance(data, dict) else data
