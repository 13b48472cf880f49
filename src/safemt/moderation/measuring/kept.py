"""Verdicts kept beside an evaluation, so that none is asked for twice. They hold no text of any dialogue."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from safemt.core.errors import ModeratorError
from safemt.core.identity import content_key
from safemt.core.verdict import Verdict
from safemt.moderation.detectors.detector import Detector


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVerdict:
    """What a detector made of one dialogue. No threshold has a part in it."""

    key: str
    """Of detector and dialogue: `verdict_key`."""
    moderator: str
    id: str
    """The dialogue's, for people; the key is what counts."""
    risk: float | None
    """After the last message; None where nothing could be scored."""
    trajectory: tuple[float | None, ...]
    """The risk after each user turn."""
    milliseconds: tuple[float, ...]
    """What each verdict took: one per user turn, or one in all if it was asked at the end only."""
    scenario: str | None
    """The likeliest, whether flagged or not; None where the detector does not say."""
    turns_scored: int
    turns_total: int
    images_scored: int
    images_total: int
    unscanned: Mapping[str, int]
    """Why nobody looked at a part → how many parts."""
    degraded: str | None
    """The cause, if any verdict of the dialogue was degraded."""
    prompt_tokens: int
    completion_tokens: int

    @property
    def peak(self) -> float | None:
        """The highest risk after any turn."""
        return max((risk for risk in (*self.trajectory, self.risk) if risk is not None), default=None)


def detector_id(detector: Detector) -> str:
    """The hash of a detector's whole configuration; verdicts and thresholds are kept under it."""
    return content_key(detector.identity)


def verdict_key(detector: Detector, dialogue: str, *, every_turn: bool) -> str:
    """The key of a detector's verdict on the dialogue with this `dialogue_key`."""
    return content_key({"detector": detector_id(detector), "dialogue": dialogue, "every_turn": every_turn})


def kept_verdict(key: str, name: str, verdicts: Sequence[Verdict]) -> KeptVerdict:
    """What is kept of the verdicts on one dialogue, in their order; the last speaks for all of it."""
    last = verdicts[-1]
    scenario = max(last.scenarios, key=lambda each: last.scenarios[each], default=None)
    return KeptVerdict(
        key=key,
        moderator=last.moderator,
        id=name,
        risk=last.risk,
        trajectory=last.trajectory,
        milliseconds=tuple(round(verdict.milliseconds, 3) for verdict in verdicts),
        scenario=None if scenario is None else scenario.value,
        turns_scored=last.coverage.turns_scored,
        turns_total=last.coverage.turns_total,
        images_scored=last.coverage.images_scored,
        images_total=last.coverage.images_total,
        unscanned=dict(Counter(part.why for part in last.coverage.unscanned)),
        degraded=next((verdict.degraded.cause for verdict in verdicts if verdict.degraded), None),
        prompt_tokens=sum(verdict.prompt_tokens for verdict in verdicts),
        completion_tokens=sum(verdict.completion_tokens for verdict in verdicts),
    )


class VerdictLog:
    """Kept verdicts by key, in a JSONL file or in memory alone. Each is on disk before the next is asked for.

    Degraded verdicts are kept for the record and asked for again. A line cut short by a crash is left out.
    """

    def __init__(self, path: Path | None) -> None:
        """Read what is kept, and open the file for more.

        Raises:
            ModeratorError: the file cannot be read or written, or holds other things.
        """
        self._path = path
        self._kept: dict[str, KeptVerdict] = {}
        self._stream = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+b") as stream:
                stream.seek(0)
                content = stream.read()
                whole = content[: content.rfind(b"\n") + 1]
                stream.truncate(len(whole))
            for number, line in enumerate(whole.splitlines(), 1):
                kept = _read(line, f"{path}, line {number}")
                self._kept[kept.key] = kept
            self._stream = path.open("a", encoding="utf-8")
        except OSError as error:
            raise ModeratorError(f"{path} cannot be written: {error.strerror}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    @property
    def kept_in_file(self) -> bool:
        """Whether verdicts outlive this process."""
        return self._path is not None

    def get(self, key: str) -> KeptVerdict | None:
        """The verdict under `key`; None where there is none, or a degraded one."""
        kept = self._kept.get(key)
        return None if kept is None or kept.degraded else kept

    def add(self, kept: KeptVerdict) -> None:
        """Keep a verdict; a later one under the same key takes its place.

        Raises:
            ModeratorError: it cannot be written.
        """
        self._kept[kept.key] = kept
        if self._stream is not None:
            try:
                self._stream.write(json.dumps(asdict(kept), ensure_ascii=False, allow_nan=False) + "\n")
                self._stream.flush()
            except OSError as error:
                raise ModeratorError(f"{self._path} cannot be written: {error.strerror}.") from error


def _read(line: bytes, place: str) -> KeptVerdict:
    try:
        fields: dict[str, Any] = json.loads(line)
        return KeptVerdict(
            **{
                **fields,
                "trajectory": tuple(fields["trajectory"]),
                "milliseconds": tuple(fields["milliseconds"]),
            }
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ModeratorError(
            f"{place}: this is no verdict that an evaluation kept. Move the file away, or give another --out."
        ) from error
