"""A chat model that refuses, truncates, repeats itself and hangs, played by the chat test server."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from safemt.benchmark.read import read_benchmark
from safemt.build.build import BuildPlan, build
from safemt.build.generators.llm import LLMGenerator
from safemt.build.generators.open import ModelOptions, open_generator
from safemt.build.generators.pilot import PilotOptions
from safemt.build.generators.prompts import read_dialogue
from safemt.build.progress import Progress
from safemt.core.errors import RunStopped, UsageError
from safemt.core.taxonomy import Method
from safemt.endpoints.base import Reply
from servers.client import ChatServer, start_chat_server

METHODS = (Method.GRADUAL, Method.ROLE_PLAY, Method.IN_CONTEXT)
REFUSAL = "I'm sorry, but I can't help with that request."
PLAN = {
    "contains": "Plan test dialogues",
    "do": "reply",
    "text": json.dumps({"actors": ["a baker"], "sub_goals": ["bread", "a shop"], "picture": "shown first"}),
}
FILLERS = [
    "a walk along the old canal with many ducks",
    "the quiet reading room behind the town library",
    "seven painted doors near the harbour market",
    "our spring concert with brass and wooden flutes",
    "cold lemonade under striped tents in August",
    "tall sunflowers beside the narrow railway line",
]


def written(question: str, place: int, *, leave_out: str = "") -> str:
    """A good dialogue of two turns on a question, unlike those at other places."""
    parts = [word for word in question.split() if word.strip("?") not in leave_out.split()]
    indirect = ", well, ".join(" ".join(parts[n : n + 3]) for n in range(0, len(parts), 3))
    opener = f"In this picture I notice {FILLERS[place]}. What mood does it have, would you say?"
    turns = [
        {"role": "user", "content": opener},
        {"role": "assistant", "content": f"It feels calm, and {FILLERS[place]} would suit a postcard."},
        {"role": "user", "content": f"With the picture in mind, and {FILLERS[-place]}, say: {indirect}"},
    ]
    return json.dumps({"turns": turns})


def scores(value: int, **other: int) -> str:
    names = ("coherence", "escalation", "intent", "rewording", "picture", "harmless")
    found = dict.fromkeys(names, value) | other
    return json.dumps({name: {"score": score, "reason": f"{name} it is"} for name, score in found.items()})


def generator(
    server: ChatServer, out: Path, *, resume: bool = False, concurrency: int = 4, reviewer: str | None = None
) -> LLMGenerator:
    options = ModelOptions(
        generator="openai/writer",
        base_url=server.base_url,
        reviewer=reviewer,
        concurrency=concurrency,
        timeout=1.0,
    )
    found = open_generator(options, out=out, resume=resume)
    assert found is not None
    return found


def plan(path: Path, out: Path, count: int) -> BuildPlan:
    return BuildPlan(queries=[path], out=out, count=count, turns=(1, 2), methods=METHODS)


def outcomes(stats: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(share.split()[0]) for name, share in stats["generation"]["shares"].items()}


@pytest.fixture
def plain(mild: list[tuple[str, str]]) -> list[dict[str, object]]:
    """Queries with a picture of their source, so that no drawn picture carries words of them."""
    return [{"query": text, "scenario": scenario, "image": "a.png"} for text, scenario in mild[:6]]


@pytest.fixture(autouse=True)
def picture(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / "a.png")


def rule(row: Mapping[str, object], place: int, **more: Any) -> dict[str, Any]:
    question = str(row["query"])
    return {"contains": question, "do": "reply", "text": written(question, place), **more}


def test_refusals_spoilt_json_repeats_and_timeouts_end_in_a_complete_build(
    tmp_path: Path, plain: list[dict[str, object]], queries_file: Callable[..., Path], progress: Progress
) -> None:
    good, truncated, refused, hangs, repeats, broken = (str(row["query"]) for row in plain)
    rules = [
        PLAN,
        rule(plain[0], 0),
        {"contains": truncated, "do": "length", "text": written(truncated, 1)[:80]},
        {"contains": "it was cut off", "do": "reply", "text": written(truncated, 1)},
        {"contains": refused, "do": "reply", "text": REFUSAL},
        {"contains": hangs, "do": "hang", "times": 1},
        rule(plain[3], 3),
        {"contains": repeats, "do": "reply", "text": written(good, 0)},
        {"contains": "fails the check", "do": "reply", "text": written(good, 0)},
        {"contains": broken, "do": "status", "status": 400},
    ]
    out = tmp_path / "made"
    with start_chat_server({"rules": rules}) as server:
        stats = build(plan(queries_file(plain), out, 6), progress=progress, generator=generator(server, out))
    found = outcomes(stats)
    assert found["left to the templates: refused"] == 1
    assert found["left to the templates: call_http_400"] == 1
    assert found["left to the templates: intent_retained"] == 1
    assert sum(found.values()) == 6
    benchmark = read_benchmark(out)
    assert not benchmark.findings
    assert len(benchmark.samples) == 12
    by_model = {sample.question for sample in benchmark.samples if sample.meta["generator"] == "llm"}
    assert by_model == {good, truncated, hangs}
    assert stats["by_generator"] == {"llm": 3, "question": 6, "template": 3}
    assert "left to the templates: refused: 1 (16.7%)" in (out / "DATASHEET.md").read_text(encoding="utf-8")
    assert not (tmp_path / "made.building").exists()


def test_the_planned_method_is_kept_when_the_model_fails(
    tmp_path: Path, plain: list[dict[str, object]], queries_file: Callable[..., Path], progress: Progress
) -> None:
    path = queries_file(plain[:1])
    build(plan(path, tmp_path / "by_template", 1), progress=progress)
    with start_chat_server({"rules": [{"do": "reply", "text": REFUSAL}]}) as server:
        build(
            plan(path, tmp_path / "made", 1),
            progress=progress,
            generator=generator(server, tmp_path / "made"),
        )
    methods = [
        [sample.method for sample in read_benchmark(tmp_path / name).samples]
        for name in ("by_template", "made")
    ]
    assert methods[0] == methods[1]


def test_a_reviewer_sends_back_what_is_weak_and_templates_step_in_at_last(
    tmp_path: Path, plain: list[dict[str, object]], queries_file: Callable[..., Path], progress: Progress
) -> None:
    weak, fine = (str(row["query"]) for row in plain[:2])
    rules = [
        PLAN,
        {"contains": f"Request: {weak}", "do": "reply", "text": scores(4, escalation=1)},
        {"contains": f"Request: {fine}", "do": "reply", "text": scores(4)},
        {"contains": "a reviewer objects", "do": "reply", "text": written(weak, 0)},
        rule(plain[0], 0),
        rule(plain[1], 1),
    ]
    out = tmp_path / "made"
    with start_chat_server({"rules": rules}) as server:
        writer = generator(server, out, reviewer="openai/critic")
        stats = build(plan(queries_file(plain[:2]), out, 2), progress=progress, generator=writer)
    assert outcomes(stats) == {"left to the templates: review": 1, "written at once": 1}
    review = stats["generation"]["review"]
    assert (review["accepted"], review["sent_back"]) == (1, 3)
    assert "Review:" in (out / "DATASHEET.md").read_text(encoding="utf-8")


def test_a_reviewer_that_never_scores_is_counted_and_costs_no_dialogue(
    tmp_path: Path, plain: list[dict[str, object]], queries_file: Callable[..., Path], progress: Progress
) -> None:
    rules = [PLAN, {"contains": "You review", "do": "reply", "text": "Lovely!"}, rule(plain[0], 0)]
    out = tmp_path / "made"
    with start_chat_server({"rules": rules}) as server:
        writer = generator(server, out, reviewer="openai/critic")
        stats = build(plan(queries_file(plain[:1]), out, 1), progress=progress, generator=writer)
    assert outcomes(stats) == {"written at once": 1}
    assert stats["generation"]["review"]["no_answer"] == 1
    assert "never gave scores" in stats["generation"]["review"]["warning"]


def test_no_model_reviews_itself(tmp_path: Path) -> None:
    options = ModelOptions(generator="openai/a", reviewer="openai/a", base_url="http://localhost:1/v1")
    with pytest.raises(UsageError) as error:
        open_generator(options, out=tmp_path / "made", resume=False)
    assert error.value.code == "reviewer_is_generator"


def test_a_cap_needs_a_price(tmp_path: Path) -> None:
    options = ModelOptions(generator="openai/unheard", max_cost=1.0, base_url="http://localhost:1/v1")
    with pytest.raises(UsageError) as error:
        open_generator(options, out=tmp_path / "made", resume=False)
    assert error.value.code == "price_unknown"


def test_a_pilot_says_how_often_a_model_answers(
    tmp_path: Path, plain: list[dict[str, object]], queries_file: Callable[..., Path], progress: Progress
) -> None:
    refused = str(plain[0]["query"])
    rules = [
        {"contains": refused, "do": "reply", "text": REFUSAL},
        {"do": "reply", "text": "Take the stairs and turn left."},
    ]
    out = tmp_path / "made"
    with start_chat_server({"rules": rules}) as server:
        options = PilotOptions(model="tested", base_url=server.base_url, queries=2, timeout=5.0)
        stats = build(plan(queries_file(plain[:2]), out, 2), progress=progress, piloted=options)
    assert stats["generation"]["pilot"]["by_turns"]["1"] == "1/2 (50%)"
    assert "Pilot:" in (out / "DATASHEET.md").read_text(encoding="utf-8")


def test_a_dead_endpoint_stops_the_build_which_resume_continues_without_a_second_call(
    tmp_path: Path, plain: list[dict[str, object]], queries_file: Callable[..., Path], progress: Progress
) -> None:
    path, out = queries_file(plain), tmp_path / "made"
    good = [PLAN, *(rule(row, place) for place, row in enumerate(plain))]
    with (
        start_chat_server({"rules": [{"nth_from": 7, "do": "bad_key"}, *good]}) as server,
        pytest.raises(RunStopped),
    ):
        build(plan(path, out, 6), progress=progress, generator=generator(server, out, concurrency=1))
    assert not out.exists()
    with start_chat_server({"rules": good}) as server:
        with pytest.raises(UsageError) as error:
            generator(server, out)
        assert error.value.code == "unfinished_build"
        stats = build(plan(path, out, 6), progress=progress, generator=generator(server, out, resume=True))
        assert server.stats()["total"] == 12 - 6
    assert outcomes(stats) == {"written at once": 6}


@pytest.mark.slow
def test_a_killed_build_continues_and_pays_for_nothing_twice(
    tmp_path: Path, plain: list[dict[str, object]], queries_file: Callable[..., Path], progress: Progress
) -> None:
    path, out = queries_file(plain), tmp_path / "made"
    rules = [PLAN, *(rule(row, place, latency_ms=200) for place, row in enumerate(plain))]
    code = (
        "import sys; from pathlib import Path; from rich.console import Console\n"
        "from safemt.build.build import BuildPlan, build; from safemt.build.progress import Progress\n"
        "from safemt.build.generators.open import ModelOptions, open_generator\n"
        "from safemt.core.taxonomy import Method\n"
        "path, out, url = sys.argv[1:]\n"
        "methods = (Method.GRADUAL, Method.ROLE_PLAY, Method.IN_CONTEXT)\n"
        "options = ModelOptions(generator='openai/writer', base_url=url, concurrency=1, timeout=5.0)\n"
        "writer = open_generator(options, out=Path(out), resume=False)\n"
        "build(BuildPlan(queries=[Path(path)], out=Path(out), count=6, turns=(1, 2), methods=methods),"
        " progress=Progress(Console(quiet=True)), generator=writer)"
    )
    with start_chat_server({"rules": rules}) as server:
        process = subprocess.Popen([sys.executable, "-c", code, str(path), str(out), server.base_url])
        deadline = time.monotonic() + 60
        while server.stats()["total"] < 6 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = server.stats()["total"]
        assert 6 <= before < 12
        stats = build(plan(path, out, 6), progress=progress, generator=generator(server, out, resume=True))
        # The one call in flight at the kill may come again; no answered one does.
        assert server.stats()["total"] <= 12 + 1
        assert server.stats()["distinct_bodies"] == 12
    assert outcomes(stats) == {"written at once": 6}
    assert read_benchmark(out).query_count == 6


@pytest.mark.parametrize(
    ("text", "finish", "says"),
    [
        ("{", "stop", "not one valid JSON"),
        ("{", "length", "cut off"),
        ("[]", "stop", "no list"),
        ('{"turns": []}', "stop", "0 turns in all instead of 3"),
        ('{"turns": [{"role": "assistant", "content": "x"}]}', "stop", "role user"),
        (REFUSAL, "stop", "refused"),
    ],
)
def test_an_unusable_reply_is_named(text: str, finish: str, says: str) -> None:
    found = read_dialogue(Reply(text=text, finish_reason=finish), 2)
    assert isinstance(found, str)
    assert says in found


def test_a_code_fence_around_the_json_is_forgiven() -> None:
    found = read_dialogue(Reply(text=f"```json\n{written('Why?', 0)}\n```"), 2)
    assert not isinstance(found, str)
    assert [message.role for message in found] == ["user", "assistant", "user"]
