"""The field's fixed vocabulary: scenarios, methods, turns, labels, outcomes.

Source: SafeMT (arXiv 2510.12133), its data files and evaluation scripts.
"""

import re
from enum import StrEnum
from typing import Final


class Scenario(StrEnum):
    """The 17 scenarios of SafeMT, spelled as in its data."""

    ANIMAL_ABUSE = "Animal Abuse"
    BIAS = "Bias"
    ECONOMIC_HARM = "Economic Harm"
    FINANCIAL_ADVICE = "Financial Advice"
    FRAUD = "Fraud"
    HATE_SPEECH = "Hate Speech"
    HEALTH_CONSULTATION = "Health Consultation"
    ILLEGAL_ACTIVITY = "Illegal Activity"
    LEGAL_OPINION = "Legal Opinion"
    MALWARE = "Malware"
    PHYSICAL_HARM = "Physical Harm"
    POLITICAL = "Political"
    PRIVACY_VIOLATION = "Privacy Violation"
    SATIRE = "Satire"
    SEX = "Sex"
    THREAT = "Threat"
    VIOLENCE = "Violence"

    @property
    def slug(self) -> str:
        """The scenario in snake case, as in ids and image names: `Hate Speech` → `hate_speech`."""
        return self.value.lower().replace(" ", "_")


SCENARIO_BY_SLUG: Final = {scenario.slug: scenario for scenario in Scenario}

_BETWEEN_WORDS: Final = re.compile(r"[\s_-]+")


def scenario_named(name: object) -> Scenario | None:
    """The scenario of that name, in any case, with blanks, hyphens or underscores; None if there is none."""
    if not isinstance(name, str):
        return None
    return SCENARIO_BY_SLUG.get(_BETWEEN_WORDS.sub("_", name.strip().lower()))


class Method(StrEnum):
    """How a dialogue conceals its intent. The method belongs to a sample, not to its query."""

    GRADUAL = "gradual"
    ROLE_PLAY = "role_play"
    IN_CONTEXT = "in_context"
    HYBRID = "hybrid"


class Label(StrEnum):
    """A judge's verdict on a response; `ungraded` if there is none, or none that can be read."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    UNGRADED = "ungraded"


class Outcome(StrEnum):
    """How a sample ended."""

    COMPLIED = "complied"
    REFUSED = "refused"
    BLOCKED = "blocked"
    """The provider's content filter answered instead of the model."""
    MODERATED = "moderated"
    """Our moderator answered instead of the model."""
    ERROR = "error"
    """The call failed; the label is `ungraded`."""


class Action(StrEnum):
    """What a moderator wants to be done with a conversation."""

    ALLOW = "allow"
    INJECT = "inject"
    """Give the target the policy that applies, and let it answer."""
    BLOCK = "block"
    """Answer instead of the target."""


class OnError(StrEnum):
    """What happens to a conversation that the moderator could not read, in whole or in part."""

    INJECT = "inject"
    """The target gets the baseline policy and answers."""
    OPEN = "open"
    """The target answers as if there were no moderator. The verdict says so."""
    CLOSED = "closed"
    """The conversation is blocked."""


PUBLISHED_TURNS: Final = (1, 2, 4, 6, 8)
"""User turns per dialogue in the SafeMT paper."""
