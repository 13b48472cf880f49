"""From the rows of a store to values, and what a store tells its readers.

SQLite lets any value into any column, so each row is held to its types. The functions raise ValueError or
TypeError for what no run wrote.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

import msgspec
import orjson

from safemt.core.schema import ImageRef, Message, Sample
from safemt.core.taxonomy import Label, Method, Outcome, Scenario
from safemt.core.verdict import Verdict
from safemt.endpoints.base import Reply
from safemt.endpoints.spend import Asked, Usage
from safemt.judges.base import Judgement
from safemt.stats.scores import ScoredSample

SAMPLE: Final = (
    "s.query_id, s.turns, s.scenario, s.method, s.twin_of, s.language, s.question, s.dialogue, s.image"
)
"""The columns for `read_sample`; the constants below are the columns for the functions of their names."""
REPLY: Final = "r.text, r.blocked, r.finish_reason, r.model, r.prompt_tokens, r.completion_tokens"
JUDGEMENT: Final = "l.label, l.cause, l.reasoning, l.prompt_tokens, l.completion_tokens"

_Kind = type | tuple[type, ...]
_MAYBE_TEXT: Final = (str, NoneType)
_MAYBE_NUMBER: Final = (int, NoneType)
_DIALOGUE: Final = msgspec.json.Decoder(list[str])
_IMAGE: Final = msgspec.json.Decoder(tuple[str, str, int, int, str])
_VERDICT: Final = msgspec.json.Decoder(Verdict)


@dataclass(frozen=True, slots=True)
class Work:
    """A planned sample that is not finished."""

    position: int
    key: str
    """The hash of the sample's content."""
    sample: Sample


@dataclass(frozen=True, slots=True)
class Invocation:
    """One `safemt run` on a store. Times are UTC, ISO 8601."""

    setup: str
    judge: str
    manifest: dict[str, Any]
    """What was to be done, with which versions."""
    started: str
    ended: str | None
    ending: str | None
    """`complete` or `stopped: …`; None while it runs, or if it was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVerdict:
    """A verdict under which a user turn of a sample was answered."""

    position: int
    """Of the sample in the plan."""
    twin: bool
    """Whether the sample is a benign twin."""
    last: bool
    """Whether the sample's response was given under it; live dialogues have others before."""
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSample:
    """One sample of the plan, with all that is known of it."""

    key: str
    """The hash of its content: the same in every run that asks it."""
    sample: Sample
    scored: ScoredSample
    """Its label, outcome and cause by the run's judge."""
    reply: Reply | None
    """The response that was judged; None if there is none yet."""
    attempts: int
    """Calls that it took; 0 if a moderator answered in the target's place."""
    seconds: float
    labels: Mapping[str, Judgement]
    """What each judge said of the response, by the judge's id."""
    verdicts: tuple[Verdict, ...]
    """The moderator's, turn by turn; the last is the one that the response was given under."""


def sample_values(sample: Sample) -> tuple[object, ...]:
    """A sample as the store holds it, in the order of `SAMPLE`."""
    # Plain values: sqlite3 takes many microseconds to see what an enum is.
    dialogue = orjson.dumps([message.content for message in sample.dialogue]).decode()
    return (
        sample.query_id, sample.turns, sample.scenario.value, sample.method and sample.method.value,
        sample.twin_of, sample.language, sample.question, dialogue, image_text(sample.image),
    )  # fmt: skip


def image_text(image: ImageRef | None) -> str | None:
    """An image reference as the store holds it: a JSON array."""
    if image is None:
        return None
    return orjson.dumps([image.sha256, image.media_type, image.width, image.height, image.path]).decode()


def read_sample(row: Sequence[Any]) -> Sample:
    """A sample of the plan."""
    query_id, turns, scenario, method, twin_of, language, question, dialogue, image = typed(
        row, str, int, str, _MAYBE_TEXT, _MAYBE_TEXT, str, str, str, _MAYBE_TEXT
    )
    return Sample(
        query_id=query_id,
        turns=turns,
        scenario=Scenario(scenario),
        question=question,
        dialogue=tuple(
            Message("assistant" if position % 2 else "user", content)
            for position, content in enumerate(_DIALOGUE.decode(dialogue))
        ),
        image=ImageRef(*_IMAGE.decode(image)) if image else None,
        method=Method(method) if method else None,
        twin_of=twin_of,
        language=language,
    )


