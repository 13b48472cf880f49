"""A threshold from a deployment's own traffic: the audit log in place of labelled dialogues."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from safemt.core.errors import UsageError
from safemt.moderation.measuring.thresholds import THRESHOLDS_SCHEMA
from safemt.serve.monitor import conversations_of
from safemt.stats.thresholds import needed_for, promise


def calibrate_on_audit(records: Sequence[Mapping[str, Any]], rate: float) -> dict[str, Any]:
    """A thresholds file: the lowest threshold that flags at most a share `rate` of the conversations.

    The traffic is taken as benign. Harmful conversations in it raise the threshold, so alerts stay within
    `rate` all the same, but more is missed; where they are many, calibrate on labelled dialogues.

    Raises:
        UsageError: the logs hold verdicts of several moderators, or too few conversations for `rate`.
    """
    moderators = Counter(
        (record["verdict"]["moderator"], record["detector"])
        for record in records
        if record.get("verdict") and record.get("detector")
    )
    if len(moderators) != 1:
        names = ", ".join(sorted({name for name, _ in moderators})) or "none"
        raise UsageError(
            "not_one_moderator",
            f"The audit logs hold verdicts of {len(moderators)} moderators or versions ({names}), and a "
            "threshold holds for one. Give logs of one only.",
        )
    seen = conversations_of(records)
    risks = [each.risk for each in seen.values() if each.risk is not None]
    found = promise(risks, rate)
    if found is None:
        raise UsageError(
            "too_few_dialogues",
            f"A share of {100 * rate:g} % cannot be promised from {len(risks):,} conversations: it takes at "
            f"least {needed_for(rate):,}. Give more logs, or a higher rate.",
            rate=rate,
        )
    if found.threshold > 1.0:
        raise UsageError(
            "no_threshold",
            f"More than {100 * rate:g} % of the conversations have a risk of 1. No threshold keeps that.",
            rate=rate,
        )
    ((name, identity),) = moderators
    return {
        "schema": THRESHOLDS_SCHEMA,
        "moderator": {"name": name, "identity": identity},
        "threshold": found.threshold,
        "promise": {"false_alarm_rate": rate, "per": "conversation, after any turn", "confidence": 0.975},
        "achieved": {
            "alarms": found.alarms,
            "independent_dialogues": found.benign,
            "allowed": found.allowed,
            "rate": msgspec.to_builtins(found.achieved),
        },
        "unscored": len(seen) - len(risks),
        "safemt": version("safemt"),
    }
