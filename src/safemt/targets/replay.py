"""`replay/PATH`: recorded responses, to judge what was answered elsewhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from safemt.benchmark.recorded import read_by_sample
from safemt.core.errors import CallError, CallFailure
from safemt.core.identity import Json
from safemt.core.schema import Message, Sample
from safemt.endpoints.base import Reply


class ReplayTarget:
    """Answers each sample with the response that was recorded for its query and number of turns."""

    simulated = False
    answers_by_sample = True
    origin = None

    def __init__(self, path: Path, responses: Mapping[tuple[str, int], str], *, sha256: str) -> None:
        """`responses` by query id and number of turns; `sha256` is the hash of the file at `path`."""
        self.name = f"replay/{path}"
        self._responses = responses
        self._sha256 = sha256

    @property
    def identity(self) -> Json:
        """The hash of the file."""
        return {"kind": "replay", "sha256": self._sha256}

    async def respond(self, messages: Sequence[Message], sample: Sample) -> Reply:
        """The recorded response.

        Raises:
            CallError: none was recorded for this sample, or it is empty (`not_recorded`, `empty_reply`).
        """
        text = self._responses.get((sample.query_id, sample.turns))
        if text is None:
            raise CallError(CallFailure("not_recorded", f"no response is recorded for {sample.id}"))
        if not text.strip():
            raise CallError(CallFailure("empty_reply", f"the response recorded for {sample.id} is empty"))
        return Reply(text=text)

    async def close(self) -> None:
        """Nothing to close."""


def read_replay(path: Path) -> ReplayTarget:
    """The target that `replay/PATH` names.

    Raises:
        LabelsError: the file cannot be read, a row lacks `response`, or two rows of one sample differ.
    """
    responses, sha256 = read_by_sample(path, field="response")
    return ReplayTarget(path, responses, sha256=sha256)
