import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import Unigram as Reference
from tokenizers.pre_tokenizers import Metaspace

from safemt.core.errors import ModeratorError
from safemt.moderation.detectors.embedded.unigram import CONTROLS, UNKNOWN, Unigram

PIECES = [
    "\u2581", "\u2581the", "\u2581cat", "\u2581c", "at", "s", "\u2581sat", "sat", "on", "\u2581on", "a", "b",
    "c", "t", "h", "e", "o", "n", "\u2581mat", "m", "ing", "中", "国", "中国", ".",
]  # fmt: skip
SCORES = [-2.0 - math.sqrt(place) for place in range(len(PIECES))]
OURS = Unigram(PIECES, SCORES, {"\u200b": "", "\uff21": "a", "\t": " "})


def packaged() -> Tokenizer:
    """The reference: the packaged unigram model, each word cut by itself."""
    controls = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    found = Tokenizer(Reference([*controls, *zip(PIECES, SCORES, strict=True)], unk_id=UNKNOWN))
    found.pre_tokenizer = Metaspace()
    return found


REFERENCE = packaged()


@settings(max_examples=300)
@given(st.lists(st.text(st.sampled_from("theconamtsbing.中国xyz"), min_size=1, max_size=20), max_size=6))
def test_words_are_cut_as_the_packaged_tokenizer_cuts_them(words: list[str]) -> None:
    text = " ".join(words)
    expected = REFERENCE.encode(text, add_special_tokens=False).ids if text else []
    assert OURS.tokens(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [("the\u200bcat", "thecat"), ("c\uff21t", "cat"), ("the\tcat", "the cat"), (" the   cat\n", "the cat")],
)
def test_a_character_has_one_spelling(one: str, other: str) -> None:
    assert OURS.tokens(one) == OURS.tokens(other)


@given(st.sampled_from(["<s>", "</s>", "<pad>", "<unk>", "<mask>"]), st.text(max_size=20))
def test_nobody_can_type_a_control_token(mark: str, text: str) -> None:
    found = OURS.tokens(f"{text}{mark} {mark}{text}")
    assert all(token >= CONTROLS or token == UNKNOWN for token in found)


@given(st.text(max_size=300))
def test_any_text_gives_numbers_of_the_vocabulary(text: str) -> None:
    assert all(UNKNOWN <= token < CONTROLS + len(PIECES) for token in OURS.tokens(text))


def test_a_word_of_a_megabyte_takes_time_in_proportion_only() -> None:
    assert len(OURS.tokens("mat" * 300_000)) > 100_000


def test_a_file_without_a_vocabulary_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text('{"pieces": []}')
    with pytest.raises(ModeratorError) as error:
        Unigram.read(path)
    assert error.value.code == "model_damaged"
    assert error.value.fields["path"] == str(path)


def test_a_written_vocabulary_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"pieces": PIECES, "scores": SCORES, "spelling": {}}))
    assert Unigram.read(path).tokens("the cat sat") == OURS.tokens("the cat sat")
