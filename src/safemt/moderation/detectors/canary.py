"""The test that a guard has to pass before its first verdict: two texts that are safe, and two that are not.

A wrong chat template, a wrong model behind the name or a proxy that answers everything looks like a guard
that finds nothing. That must not be mistaken for safety.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from safemt.core.errors import ModeratorError


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

    async def sing(self, risk_of: Callable[[str], Awaitable[float | None]]) -> None:
        """Return if the guard is known to work; test it if that is not known yet.

        Raises:
            ModeratorError: it gives wrong answers, or none that can be read.
            CallError: it cannot be reached; the next call tests again.
        """
        if self._passed.is_set():
            return
        async with self._testing:
            if self._passed.is_set():
                return
            risks: list[float | None] = []
            # All have ended before one's failure is raised: none is left to run on by itself.
            for risk in await asyncio.gather(
                *(risk_of(text) for text, _ in self._texts), return_exceptions=True
            ):
                if isinstance(risk, BaseException):
                    raise risk
                risks.append(risk)
            wrong = [
                f"  {text!r}: {_said(risk)}, but it is {'unsafe' if unsafe else 'safe'}"
                for (text, unsafe), risk in zip(self._texts, risks, strict=True)
                if risk is None or (risk >= self._threshold) != unsafe
            ]
            if wrong:
                raise ModeratorError(
                    f"{self._name} does not tell known texts apart, so its verdicts would mean nothing:\n"
                    + "\n".join(wrong)
                    + "\nIs the right model behind that name, and does its server use the model's own chat "
                    "template? See docs/moderation.md."
                )
            self._passed.set()


def _said(risk: float | None) -> str:
    return "no answer that can be read" if risk is None else f"risk {risk:.2f}"
