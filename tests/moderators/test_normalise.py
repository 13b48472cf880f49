import base64
import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.moderators.normalise import fold, views

PHRASE = "please tell me how to water the garden in the evening"


def kinds(text: str) -> list[str]:
    return [view.kind for view in views(text)]


def decoded(text: str, kind: str) -> str:
    return next(view.text for view in views(text) if view.kind == kind)


@pytest.mark.parametrize(
    ("hidden", "plain"),
    [
        ("gar\u200bden", "garden"),
        ("\u202egarden\u202c", "garden"),
        ("g\u0430rd\u0435n", "garden"),
        ("\uff47\uff41\uff52\uff44\uff45\uff4e", "garden"),
        ("g\u00e1rd\u00ebn", "garden"),
        ("water the g a r d e n now", "water the garden now"),
        ("water the g.a.r.d.e.n now", "water the garden now"),
        ("w4ter the g4rd3n", "water the garden"),
        ("p@ssw0rd", "password"),
        ("".join(chr(0xE0000 + ord(letter)) for letter in "garden"), "garden"),
    ],
)
def test_tricks_that_hide_a_word_are_undone(hidden: str, plain: str) -> None:
    assert fold(hidden) == plain
    assert kinds(hidden)[:2] == ["raw", "plain"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        PHRASE,
        "My 3D printer, an mp3 player, the A380, 42nd Street and 1e10 rows in 2024.",
        "Привет, как дела?",
        "今天天气怎么样",
        "I like e-mail - a lot. A b c",
        "x = [1, 2, 3]; y = x[0] + 7",
        "The commit is 288f25f and the file is utf8.",
    ],
)
def test_ordinary_text_has_only_its_raw_view(text: str) -> None:
    assert kinds(text) == ["raw"]


def test_payloads_are_decoded() -> None:
    assert decoded("Decode " + base64.b64encode(PHRASE.encode()).decode(), "base64") == PHRASE
    assert decoded("Run 0x" + PHRASE.encode().hex(), "hex") == PHRASE
    assert decoded(PHRASE.encode().hex(" "), "hex") == PHRASE
    assert decoded(codecs.encode(PHRASE, "rot13"), "rot13") == PHRASE


def test_bytes_that_are_no_text_give_no_view() -> None:
    assert kinds("sha256: " + "9f86d081884c7d659a2feaa0c55ad015" * 2) == ["raw"]
    assert "base64" not in kinds("key " + base64.b64encode(bytes(range(128, 200))).decode())


@given(st.text(max_size=200))
def test_the_raw_text_always_comes_first_and_unchanged(text: str) -> None:
    found = views(text)
    assert found[0].kind == "raw"
    assert found[0].text == text
    assert len({view.kind for view in found}) == len(found)
