"""What the tests of stores share: samples, and a store in which they have got somewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safemt.benchmark.read import sample_key
from safemt.core.errors import CallFailure
from safemt.core.identity import content_key
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Label, Scenario
from safemt.endpoints.base import Reply
from safemt.endpoints.spend import Asked, Usage
from safemt.judges.base import Judgement
from safemt.run.store import Store

SETUP, JUDGE = "setup", "judge"
TARGET = Asked("target", "openai/m", "http://h")
FAILED = CallFailure("http_500", "It broke.")


def sample(name: str, turns: int = 1, *, twin_of: str | None = None) -> Sample:
    dialogue = tuple(
        Message("assistant" if place % 2 else "user", f"{name}, message {place}")
        for place in range(2 * turns - 1)
    )
    return Sample(
        query_id=name,
        turns=turns,
        scenario=Scenario.FRAUD,
        question="A question?",
        dialogue=dialogue,
        twin_of=twin_of,
    )


def manifest(samples: Sequence[Sample], **more: Any) -> dict[str, Any]:
    """What a run of these samples says about itself."""
    return {
        "safemt": "0.1",
        "python": "3",
        "platform": "test",
        "benchmark": {
            "name": "made-up",
            "path": "/b",
            "sha256": "b" * 64,
            "samples": len(samples),
            "queries": len({each.query_id for each in samples}),
            "rounds": sorted({each.turns for each in samples}),
            "selection": content_key(sorted(each.id for each in samples)),
        },
        "target": {"name": "openai/m", "simulated": False, "identity": "m"},
        "judge": {"name": "openai/j", "id": JUDGE, "identity": "j"},
        "history": "scripted",
        **more,
    }


def begin(folder: Path, samples: Sequence[Sample], **more: Any) -> Store:
    """A store with these samples as its plan, in the places that they have in `whole`."""
    whole = list(more.pop("whole", samples))
    store = Store.open_for_run(folder)
    plan = [(whole.index(each), each) for each in samples]
    store.begin(setup=SETUP, judge=JUDGE, manifest=manifest(whole, **more), plan=plan)
    return store


def answer(store: Store, each: Sample, text: str = "yes", *, label: Label | None = Label.SAFE) -> None:
    """Have a sample answered and, unless `label` is None, labelled."""
    key = content_key(f"request of {each.id}")
    reply = Reply(text, prompt_tokens=10, completion_tokens=2)
    store.add_response(key, reply, refused=False, judged=True, attempts=1, seconds=0.5)
    store.add_answer(setup=SETUP, sample=sample_key(each), turn=each.turns, response=key)
    store.add_spend(TARGET, Usage(calls=1, prompt_tokens=10, completion_tokens=2))
    if label is not None:
        said = Judgement(label, "unreadable_verdict" if label is Label.UNGRADED else "")
        store.add_label(judge=JUDGE, sample=sample_key(each), response=key, judgement=said)


def fail(store: Store, each: Sample, *, asked_of: str = SETUP) -> None:
    store.add_failure(asked_of=asked_of, sample=sample_key(each), failure=FAILED)
