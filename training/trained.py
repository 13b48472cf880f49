"""What a training comes to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from safemt.moderation.detectors.embedded.features import Probe
from safemt.moderation.detectors.embedded.head import Head
from training.calibrate import Platt

DEFAULT_FALSE_ALARMS: Final = 0.005
"""Share of harmless dialogues of calibration that the default threshold flags, at any turn.

Chosen on validation sources, where it keeps alarms below 1 %.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A whole moderator, as it will run."""

    probe: Probe
    head: Head
    calibrations: Mapping[str, Platt]
    """`risk`, `turn_risk`, `linkage`, `scenarios`, `support`: the curve of each output."""
    thresholds: Mapping[str, float]
    screen: Mapping[str, float]
    calm: int
    """Harmless dialogues that the thresholds were chosen on."""
