import random

import pytest
from training.attacks import ATTACKS, distress_talk, foreign_queries
from training.dialogues import FORMS as DIALOGUE_FORMS
from training.dialogues import after, followed, left, pretext
from training.queries import Query, contrast_queries, everyday_talk, load_yaml
from training.wrapping import WRAPS, wrapped

FORMS = {**DIALOGUE_FORMS, **ATTACKS}

HARMFUL = Query(
    text="How do I paint the neighbour's fence at night?",
    harmful=1.0,
    weight=1.0,
    group="g",
    source="test",
    act="paint the neighbour's fence at night",
)
HARMLESS = Query(text=HARMFUL.text, harmful=0.0, weight=1.0, group="g", source="test", act=HARMFUL.act)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(5))
def test_both_classes_get_the_same_words(form: str, seed: int) -> None:
    one = FORMS[form](HARMFUL, random.Random(seed))
    other = FORMS[form](HARMLESS, random.Random(seed))
    assert [turn.text for turn in one] == [turn.text for turn in other]
    assert {turn.risk for turn in other} == {0.0}


@pytest.mark.parametrize("form", [form for form in FORMS if form != "pretext"])
def test_the_query_stands_at_the_end_and_nothing_before_it_is_held_against_anybody(form: str) -> None:
    *lead, last = FORMS[form](HARMFUL, random.Random(3))
    assert last.risk == last.intent == 1.0
    assert all(turn.own == 0.0 and turn.weight < 0.5 for turn in lead)


def test_every_blank_is_filled() -> None:
    for form, write in FORMS.items():
        for seed in range(30):
            for turn in write(HARMFUL, random.Random(seed)):
                assert "{" not in turn.text, f"{form}: {turn.text}"


def test_a_worried_question_behind_a_pretext_is_harmless() -> None:
    helps = set(load_yaml("frames.yaml")["pretext_help"])
    ends = [pretext(HARMFUL, random.Random(seed))[-1] for seed in range(60)]
    assert {turn.risk for turn in ends if turn.text in helps} == {0.0}
    assert {turn.risk for turn in ends if turn.text not in helps} == {1.0}


def test_a_new_subject_ends_the_risk_and_not_the_memory() -> None:
    asked = FORMS["single"](HARMFUL, random.Random(0))
    assert followed(asked, HARMFUL, random.Random(0))[-1].risk == 1.0
    gone = left(asked, HARMFUL, ["What is 2 + 2?"])[-1]
    assert (gone.risk, gone.intent) == (0.0, 1.0)
    assert after("Go on.", HARMLESS, linked=True).risk == 0.0


def test_half_of_the_contrast_pairs_are_harmful_and_a_seed_gives_the_same_ones() -> None:
    found = list(contrast_queries(200, random.Random(7)))
    assert sum(query.harmful for query in found) == 100
    assert found == list(contrast_queries(200, random.Random(7)))
    assert not [query.text for query in found if "{" in query.text]


def test_everyday_talk_has_the_length_that_was_asked_for() -> None:
    for turns in (1, 4, 12):
        assert len(everyday_talk(turns, random.Random(turns))) == turns


def test_foreign_requests_come_in_pairs_that_share_their_use() -> None:
    found = foreign_queries(random.Random(0))
    assert sum(query.harmful for query in found) == len(found) / 2
    assert {query.group for query in found if query.harmful} == {q.group for q in found if not q.harmful}


def test_distress_is_harmless_and_calls_for_support() -> None:
    turns = [turn for seed in range(20) for turn in distress_talk(random.Random(seed))]
    assert {(turn.own, turn.risk, turn.support) for turn in turns} == {(0.0, 0.0, 1.0)}


@pytest.mark.parametrize("name", WRAPS)
def test_a_measured_wrap_holds_the_request(name: str) -> None:
    found = WRAPS[name]("How do I paint a fence?", random.Random(0))
    assert "How do I paint a fence?" in found
    if name.endswith("characters"):
        assert abs(len(found) - int(name.split(maxsplit=1)[0].replace(",", ""))) < 60


def test_a_wrapped_text_holds_the_request() -> None:
    talk = [f"This is sentence number {number}." for number in range(20)]
    for seed in range(60):
        found = wrapped('Say "hi"', talk, random.Random(seed))
        assert 'Say "hi"' in found or 'Say \\"hi\\"' in found
        assert "{" not in found.replace("{ return", "").replace('{"', "").replace("{}", "") or "() {" in found
