"""The demo benchmark as it ships, read with json alone, so that our reader cannot hide its faults."""

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from safemt.core.taxonomy import PUBLISHED_TURNS, Method, Scenario

ROOT: Final = Path(__file__).parents[2]
DEMO: Final = ROOT / "src/safemt/benchmark/demo"
SCRIPT: Final = ROOT / "scripts/make_demo.py"

Record = dict[str, Any]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    lines = (DEMO / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def harmful(records: list[Record]) -> list[Record]:
    return [record for record in records if record["twin_of"] is None]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo made anew in an empty folder."""
    out = tmp_path_factory.mktemp("demo")
    make_demo(out)
    return out


def make_demo(out: Path) -> None:
    subprocess.run([sys.executable, SCRIPT, "--out", out], check=True, timeout=60)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_there_are_two_queries_for_each_scenario(harmful: list[Record]) -> None:
    scenario_of = {record["query_id"]: record["scenario"] for record in harmful}
    assert Counter(scenario_of.values()) == {scenario.value: 2 for scenario in Scenario}
    for query_id, scenario in scenario_of.items():
        assert re.fullmatch(rf"demo_{Scenario(scenario).slug}_[12]", query_id)


def test_lines_follow_the_taxonomy_then_harmful_before_twin_then_turns(records: list[Record]) -> None:
    queries = [f"demo_{scenario.slug}_{n}" for scenario in Scenario for n in (1, 2)]
    expected = [(f"{query}{side}", k) for query in queries for side in ("", "_twin") for k in PUBLISHED_TURNS]
    assert [(record["query_id"], record["turns"]) for record in records] == expected


def test_dialogues_alternate_and_end_on_the_user(records: list[Record]) -> None:
    for record in records:
        roles = [message["role"] for message in record["dialogue"]]
        assert roles == ["user", "assistant"] * (record["turns"] - 1) + ["user"]
        assert all(message["content"] == message["content"].strip() != "" for message in record["dialogue"])


def test_one_turn_is_the_question_itself(records: list[Record]) -> None:
    for record in records:
        if record["turns"] == 1:
            assert record["dialogue"][0]["content"] == record["question"]
            assert record["method"] is None


def test_longer_dialogues_speak_of_the_picture(records: list[Record]) -> None:
    for record in records:
        if record["turns"] > 1:
            said = " ".join(turn["content"] for turn in record["dialogue"] if turn["role"] == "user")
            assert "this picture" in said.lower(), record["query_id"]


def test_each_method_has_a_quarter_of_the_longer_dialogues(harmful: list[Record]) -> None:
    assert Counter(r["method"] for r in harmful if r["turns"] > 1) == {method.value: 34 for method in Method}


def test_hybrid_needs_four_turns(harmful: list[Record]) -> None:
    for k in PUBLISHED_TURNS[1:]:
        methods = {record["method"] for record in harmful if record["turns"] == k}
        assert methods == set(Method) - ({Method.HYBRID} if k == 2 else set())


def test_every_sample_has_a_benign_twin_of_the_same_shape(records: list[Record]) -> None:
    by_id = {(record["query_id"], record["turns"]): record for record in records}
    twins = [record for record in records if record["twin_of"] is not None]
    assert len(twins) == len(records) / 2
    for twin in twins:
        original = by_id[twin["twin_of"], twin["turns"]]
        assert twin["query_id"] == f"{original['query_id']}_twin"
        for key in ("scenario", "method", "image", "image_sha256", "language"):
            assert twin[key] == original[key]
        assert twin["question"] != original["question"]
        assert twin["dialogue"][-1] != original["dialogue"][-1]


def test_no_two_dialogues_of_the_same_length_are_the_same(records: list[Record]) -> None:
    seen = Counter((record["turns"], json.dumps(record["dialogue"])) for record in records)
    assert max(seen.values()) == 1


def test_every_image_is_there_and_is_what_its_hash_says(records: list[Record]) -> None:
    hashes = {record["image"]: record["image_sha256"] for record in records}
    assert sorted(hashes) == sorted(name for name in files(DEMO) if name.startswith("images/"))
    assert len(set(hashes.values())) == 34
    for name, sha256 in hashes.items():
        content = (DEMO / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256
        assert len(content) <= 6 * 1024
        with Image.open(DEMO / name) as image:
            assert (image.format, image.size) == ("PNG", (320, 240))


def test_the_demo_is_small_enough_to_ship() -> None:
    assert sum(len(content) for content in files(DEMO).values()) <= 600 * 1024


def test_the_script_leaves_a_finished_demo_as_it_is(tmp_path: Path) -> None:
    for name, content in files(DEMO).items():
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
    make_demo(tmp_path)
    assert files(tmp_path) == files(DEMO)


def test_the_script_makes_the_demo_anew(fresh: Path) -> None:
    """Into an empty folder; images by pixel, because another build of zlib compresses them differently."""
    made, shipped = files(fresh), files(DEMO)
    assert made.keys() == shipped.keys()
    assert made["benchmark.json"] == shipped["benchmark.json"]
    samples = made["samples.jsonl"].decode()
    for name in made.keys() - {"benchmark.json", "samples.jsonl"}:
        with Image.open(fresh / name) as new, Image.open(DEMO / name) as old:
            assert new.tobytes() == old.tobytes()
        samples = samples.replace(
            hashlib.sha256(made[name]).hexdigest(), hashlib.sha256(shipped[name]).hexdigest()
        )
    assert samples.encode() == shipped["samples.jsonl"]


def test_the_script_makes_the_same_bytes_each_time(fresh: Path, tmp_path: Path) -> None:
    make_demo(tmp_path)
    assert files(tmp_path) == files(fresh)
