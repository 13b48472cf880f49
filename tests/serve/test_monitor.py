"""Monitoring: windows and shares are right, a change is found, and steady traffic raises no alarm."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safemt.core.errors import UsageError
from safemt.moderation.measuring.kept import detector_id
from safemt.moderation.measuring.thresholds import with_thresholds, write_threshold
from safemt.moderation.open import open_moderator
from safemt.serve.audit import read_audit
from safemt.serve.calibrate import calibrate_on_audit
from safemt.serve.monitor import (
    duration_of,
    monitor,
    monitored_json,
    two_samples,
    two_shares,
)
from safemt.serve.monitor_page import drift_sentences, monitor_page, monitor_tables
from serve.conftest import Start

DAY = timedelta(days=1)
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)


def record(when: datetime, conversation: str, risk: float | None, **changes: Any) -> dict[str, Any]:
    verdict = {
        "moderator": "embedded", "risk": risk, "threshold": 0.6, "flagged": risk is not None and risk >= 0.6,
        "action": "allow", "scenario": None, "policies": [], "coverage": [1, 1, 0, 0], "unscanned": [],
        "degraded": None,
    }  # fmt: skip
    given = {name: changes.pop(name) for name in list(changes) if name in verdict}
    return {
        "schema": "safemt.audit/1", "time": when.isoformat(), "id": conversation, "tenant": "default",
        "model": "m",
        "conversation": conversation, "detector": "d", "error": None, "ms": {"moderation": 2.0, "total": 5.0},
        "verdict": {**verdict, **given}, **changes,
    }  # fmt: skip


def traffic(
    days: int, a_day: int, seed: int, *, shift: float = 0.0, since: int = 99
) -> Iterator[dict[str, Any]]:
    """Conversations of several requests, a few of them risky; from day `since` on more are."""
    random = np.random.default_rng(seed)
    for day in range(days):
        for n in range(random.poisson(a_day)):
            risky = random.random() < 0.03 + (shift if day >= since else 0.0)
            risk = float(random.beta(8, 3) if risky else random.beta(1, 12))
            began = BEGIN + (day + random.random() * 0.9) * DAY
            for turn in range(random.integers(1, 5)):
                yield record(began + turn * timedelta(minutes=1), f"{day}-{n}", round(risk, 3))


def test_steady_traffic_raises_no_alarm() -> None:
    alarms = sum(bool(monitor(traffic(9, 120, seed), window=DAY).drifts) for seed in range(100))
    assert alarms <= 3, "at the level of 1 %, one in a hundred is expected"


def test_a_change_is_found_on_its_day() -> None:
    found = monitor(traffic(9, 300, 1, shift=0.10, since=6), window=DAY, reference=4 * DAY)
    assert {drift.figure for drift in found.drifts} >= {"alerts"}
    assert {drift.window.day for drift in found.drifts} == {8, 9, 10}
    assert all(drift.now > drift.before for drift in found.drifts)


def test_a_large_but_tiny_change_is_none() -> None:
    steady = [record(BEGIN + n * DAY / 20_000, f"a{n}", 0.9 if n % 100 == 0 else 0.1) for n in range(20_000)]
    later = [
        record(BEGIN + DAY + n * DAY / 20_000, f"b{n}", 0.9 if n % 66 == 0 else 0.1) for n in range(20_000)
    ]
    assert monitor([*steady, *later], window=DAY, reference=DAY).drifts == []


def test_conversations_count_once() -> None:
    records = [record(BEGIN + n * timedelta(minutes=1), "a", 0.9) for n in range(50)]
    records += [record(BEGIN, f"b{n}", 0.1) for n in range(9)]
    records += [record(BEGIN + DAY, "c", 0.1)]
    first = monitor(records, window=DAY).windows[0]
    assert (first.requests, first.conversations) == (59, 10)
    assert first.alerts is not None
    assert first.alerts.value == pytest.approx(0.1)


def test_windows_hold_what_happened() -> None:
    records = [
        record(BEGIN, "a", 0.9, action="block", scenario="Fraud", tenant="x"),
        record(BEGIN, "b", None, degraded="timeout", unscanned=["image_url"], coverage=[1, 1, 0, 1]),
        {**record(BEGIN, "c", 0.1), "verdict": None, "error": "invalid_json"},
        record(BEGIN + 2 * DAY, "d", 0.2, threshold=0.5),
    ]
    found = monitor(records, window=DAY, reference=DAY)
    first, empty, last = found.windows
    assert first.actions == {"block": 1, "allow": 1}
    assert (first.causes, first.unscanned, first.errors) == (
        {"timeout": 1},
        {"image_url": 1},
        {"invalid_json": 1},
    )
    assert first.scenarios == {"Fraud": 1}
    assert first.images_seen is not None
    assert first.images_seen.value == 0
    assert (empty.requests, empty.alerts) == (0, None)
    assert last.settings == ["embedded at 0.5"]
    assert set(found.groups["tenant"]) == {"x", "default"}
    assert json.loads(json.dumps(monitored_json(found), default=str))["schema"] == "safemt.monitor/1"


def test_what_cannot_be_monitored() -> None:
    with pytest.raises(UsageError) as error:
        monitor([], window=DAY)
    assert error.value.code == "no_records"
    with pytest.raises(UsageError) as error:
        monitor([record(BEGIN, "a", 0.1)], window=DAY)
    assert error.value.code == "nothing_to_compare"
    for text in ("", "1", "d", "0d", "-1d", "1y", "1.5d", "²d", "99999d"):
        with pytest.raises(UsageError) as error:
            duration_of(text)
        assert error.value.code == "bad_duration"
    assert duration_of("90m") == timedelta(minutes=90)


def test_p_values_keep_their_level() -> None:
    random = np.random.default_rng(3)
    shares, samples = [], []
    for _ in range(2000):
        flags = [(random.random(size) < 0.1).tolist() for size in (80, 300)]
        shares.append(two_shares(*flags)[0])
        samples.append(two_samples(random.random(60).tolist(), random.random(200).tolist())[1])
    for found in (shares, samples):
        assert np.mean(np.asarray(found) < 0.05) <= 0.065
        assert np.mean(np.asarray(found) < 0.01) <= 0.016


def test_p_values_agree_with_known_ones() -> None:
    # scipy.stats.ks_2samp(range(50), range(10, 60), method="asymp") gives 0.2719 for D = 0.2.
    distance, p = two_samples(list(map(float, range(50))), list(map(float, range(10, 60))))
    assert distance == pytest.approx(0.2)
    assert p == pytest.approx(0.2719, abs=0.04)
    # Yates' statistic by hand: 200 (|20·60 − 80·40| − 100)² / (60 · 140 · 100 · 100) = 8.5952.
    p, _ = two_shares([True] * 20 + [False] * 80, [True] * 40 + [False] * 60)
    assert p == pytest.approx(math.erfc(math.sqrt(8.5952 / 2)), rel=1e-3)


def test_the_page_is_whole_and_escapes_what_it_shows() -> None:
    records = [*traffic(6, 200, 2, shift=0.2, since=4)]
    records.append(record(BEGIN + DAY, "x", 0.1, tenant="<script>alert(1)</script>"))
    found = monitor(records, window=DAY, reference=3 * DAY)
    page = monitor_page(found)
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "alert rate" in drift_sentences(found.drifts)[0]
    assert len(monitor_tables(found)[0].rows) == 6
    HTMLParser().feed(page)


async def test_from_gateway_to_threshold(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "audit.jsonl"
    running = await start(audit=str(path), limits={"max_waiting": 1000})
    for n in range(150):
        body = {"model": "m", "messages": [{"role": "user", "content": f"Hello number {n}"}]}
        await running.post("/v1/chat/completions", body)
    await running.running.close()
    records = read_audit(path)
    moderator = open_moderator("keyword")
    document = calibrate_on_audit(records, 0.05)
    assert document["moderator"] == {"name": "keyword", "identity": detector_id(moderator.detector)}
    write_threshold(tmp_path / "thresholds.json", document)
    assert with_thresholds(moderator, tmp_path / "thresholds.json").threshold == document["threshold"]
    with pytest.raises(UsageError) as error:
        calibrate_on_audit(records, 0.001)
    assert error.value.code == "too_few_dialogues"
    with pytest.raises(UsageError) as error:
        calibrate_on_audit([*records, record(BEGIN, "a", 0.5)], 0.05)
    assert error.value.code == "not_one_moderator"
