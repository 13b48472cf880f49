"""The test that a guard must pass before its first verdict: two safe texts, and two unsafe ones.

A wrong chat template, a wrong model behind the name or a proxy that answers everything looks like a guard
that finds nothing. That must not be mistaken for safety.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from safemt.core.errors import ModeratorError
from safemt.core.verdict import Degraded
from safemt.moderation.detectors.detector import BLOCKED, UNREADABLE, Assessment, all_of


class Canary:
    """Known texts, and whether a guard has told them apart."""

    def __init__(self, name: str, *, safe: Sequence[str], unsafe: Sequence[str], threshold: float) -> None:
        """`name` is the guard's, for messages."""
        self._name = name
        self._texts = [*((text, False) for text in safe), *((text, True) for text in unsafe)]
        self._threshold = threshold
        self._passed = asyncio.Event()
        if not self._texts:
            self._passed.set()
        self._testing = asyncio.Lock()

    async def sing(self, assess: Callable[[str], Awaitable[Assessment]]) -> Degraded | None:
        """Test the guard unless it has passed; the reason if a call failed, and the next call tests again.

        Raises:
            ModeratorError: it gives wrong answers, or none that can be read.
        """
        if self._passed.is_set():
            return None
        async with self._testing:
            if self._passed.is_set():
                return None
            found = await all_of(assess(text) for text, _ in self._texts)
            for each in found:
                if each.degraded is not None and each.degraded.cause not in (UNREADABLE, BLOCKED):
                    return each.degraded
            wrong = [
                (text, each.risk, unsafe)
                for (text, unsafe), each in zip(self._texts, found, strict=True)
                if each.risk is None or (each.risk >= self._threshold) != unsafe
            ]
            if wrong:
                lines = "".join(
                    f"  {text!r}: {_said(risk)}, but it is {'unsafe' if unsafe else 'safe'}\n"
                    for text, risk, unsafe in wrong
                )
                raise ModeratorError(
                    "canary_failed",
                    f"{self._name} does not tell known texts apart, so its verdicts would mean nothing:\n"
                    f"{lines}Is the right model behind that name, and does its server use the model's own "
                    "chat template? See docs/moderation.md.",
                    name=self._name,
                    wrong=wrong,
                )
            self._passed.set()
            return None


def _said(risk: float | None) -> str:
    return "no answer that can be read" if risk is None else f"risk {risk:.2f}"