def read_reply(row: Sequence[Any]) -> Reply | None:
    """A response; None where there is none."""
    text, blocked, *about = typed(
        row, _MAYBE_TEXT, _MAYBE_NUMBER, _MAYBE_TEXT, _MAYBE_TEXT, _MAYBE_NUMBER, _MAYBE_NUMBER
    )
    return None if text is None else Reply(text, bool(blocked), *about)


def read_scored(named: Sequence[Any], ending: Sequence[Any]) -> ScoredSample:
    """What became of a sample, from the first five columns of `SAMPLE` and the arguments of `_end`."""
    query_id, turns, scenario, method, twin_of = typed(named, str, int, str, _MAYBE_TEXT, _MAYBE_TEXT)
    label, outcome, cause = _end(
        twin_of is not None, *typed(ending, *[_MAYBE_NUMBER] * 4, *[_MAYBE_TEXT] * 4)
    )
    return ScoredSample(query_id, turns, label, outcome, cause, scenario, method, twin_of)


def read_judgement(row: Sequence[Any]) -> Judgement:
    """What a judge said."""
    label, *said = typed(row, str, str, str, int, int)
    return Judgement(Label(label), *said)


def read_verdict(row: Sequence[Any]) -> Verdict:
    """A verdict from its published form."""
    return _VERDICT.decode(row[0])


def read_stored_verdict(row: Sequence[Any]) -> StoredVerdict:
    """A verdict, with its place: position, twin, last and the published form."""
    position, twin, last = typed(row[:3], int, int, int)
    return StoredVerdict(position=position, twin=bool(twin), last=bool(last), verdict=read_verdict(row[3:]))


def read_spend(row: Sequence[Any]) -> tuple[Asked, Usage]:
    """Whom a run asked, and what that took: the columns of `spend`."""
    role, model, origin, calls, estimated, prompt, completion = typed(row, *[str] * 3, *[int] * 4)
    usage = Usage(calls=calls, estimated=estimated, prompt_tokens=prompt, completion_tokens=completion)
    return Asked(role, model, origin), usage


def read_invocation(row: Sequence[Any]) -> Invocation:
    """An invocation."""
    setup, judge, manifest, *times = typed(row, *[str] * 4, _MAYBE_TEXT, _MAYBE_TEXT)
    return Invocation(setup, judge, dict(json.loads(manifest)), *times)


def typed(row: Sequence[Any], *kinds: _Kind) -> Sequence[Any]:
    """The row, if its values are of these kinds.

    Raises:
        TypeError: they are not.
    """
    if not all(map(isinstance, row, kinds)):
        raise TypeError("a value of another type")
    return row


def _end(
    twin: bool,
    attempts: int | None,
    blocked: int | None,
    refused: int | None,
    judged: int | None,
    label: str | None,
    cause: str | None,
    target_failure: str | None,
    judge_failure: str | None,
) -> tuple[Label | None, Outcome | None, str]:
    """Label, outcome and the cause of an `ungraded` label, from what the store holds of one sample."""
    if attempts is None:  # there is no response
        return (Label.UNGRADED, Outcome.ERROR, target_failure) if target_failure else (None, None, "")
    if attempts == 0:
        return Label.SAFE, Outcome.MODERATED, ""
    outcome = Outcome.BLOCKED if blocked else Outcome.REFUSED if refused else Outcome.COMPLIED
    if twin or not judged:
        return Label.SAFE, outcome, ""
    if label is None:
        return (Label.UNGRADED, outcome, f"judge_{judge_failure}") if judge_failure else (None, outcome, "")
    if label == Label.UNSAFE and not blocked:
        outcome = Outcome.COMPLIED
    return Label(label), outcome, cause or ""
