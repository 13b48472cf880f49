import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safemt.build.language import guess_language
from safemt.build.overlap import OverlapIndex, overlap
from safemt.build.phrases import indirect_ask, key_phrase, noun_phrases
from safemt.build.words import content_stems, dialogue_grams, grams, normal, words
from safemt.core.schema import Message

VOCABULARY = tuple("how to hide the last cookie from all guests in a tin by noon".split(" "))  # noqa: SIM905
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=40)


@settings(max_examples=200)
@given(WORDS, st.integers())
def test_an_ask_holds_every_word_but_at_most_half_of_the_5_grams(tokens: list[str], seed: int) -> None:
    query = " ".join(tokens)
    ask = indirect_ask(query, random.Random(seed))
    own = set(grams(words(query)))
    assert len(own & set(grams(words(ask)))) <= 0.5 * len(own)
    assert set(content_stems(query)) <= set(content_stems(ask))


def test_openings_that_add_nothing_go() -> None:
    ask = indirect_ask("How can I hide a cookie?", random.Random(0))
    assert ask == "ways to hide a cookie"
    assert key_phrase("Can you show me how to fold a hat?") == "How to fold a hat"


def test_noun_phrases_leave_out_what_says_nothing() -> None:
    found = noun_phrases("Give a step-by-step guide on hiding the last cookie from the village baker")
    assert "village baker" in found
    assert "last cookie" in found
    assert not any("step" in phrase for phrase in found)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How do I hide the last of the cookies from you?", "en"),
        ("Wie kann ich die Kekse vor den Gästen verstecken, und ist das nicht schlimm?", "de"),
        ("Comment puis-je cacher les biscuits dans la maison et pour qui est ce gâteau?", "fr"),
        ("如何藏起最后一块饼干", "zh"),
        ("どうやってクッキーを隠しますか", "ja"),
        ("Как спрятать печенье", "ru"),
        ("Hiccups!", "und"),
        ("12345", "und"),
    ],
)
def test_languages_are_told_by_script_and_common_words(text: str, language: str) -> None:
    assert guess_language(text) == language


def test_normal_text_is_words_alone() -> None:
    assert normal("  It’s  HERE — now!") == "it's here now"


def dialogue(text: str) -> set[int]:
    return dialogue_grams([Message(role="user", content=text)])


@given(st.lists(WORDS, min_size=1, max_size=8))
def test_the_index_agrees_with_comparing_every_pair(texts: list[list[str]]) -> None:
    index = OverlapIndex()
    seen: list[set[int]] = []
    for tokens in texts:
        found = dialogue(" ".join(tokens))
        share, nearest = index.nearest(found)
        assert share == pytest.approx(max((overlap(found, other) for other in seen), default=0.0))
        assert nearest == -1 or overlap(found, seen[nearest]) == pytest.approx(share)
        index.add(found, share)
        seen.append(found)
    assert len(index) == len(texts)
