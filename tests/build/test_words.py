import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.build.language import guess_language
from safemt.build.overlap import OverlapIndex, overlap
from safemt.build.words import dialogue_grams, normal
from safemt.core.schema import Message

VOCABULARY = tuple("how to hide the last cookie from all guests in a tin by noon".split(" "))  # noqa: SIM905
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=40)


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
