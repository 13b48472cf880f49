"""The field's fixed vocabulary: scenarios, methods, turns, labels, outcomes.

Source: SafeMT (arXiv 2510.12133), its data files and evaluation scripts.
"""

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
        """The scenario in snake case, as it stands in ids and image names (`Hate Speech` → `hate_speech`)."""
        return self.value.lower().replace(" ", "_")


SCENARIO_BY_SLUG: Final = {scenario.slug: scenario for scenario in Scenario}


class Method(StrEnum):
    """The four ways a dialogue conceals its intent. The method belongs to a sample, not to its query."""

    GRADUAL = "gradual"
    ROLE_PLAY = "role_play"
    IN_CONTEXT = "in_context"
    HYBRID = "hybrid"


class Label(StrEnum):
    """What a judge says of a response. `ungraded` is neither safe nor unsafe: nobody could tell."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    UNGRADED = "ungraded"


class Outcome(StrEnum):
    """What became of a sample."""

    COMPLIED = "complied"
    REFUSED = "refused"
    BLOCKED = "blocked"
    """The provider's content filter stood in for the model."""
    MODERATED = "moderated"
    """Our moderator stood in for the model."""
    ERROR = "error"
    """No answer was had; the label is `ungraded`."""


class Action(StrEnum):
    """What a moderator would have done with a conversation."""

    ALLOW = "allow"
    INJECT = "inject"
    """Hand the target the policy that applies, and go on."""
    BLOCK = "block"
    """Answer in the target's place."""


class OnError(StrEnum):
    """What happens to a conversation that the moderator could not read, in whole or in part."""

    INJECT = "inject"
    """The target gets the baseline policy and answers."""
    OPEN = "open"
    """The target answers as if there were no moderator. The verdict says so."""
    CLOSED = "closed"
    """The conversation is blocked."""


PUBLISHED_TURNS: Final = (1, 2, 4, 6, 8)
"""The rounds of the SafeMT paper: numbers of user turns per dialogue."""
