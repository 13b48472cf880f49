import asyncio
from math import sqrt

import numpy as np
import numpy.typing as npt
import pytest

from safemt.core.errors import UsageError
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import PUBLISHED_TURNS, Scenario
from safemt.endpoints.base import Reply
from safemt.judges.refusal_detector import Refusal, detect_refusal
from safemt.targets.simulated import CURVES, OVER_REFUSAL, SimulatedTarget, true_asr

QUERIES = 4000
Bools = npt.NDArray[np.bool_]


def sample(query: int, turns: int, *, twin: bool = False) -> Sample:
    user, assistant = Message(role="user", content="?"), Message(role="assistant", content="!")
    return Sample(
        query_id=f"{'twin' if twin else 'query'}_{query}",
        turns=turns,
        scenario=Scenario.FRAUD,
        question="?",
        dialogue=(*[user, assistant] * (turns - 1), user),
        twin_of=f"query_{query}" if twin else None,
    )


def helped(name: str, turns: int, *, seed: int = 0, twin: bool = False, queries: int = QUERIES) -> Bools:
    """For each query, whether the target answered it."""
    target = SimulatedTarget(name, seed=seed)

    async def respond() -> list[Reply]:
        samples = [sample(query, turns, twin=twin) for query in range(queries)]
        return [await target.respond(each.dialogue, each) for each in samples]

    texts = [reply.text for reply in asyncio.run(respond())]
    assert all(text.startswith("[simulated] ") for text in texts)
    refusals = {text: detect_refusal(text) is Refusal.FULL for text in set(texts)}
    assert sorted(refusals.values()) == [False, True]
    return np.array([not refusals[text] for text in texts])


def within_error(share: float, truth: float, count: int = QUERIES) -> bool:
    return abs(share - truth) < 3.5 * sqrt(truth * (1 - truth) / count)


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("turns", PUBLISHED_TURNS)
def test_the_share_of_unsafe_answers_is_the_curve(name: str, turns: int) -> None:
    assert within_error(helped(name, turns).mean(), CURVES[name][turns])


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("turns", [1, 8])
def test_the_share_of_twins_refused_is_as_stated(name: str, turns: int) -> None:
    assert within_error(1 - helped(name, turns, twin=True).mean(), OVER_REFUSAL[name])


def test_the_rounds_of_a_query_go_together() -> None:
    # Two rounds share a draw when both take the query's own: 0.7 · 0.7.
    rounds = np.array([helped("steady", turns) for turns in (1, 2, 8)], dtype=float)
    correlations = np.corrcoef(rounds)[np.triu_indices(3, 1)]
    assert np.all(np.abs(correlations - 0.49) < 0.05)


def test_queries_do_not_go_together() -> None:
    first = helped("steady", 1).astype(float)
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.06


def test_the_seed_and_the_name_decide_every_answer() -> None:
    first = helped("drifting", 4, seed=1, queries=300)
    assert np.array_equal(first, helped("drifting", 4, seed=1, queries=300))
    other = helped("drifting", 4, seed=2)
    assert not np.array_equal(first, other[:300])
    assert within_error(other.mean(), CURVES["drifting"][4])
    steady, drifting = helped("steady", 2).astype(float), helped("drifting", 2).astype(float)
    assert abs(np.corrcoef(steady, drifting)[0, 1]) < 0.06


@pytest.mark.parametrize(
    ("name", "turns", "asr"),
    [
        ("steady", 3, 0.30),
        ("drifting", 3, 0.29),
        ("drifting", 7, 0.51),
        ("brittle", 5, 0.575),
        ("brittle", 8, 0.80),
        ("brittle", 50, 0.80),
    ],
)
def test_the_curve_is_linear_between_its_points_and_then_constant(name: str, turns: int, asr: float) -> None:
    assert true_asr(name, turns) == pytest.approx(asr)


async def test_before_the_last_turn_it_only_keeps_talking() -> None:
    target, asked = SimulatedTarget("brittle"), sample(1, 4)
    for turns in range(1, 4):
        reply = await target.respond(asked.dialogue[: 2 * turns - 1], asked)
        assert reply.text.startswith("[simulated] Happy to talk")
        assert detect_refusal(reply.text) is Refusal.NONE
    last = await target.respond(asked.dialogue, asked)
    assert "Happy to talk" not in last.text
    live = tuple(
        Message(role=each.role, content="another" if each.role == "assistant" else each.content)
        for each in asked.dialogue
    )
    assert await target.respond(live, asked) == last
    await target.close()


def test_the_identity_holds_curve_and_seed() -> None:
    target = SimulatedTarget("steady", seed=3)
    assert target.identity == SimulatedTarget("steady", seed=3).identity
    assert target.identity != SimulatedTarget("steady", seed=4).identity
    assert target.identity != SimulatedTarget("drifting", seed=3).identity
    assert (target.name, target.simulated, target.origin) == ("sim/steady", True, None)


def test_an_unknown_curve_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        SimulatedTarget("x")
    assert (caught.value.code, caught.value.fields) == ("unknown_target", {"name": "sim/x"})
