"""The key goes to the endpoint and nowhere else: not to disk or screen, whatever a server does."""

import shutil
from pathlib import Path

import pytest

from e2e.command import KEY, models, rows, safemt, write
from servers.client import start_chat_server

RULES = [
    {"mode": "echoes", "do": "reply", "text": "Your key is {key}."},
    {"mode": "bad-key", "do": "bad_key", "message": "Incorrect API key provided: {key}. Get another."},
    {"mode": "fails", "contains": "q0 ", "do": "bad_request", "message": "No, {key}."},
    {"mode": "fails", "contains": "q1 ", "do": "content_filter", "text": "It begins {key}"},
    {"mode": "fails", "contains": "q2 ", "do": "refusal_field", "text": "I refuse, {key}."},
    {"mode": "redirects", "do": "redirect", "location": f"/elsewhere?key={KEY}"},
    {"mode": "judge", "do": "reply", "text": "{key} is the key.\nVERDICT: safe"},
]


@pytest.mark.parametrize("mode", ["echoes", "bad-key", "fails", "redirects"])
def test_the_key_is_nowhere_on_disk_or_screen(tmp_path: Path, mode: str) -> None:
    write(tmp_path / "bench", rows(4, (1,)))
    with start_chat_server({"rules": RULES}) as server:
        done = safemt(
            tmp_path, "run", "--benchmark", "bench", "--out", "out", *models(server, target=mode),
            "--concurrency", 1, "--json",
        )  # fmt: skip
        sent = {entry["headers"]["authorization"] for entry in server.log()}
    assert sent == {f"Bearer {KEY}"}
    assert "Traceback" not in done.err
    assert KEY not in done.out + done.err
    shutil.rmtree(tmp_path / "bench")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert tmp_path / "out/run.sqlite" in written
    for path in written:
        assert KEY.encode() not in path.read_bytes(), path


def test_a_key_in_an_address_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(1, (1,)))
    for url in (f"http://user:{KEY}@127.0.0.1:9/v1", f"http://127.0.0.1:9/v1?key={KEY}"):
        done = safemt(
            tmp_path, "run", "--benchmark", "bench", "--out", "out", "--judge", "refusal",
            "--target", "openai/m", "--target-base-url", url,
        )  # fmt: skip
        assert done.code == 2
        assert "Keys are read from the environment" in done.said
        assert KEY not in done.said
    assert not (tmp_path / "out").exists()


def test_two_endpoints_have_a_key_each(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(1, (1,)))
    keys = {"TARGET_KEY": "sk-target-123456", "JUDGE_KEY": "sk-judge-123456"}
    with start_chat_server({"rules": [{"mode": "judge", "do": "verdict"}]}) as server:
        done = safemt(
            tmp_path, "run", "--benchmark", "bench", "--out", "out", *models(server),
            "--target-api-key-env", "TARGET_KEY", "--judge-api-key-env", "JUDGE_KEY", env=keys,
        )  # fmt: skip
        assert done.code == 0, done.err
        sent = {entry["mode"]: entry["headers"]["authorization"] for entry in server.log()}
    assert sent == {"target": "Bearer sk-target-123456", "judge": "Bearer sk-judge-123456"}
