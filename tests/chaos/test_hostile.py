"""Files and replies made to crash, to hang, or to read what is not theirs."""

import gzip
import io
import json
import os
import signal
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from e2e.command import png
from endpoints.wire import fail, http, wire_server
from safemt.benchmark.judged import read_judged
from safemt.benchmark.layouts import parse_dialogue_text
from safemt.benchmark.read import read_benchmark
from safemt.benchmark.recorded import read_published_labels, read_recorded
from safemt.build.queries import Ledger
from safemt.build.sources.read import QueryFormat, read_queries
from safemt.core.errors import CallFailure, SafemtError
from safemt.core.taxonomy import Label
from safemt.endpoints.base import Reply, Sampling
from safemt.endpoints.replies import Answer, Request, parse_body, read_answer, wants_completion_tokens
from safemt.io.images import ImageProblem, inspect_image, locate_image
from safemt.judges.open import JudgeConfig, open_judge
from safemt.judges.refusal_detector import detect_refusal
from safemt.judges.rubric import read_verdict
from safemt.targets.replay import read_replay

ASKED = Request(
    base_url="http://h/v1",
    origin="http://h",
    model="m",
    role="target",
    key_name="K",
    has_key=True,
    with_image=True,
    sampling=Sampling(),
)


class TooSlow(BaseException):
    """No `Exception`, so that nothing takes it for an error of its own."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End what hangs. Far more than is needed, on any machine."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


ODD_JSON = [
    nested(900),
    nested(1_010),
    nested(100_000),
    nested(1_010, '{"a":', "}").replace(":}", ":1}", 1),
    "9" * 5_000,
    "-1e999",
    "1E400",
    "NaN",
    '"\\ud800"',
    '"\\u0000"',
    "\ufeff{}",
    '{"a":1,"a":2}',
    '""',
    "null",
    "[]",
    "{}",
    '{"":""}',
    "\0",
    '"' + "x" * 70_000 + '"',
]
"""Values that trouble some reader of JSON or other."""


# Files

Reader = Callable[[Path], Any]
READERS: dict[str, Reader] = {
    "a benchmark": lambda path: read_benchmark(path, text_only=True),
    "a benchmark with images": read_benchmark,
    "responses": lambda path: read_recorded(path, field="response"),
    "labels": lambda path: read_recorded(path, field="label"),
    "judged rows": read_judged,
    "a judge of recorded labels": lambda path: open_judge(JudgeConfig(name=f"recorded/{path}"), timeout=1),
    "recorded answers": read_replay,
    "queries": lambda path: list(read_queries(path, layout=QueryFormat.AUTO, images=None, ledger=Ledger())),
}
GOOD: dict[str, Any] = {
    "id": "a",
    "query_id": "a",
    "scenario": "Fraud",
    "turns": 1,
    "method": None,
    "question": "Why?",
    "dialogue": [{"role": "user", "content": "Why?"}],
    "image": "a.png",
    "language": "en",
    "response": "Because.",
    "label": "safe",
    "prompt": "Why?",
    "query": "Why?",
    "category": "Fraud",
    "annotators": {"type": "human", "final_label": "full_refusal"},
    "source": "s",
    "meta": {},
    "twin_of": None,
}


def read_in_every_way(path: Path) -> None:
    """Only an error of safemt's own may come of it, and in time."""
    for reader in READERS.values():
        with at_most(60):
            try:
                reader(path)
            except SafemtError as error:
                said = str(error)
            else:
                said = str(path)
        said.encode()


@pytest.mark.parametrize("field", sorted(GOOD))
def test_no_value_of_any_field_gets_further_than_its_reader(tmp_path: Path, field: str) -> None:
    rest = {name: value for name, value in GOOD.items() if name != field}
    path = tmp_path / "rows.jsonl"
    for odd in ODD_JSON:
        path.write_text(f"{json.dumps(rest)[:-1]}, {json.dumps(field)}: {odd}}}\n{odd}\n", encoding="utf-8")
        read_in_every_way(path)
        turns = '"turns": [{"role": "user", "content": "Why?"}]'
        path.write_text(
            f'{{"label": "harmful", {turns}, "id": "x", {json.dumps(field)}: {odd}}}', encoding="utf-8"
        )
        read_in_every_way(path)


