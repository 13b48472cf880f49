"""Prints verdicts: one JSON line each, or a few lines for a person."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.text import Text

from safemt.core.verdict import TurnRisk, Unscanned, Verdict, verdict_json
from safemt.endpoints.prices import PriceTable
from safemt.moderation.detectors.cascade import CascadeDetector
from safemt.moderation.many import Outcome
from safemt.moderation.moderator import Moderator
from safemt.moderation.reading.dialogues import BadRow

_BAR: Final = 20
_MOST_TURNS: Final = 12
_MOST_SCENARIOS: Final = 3
_WORTH_NAMING: Final = 0.1


@dataclass(slots=True)
class Totals:
    """Counts over the outcomes so far."""

    moderated: int = 0
    bad: int = 0
    flagged: int = 0
    degraded: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def count(self, outcome: Outcome) -> None:
        """Count one."""
        if isinstance(outcome, BadRow):
            self.bad += 1
            return
        self.moderated += 1
        self.flagged += outcome.flagged
        self.degraded += outcome.degraded is not None
        self.prompt_tokens += outcome.prompt_tokens
        self.completion_tokens += outcome.completion_tokens


def print_json_line(outcome: Outcome) -> None:
    """Print one line on stdout, at once for the reader of the pipe."""
    document = (
        {"id": outcome.id, "error": outcome.problem} if isinstance(outcome, BadRow) else verdict_json(outcome)
    )
    sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_for_people(outcome: Outcome, console: Console) -> None:
    """Print risk by turn, the first alert, scenario, action and policy, and what was not looked at."""
    if isinstance(outcome, BadRow):
        _print(console, Text.assemble((outcome.id, "bold"), "  ", ("no verdict", "red")))
        _print(console, Text(f"  {outcome.problem}"))
        return
    _print(console, _headline(outcome))
    shown = _chosen_turns(outcome)
    for turn, following in zip(shown, [*shown[1:], None], strict=True):
        _print(console, _turn_line(turn, outcome))
        if following is not None and following.turn > turn.turn + 1:
            _print(console, Text(f"  … {following.turn - turn.turn - 1:,} turns", "dim"))
    if outcome.flagged and outcome.scenarios:
        best = sorted(outcome.scenarios.items(), key=lambda each: -each[1])[:_MOST_SCENARIOS]
        named = ", ".join(f"{s.value} {fits:.2f}" for s, fits in best if fits >= _WORTH_NAMING)
        _print(console, Text(f"  scenario: {named}"))
    if outcome.policies:
        named = ", ".join(f"{policy.id} {policy.version}" for policy in outcome.policies)
        _print(console, Text(f"  policy: {named}"))
    for line in _remarks(outcome):
        _print(console, Text(f"  {line}", "yellow"))


def print_totals(totals: Totals, moderator: Moderator, prices: PriceTable, console: Console) -> None:
    """Print the totals and their cost."""
    parts = [f"{totals.moderated:,} moderated by {moderator.name}: {totals.flagged:,} flagged"]
    if totals.degraded:
        parts.append(f"{totals.degraded:,} degraded")
    if totals.bad:
        parts.append(f"{totals.bad:,} without a verdict")
    _print(console, Text(", ".join(parts) + "."))
    detector = moderator.detector
    if isinstance(detector, CascadeDetector):
        shares = detector.shares
        _print(
            console,
            Text(
                f"{detector.second.name} was asked {shares.sent_on:,} times in {shares.assessed:,} "
                f"({shares.share:.1%}), and failed {shares.failed:,} times."
            ),
        )
    tokens = totals.prompt_tokens + totals.completion_tokens
    if tokens:
        _print(console, Text(f"{tokens:,} tokens, {_cost(totals, moderator, prices)}."))


def _cost(totals: Totals, moderator: Moderator, prices: PriceTable) -> str:
    models = {(endpoint.model, endpoint.origin) for endpoint in moderator.detector.endpoints}
    found = [prices.price(f"openai/{model}", origin) for model, origin in models]
    if len(found) != 1 or found[0] is None:
        return "at an unknown price (see --prices)"
    return f"{found[0].of(totals.prompt_tokens, totals.completion_tokens):.4f} US dollars"


def _headline(verdict: Verdict) -> Text:
    risk = "no risk" if verdict.risk is None else f"risk {verdict.risk:.2f}"
    line = Text.assemble((verdict.id or "-", "bold"), f"  {risk}  ")
    if verdict.flagged:
        line.append("flagged", "red")
        scenario = f", {verdict.scenario.value}" if verdict.scenario else ""
        line.append(f"{scenario}, first at turn {verdict.first_alert_turn}")
    elif verdict.first_alert_turn is not None:
        line.append(f"no longer flagged; first alert at turn {verdict.first_alert_turn}")
    else:
        line.append("not flagged", "green")
    line.append(f" → {verdict.action.value}")
    return line


def _chosen_turns(verdict: Verdict) -> Sequence[TurnRisk]:
    """All turns; of many, the first, those around the first alert, and the last."""
    count, alert = len(verdict.turns), verdict.first_alert_turn or 1
    if count <= _MOST_TURNS:
        return verdict.turns
    return [t for t in verdict.turns if t.turn <= 1 or abs(t.turn - alert) <= 1 or t.turn > count - 6]


def _turn_line(turn: TurnRisk, verdict: Verdict) -> Text:
    if turn.risk is None:
        return Text(f"  turn {turn.turn:>3}  {'':{_BAR}}     ?")
    filled = round(_BAR * turn.risk)
    alert = turn.risk >= verdict.threshold
    line = Text(f"  turn {turn.turn:>3}  ")
    line.append("█" * filled, "red" if alert else "green")
    line.append("·" * (_BAR - filled), "dim")
    line.append(f"  {turn.risk:.2f}")
    if turn.turn == verdict.first_alert_turn:
        line.append("  first alert", "red")
    return line


def _remarks(verdict: Verdict) -> Sequence[str]:
    """What to know before trusting the verdict."""
    remarks = []
    if verdict.degraded is not None:
        remarks.append(f"degraded ({verdict.degraded.cause}): {verdict.degraded.message}")
    coverage = verdict.coverage
    if coverage.turns_scored < coverage.turns_total:
        remarks.append(f"read: {coverage.turns_scored:,} of {coverage.turns_total:,} user turns")
    by_reason = sorted(coverage.unscanned, key=_why)
    for why, group in groupby(by_reason, key=_why):
        places = [f"message {each.message + 1}" for each in group]
        more = f" and {len(places) - 3:,} more" if len(places) > 3 else ""
        remarks.append(f"not looked at ({why}): {', '.join(places[:3])}{more}")
    return remarks


def _why(unscanned: Unscanned) -> str:
    return unscanned.why


def _print(console: Console, text: Text) -> None:
    console.print(text, highlight=False, soft_wrap=True)
