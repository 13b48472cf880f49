"""Verdicts kept beside an evaluation, so that none is asked for twice. They hold no text of any dialogue."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import orjson

from safemt.core.errors import DataError, ModeratorError
from safemt.core.identity import content_key
from safemt.core.verdict import Verdict, verdict_from_json, verdict_json
from safemt.moderation.detectors.detector import Detector


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVerdict:
    """What a moderator found in one dialogue, and how long each of its verdicts took."""

    key: str
    """Identifies detector and dialogue: `verdict_key`."""
    verdict: Verdict
    """After the last user turn, with the tokens of all verdicts and the first reason to doubt one. Threshold,
    flag and action are those at the time; evaluations apply their own threshold to the risks."""
    milliseconds: tuple[float, ...]
    """One for each verdict: after each user turn, or only after the last."""


def detector_id(detector: Detector) -> str:
    """The hash of a detector's whole configuration, which identifies its verdicts and thresholds."""
    return content_key(detector.identity)


def verdict_key(detector: Detector, dialogue: str, *, every_turn: bool) -> str:
    """The key of a detector's verdict on the dialogue with this `dialogue_key`."""
    return content_key({"detector": detector_id(detector), "dialogue": dialogue, "every_turn": every_turn})


def kept_verdict(key: str, verdicts: Sequence[Verdict]) -> KeptVerdict:
    """What to keep of the verdicts on one dialogue, given in their order."""
    times = tuple(round(verdict.milliseconds, 3) for verdict in verdicts)
    return KeptVerdict(
        key=key,
        verdict=replace(
            verdicts[-1],
            degraded=next((verdict.degraded for verdict in verdicts if verdict.degraded), None),
            milliseconds=sum(times),
            prompt_tokens=sum(verdict.prompt_tokens for verdict in verdicts),
            completion_tokens=sum(verdict.completion_tokens for verdict in verdicts),
        ),
        milliseconds=times,
    )


class VerdictLog:
    """Kept verdicts by key, in a JSONL file or in memory alone. Each is on disk before the next is asked for.

    Degraded verdicts are kept for the record and asked for again. A line cut short by a crash is dropped.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the verdicts in a file and open it for more.

        Raises:
            ModeratorError: the file cannot be read or written, or holds something else.
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
                kept = _read(line, path, number)
                self._kept[kept.key] = kept
            self._stream = path.open("ab")
        except OSError as error:
            raise _not_writable(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream is not None:
            self._stream.close()

    @property
    def kept_in_file(self) -> bool:
        """Whether verdicts outlive this process."""
        return self._path is not None

    def get(self, key: str) -> KeptVerdict | None:
        """The verdict under `key`; None if there is none, or only a degraded one."""
        kept = self._kept.get(key)
        return None if kept is None or kept.verdict.degraded else kept

    def add(self, kept: KeptVerdict) -> None:
        """Keep a verdict, in place of an earlier one under the same key.

        Raises:
            ModeratorError: it cannot be written.
        """
        self._kept[kept.key] = kept
        if self._stream is not None and self._path is not None:
            line = {
                "key": kept.key,
                "milliseconds": kept.milliseconds,
                "verdict": verdict_json(kept.verdict, exact=True),
            }
            try:
                self._stream.write(orjson.dumps(line) + b"\n")
                self._stream.flush()
            except OSError as error:
                raise _not_writable(self._path, error) from error


def _read(line: bytes, path: Path, number: int) -> KeptVerdict:
    try:
        fields = orjson.loads(line)
        return KeptVerdict(
            key=fields["key"],
            verdict=verdict_from_json(fields["verdict"]),
            milliseconds=tuple(map(float, fields["milliseconds"])),
        )
    except (ValueError, TypeError, KeyError, DataError) as error:
        raise ModeratorError(
            "not_kept_verdicts",
            f"{path}, line {number}: this is not a verdict that an evaluation kept. Move the file away, or "
            "keep the evaluation in another folder (`out`).",
            path=path,
            line=number,
        ) from error


def _not_writable(path: Path, error: OSError) -> ModeratorError:
    return ModeratorError("not_writable", f"{path} cannot be written: {error.strerror}.", path=path)