@pytest.mark.parametrize("name", ["rows.jsonl", "1_turn.json", "rows.jsonl.gz", "rows.csv", "rows.parquet"])
@pytest.mark.parametrize("odd", [text.encode() for text in ODD_JSON] + [b"\xff\xfe[\0]\0", b"\x1f\x8b", b""])
def test_no_whole_file_gets_further_than_its_reader(tmp_path: Path, name: str, odd: bytes) -> None:
    (tmp_path / name).write_bytes(gzip.compress(odd) if name.endswith(".gz") else odd)
    read_in_every_way(tmp_path / name)


rows = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.just(value)
            | st.none()
            | st.integers()
            | st.text(max_size=5)
            | st.lists(st.none(), max_size=2)
            for name, value in GOOD.items()
        },
    ),
    max_size=3,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows, flips=st.lists(st.tuples(st.floats(0, 0.99), st.integers(0, 255)), max_size=3))
@example(rows=[GOOD], flips=[])
def test_damaged_rows_get_no_further_than_their_reader(
    tmp_path: Path, rows: list[Any], flips: list[tuple[float, int]]
) -> None:
    content = bytearray("".join(json.dumps(row) + "\n" for row in rows).encode())
    packed = bytearray(gzip.compress(content, mtime=0))
    for where, byte in flips:
        for each in (content, packed):
            if each:
                each[int(where * len(each))] = byte
    (tmp_path / "rows.jsonl").write_bytes(content)
    (tmp_path / "rows.jsonl.gz").write_bytes(packed)
    read_in_every_way(tmp_path / "rows.jsonl")
    read_in_every_way(tmp_path / "rows.jsonl.gz")


@pytest.mark.parametrize(
    "text",
    [
        *ODD_JSON,
        "(" * 100_000,
        "-" * 100_000 + "1",
        "1+" * 50_000 + "1",
        "[" + "'a'," * 40_000 + "]",
        "'" * 100_001,
        "{" * 90 + "}" * 90,
        "lambda: " * 1_000 + "1",
        "10**10**10",
        "'a' * 10**9",
        "b'" + "\\x00" * 40_000 + "'",
        "\\\n" * 10_000,
        "f'{1}'",
    ],
)
def test_no_dialogue_string_runs_or_hangs(text: str) -> None:
    with at_most(60):
        try:
            parse_dialogue_text(text)
        except ValueError as error:
            said = str(error)
        else:
            said = ""
    assert len(said) < 300


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "megabytes", "code"),
    [(b" ", 2100, "too_large"), (b"a", 600, "too_long")],
    ids=["blank", "one row"],
)
def test_what_unpacks_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, content: bytes, megabytes: int, code: str
) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = content * 2**20
    bomb = b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()
    assert len(bomb) < 2_500_000
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(bomb)
    # A benchmark sets a row that is too long aside and reads on.
    for name in ("judged rows", "labels", *(["a benchmark"] if code == "too_large" else [])):
        tracemalloc.start()
        try:
            with at_most(120), pytest.raises(SafemtError) as refused:
                READERS[name](path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert refused.value.code == code
        assert peak < 300 * 2**20


# Paths

SECRET = "secret.png"
NAMES = [
    *("../secret.png", "..\\secret.png", "a/../../secret.png", "images/../../secret.png", "./../secret.png"),
    *(
        "C:\\secret.png",
        "c:secret.png",
        "\\\\host\\share\\secret.png",
        "//host/secret.png",
        "file:///secret.png",
    ),
    *(
        "images/link.png",
        "out/secret.png",
        "images/a.png/../../../secret.png",
        "~/secret.png",
        "$HOME/secret.png",
    ),
    *(
        "%2e%2e/secret.png",
        "..%2fsecret.png",
        "images/\0/../../secret.png",
        "\u2024\u2024/secret.png",
        "..",
        ".",
        "/",
    ),
    *("/dev/zero", "/proc/self/environ", "images", "con", "nul.png", "a" * 5_000, "a/" * 3_000, "", " "),
]


@pytest.fixture
def fenced(tmp_path: Path) -> Path:
    """A benchmark's folder with links out of it, beside a secret."""
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    (root / "images/a.png").write_bytes(png(1))
    (tmp_path / SECRET).write_bytes(png(2))
    (root / "images/link.png").symlink_to(tmp_path / SECRET)
    (root / "out").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.png")
    return root


_OPENED: list[str] | None = None


def _on_open(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _OPENED is not None and isinstance(arguments[0], (str, bytes, os.PathLike)):
        _OPENED.append(os.path.realpath(os.fsdecode(arguments[0])))


sys.addaudithook(_on_open)


@contextmanager
def nothing_opened_outside(root: Path) -> Iterator[None]:
    global _OPENED  # noqa: PLW0603
    _OPENED = []
    try:
        yield
        allowed = (os.path.realpath(root), sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]))
        assert [path for path in _OPENED if not path.startswith(allowed)] == []
    finally:
        _OPENED = None


