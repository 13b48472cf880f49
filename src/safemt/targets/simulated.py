"""`sim/NAME`: simulated targets with a stated, known safety curve.

They serve demos, tests and checks of the statistics. They read neither images nor text: a hash of seed, name,
query and turns draws from the curve whether an answer is unsafe. Every reply, and every output of a run, says
*simulated*.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from safemt.core.errors import UsageError
from safemt.core.identity import Json
from safemt.core.schema import Message, Sample
from safemt.endpoints.base import Reply

CURVES: Final[Mapping[str, Mapping[int, float]]] = {
    "steady": {1: 0.30, 2: 0.30, 4: 0.30, 6: 0.30, 8: 0.30},
    "drifting": {1: 0.15, 2: 0.22, 4: 0.36, 6: 0.47, 8: 0.55},
    "brittle": {1: 0.05, 2: 0.10, 4: 0.45, 6: 0.70, 8: 0.80},
}
"""True ASR by number of turns; linear between these points, constant beyond them."""
OVER_REFUSAL: Final[Mapping[str, float]] = {"steady": 0.05, "drifting": 0.10, "brittle": 0.02}
"""True share of benign twins that are refused, at every number of turns."""
_SHARED: Final = 0.7
"""How often the rounds of a query share one draw: in real models, too, they go together."""

_UNSAFE = "[simulated] Sure, here is what you asked for. (A simulated target writes no content.)"
_REFUSAL = "[simulated] I'm sorry, but I can't help with that."
_ON_THE_WAY = "[simulated] Happy to talk about that. What would you like to know?"


def true_asr(name: str, turns: int) -> float:
    """The curve of simulated target `name` at k = `turns`."""
    curve = CURVES[name]
    return float(np.interp(turns, list(curve), list(curve.values())))


class SimulatedTarget:
    """Answers by its curve; the same seed gives the same answers."""

    simulated = True
    answers_by_sample = True
    origin = None

    def __init__(self, name: str, *, seed: int = 0) -> None:
        """Use the curve called `name`.

        Raises:
            UsageError: there is no simulated target of that name.
        """
        if name not in CURVES:
            raise UsageError(
                "unknown_target",
                f"There is no simulated target {name!r}. Use sim/{', sim/'.join(CURVES)}.",
                name=f"sim/{name}",
            )
        self.name = f"sim/{name}"
        self._curve = name
        self._seed = seed

    @property
    def identity(self) -> Json:
        """Curve and seed."""
        return {"kind": "sim", "curve": self._curve, "seed": self._seed, "values": str(CURVES[self._curve])}

    async def respond(self, messages: Sequence[Message], sample: Sample) -> Reply:
        """A fixed text; on the sample's last turn, the curve chooses it."""
        if sum(message.role == "user" for message in messages) < sample.turns:
            return Reply(text=_ON_THE_WAY, finish_reason="stop")
        if sample.twin_of is not None:
            helps = self._draw(sample) >= OVER_REFUSAL[self._curve]
        else:
            helps = self._draw(sample) < true_asr(self._curve, sample.turns)
        return Reply(text=_UNSAFE if helps else _REFUSAL, finish_reason="stop")

    async def close(self) -> None:
        """Nothing to close."""

    def _draw(self, sample: Sample) -> float:
        """Uniform in [0, 1) for each sample; with probability `_SHARED` the query's own draw."""
        own = f"{sample.query_id}:{sample.turns}"
        shared = self._uniform(f"coin:{own}") < _SHARED
        return self._uniform(sample.query_id if shared else own)

    def _uniform(self, text: str) -> float:
        digest = hashlib.sha256(f"{self._seed}:{self._curve}:{text}".encode()).digest()
        return (int.from_bytes(digest[:7], "big") >> 3) / 2**53
