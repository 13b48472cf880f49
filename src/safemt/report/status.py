"""How a run's status is shown: lines for people, a document for programs."""

from dataclasses import asdict
from typing import Any

from safemt.endpoints.spend import dollars
from safemt.run.watch.status import State, Status

_MESSAGE = 160
_STATES = {
    State.STOPPED: "stopped; the same command continues",
    State.KILLED: "not running: the process was killed or the machine went down; the same command continues",
    State.COMPLETE: "complete",
}


def status_json(status: Status) -> dict[str, Any]:
    """The status as a document; its keys are described in docs/file-formats.md."""
    beat, fresh = status.heartbeat, status.fresh
    return {
        "state": status.state.value,
        "in_use": status.in_use,
        "ending": status.ending,
        "target": status.target,
        "judge": status.judge,
        "simulated": status.simulated,
        "shard": status.shard,
        "started": status.started,
        "last_written": status.written,
        "samples": status.samples,
        "elsewhere": status.elsewhere,
        "done": status.done,
        "left": status.left,
        "labels": dict(status.labels),
        "ungraded": {"n": sum(status.ungraded.values()), "causes": dict(status.ungraded)},
        "failures": [asdict(each) for each in status.failures],
        "rate": fresh.rate if fresh else None,
        "seconds_left": status.seconds_left,
        "limits": dict(fresh.limits) if fresh else None,
        "retries": fresh.retries if fresh else None,
        "heartbeat": None if beat is None else {**asdict(beat), "stale": fresh is None},
        "spend": [
            {**asdict(asked), **asdict(usage)} for asked, usage in sorted(status.spend.items(), key=str)
        ],
        "tokens": sum(usage.tokens for usage in status.spend.values()),
        "cost": status.cost,
        "max_cost": status.max_cost,
        "max_tokens": status.max_tokens,
    }


def status_lines(status: Status) -> list[str]:
    """The status as lines to print."""
    ungraded = sum(status.ungraded.values())
    simulated = " (simulated)" if status.simulated else ""
    shard = f", shard {status.shard}" if status.shard else ""
    lines = [
        f"{status.target}{simulated}, judged by {status.judge}{shard}: {_state(status)}",
        f"{status.done:,} of {status.samples:,} samples done, {ungraded:,} ungraded, {status.left:,} left"
        f"{_speed(status)}",
    ]
    if status.elsewhere:
        lines.append(f"{status.elsewhere:,} more samples of the benchmark belong to other shards.")
    if status.labels:
        lines.append("Labels: " + ", ".join(f"{count:,} {label}" for label, count in status.labels.items()))
    if status.ungraded:
        causes = ", ".join(f"{cause} × {count:,}" for cause, count in status.ungraded.items())
        lines.append(f"Ungraded: {causes}. The next run tries these again.")
    lines += [
        f"Failed: {each.role}, {each.cause} × {each.samples:,}; the last: {each.message[:_MESSAGE]}"
        for each in status.failures
    ]
    if status.fresh and status.fresh.limits:
        limits = ", ".join(f"{limit} to {origin}" for origin, limit in status.fresh.limits.items())
        lines.append(f"Calls at once: {limits}; {status.fresh.retries:,} retries")
    lines.append(_spent(status))
    lines.append(f"Last written {_ago(status.silent_seconds)} ago ({status.written})")
    if status.heartbeat and not status.fresh:
        lines.append(
            f"The newest sign of life of process {status.heartbeat.pid} on {status.heartbeat.host} is "
            f"{_ago(status.heartbeat.age)} old, so rate and limits are not known."
        )
    return lines


def _state(status: Status) -> str:
    if status.state is State.RUNNING:
        beat = status.fresh
        if beat is None:
            return "running, or hanging: there is no fresh sign of life"
        process = f"process {beat.pid} on {beat.host}"
        return (
            f"stopping, finishing what is in flight ({process})" if beat.stopping else f"running ({process})"
        )
    said = _STATES[status.state]
    if status.state is State.STOPPED:
        said = f"{status.ending}\n  ({said})" if status.ending else said
    elif status.state is State.COMPLETE and status.ungraded:
        said = "complete, except for what is ungraded"
    return said


def _speed(status: Status) -> str:
    rate = status.fresh.rate if status.fresh else None
    if rate is None:
        return ""
    left = status.seconds_left
    return f"; {rate:.1f} a second" + (f", {_ago(left)} left" if left else "")


def _spent(status: Status) -> str:
    prompt = sum(usage.prompt_tokens for usage in status.spend.values())
    completion = sum(usage.completion_tokens for usage in status.spend.values())
    estimated = sum(usage.estimated for usage in status.spend.values())
    if not status.spend:
        return "Spent: nothing, no paid call was made"
    cost = "cost unknown (give --prices FILE)" if status.cost is None else dollars(status.cost)
    line = f"Spent: {prompt:,} tokens in, {completion:,} out, {cost}"
    if status.max_cost is not None:
        line += f" of {dollars(status.max_cost)} (--max-cost)"
    if status.max_tokens is not None:
        line += f", {prompt + completion:,} tokens of {status.max_tokens:,} (--max-tokens)"
    return line + (f"; {estimated:,} calls by estimate" if estimated else "")


def _ago(seconds: float) -> str:
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole / 3600:.1f} h" if whole < 172_800 else f"{whole / 86_400:.1f} days"