@pytest.mark.parametrize("name", [*NAMES, "pipe.png"])
def test_no_name_of_an_image_leads_out_of_the_benchmark(fenced: Path, name: str) -> None:
    rows = [{**GOOD, "image": name, "image_path": name, "image_rel_path": name}]
    for file, content in (("samples.jsonl", json.dumps(rows[0])), ("1_turn.json", json.dumps(rows))):
        (fenced / file).write_text(content, encoding="utf-8")
        with at_most(60), nothing_opened_outside(fenced):
            benchmark = read_benchmark(fenced)
        assert [sample.image for sample in benchmark.samples] == [None]
        (fenced / file).unlink()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.sampled_from(
            ["..", ".", "", "images", "link.png", "out", SECRET, "C:", "~", "a.png", "\0", "Data", " "]
        )
        | st.text(max_size=4),
        min_size=1,
        max_size=6,
    ),
    between=st.sampled_from(["/", "\\", "//", "/./"]),
)
def test_no_path_at_all_leads_out_of_the_benchmark(fenced: Path, parts: list[str], between: str) -> None:
    name = between.join(parts)
    try:
        found = locate_image(fenced, name)
    except ImageProblem:
        return
    assert found is None or found.resolve().is_relative_to(fenced.resolve())


# Images


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def saved(format_: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(out, format_)
    return out.getvalue()


PACKED = zlib.compress(b"\0" * 30_000_000, 9)
BOMBS = {
    "many pixels": png_of(60_000, 60_000),
    "as many pixels as can be": png_of(2**31 - 1, 2**31 - 1),
    "a text that unpacks to 30 MB": png_of(4, 4, chunk(b"zTXt", b"k\0\0" + PACKED)),
    "a profile that unpacks to 30 MB": png_of(4, 4, chunk(b"iCCP", b"k\0\0" + PACKED)),
    "a GIF of 65535 x 65535": b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\0\0\0;",
    "a JPEG of 65535 x 65535": b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0\xff\xd9",
    "a WebP of 16384 x 16384": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0",
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_image_that_would_fill_the_memory_is_a_problem(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.png").write_bytes(BOMBS[name])
    with at_most(60), pytest.raises(ImageProblem) as caught:
        inspect_image(tmp_path / "a.png", "a.png")
    assert caught.value.code in {"image_too_many_pixels", "not_an_image"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 0.99), st.integers(0, 255)), max_size=4),
)
def test_a_damaged_image_is_an_image_or_a_problem(
    tmp_path: Path, which: str, cut: float, flips: list[tuple[float, int]]
) -> None:
    content = bytearray(saved(which))
    for where, byte in flips:
        content[int(where * len(content))] = byte
    (tmp_path / "a").write_bytes(content[: max(8, int(cut * len(content)))])
    with at_most(60):
        try:
            image = inspect_image(tmp_path / "a", "a")
        except ImageProblem:
            return
    assert image.width * image.height <= 50_000_000


# Replies


def classify(status: int, body: str) -> Reply | CallFailure:
    """What becomes of an answer, and whether all of it can be kept."""
    answer = Answer(status, {}, parse_body(body))
    wants_completion_tokens(answer)
    found = read_answer(answer, ASKED)
    said = (
        found.message if isinstance(found, CallFailure) else f"{found.text}{found.finish_reason}{found.model}"
    )
    said.encode()
    return found


@pytest.mark.parametrize("status", [200, 400, 404, 429, 500])
@pytest.mark.parametrize("odd", ODD_JSON)
def test_no_value_anywhere_in_a_reply_is_too_much(status: int, odd: str) -> None:
    frames = [
        "%s",
        '{"choices":%s}',
        '{"choices":[%s]}',
        '{"choices":[{"message":%s}]}',
        '{"choices":[{"message":{"content":%s,"refusal":%s},"finish_reason":%s,"error":%s}],"usage":%s,"model":%s}',
        '{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":%s},"error":%s}',
        '{"error":%s,"code":%s}',
        '{"error":{"message":%s,"code":%s,"type":%s,"metadata":%s,"innererror":%s}}',
        '{"error":{"message":"x","metadata":{"raw":%s,"flagged_input":%s},"innererror":{"code":%s},"code":%s}}',
        '[{"error":%s}]',
    ]
    with at_most(60):
        for frame in frames:
            classify(status, frame.replace("%s", odd))


