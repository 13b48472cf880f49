"""What is written in our layout is read again as it was."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.sets import make_sample, make_samples, put_folder, put_images
from safemt.benchmark.findings import MISSING_IMAGE, Level
from safemt.benchmark.layouts import Layout
from safemt.benchmark.read import read_benchmark
from safemt.benchmark.write import write_benchmark
from safemt.core.errors import FileError
from safemt.core.schema import ImageRef, Message, Sample
from safemt.core.taxonomy import Method, Scenario

texts = st.text(alphabet=st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip() != "")
ids = st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=40).filter(
    lambda text: text.isprintable() and text.strip() != ""
)


@st.composite
def benchmarks(draw: st.DrawFn) -> list[Sample]:
    """Anything that our layout can hold: queries with their rounds, some with a twin."""
    samples: list[Sample] = []
    for query_id in draw(st.lists(ids, unique=True, min_size=1, max_size=3)):
        scenario = draw(st.sampled_from(Scenario))
        image = draw(
            st.none()
            | st.builds(
                ImageRef, *map(st.just, ("", "image/png", 4, 3, f"images/{draw(st.integers(0, 3))}.png"))
            )
        )
        for turns in draw(st.sets(st.integers(1, 5), min_size=1, max_size=3)):
            said = draw(st.lists(texts | st.just(""), min_size=2 * turns - 1, max_size=2 * turns - 1))
            samples.append(
                Sample(
                    query_id=query_id,
                    turns=turns,
                    scenario=scenario,
                    question=draw(texts),
                    dialogue=tuple(
                        Message(role="assistant" if n % 2 else "user", content=text)
                        for n, text in enumerate(said)
                    ),
                    image=image,
                    method=draw(st.none() | st.sampled_from(Method)),
                    language=draw(st.sampled_from(["en", "de", "zh-Hant"])),
                    meta=draw(st.dictionaries(st.sampled_from(["source", "licence"]), texts)),
                )
            )
            if draw(st.booleans()):
                samples.append(replace(samples[-1], query_id=f"{query_id} twin", twin_of=query_id))
    return samples


@settings(max_examples=60, deadline=None)
@given(samples=benchmarks(), data=st.data())
def test_what_is_written_is_read_again(samples: list[Sample], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        hashes = put_images(root / "a", samples)
        put_images(root / "b", samples)
        samples = [
            replace(s, image=s.image and replace(s.image, sha256=hashes[s.image.path])) for s in samples
        ]
        write_benchmark(root / "a", samples, about={"name": "boats"})
        write_benchmark(root / "b", data.draw(st.permutations(samples)), about={})
        read, shuffled = read_benchmark(root / "a"), read_benchmark(root / "b")
    assert list(read.samples) == samples
    assert (read.name, read.layout) == ("boats", Layout.JSONL)
    assert shuffled.sha256 == read.sha256
    assert {f.code for f in read.findings if f.level is Level.ERROR} <= {MISSING_IMAGE}
    assert read.imageless == {s.id for s in samples if s.image is None}


def test_the_hash_does_not_depend_on_the_layout(tmp_path: Path) -> None:
    samples = make_samples(20, (1, 2, 4, 6, 8))
    put_images(tmp_path / "folder", samples)
    put_images(tmp_path / "ours", samples)
    folder = read_benchmark(put_folder(tmp_path / "folder", samples))
    write_benchmark(tmp_path / "ours", folder.samples, about={})
    ours = read_benchmark(tmp_path / "ours")
    assert ours.findings == folder.findings == ()
    assert ours.sha256 == folder.sha256
    assert (len(ours.samples), ours.query_count, ours.rounds) == (100, 20, (1, 2, 4, 6, 8))


def test_the_files_are_plain(tmp_path: Path) -> None:
    sample = make_sample(question="Größe\u2028?", method=Method.GRADUAL, meta={"source": "invented"})
    write_benchmark(tmp_path / "deep/er", [sample], about={"name": "Boote", "licence": "CC0"})
    about = json.loads((tmp_path / "deep/er/benchmark.json").read_text(encoding="utf-8"))
    assert about == {"format": "safemt/1", "name": "Boote", "licence": "CC0"}
    (line,) = (tmp_path / "deep/er/samples.jsonl").read_bytes().splitlines()
    assert json.loads(line) == {
        "query_id": "mllm_fraud_1",
        "turns": 1,
        "scenario": "Fraud",
        "method": "gradual",
        "question": "Größe\u2028?",
        "dialogue": [{"role": "user", "content": sample.dialogue[0].content}],
        "image": "images/fraud/fraud_1.png",
        "image_sha256": "",
        "twin_of": None,
        "language": "en",
        "source": "invented",
    }
    assert "Größe".encode() in line


@pytest.mark.parametrize("name", ["samples.jsonl", "benchmark.json"])
def test_nothing_else_in_the_folder_is_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / name).write_text("old")
    write_benchmark(tmp_path, [make_sample()], about={})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "benchmark.json",
        "notes.txt",
        "samples.jsonl",
    ]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(read_benchmark(tmp_path, text_only=True).samples) == 1


def test_half_a_benchmark_is_never_left_as_one(tmp_path: Path) -> None:
    def samples() -> Iterator[Sample]:
        yield make_sample()
        raise KeyboardInterrupt

    write_benchmark(tmp_path, make_samples(), about={})
    before = (tmp_path / "samples.jsonl").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_benchmark(tmp_path, samples(), about={})
    assert (tmp_path / "samples.jsonl").read_bytes() == before


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(FileError) as caught:
        write_benchmark(tmp_path / "taken", [make_sample()], about={})
    assert (caught.value.code, caught.value.fields["path"]) == (
        "cannot_write",
        tmp_path / "taken/benchmark.json",
    )
