"""Runs for the tests of the report: written into real stores, with whatever texts a test wants in them."""

import dataclasses
import hashlib
import io
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from safemt.benchmark.read import sample_key
from safemt.core.errors import CallFailure
from safemt.core.schema import ImageRef, Message, Sample
from safemt.core.taxonomy import Label, Method, Scenario
from safemt.endpoints.base import Reply
from safemt.judges.base import Judgement
from safemt.run.store import Store

ROUNDS = (1, 2, 4, 6, 8)
SCENARIOS = tuple(Scenario)
METHODS = tuple(Method)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What became of one sample; without a text it failed, and `None` in its place is still to do."""

    text: str | None = "Tea is made with hot water."
    label: Label | None = Label.SAFE
    refused: bool = False
    blocked: bool = False
    reasoning: str = ""


def sample(
    query: int, turns: int, *, twin: bool = False, text: str = "", image: ImageRef | None = None
) -> Sample:
    name = f"q{query}"
    said = [
        Message(role="assistant" if i % 2 else "user", content=f"words {query}-{turns}-{i}-{twin} {text}")
        for i in range(2 * turns - 1)
    ]
    return Sample(
        query_id=f"{name}_twin" if twin else name,
        turns=turns,
        scenario=SCENARIOS[query % len(SCENARIOS)],
        question=f"question {query} {twin} {text}",
        dialogue=tuple(said),
        image=image,
        method=None if turns == 1 else METHODS[(query + turns) % 4],
        twin_of=name if twin else None,
    )


def samples(queries: int, *, rounds: Sequence[int] = ROUNDS, twins: bool = True) -> list[Sample]:
    return [
        sample(query, turns, twin=twin)
        for query in range(queries)
        for twin in ((False, True) if twins else (False,))
        for turns in rounds
    ]


def drifting(one: Sample) -> Answer:
    """More often unsafe the more turns; some are blocked, ungraded or fail."""
    draw = zlib.crc32(one.id.encode()) % 100
    if one.twin_of is not None:
        return Answer(refused=draw < 10)
    if draw >= 97:
        return Answer(text=None)
    if draw >= 94:
        return Answer(label=Label.UNGRADED, reasoning="no verdict")
    if draw >= 90:
        return Answer(text="", blocked=True)
    if draw < 10 + 5 * one.turns:
        return Answer(label=Label.UNSAFE, reasoning="It helps.")
    return Answer(text="I can't help with that.", refused=True)


def make_run(
    folder: Path,
    asked: Iterable[Sample],
    answer: Callable[[Sample], Answer | None] = drifting,
    *,
    target: str = "openai/made-up",
    simulated: bool = False,
    benchmark: Path | None = None,
    **manifest: Any,
) -> Path:
    """A run directory in which each of `asked` got what `answer` says; None leaves it to do."""
    listed = list(asked)
    store = Store.open_for_run(folder)
    store.begin(
        setup="setup",
        judge="judge",
        manifest={
            "safemt": "0.0",
            "python": "3",
            "platform": "test",
            "benchmark": {
                "name": "made-up set",
                "path": str(benchmark or folder),
                "layout": "jsonl",
                "sha256": "b" * 64,
                "samples": len(listed),
                "queries": len({one.query_id for one in listed if one.twin_of is None}),
                "rounds": sorted({one.turns for one in listed}),
                "selection": "c" * 64,
            },
            "target": {"name": target, "simulated": simulated, "identity": {"kind": "test"}},
            "judge": {"name": "openai/judge", "id": "judge", "identity": {"kind": "test"}},
            "history": "scripted",
            "concurrency": 1,
            "command": ["safemt", "run", "--out", "a b"],
            "seed": 7,
            "target_base_url": "http://localhost:1/v1",
            "judge_base_url": None,
            **manifest,
        },
        plan=list(enumerate(listed)),
    )
    # One commit for all, where a run makes one for each: the tests have no time for 10,000.
    store._db.connection.execute("PRAGMA synchronous = OFF")
    for one in listed:
        add(store, one, answer(one))
    store.end("complete")
    store.close()
    return folder


def make_image(
    folder: Path, name: str, *, colour: str = "red", size: tuple[int, int] = (300, 200)
) -> ImageRef:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    (folder / name).write_bytes(out.getvalue())
    return ImageRef(hashlib.sha256(out.getvalue()).hexdigest(), "image/png", *size, name)


def add(store: Store, one: Sample, answer: Answer | None) -> None:
    """Store what became of a sample."""
    if answer is None:
        return
    key = sample_key(one)
    if answer.text is None:
        store.add_failure(asked_of="setup", sample=key, failure=CallFailure("http_500", "It failed."))
        return
    reply = Reply(answer.text, answer.blocked)
    judged = not answer.blocked and one.twin_of is None
    store.add_response(key, reply, refused=answer.refused, judged=judged, attempts=1, seconds=0.1)
    store.add_answer(setup="setup", sample=key, turn=one.turns, response=key)
    if judged and answer.label is not None:
        cause = "unreadable" if answer.label is Label.UNGRADED else ""
        judgement = Judgement(answer.label, cause, answer.reasoning, 3, 4)
        store.add_label(judge="judge", sample=key, response=key, judgement=judgement)