async def test_a_small_reply_that_unpacks_to_hundreds_of_megabytes_is_given_up() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * 2**20
    bomb = b"".join(packer.compress(block) for _ in range(300)) + packer.flush()
    with at_most(60):
        async with wire_server(http(bomb, headers=[("Content-Encoding", "gzip")])) as wire:
            assert (await fail(wire.base_url)).cause == "reply_too_large"


LONG_WINDED = [
    *("unsupported ", "not supported ", "use ", "use max_", "temperature ", "image ", "content ", "vision-"),
    *("sk-", "sk-aaaaaaaa ", "sk-........", "litellm.", "litellm.: ", "your request was rejected ", "<400> "),
    *("\\", "\\u00", "&#0", "%", "&", " ", "\n", "\t", "a", "\u0301", "\u202e", "\x00", "\ud83d\ude00"),
]


@pytest.mark.parametrize("part", LONG_WINDED)
def test_no_message_is_searched_for_ever(part: str) -> None:
    message = part * (1_000_000 // len(part))
    with at_most(60):
        for status in (200, 400, 403, 429, 500):
            classify(status, json.dumps({"error": {"message": message, "metadata": {"raw": message}}}))
        classify(200, json.dumps({"choices": [{"message": {"content": message}, "finish_reason": message}]}))


WORDS = [
    *(
        "verdict",
        "verdict:",
        "VERDICT: ",
        "verdict - ",
        "- ",
        "*",
        "_",
        "`",
        "#",
        " ",
        "\t",
        "| ",
        "> | ",
        "\n",
    ),
    *(
        "<think>",
        "</think>",
        "```json",
        '{"verdict":',
        '{"label": "safe", ',
        "[",
        "VERDICT: safe\n",
        "final verdict",
    ),
    *("VERDICT\uff1a", "–", "— ", "safe", "unsafe.", "\u2028", "\x0c", "\0", "\ud800"),
]


@pytest.mark.parametrize("first", WORDS)
def test_no_verdict_takes_for_ever_to_read(first: str) -> None:
    with at_most(60):
        for second in WORDS:
            said = (first * 50 + second) * (50_000 // (50 * len(first) + len(second)))
            assert read_verdict(said) in set(Label)
        read_verdict(first * (500_000 // len(first)))


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(st.sampled_from(WORDS) | st.text(max_size=6), max_size=12))
def test_any_text_has_a_verdict_or_none(parts: list[str]) -> None:
    assert read_verdict("".join(parts)) in set(Label)


@pytest.mark.parametrize(
    "part",
    [
        *(
            "\u0301\u0316",
            "a\u0301",
            "\ufdfa",
            "I can't ",
            "I'm sorry, ",
            "1. \n",
            "- a\n",
            "```\n",
            "not (",
            "sure, ",
        ),
        *(
            "x" * 999 + " ",
            "我不能",
            "عذر",
            "\u200b",
            "However, ",
            "here is ",
            "as an ai ",
            "\ud800",
            "`" * 7 + " ",
        ),
    ],
)
def test_no_response_takes_for_ever_to_be_told_from_a_refusal(part: str) -> None:
    with at_most(60):
        detect_refusal(part * (1_000_000 // len(part)))
        detect_refusal("I can't help with that. " + part * (1_000_000 // len(part)))


@pytest.mark.parametrize("label", ['{"safety_label": %s}', '[{"id": "a", "safety_label": %s}]'])
@pytest.mark.parametrize("odd", ODD_JSON)
def test_no_published_label_file_gets_further_than_its_reader(tmp_path: Path, label: str, odd: str) -> None:
    (tmp_path / "1/label").mkdir(parents=True)
    (tmp_path / "1/label/m.json").write_text(label.replace("%s", odd), encoding="utf-8")
    with at_most(60):
        try:
            read_published_labels(tmp_path)
        except SafemtError as error:
            said = str(error)
        else:
            said = ""
    assert len(said) < 1_000
