"""`safemt policy`: show and test what a target is told about each scenario."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from safemt.cli.command import Argument, command, group
from safemt.cli.moderators import DETECTOR, ModerationConfig, open_alone
from safemt.cli.options import Setting, option
from safemt.core.errors import ModeratorError, RunStopped, UsageError

if TYPE_CHECKING:
    from safemt.moderation.policies.policy import Policies, Policy

_POLICIES: Final = option("moderator.policies", kind=Path)


@command(
    _POLICIES,
    "as_json",
    name="list",
    examples=("safemt policy list", "safemt policy list --policies my-policies"),
)
def list_policies(*, moderator_policies: Path | None, as_json: bool) -> None:
    """List the policies: one for each scenario, and the baseline."""
    from rich import box
    from rich.table import Table

    from safemt.cli.printing import print_json, stdout
    from safemt.moderation.policies.inject import approximate_tokens
    from safemt.moderation.policies.policy import read_policies

    chosen = read_policies(moderator_policies)
    if as_json:
        print_json({"sha256": chosen.sha256, "policies": [_policy_json(policy) for policy in chosen.listed]})
        return
    packaged = read_policies().listed
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("id")
    table.add_column("title")
    for heading in ("version", "full", "short", "examples"):
        table.add_column(heading, justify="right")
    if moderator_policies is not None:
        table.add_column("from")
    for policy in chosen.listed:
        table.add_row(
            policy.id,
            policy.title,
            policy.version,
            str(approximate_tokens(policy.full)),
            str(approximate_tokens(policy.short)),
            str(len(policy.examples)),
            *([] if moderator_policies is None else [_origin(policy in packaged, moderator_policies)]),
        )
    console = stdout()
    console.print(table)
    console.print("full, short: approximate tokens of what the target is told.", highlight=False)


@command(
    _POLICIES,
    Setting("yaml", "Print the file, to start one of your own.", bool),
    "as_json",
    arguments=[
        Argument(
            "policy_id", "Such as fraud; `safemt policy list` shows all.", metavar="ID", type=click.STRING
        )
    ],
    examples=("safemt policy show fraud", "safemt policy show fraud --yaml > my-policies/fraud.yaml"),
)  # fmt: skip
def show(policy_id: str, *, moderator_policies: Path | None, yaml: bool, as_json: bool) -> None:
    """Print one policy: its scope, what a target is told, and its examples."""
    from safemt.cli.printing import print_json
    from safemt.moderation.policies.policy import policy_yaml, read_policies

    policy = _find(read_policies(moderator_policies), policy_id)
    if as_json:
        print_json(_policy_json(policy))
    elif yaml:
        print(policy_yaml(policy), end="")
    else:
        _print_policy(policy)


@command(
    "moderator.name", "moderator.threshold", "moderator.policies", *DETECTOR, "limits.concurrency", "as_json",
    name="test",
    config=ModerationConfig,
    arguments=[
        Argument(
            "ids", "Test only these policies. Default: all.", metavar="[ID]...", nargs=-1, required=False,
            type=click.STRING,
        )
    ],
    examples=("safemt policy test", "safemt policy test fraud --policies my-policies --moderator keyword"),
)  # fmt: skip
def try_examples(config: ModerationConfig, ids: tuple[str, ...], *, as_json: bool) -> int | None:
    """Test the examples of policies on a moderator.

    The exit code is 1 if the moderator flags an example that it should not, or misses one that it should.
    """
    from safemt.cli.policy_examples import failed, print_tested, run_examples, tested_json
    from safemt.cli.printing import print_json, stdout

    opened = open_alone(config.moderator, config.limits.concurrency)
    chosen = [_find(opened.policies, each) for each in dict.fromkeys(ids)] or opened.policies.listed
    try:
        tested = run_examples(opened, chosen, at_once=config.limits.concurrency)
    except RunStopped as stopped:
        raise ModeratorError("moderation_stopped", str(stopped)) from stopped
    if as_json:
        print_json(tested_json(opened, tested))
    else:
        print_tested(opened, chosen, tested, stdout())
    return 1 if failed(tested) else None


policy = group("policy", [list_policies, show, try_examples])


def _origin(packaged: bool, folder: Path) -> str:
    return "safemt" if packaged else str(folder)


def _find(policies: "Policies", policy_id: str) -> "Policy":
    for policy in policies.listed:
        if policy.id == policy_id:
            return policy
    known = ", ".join(policy.id for policy in policies.listed)
    raise UsageError(
        "unknown_policy", f"There is no policy {policy_id!r}. There are {known}.", policy=policy_id
    )


def _print_policy(policy: "Policy") -> None:
    from rich.padding import Padding
    from rich.text import Text

    from safemt.cli.printing import stdout

    console = stdout()

    def paragraph(text: str, *, indent: int = 2) -> None:
        console.print(Padding(Text(text), (0, 0, 0, indent)))

    console.print(Text.assemble((policy.title, "bold"), f"  {policy.id}, version {policy.version}"))
    paragraph(policy.definition)
    for heading, lines in (
        ("Do not help with", [f"- {line}" for line in policy.dont]),
        ("You may help with", [f"- {line}" for line in policy.do]),
        ("What the target is told", [policy.full]),
        ("If space is short", [policy.short]),
    ):
        console.print(Text(f"\n{heading}", "bold"))
        for line in lines:
            paragraph(line)
    for number, example in enumerate(policy.examples, 1):
        expected = "should be flagged" if example.flagged else "should not be flagged"
        console.print(Text(f"\nExample {number}, {expected}", "bold"))
        for message in example.messages:
            paragraph(f"{message.role}: {message.content}")


def _policy_json(policy: "Policy") -> dict[str, Any]:
    from safemt.moderation.policies.policy import policy_data

    return {
        "id": policy.id,
        "version": policy.version,
        "sha256": policy.ref.sha256,
        **policy_data(policy),
        "examples": [
            {
                "flagged": example.flagged,
                "dialogue": [{"role": each.role, "content": each.content} for each in example.messages],
            }
            for example in policy.examples
        ],
    }
