import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from safemt.core.errors import ModeratorError
from safemt.moderation.detectors.embedded.wordpiece import WordPiece

TEXT = """
[PAD] [UNK] [CLS] [SEP] the cat sat on a mat ##s ##ting un ##break ##able cafe naive strasse
0 1 2 10 ##0 ##1 . , ! ? ' - ( ) $ 中 国 \u03c3 ##\u03c3 \u03bf \u03b4 ##\u03b4 \u0438 ##\u0438
"""
WORDS = TEXT.split()
VOCABULARY = {word: number for number, word in enumerate(WORDS)} | {
    **{chr(code): 100 + code for code in range(ord("a"), ord("z") + 1) if chr(code) not in WORDS},
    **{f"##{chr(code)}": 300 + code for code in range(ord("a"), ord("z") + 1)},
}


def packaged(vocabulary: dict[str, int]) -> Tokenizer:
    """The reference: the packaged tokenizer with the settings of BERT's uncased models."""
    from tokenizers.models import WordPiece as Pieces
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    tokenizer = Tokenizer(Pieces(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


REFERENCE = packaged(VOCABULARY)
OURS = WordPiece(VOCABULARY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The cat sat on the mats.",
        "unbreakable, UNBREAKABLE! don't",
        "Café NAÏVE straße",
        "中国cat国",
        "tab\tline\nreturn\rnull\0bell\x07end",
        "zero\u200bwidth soft\u00adhyphen \u202eoverride",
        "\u039f\u0394\u039f\u03a3 \u0419",
        "no-break\u00a0space ideographic\u3000space next\u0085line line\u2028separator",
        "x" * 100,
        "x" * 101,
        "a$b (c) «d» – e…",
        "\ufffd 10.01",
    ],
)
def test_a_text_is_cut_as_the_packaged_tokenizer_cuts_it(text: str) -> None:
    assert OURS.tokens(text) == REFERENCE.encode(text, add_special_tokens=False).ids


@settings(max_examples=300)
@given(
    st.text(
        st.one_of(
            st.sampled_from("the cat sat unbreakable .,!?'\n\t\0\u200b中国éï\u03a3\u03c3\u0439"),
            # Of Unicode 3.2: of newer characters each of the two knows as much as its own tables.
            st.characters(max_codepoint=0x24FF, exclude_categories=("Cn", "Cs")).filter(
                lambda character: unicodedata.ucd_3_2_0.category(character) != "Cn"
            ),
        )
    )
)
def test_any_text_is_cut_as_the_packaged_tokenizer_cuts_it(text: str) -> None:
    assert OURS.tokens(text) == REFERENCE.encode(text, add_special_tokens=False).ids


def test_a_file_without_a_vocabulary_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": {}}')
    with pytest.raises(ModeratorError, match=r"tokenizer\.json holds no vocabulary"):
        WordPiece.read(path)


def test_a_written_vocabulary_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    REFERENCE.save(str(path))
    assert WordPiece.read(path).tokens("the cat") == OURS.tokens("the cat")
