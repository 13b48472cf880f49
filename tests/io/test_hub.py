"""Benchmarks on the hub, from a cache that is filled beforehand: nothing here goes over a network."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark.sets import hub_row, lines, make_samples, picture, put
from safemt.core.errors import UsageError
from safemt.io.hub import fetch_from_hub

needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="the extra `hub` is not installed"
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache as the hub's own client leaves it: blobs, and a snapshot of links to them."""
    repository = tmp_path / "cache/datasets--own--boats"
    snapshot = repository / "snapshots" / COMMIT
    samples = make_samples(3)
    files = {
        f"data/{turns}_turn.jsonl": lines(hub_row(s) for s in samples if s.turns == turns).encode()
        for turns in (1, 2, 4)
    }
    files |= {s.image.path: picture(colour=n // 3) for n, s in enumerate(samples) if s.image}
    for number, (name, content) in enumerate(files.items()):
        blob = put(repository / "blobs" / f"{number:040x}", content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(os.path.relpath(blob, (snapshot / name).parent))
    put(repository / "refs/main", COMMIT)
    put(repository / "refs/v1", COMMIT)
    put(tmp_path / "secret.png", picture(colour=99))
    return tmp_path / "cache"


def check(cache: Path, name: str, *, offline: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_HUB_CACHE": str(cache), "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    # Where nothing listens, for the test of a hub that cannot be reached.
    environment |= {"HF_HUB_OFFLINE": "1"} if offline else {"HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "safemt", "check", name, "--json"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False, encoding="utf-8"
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@needs_hub
def test_a_benchmark_on_the_hub_is_read_through_the_links_of_its_cache(cache: Path) -> None:
    done = check(cache, "hub:own/boats@v1")
    assert (done.returncode, done.stderr) == (0, "")
    read = document(done)
    assert (read["name"], read["layout"], read["ok"]) == ("own/boats@v1", "hub", True)
    assert (read["samples"], read["queries"], read["images"]) == (9, 3, 3)
    assert read["findings"] == []


@needs_hub
def test_a_link_out_of_the_cache_is_refused(cache: Path) -> None:
    image = next((cache / "datasets--own--boats/snapshots").rglob("*.png"))
    image.unlink()
    image.symlink_to(cache.parent / "secret.png")
    done = check(cache, "hub:own/boats")
    assert done.returncode == 1
    assert document(done)["counts"] == {"image_outside": 3}


@needs_hub
def test_what_is_not_in_the_cache_is_refused_offline(cache: Path) -> None:
    done = check(cache, "hub:own/boats@v2")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error: hub:own/boats@v2 could not be fetched from the hub: " in done.stderr
    assert done.stderr.endswith(" and HF_TOKEN, or download it by hand and give the folder.\n")
    assert "Traceback" not in done.stderr


@needs_hub
def test_a_hub_that_cannot_be_reached_is_said_so(cache: Path) -> None:
    done = check(cache, "hub:own/nothing", offline=False)
    assert done.returncode == 1
    assert "hub:own/nothing could not be fetched from the hub" in done.stderr
    assert "Traceback" not in done.stderr


@needs_hub
@pytest.mark.parametrize("name", ["own/ boats", "../boats", "own/", "/boats", "own/" + "b" * 200])
def test_a_name_the_hub_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        fetch_from_hub(name)
    assert (caught.value.code, caught.value.fields) == ("bad_hub_name", {"name": name})


@pytest.mark.parametrize("name", ["", "boats", "own/boats/more", "@main"])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        fetch_from_hub(name)
    assert (caught.value.code, caught.value.fields) == ("bad_hub_name", {"name": name})


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError) as caught:
        fetch_from_hub("own/boats")
    assert (caught.value.code, caught.value.fields) == ("needs_extra", {"extra": "hub"})
    assert "pip install 'safemt[hub]'" in str(caught.value)
