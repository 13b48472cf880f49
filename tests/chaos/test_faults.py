"""An endpoint that fails in every way that is known, drawn for each call and attempt."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chaos.scenario import TRANSIENT, answers, causes, chaos, records, results, ungraded
from e2e.command import KEY, Command, Done, finish, models, start, write
from servers.client import ChatServer, start_chat_server

RUN = ("run", "--benchmark", "bench", "--concurrency", 8, "--json", "--timeout", 2)
PERMANENT: dict[str, tuple[dict[str, Any], str]] = {
    "q0 ": ({"do": "status"}, "http_500"),
    "q1 ": ({"do": "status", "status": 502}, "http_502"),
    "q2 ": ({"do": "reset_before"}, "connection_lost"),
    "q3 ": ({"do": "reset_during"}, "connection_lost"),
    "q4 ": ({"do": "truncated_json"}, "bad_reply"),
    "q5 ": ({"do": "no_choices"}, "bad_reply"),
    "q6 ": ({"do": "html", "status": 200}, "bad_reply"),
    "q7 ": ({"do": "null_content"}, "empty_reply"),
    "q8 ": ({"do": "huge"}, "reply_too_large"),
    "q9 ": ({"do": "bad_request"}, "http_400"),
    "q10 ": ({"do": "html", "status": 403}, "forbidden"),
    "q11 ": ({"do": "redirect", "location": "/v1/elsewhere"}, "http_307"),
    "q12 ": ({"do": "hang"}, "timeout"),
    "q13 ": ({"do": "status", "status": 500, "retry_after_s": 3600}, "http_500"),
}
PERMANENT_OF_THE_JUDGE: dict[str, tuple[dict[str, Any], str]] = {
    "question of q14?": ({"do": "status"}, "http_500"),
    "question of q15?": ({"do": "reset_during"}, "connection_lost"),
    "question of q16?": ({"do": "truncated_json"}, "bad_reply"),
    "question of q17?": ({"do": "bad_request"}, "http_400"),
}
RULES = [
    *chaos("wild", "wild-judge", share=0.8),
    *({"mode": "lame", "contains": text, **rule} for text, (rule, _) in PERMANENT.items()),
    *({"mode": "lame-judge", "contains": text, **rule} for text, (rule, _) in PERMANENT_OF_THE_JUDGE.items()),
    *answers("lame", "lame-judge"),
    {"mode": "locks", "nth_from": 15, "key": KEY, "do": "bad_key"},
    {"mode": "locks-judge", "nth_from": 15, "key": KEY, "do": "bad_key"},
    *answers("locks", "locks-judge"),
    *answers("calm", "calm-judge"),
]


@pytest.fixture(scope="module")
def chat_server() -> Iterator[ChatServer]:
    with start_chat_server({"seed": 1, "rules": RULES}, max_seconds=1800) as running:
        yield running


@pytest.fixture
def server(chat_server: ChatServer) -> ChatServer:
    chat_server.reset()
    return chat_server


def run(safemt: Command, server: ChatServer, mode: str, out: str, *options: object) -> Done:
    return safemt(*RUN, "--out", out, *models(server, target=mode, judge=f"{mode}-judge"), *options)


def attempts_by_call(log: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    calls = defaultdict(list)
    for entry in log:
        calls[entry["mode"], entry["sha256"]].append(entry)
    return calls


def hold_to_retry_after(calls: dict[tuple[str, str], list[dict[str, Any]]]) -> int:
    """Check that no call was made again before its time; give the number of those that had to wait."""
    waited = 0
    for attempts in calls.values():
        for first, second in pairwise(attempts):
            # A date has whole seconds, of which some part may be over.
            least = float(first["retry_after"] or 0) if "GMT" not in str(first["retry_after"]) else 0.5
            assert second["arrived"] - first["ended"] >= least, [
                (e["do"], e["status"], e["retry_after"], e["n"]) for e in attempts
            ]
            waited += least > 0
    return waited


def test_a_run_amid_faults_finds_what_a_calm_run_finds(
    tmp_path: Path, safemt: Command, server: ChatServer
) -> None:
    write(tmp_path / "bench", records(14))
    calm = run(safemt, server, "calm", "calm")
    server.reset()
    wild = run(safemt, server, "wild", "wild")
    assert (calm.code, wild.code) == (0, 0), wild.err
    assert results(tmp_path / "wild") == results(tmp_path / "calm")
    apart = {"command": None, "tokens": None}  # answers of no use are paid for, too
    assert {**wild.json, **apart} == {**calm.json, **apart}
    assert wild.json["tokens"]["prompt"] > calm.json["tokens"]["prompt"]
    stats = server.stats()
    assert stats["repeated_after_success"] == 0
    assert stats["max_in_flight"] <= 8
    assert stats["by_action"].keys() >= {fate["do"] for fate in TRANSIENT} | {"gzip", "wrong_content_type"}
    calls = attempts_by_call(server.log())
    assert len(calls) == 2 * 28
    assert max(map(len, calls.values())) == 3
    assert hold_to_retry_after(calls) > 5


def test_every_failure_for_good_is_ungraded_with_its_cause_and_the_rest_is_done(
    tmp_path: Path, safemt: Command, server: ChatServer
) -> None:
    write(tmp_path / "bench", records(40, (1,)))
    lame = run(safemt, server, "lame", "out", "--timeout", 1)
    assert lame.code == 0, lame.err
    expected = {text.strip(): cause for text, (_, cause) in PERMANENT.items()}
    expected |= {
        text.removeprefix("question of ").removesuffix("?"): cause
        for text, (_, cause) in PERMANENT_OF_THE_JUDGE.items()
    }
    assert causes(tmp_path / "out") == expected
    assert ungraded(tmp_path / "out") == {
        "http_500": 2,
        "http_502": 1,
        "connection_lost": 2,
        "bad_reply": 3,
        "empty_reply": 1,
        "reply_too_large": 1,
        "http_400": 1,
        "forbidden": 1,
        "http_307": 1,
        "timeout": 1,
        "judge_http_500": 1,
        "judge_connection_lost": 1,
        "judge_bad_reply": 1,
        "judge_http_400": 1,
    }
    attempts = {len(each) for each in attempts_by_call(server.log()).values()}
    assert attempts == {1, 6}
    # The endpoint is in order again: only what is lacking is asked.
    server.reset()
    assert run(safemt, server, "calm", "out").code == 0
    assert server.stats()["total"] == 2 * len(PERMANENT) + len(PERMANENT_OF_THE_JUDGE)
    assert run(safemt, server, "calm", "calm").code == 0
    assert results(tmp_path / "out") == results(tmp_path / "calm")


def test_a_key_that_is_withdrawn_half_way_stops_the_run_and_another_key_ends_it(
    tmp_path: Path, safemt: Command, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "bench", records(20, (1,)))
    stopped = run(safemt, server, "locks", "out")
    assert stopped.code == 3
    assert "refused the key in OPENAI_API_KEY" in stopped.err
    # Three in a row for target or judge, and what was in flight by then.
    assert server.stats()["by_status"]["401"] <= 2 * 2 + 8 + 4
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-0123456789")
    done = run(safemt, server, "locks", "out")
    assert done.code == 0, done.err
    assert server.stats()["repeated_after_success"] == 0
    assert run(safemt, server, "calm", "calm").code == 0
    assert results(tmp_path / "out") == results(tmp_path / "calm")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(tmp_path: Path, safemt: Command, status: int) -> None:
    write(tmp_path / "bench", records(2, (1,)))
    with start_chat_server({}) as elsewhere:
        away = {"do": "redirect", "status": status, "location": f"{elsewhere.base_url}/chat/completions"}
        with start_chat_server({"rules": [away]}) as server:
            done = run(safemt, server, "any", "out")
            assert (done.code, server.stats()["total"]) == (1, 2)
        assert elsewhere.log() == []
    assert "redirects to" in done.err
    assert causes(tmp_path / "out") == {"q0": f"http_{status}", "q1": f"http_{status}"}


@pytest.mark.slow
def test_a_long_run_amid_faults_with_its_real_waits(tmp_path: Path) -> None:
    write(tmp_path / "bench", records(30))
    rules = [*chaos("wild", "wild-judge", share=0.5), *answers("calm", "calm-judge")]
    with start_chat_server({"seed": 11, "rules": rules}, max_seconds=600) as server:
        options = (*RUN[:-1], 5, "--concurrency", 40)
        for mode in ("calm", "wild"):
            which = models(server, target=mode, judge=f"{mode}-judge")
            done = finish(start(tmp_path, *options, "--out", mode, *which), timeout=200)
            assert done.code == 0, done.err
        assert server.stats()["repeated_after_success"] == 0
    assert results(tmp_path / "wild") == results(tmp_path / "calm")
