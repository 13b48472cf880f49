"""The examples of policies on a moderator, for `safemt policy test`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from safemt.cli.printing import say
from safemt.core.verdict import Verdict, verdict_json
from safemt.moderation.many import moderate_many
from safemt.moderation.moderator import Moderator
from safemt.moderation.policies.policy import Example, Policy
from safemt.moderation.reading.dialogues import BadRow, Dialogue

_SHOWN = 60
"""Characters of an example's last turn."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One example of a policy, and the moderator's verdict."""

    policy: Policy
    number: int
    """Counted from 1, as in `safemt policy show`."""
    example: Example
    verdict: Verdict

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the expected one; no verdict never is."""
        return self.verdict.risk is not None and self.verdict.flagged == self.example.flagged


def run_examples(moderator: Moderator, policies: Sequence[Policy], *, at_once: int) -> list[Tested]:
    """Have `moderator` judge the examples of `policies`, each as a whole.

    Raises:
        ModeratorError: the moderator does not work at all.
        RunStopped: the moderator's endpoint was given up.
    """
    examples = [
        (policy, number, example) for policy in policies for number, example in enumerate(policy.examples, 1)
    ]
    dialogues = [
        Dialogue(id=f"{policy.id}/{number}", messages=example.messages)
        for policy, number, example in examples
    ]
    outcomes = moderate_many(moderator, dialogues, at_once=at_once, every_turn=False)
    return [
        Tested(policy, number, example, outcome)
        for (policy, number, example), outcome in zip(examples, outcomes, strict=True)
        if not isinstance(outcome, BadRow)  # never: an example ends on a user turn
    ]


def failed(tested: Sequence[Tested]) -> int:
    """How many examples came out differently than expected."""
    return sum(not each.as_expected for each in tested)


def print_tested(
    moderator: Moderator, policies: Sequence[Policy], tested: Sequence[Tested], console: Console
) -> None:
    """A row for each policy, then the examples that failed."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("policy")
    for heading in ("flagged", "left alone", ""):
        table.add_column(heading, justify="right")
    for policy in policies:
        group = [each for each in tested if each.policy == policy]
        cells = []
        for flagged in (True, False):
            kind = [each.as_expected for each in group if each.example.flagged is flagged]
            cells.append(f"{sum(kind)} of {len(kind)}")
        table.add_row(policy.id, *cells, "no examples" if not group else "fails" if failed(group) else "ok")
    console.print(table)
    for each in tested:
        if not each.as_expected:
            say(console, _failure(each))
    say(
        console,
        f"{len(tested) - failed(tested):,} of {len(tested):,} examples as expected by {moderator.name}, "
        f"which flags risks of {moderator.flag_from:.2f} and more.",
    )


def tested_json(moderator: Moderator, tested: Sequence[Tested]) -> dict[str, Any]:
    """The results as one document."""
    return {
        "moderator": moderator.name,
        "threshold": moderator.flag_from,
        "policies": moderator.policies.sha256,
        "examples": len(tested),
        "failed": failed(tested),
        "results": [
            {
                "policy": each.policy.id,
                "example": each.number,
                "expected": each.example.flagged,
                "as_expected": each.as_expected,
                "verdict": verdict_json(each.verdict),
            }
            for each in tested
        ],
    }


def _failure(tested: Tested) -> str:
    verdict = tested.verdict
    expected = "should be flagged" if tested.example.flagged else "should not be flagged"
    said = "no verdict" if verdict.risk is None else f"risk {verdict.risk:.2f}"
    why = f" ({verdict.degraded.message})" if verdict.degraded else ""
    last = tested.example.messages[-1].content
    shown = last if len(last) <= _SHOWN else f"{last[:_SHOWN]}…"
    return f"{tested.policy.id}, example {tested.number} {expected}: {said}{why}  “{shown}”"
