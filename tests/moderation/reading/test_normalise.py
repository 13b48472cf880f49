import base64
import codecs
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.moderation.reading.normalise import fold, views

PHRASE = "please tell me how to water the garden in the evening"
DATA = Path(__file__).parents[4] / "shared" / "data"


def kinds(text: str) -> list[str]:
    return [view.kind for view in views(text)]


@pytest.mark.parametrize(
    ("hidden", "plain"),
    [
        ("gar\u200bden", "garden"),
        ("gar\u00ad\u2060den", "garden"),
        ("g\u202eard\u202cen", "garden"),
        ("g\u0430rd\u0435n", "garden"),
        ("the \u0440\u0430\u0441\u0435", "the pace"),
        ("\uff47\uff41\uff52\uff44\uff45\uff4e", "garden"),
        ("\U0001d420\U0001d41a\U0001d42b\U0001d41d\U0001d41e\U0001d427", "garden"),
        ("\u24d6\u24d0\u24e1\u24d3\u24d4\u24dd", "garden"),
        ("\u0262\u1d00\u0280\u1d05\u1d07\u0274", "garden"),
        ("g\u0336a\u0336r\u0336d\u0336e\u0336n\u0336", "garden"),
        ("".join(chr(0xE0000 + ord(letter)) for letter in "garden"), "garden"),
        ("water the g a r d e n now", "water the garden now"),
        ("water the g.a.r.d.e.n now", "water the garden now"),
        ("g-a-r-d-e-n", "garden"),
        ("t h e   g a r d e n", "the garden"),
        ("g\na\nr\nd\ne\nn", "garden"),
        ("w4ter the g4rd3n", "water the garden"),
        ("p@ssw0rd", "password"),
        ("'g4rd3n-h0se', n0w!", "'garden-hose', n0w!"),
        ("w33d the b3d5", "weed the b3d5"),
        ("h0w 70 w473r 7h3 g4rd3n 1n 7h3 3v3n1ng?", "how to water the garden in the evening?"),
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
        "I like e-mail - a lot. A b c. The U.S.A. won 3-2-1. Se7ers!Also, 100% of it & $5, you@example.org",
        "Où est l'élève ? Ça coûte 12,50 € — très bien… “oui” ½ № 5 ™ 1º 20 ℃ ﹣",
        "Die Straße heißt Königsallee; ab und an gehe ich hin.",
        "El niño no sabe si va o no; si no, ni modo.",
        "\u0130stanbul'da \u0131\u015f\u0131k kad\u0131n s\u0131cak",
        "Tiếng Việt có dấu: ba ơi, va chạm.",
        "\u041f\u0440\u0438\u0432\u0435\u0442, \u043a\u0430\u043a \u0434\u0435\u043b\u0430? "
        "\u0423\u0445\u043e, \u0445\u043e\u0440 \u0438 \u0440\u043e\u0441\u0442. Windows \u0438 "
        "Python",
        "\u0401\u043b\u043a\u0430 \u0456 \u0457\u0436\u0430\u043a",
        "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5, \u03c4\u03b9 "
        "\u03ba\u03ac\u03bd\u03b5\u03b9\u03c2; The \u03b1 particle, 5 \u03bcm, \u0394t, \u03c0r, "
        "the \u03bb-calculus, CO\u2082 and x\u00b2",
        "今天天气怎么样?我们去公园,好吗。",
        "これはペンです。カタカナ",
        "오늘 날씨가 어때요?",
        "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u0628\u0631\u0648\u0645\u061b "
        "\u0645\u06cc\u200c\u0631\u0648\u0645",
        "\u0915\u094d\u092f\u093e \u0939\u093e\u0932 \u0939\u0948? \u0915\u094d\u200d\u092f\u093e",
        "\u200f\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd\u200e",
        "สวัสดีครับ",
        "I \u2764\ufe0f this \U0001f468\u200d\U0001f469\u200d\U0001f467 "
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 1\ufe0f\u20e3 "
        "\U0001f1eb\U0001f1f7",
        "x = [1, 2, 3]; y = x[0] + 7; for i in range(10): total += a[i] * b[i]",
        "def f(x1, y2):\n    return np.float32(x1) @ utf8mb4 # i18n, k8s, sha256sum, log2",
        "The commit is 288f25f and the file is utf8; md5 9e107d9d372bb6826bd81d3542a4d9d6",
        "https://example.org/a/b4c/path_to/file-name.html?q=caf%C3%A9%20au%20lait&id=550e8400-e29b-41d4-a716-446655440000",
        "/usr/local/lib/python3/site-packages/internationalization",
    ],
)
def test_ordinary_text_of_many_languages_code_and_addresses_have_only_their_raw_view(text: str) -> None:
    assert kinds(text) == ["raw"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("base64", "Decode " + base64.b64encode(PHRASE.encode()).decode() + " and answer"),
        ("base64", base64.urlsafe_b64encode(PHRASE.encode()).decode().rstrip("=")),
        ("base64", base64.encodebytes(PHRASE.encode() * 3).decode() + "answer this"),
        ("hex", "Run 0x" + PHRASE.encode().hex()),
        ("hex", PHRASE.encode().hex(" ")),
        ("escapes", "".join(f"%{byte:02x}" for byte in PHRASE.encode())),
        ("escapes", "".join(f"\\x{byte:02x}" for byte in PHRASE.encode())),
        ("escapes", "".join(f"&#{byte};" for byte in PHRASE.encode())),
        ("escapes", "pl%65ase t%65ll m%65 how to wat%65r the gard%65n in the evening"),
        ("rot13", "Turn this: " + codecs.encode(PHRASE, "rot13")),
        ("reversed", "Read it backwards: " + PHRASE[::-1]),
        (
            "base64",
            " ".join(["internationalization"] * 20) + " " + base64.b64encode(PHRASE.encode()).decode(),
        ),
        ("base64", "g\u200barden " + base64.b64encode(PHRASE.encode()).decode()),
    ],
)
def test_a_payload_is_decoded(kind: str, text: str) -> None:
    decoded = {view.kind: view.text for view in views(text)}
    assert PHRASE in decoded[kind]


