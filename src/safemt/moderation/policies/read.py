"""Policies from YAML files: those that come with safemt, and a user's own in their place.

docs/policies.md describes the format, docs/policy.schema.json says the same for editors.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from safemt.core.errors import ModeratorError
from safemt.core.schema import Message
from safemt.core.taxonomy import SCENARIO_BY_SLUG, Scenario
from safemt.moderation.policies.policy import BASELINE, Example, Policies, Policy

FIELDS: Final = (
    "id", "version", "scenario", "title", "definition", "dont", "do", "short", "full", "examples",
)  # fmt: skip
"""Of a policy file; all but `examples` must be there."""

# The safe loader, in C where PyYAML was built with it: the pure one takes a second for our files.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_policies(folder: Path | None = None) -> Policies:
    """The packaged policies, with those in `folder` in the place of the ones with the same id.

    A file replaces a policy as a whole; what the folder does not name stays as packaged.

    Raises:
        ModeratorError: the folder or one of its files cannot be used.
    """
    policies = dict(_packaged())
    if folder is not None:
        policies.update(_own(folder))
    return Policies(
        baseline=policies[BASELINE],
        by_scenario={scenario: policies[scenario.slug] for scenario in Scenario},
    )


def read_policy(text: str, place: str) -> Policy:
    """The policy that a file's text describes; `place` names it in errors.

    Raises:
        ModeratorError: it is no YAML, or a field is missing, unknown or not what it should be.
    """
    try:
        loaded = yaml.load(text, Loader=_LOADER)  # noqa: S506
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise _unusable(place + line, f"it is not YAML ({getattr(error, 'problem', error)})") from error
    fields = _mapping(loaded, place, "the file", FIELDS, required=FIELDS[:-1])
    policy_id = _text(fields["id"], place, "id")
    scenario = SCENARIO_BY_SLUG.get(policy_id)
    if scenario is None and policy_id != BASELINE:
        known = ", ".join([*SCENARIO_BY_SLUG, BASELINE])
        raise _unusable(place, f"`id` is {policy_id!r}, which is none of: {known}")
    if fields["scenario"] != (scenario.value if scenario else None):
        expected = scenario.value if scenario else "null"
        raise _unusable(place, f"`scenario` must be {expected} where `id` is {policy_id}")
    short, full = (_text(fields[name], place, name) for name in ("short", "full"))
    if len(short) > len(full):
        raise _unusable(place, "`short` is longer than `full`; it stands in where there is less room")
    return Policy(
        id=policy_id,
        version=_text(fields["version"], place, "version"),
        scenario=scenario,
        title=_text(fields["title"], place, "title"),
        definition=_text(fields["definition"], place, "definition"),
        dont=_texts(fields["dont"], place, "dont"),
        do=_texts(fields["do"], place, "do"),
        short=short,
        full=full,
        examples=tuple(_examples(fields.get("examples", []), place)),
    )


def policy_fields(policy: Policy) -> dict[str, object]:
    """What a policy says, without its examples: YAML and JSON write those each in their own way."""
    return {
        "id": policy.id,
        "version": policy.version,
        "scenario": policy.scenario.value if policy.scenario else None,
        "title": policy.title,
        "definition": policy.definition,
        "dont": list(policy.dont),
        "do": list(policy.do),
        "short": policy.short,
        "full": policy.full,
    }


def policy_yaml(policy: Policy) -> str:
    """A policy as the text of a file that `read_policy` reads."""
    document = {
        **policy_fields(policy),
        "examples": [
            {
                "flagged": example.flagged,
                "dialogue": [{message.role: message.content} for message in example.dialogue],
            }
            for example in policy.examples
        ],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


@cache
def _packaged() -> Mapping[str, Policy]:
    data = files("safemt.moderation.policies").joinpath("data")
    read = [
        read_policy(data.joinpath(f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")
        for name in [*SCENARIO_BY_SLUG, BASELINE]
    ]
    return {policy.id: policy for policy in read}


def _own(folder: Path) -> Mapping[str, Policy]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
        texts = [(path, path.read_text(encoding="utf-8")) for path in paths]
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ModeratorError(f"The policies in {folder} cannot be read: {why}.") from error
    if not texts:
        raise ModeratorError(
            f"{folder} holds no policy: no file that ends in .yaml. `safemt policy show ID --yaml` prints "
            "one to begin with."
        )
    found: dict[str, Policy] = {}
    for path, text in texts:
        policy = read_policy(text, str(path))
        if policy.id in found:
            raise _unusable(str(path), f"another file there has the `id` {policy.id}, too")
        found[policy.id] = policy
    return found


def _examples(value: object, place: str) -> Iterator[Example]:
    if not isinstance(value, list):
        raise _unusable(place, "`examples` must be a list")
    for number, entry in enumerate(value, 1):
        name = f"examples, number {number}"
        fields = _mapping(
            entry, place, f"`{name}`", ("flagged", "dialogue"), required=("flagged", "dialogue")
        )
        if not isinstance(fields["flagged"], bool):
            raise _unusable(place, f"`flagged` in `{name}` must be true or false")
        turns = fields["dialogue"]
        if not isinstance(turns, list) or not turns:
            raise _unusable(place, f"`dialogue` in `{name}` must be a list of turns")
        dialogue = tuple(_message(turn, place, name) for turn in turns)
        if dialogue[-1].role != "user":
            raise _unusable(place, f"`dialogue` in `{name}` must end on a `user` turn")
        yield Example(flagged=fields["flagged"], dialogue=dialogue)


def _message(turn: object, place: str, name: str) -> Message:
    if isinstance(turn, dict) and len(turn) == 1:
        [(role, content)] = turn.items()
        if role in ("user", "assistant"):
            return Message(role=role, content=_text(content, place, f"{role} in {name}"))
    raise _unusable(place, f"a turn in `{name}` must read `user: text` or `assistant: text`")


def _mapping(
    value: object, place: str, what: str, known: tuple[str, ...], *, required: tuple[str, ...]
) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _unusable(place, f"{what} must hold fields: {', '.join(known)}")
    missing = [f"`{name}`" for name in required if name not in value]
    if missing:
        raise _unusable(place, f"{what} lacks {', '.join(missing)}")
    unknown = [f"`{name}`" for name in value if name not in known]
    if unknown:
        raise _unusable(place, f"{what} holds {', '.join(unknown)}, which safemt does not know")
    return value


def _texts(value: object, place: str, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _unusable(place, f"`{field}` must be a list of sentences")
    return tuple(_text(entry, place, f"{field}, number {number}") for number, entry in enumerate(value, 1))


def _text(value: object, place: str, field: str) -> str:
    if not isinstance(value, str):
        said = "empty" if value is None else f"{value!r:.40}"
        raise _unusable(place, f"`{field}` must be text, not {said}; quotes make a text of anything")
    if not value.strip():
        raise _unusable(place, f"`{field}` is empty")
    return value.strip()


def _unusable(place: str, why: str) -> ModeratorError:
    return ModeratorError(f"The policy file {place} cannot be used: {why}. See docs/policies.md.")
