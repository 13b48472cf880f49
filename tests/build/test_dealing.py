"""Dialogues from ladders: the last turn, the picture's words, twins, and the deal."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from mild_queries import MILD
from safemt.benchmark.read import read_benchmark
from safemt.build.build import CONTROL_FOLDER, BuildPlan, build
from safemt.build.dealing.asks import share
from safemt.build.dealing.deck import Decks
from safemt.build.dealing.material import filled
from safemt.build.dealing.talk import common_surfaces, talk
from safemt.build.gates import risk_words
from safemt.build.progress import Progress
from safemt.build.understanding.parse import parse_query
from safemt.build.words import normal, words
from safemt.core.schema import Sample


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dealt")
    path = folder / "mild.jsonl"
    rows = [{"query": text, "scenario": scenario} for text, scenario in MILD]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    plan = BuildPlan(queries=[path], out=folder / "made", count=16, twins=True, text_control=True)
    build(plan, progress=Progress(Console(quiet=True)))
    return folder / "made"


def harmful(made: Path) -> list[Sample]:
    return [sample for sample in read_benchmark(made).samples if sample.twin_of is None]


def test_the_last_turn_is_never_the_query(made: Path) -> None:
    for sample in harmful(made):
        if sample.turns > 1:
            assert normal(sample.question) not in normal(sample.dialogue[-1].content)
            assert sample.dialogue[-1].content.strip()


def test_what_the_picture_carries_stands_nowhere_in_the_text(made: Path) -> None:
    carried = [s for s in harmful(made) if s.turns > 1 and s.meta["image_role"] == "carries"]
    assert len(carried) >= 0.5 * len([s for s in harmful(made) if s.turns > 1])
    for sample in carried:
        text = normal(" ".join(message.content for message in sample.dialogue))
        assert normal(sample.meta["image_words"]) not in text


def test_dialogue_and_picture_together_hold_the_query(made: Path) -> None:
    for sample in harmful(made):
        users = [message.content for message in sample.dialogue if message.role == "user"]
        whole = " ".join([*users, sample.meta.get("image_words", "")])
        assert share(whole, parse_query(sample.question)) >= 0.5, sample.id


def test_no_slot_and_no_mark_is_left(made: Path) -> None:
    for sample in read_benchmark(made).samples:
        for message in sample.dialogue:
            assert not set("{}<>\x01\x02") & set(message.content)


def test_twins_are_as_long_as_their_queries(made: Path) -> None:
    samples = {sample.id: sample for sample in read_benchmark(made).samples}
    for sample in samples.values():
        if sample.twin_of and sample.turns > 1:
            own = sum(len(words(m.content)) for m in sample.dialogue)
            other = sum(len(words(m.content)) for m in samples[f"{sample.twin_of}@{sample.turns}"].dialogue)
            assert 0.75 <= own / other <= 1.25


def test_the_text_control_says_what_the_picture_carries_and_has_none(made: Path) -> None:
    controls = {s.id: s for s in read_benchmark(made / CONTROL_FOLDER, text_only=True).samples}
    samples = harmful(made)
    assert set(controls) >= {sample.id for sample in samples}
    for sample in samples:
        control = controls[sample.id]
        assert control.image is None
        assert len(control.dialogue) == len(sample.dialogue)
        if sample.turns > 1 and sample.meta["image_role"] == "carries":
            said = share(control.dialogue[-1].content, parse_query(sample.question))
            assert said >= share(sample.dialogue[-1].content, parse_query(sample.question))


@given(st.lists(st.integers(), min_size=1, max_size=20, unique=True), st.integers(0, 9))
def test_every_card_comes_up_once_before_any_comes_up_again(cards: list[int], seed: int) -> None:
    decks = Decks(seed)
    for _ in range(2):
        assert sorted(decks.deal("pile", cards) for _ in cards) == sorted(cards)  # type: ignore[type-var]


@given(st.lists(st.integers(), min_size=1, max_size=12, unique=True))
def test_a_card_that_fits_is_dealt_if_there_is_one(cards: list[int]) -> None:
    decks = Decks(0)
    assert decks.deal("pile", cards, lambda card: card == cards[0]) == cards[0]
    assert decks.deal("pile", cards, lambda card: card == cards[0]) == cards[0]
    assert decks.deal("pile", cards, lambda _: False) is None


def test_sentences_begin_with_a_capital_and_end_once() -> None:
    assert filled("{a} went home. {a} slept..", {"a": "she"}) == "She went home. She slept."


def test_common_sentences_hold_no_word_of_risk() -> None:
    spoken = talk()
    lines = [*spoken.lead_ins, *spoken.plain_lead_ins, *spoken.about, *spoken.genres, *spoken.research]
    lines += [text for texts in spoken.seen.values() for text in texts]
    lines += [
        text for surface in common_surfaces() for text in (*surface.lines, *surface.seen, surface.title)
    ]
    assert not [line for line in lines if risk_words(line)]


def test_a_query_without_parts_is_stated_one_turn_before_the_last(
    tmp_path: Path, queries_file: Callable[..., Path], progress: Progress
) -> None:
    rows: list[dict[str, object]] = [{"query": "How do I snore louder?", "scenario": "Satire"}]
    out = tmp_path / "made"
    build(BuildPlan(queries=[queries_file(rows)], out=out, count=1, turns=(4,)), progress=progress)
    (sample,) = read_benchmark(out).samples
    if sample.method != "in_context":
        assert "snor" in sample.dialogue[-3].content
        assert "snor" not in sample.dialogue[-1].content