@pytest.mark.parametrize(
    "payload", [bytes(range(128, 200)), bytes(range(64)), b"\x00" * 60, b"0123456789" * 4]
)
def test_bytes_that_are_no_text_give_no_view(payload: bytes) -> None:
    assert kinds("key " + base64.b64encode(payload).decode()) == ["raw"]
    assert kinds("key " + payload.hex()) == ["raw"]


TRICKY = st.text(st.sampled_from("aAbe 043@$!.-\n\u200b\u0336\u0301\u0430\u0433\u0436\U000e0061\uff41\u00e9"))


@given(st.one_of(st.text(max_size=200), TRICKY))
def test_the_raw_text_always_comes_first_and_every_view_is_another_text(text: str) -> None:
    found = views(text)
    assert found[0].text == text
    assert len({view.kind for view in found}) == len(found)
    assert all(view.text != text for view in found[1:])


@given(st.one_of(st.text(max_size=200), TRICKY))
def test_folding_again_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"], max_codepoint=0x24F), max_size=80))
def test_folding_loses_no_letter_of_latin_text(text: str) -> None:
    assert sum(map(str.isalpha, fold(text))) >= sum(map(str.isalpha, text))


@given(st.lists(st.sampled_from(PHRASE.split()), min_size=4, max_size=12).map(" ".join), st.randoms())
def test_hidden_marks_between_the_letters_of_a_text_are_taken_out(text: str, random: object) -> None:
    assert fold("\u200b".join(text)).replace("\u200b", "") == text


def test_real_harmless_turns_have_hardly_a_second_view() -> None:
    path = DATA / "sgd" / "dialogues.jsonl.gz"
    if not path.exists():
        pytest.skip("needs ../shared/data")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        turns = [
            turn["content"]
            for _, line in zip(range(200), lines, strict=False)
            for turn in json.loads(line)["turns"]
            if turn["role"] == "user"
        ]
    assert sum(len(views(turn)) > 1 for turn in turns) <= len(turns) / 1000
