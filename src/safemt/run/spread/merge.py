"""Joining run directories into one: the same rows as one process would have written, except for times.

Rows are joined by their keys. Where two runs hold different things under one key, none is preferred: that is
refused. The joined store is written beside its place and moved there when it is whole, so that a merge that
is killed leaves nothing but what the next one clears away.
"""

import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from safemt.core.errors import RunError
from safemt.core.identity import content_key
from safemt.run.store import LOCK_FILE, STORE_FILE, Invocation, Store, is_in_use

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "samples": ("key",),
    "responses": ("key",),
    "answers": ("setup", "sample"),
    "labels": ("judge", "sample", "response"),
    "failures": ("asked_of", "sample"),
    "verdicts": ("moderator", "conversation"),
    "moderated": ("setup", "sample", "turn"),
}
_MAY_DIFFER: Final = frozenset({"created", "seconds", "attempts", "verdict", "position"})
"""Times, which also stand in a verdict's text; and a sample's place, which is looked at apart: a sample that
is not planned any more has none."""
_SAID: Final[Mapping[str, str]] = {
    "samples": "describe the same samples differently",
    "responses": "hold different responses to the same request",
    "answers": "hold different answers to the same sample",
    "labels": "hold different labels of one judge for the same response",
    "verdicts": "hold different verdicts of one moderator on the same conversation",
    "moderated": "answered the same sample under different verdicts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What a merge brought together."""

    samples: int
    """In the joined plan."""
    planned: int
    """In the plan of the whole run."""
    unfinished: int
    """Samples of the joined plan that lack a response or a label."""
    missing: Sequence[str]
    """Shards (`N/M`) that were not given and whose samples are missing."""


def merge_runs(runs: Sequence[Path], out: Path, *, command: Sequence[str]) -> Merged:
    """Join the run directories `runs` into the new run directory `out`.

    Raises:
        RunError: they are not parts of one run, hold different things under one key, are being worked on, or
            `out` cannot be written or is there already.
    """
    newest = _require_parts_of_one(runs)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} exists already. Give another --out for the merged run.")
    work = out.absolute().parent / f".{out.name}.merging"
    if is_in_use(work):
        raise RunError(f"Another merge into {out} is going on. Wait for it, or give another --out.")
    shutil.rmtree(work, ignore_errors=True)
    Store.open_for_run(work).close()
    _join(runs, work / STORE_FILE)
    merged = _finish(runs, newest, work, command)
    try:
        (work / LOCK_FILE).unlink(missing_ok=True)
        if out.exists():
            out.rmdir()
        work.replace(out)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}.") from error
    return merged


def _require_parts_of_one(runs: Sequence[Path]) -> list[Invocation]:
    """The newest invocation of each run, once they fit together."""
    if len({run.resolve() for run in runs}) < len(runs):
        raise RunError("A run directory is named twice; name each once.")
    newest: list[Invocation] = []
    for run in runs:
        if is_in_use(run):
            raise RunError(f"{run} is being worked on. Wait for it, or stop it, before it is merged.")
        store = Store.open_for_reading(run)
        newest.append(store.invocation())
        store.close()
    first = newest[0]
    for run, other in zip(runs[1:], newest[1:], strict=True):
        differing = [
            name for name, ours in _what_must_agree(first).items() if ours != _what_must_agree(other)[name]
        ]
        if differing:
            raise RunError(
                f"{runs[0]} and {run} are not parts of one run: they differ in {', '.join(differing)}. "
                "Shards are made with the same command but for N of --shards N/M and --out."
            )
    return newest


def _what_must_agree(invocation: Invocation) -> dict[str, object]:
    manifest = invocation.manifest
    benchmark = {
        key: value for key, value in manifest["benchmark"].items() if key not in ("path", "boundary")
    }
    return {
        "target": manifest["target"]["name"],
        "the target's parameters or the history": invocation.setup,
        "judge": manifest["judge"]["name"],
        "the judge's configuration": invocation.judge,
        "benchmark": (benchmark.pop("name"), benchmark.pop("sha256")),
        "the choice of samples (--turns, --limit, --seed, --text-only)": benchmark,
        "the number of shards": {shard.partition("/")[2] for shard in _shards(manifest)},
    }


def _shards(manifest: Mapping[str, Any]) -> list[str]:
    """The shards that a run is or was merged from."""
    return [manifest["shard"]] if "shard" in manifest else manifest.get("merged_shards", [])


