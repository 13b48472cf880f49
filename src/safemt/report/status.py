"""How far a run is: as a document, and in lines for people."""

from dataclasses import asdict
from typing import Any, Final

from safemt.endpoints.spend import dollars
from safemt.report.document import document
from safemt.report.protection import Causes
from safemt.report.text import count, counted, date, duration
from safemt.run.watch.status import State, Status

_MESSAGE: Final = 160
"""Letters of a failure's message that are shown."""


def status_json(status: Status) -> dict[str, Any]:
    """The status as a document, described in docs/file-formats.md."""
    beat, fresh = status.heartbeat, status.fresh
    spend = sorted(status.spend.items(), key=str)
    found: dict[str, Any] = document(status)
    written = found.pop("written")
    return {
        **found,
        "last_written": written,
        "left": status.left,
        "ungraded": document(Causes(causes=status.ungraded)),
        "rate": fresh.rate if fresh else None,
        "seconds_left": status.seconds_left,
        "limits": dict(fresh.limits) if fresh else None,
        "retries": fresh.retries if fresh else None,
        "heartbeat": None if beat is None else {**asdict(beat), "stale": fresh is None},
        "spend": [{**asdict(asked), **asdict(usage)} for asked, usage in spend],
        "tokens": sum(usage.tokens for usage in status.spend.values()),
    }


def status_lines(status: Status) -> list[str]:
    """The status as lines to print."""
    simulated = " (simulated)" if status.simulated else ""
    shard = f", shard {status.shard}" if status.shard else ""
    lines = [
        f"{status.target}{simulated}, judged by {status.judge}{shard}: {_state(status)}",
        f"{status.done:,} of {count(status.samples, 'sample')} done, {sum(status.ungraded.values()):,} "
        f"ungraded, {status.left:,} left{_speed(status)}",
    ]
    if status.elsewhere:
        lines.append(f"{count(status.elsewhere, 'more sample')} of the benchmark belong to other shards.")
    if status.labels:
        lines.append(f"Labels: {counted(status.labels)}")
    if status.ungraded:
        lines.append(f"Ungraded: {counted(status.ungraded)}. The next run tries these again.")
    lines += [
        f"Failed: {each.role}, {each.cause} × {each.samples:,}. The last: {each.message[:_MESSAGE]}"
        for each in status.failures
    ]
    if status.fresh and status.fresh.limits:
        limits = ", ".join(f"{limit} to {origin}" for origin, limit in status.fresh.limits.items())
        lines.append(f"Calls at once: {limits}; {count(status.fresh.retries, 'retry', 'retries')}")
    lines.append(_spent(status))
    lines.append(f"Last written {duration(status.silent_seconds)} ago ({date(status.written)})")
    if (beat := status.heartbeat) and not status.fresh:
        lines.append(
            f"Process {beat.pid} on {beat.host} last gave a sign of life {duration(beat.age)} ago, so rate "
            "and limits are not known."
        )
    return lines


def _state(status: Status) -> str:
    again = "the same command continues"
    if status.state is State.RUNNING:
        if (beat := status.fresh) is None:
            return "running or hanging: it gives no fresh sign of life"
        process = f"process {beat.pid} on {beat.host}"
        return (
            f"stopping: it finishes calls in flight ({process})" if beat.stopping else f"running ({process})"
        )
    if status.state is State.STOPPED:
        return f"{status.ending}\n  (stopped; {again})" if status.ending else f"stopped; {again}"
    if status.state is State.KILLED:
        return f"not running: the process was killed or the machine went down; {again}"
    return "complete, except for ungraded samples" if status.ungraded else "complete"


def _speed(status: Status) -> str:
    rate = status.fresh.rate if status.fresh else None
    if rate is None:
        return ""
    left = status.seconds_left
    return f"; {rate:.1f} per second" + (f", {duration(left)} left" if left else "")


def _spent(status: Status) -> str:
    if not status.spend:
        return "Spent: nothing, no paid call was made"
    used = status.spend.values()
    prompt, completion = (sum(getattr(u, f"{way}_tokens") for u in used) for way in ("prompt", "completion"))
    estimated = sum(usage.estimated for usage in used)
    cost = "cost unknown (a price is missing)" if status.cost is None else dollars(status.cost)
    line = f"Spent: {prompt:,} tokens in, {completion:,} out, {cost}"
    if status.max_cost is not None:
        line += f"; the cap is {dollars(status.max_cost)}"
    if status.max_tokens is not None:
        line += f"; {prompt + completion:,} tokens of a cap of {status.max_tokens:,}"
    return line + (f"; {count(estimated, 'call')} counted by estimate" if estimated else "")
