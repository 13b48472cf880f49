"""`safemt policy`: what a target is told of each scenario."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from safemt.cli import app
from safemt.cli.options import (
    AsJson,
    Concurrency,
    ModeratorApiKeyEnv,
    ModeratorBaseUrl,
    ModeratorName,
    ModeratorTemplate,
    ModeratorThreshold,
    PolicyFolder,
)
from safemt.core.errors import ModeratorError, RunStopped, UsageError

if TYPE_CHECKING:
    from safemt.moderation.policies.policy import Policies, Policy

policy_app = typer.Typer(
    help="Show and test the safety policies that a moderator hands to a target.", no_args_is_help=True
)
app.add_typer(policy_app, name="policy")


@policy_app.command("list")
def list_policies(policies: PolicyFolder = None, as_json: AsJson = False) -> None:
    """List the policies: one for each scenario, and the baseline."""
    from rich import box
    from rich.table import Table

    from safemt.cli.printing import print_json, stdout
    from safemt.moderation.policies.inject import approximate_tokens
    from safemt.moderation.policies.policy import read_policies

    chosen = read_policies(policies)
    if as_json:
        print_json({"sha256": chosen.sha256, "policies": [_policy_json(policy) for policy in chosen.listed]})
        return
    packaged = read_policies().listed
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("id")
    table.add_column("title")
    for heading in ("version", "full", "short", "examples"):
        table.add_column(heading, justify="right")
    if policies is not None:
        table.add_column("from")
    for policy in chosen.listed:
        table.add_row(
            policy.id,
            policy.title,
            policy.version,
            str(approximate_tokens(policy.full)),
            str(approximate_tokens(policy.short)),
            str(len(policy.examples)),
            *([] if policies is None else ["safemt" if policy in packaged else str(policies)]),
        )
    console = stdout()
    console.print(table)
    console.print("full, short: approximate tokens of what a target is told.", highlight=False)


@policy_app.command()
def show(
    policy_id: Annotated[str, typer.Argument(metavar="ID", help="Such as fraud; policy list has all.")],
    policies: PolicyFolder = None,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print the file, to begin one of your own.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print one policy: what it covers, what a target is told, its examples."""
    from safemt.cli.printing import print_json
    from safemt.moderation.policies.policy import policy_yaml, read_policies

    policy = _find(read_policies(policies), policy_id)
    if as_json:
        print_json(_policy_json(policy))
    elif as_yaml:
        print(policy_yaml(policy), end="")
    else:
        _print_policy(policy)


@policy_app.command("test")
def try_examples(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Only these policies. Default: all.")
    ] = None,
    moderator: ModeratorName = "embedded",
    policies: PolicyFolder = None,
    threshold: ModeratorThreshold = None,
    moderator_base_url: ModeratorBaseUrl = None,
    moderator_api_key_env: ModeratorApiKeyEnv = None,
    template: ModeratorTemplate = None,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Show a moderator the policies' examples, and say where it errs.

    Exit code 1 if it flags an example that it should not, or the other way round.
    """
    from safemt.cli.policy_examples import failed, print_tested, run_examples, tested_json
    from safemt.cli.printing import print_json, stdout
    from safemt.endpoints.asking import LimitedAsk
    from safemt.moderation.open import DetectorOptions, open_moderator

    opened = open_moderator(
        moderator,
        threshold=threshold,
        policies=policies,
        options=DetectorOptions(
            base_url=moderator_base_url, api_key_env=moderator_api_key_env, template=template
        ),
        ask=LimitedAsk(concurrency, role="moderator"),
    )
    chosen = [_find(opened.policies, each) for each in dict.fromkeys(ids or ())] or opened.policies.listed
    try:
        tested = run_examples(opened, chosen, at_once=concurrency)
    except RunStopped as stopped:
        raise ModeratorError(str(stopped)) from stopped
    if as_json:
        print_json(tested_json(opened, tested))
    else:
        print_tested(opened, chosen, tested, stdout())
    if failed(tested):
        raise typer.Exit(1)


def _find(policies: "Policies", policy_id: str) -> "Policy":
    for policy in policies.listed:
        if policy.id == policy_id:
            return policy
    known = ", ".join(policy.id for policy in policies.listed)
    raise UsageError(f"There is no policy {policy_id!r}. There are: {known}.")


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
        ("Not to be helped with", [f"- {line}" for line in policy.dont]),
        ("May be helped with", [f"- {line}" for line in policy.do]),
        ("What a target is told", [policy.full]),
        ("Where there is little room", [policy.short]),
    ):
        console.print(Text(f"\n{heading}", "bold"))
        for line in lines:
            paragraph(line)
    for number, example in enumerate(policy.examples, 1):
        expected = "to be flagged" if example.flagged else "not to be flagged"
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