def _join(runs: Sequence[Path], path: Path) -> None:
    """Bring the rows of `runs` together in the new store at `path`."""
    connection = sqlite3.connect(path.absolute().as_uri(), uri=True, isolation_level=None)
    try:
        for number, run in enumerate(runs):
            connection.execute("ATTACH ? AS part", (f"{(run / STORE_FILE).resolve().as_uri()}?mode=ro",))
            connection.execute("BEGIN IMMEDIATE")
            _add(connection, run, runs[:number])
            connection.execute("COMMIT")
            connection.execute("DETACH part")
        # As a run has it: a success deletes the failure before it.
        connection.execute(
            """DELETE FROM failures WHERE
            EXISTS (SELECT 1 FROM answers a WHERE a.setup = asked_of AND a.sample = failures.sample) OR
            EXISTS (SELECT 1 FROM labels l WHERE l.judge = asked_of AND l.sample = failures.sample)"""
        )
    except sqlite3.Error as error:
        raise RunError(f"The runs cannot be merged: {error}. Check the disk and its permissions.") from error
    finally:
        connection.close()


def _add(connection: sqlite3.Connection, run: Path, earlier: Sequence[Path]) -> None:
    """Add the rows of the attached store of `run`."""
    [(displaced,)] = connection.execute(
        """SELECT count(*) FROM part.samples p JOIN main.samples m
        ON (p.key = m.key AND p.position != m.position) OR (p.position = m.position AND p.key != m.key)"""
    )
    if displaced:
        raise _conflict(run, earlier, "place the samples differently", displaced)
    # An ungraded label is no finding: whatever another run has in its place is as good or better.
    connection.execute(
        """DELETE FROM main.labels WHERE label = 'ungraded' AND EXISTS (SELECT 1 FROM part.labels p
        WHERE (p.judge, p.sample, p.response) = (labels.judge, labels.sample, labels.response))"""
    )
    present = {name for (name,) in connection.execute("SELECT name FROM part.sqlite_master")}
    for table, key in _KEYS.items():
        if table not in present:  # a store from before there was such a table
            continue
        columns = [name for _, name, *_ in connection.execute(f"PRAGMA main.table_info({table})")]
        same = " AND ".join(f"p.{name} = m.{name}" for name in key)
        if table in _SAID:
            apart = " OR ".join(f"p.{name} IS NOT m.{name}" for name in columns if name not in _MAY_DIFFER)
            counts = "p.label != 'ungraded'" if table == "labels" else "1"
            [(conflicts,)] = connection.execute(  # the parts are names of our own tables and columns
                f"SELECT count(*) FROM part.{table} p JOIN main.{table} m ON {same} "  # noqa: S608
                f"WHERE ({apart}) AND {counts}"
            )
            if conflicts:
                raise _conflict(run, earlier, _SAID[table], conflicts)
        listed = ", ".join(columns)
        connection.execute(
            f"INSERT OR IGNORE INTO main.{table} ({listed}) SELECT {listed} FROM part.{table}"  # noqa: S608
        )
    connection.execute(
        """UPDATE main.samples SET position = p.position FROM part.samples p
        WHERE p.key = main.samples.key AND main.samples.position IS NULL"""
    )
    connection.execute(
        """INSERT INTO main.invocations (started, ended, ending, setup, judge, manifest)
        SELECT started, ended, ending, setup, judge, manifest FROM part.invocations ORDER BY id"""
    )


def _conflict(run: Path, earlier: Sequence[Path], what: str, count: int) -> RunError:
    others = " or ".join(str(each) for each in earlier)
    return RunError(
        f"{run} and {others} {what} ({count:,} times), so that they cannot be merged. None is preferred: "
        "leave one of them out."
    )


def _finish(runs: Sequence[Path], newest: Sequence[Invocation], work: Path, command: Sequence[str]) -> Merged:
    """Record the merge as an invocation of the joined store, and what was spent; say what there is."""
    first = newest[0]
    benchmark = first.manifest["benchmark"]
    shards = sorted({shard for each in newest for shard in _shards(each.manifest)})
    store = Store.open_for_run(work)
    try:
        samples = store.plan()
        ids = sorted(sample.id for sample in samples)
        missing: list[str] = []
        if content_key(ids) != benchmark["selection"] and shards:
            of = int(shards[0].partition("/")[2])
            missing = [name for number in range(of) if (name := f"{number + 1}/{of}") not in shards]
        manifest = {key: value for key, value in first.manifest.items() if key != "shard"}
        manifest |= {
            "command": list(command),
            "safemt": version("safemt"),
            "merged": [str(run) for run in runs],
        }
        if shards:
            manifest["merged_shards"] = shards
        store.begin(
            setup=first.setup,
            judge=first.judge,
            manifest=manifest,
            samples=samples,
            positions=store.positions(),
        )
        for run in runs:
            part = Store.open_for_reading(run)
            for asked, usage in part.spend().items():
                store.add_spend(asked, usage)
            part.close()
        unfinished = store.count_open(setup=first.setup, judge=first.judge)
        store.end(f"stopped: shards are missing ({', '.join(missing)})" if missing else "complete")
    finally:
        store.close()
    return Merged(samples=len(samples), planned=benchmark["samples"], unfinished=unfinished, missing=missing)
