"""Joining run directories into one: the same rows as one process would have written, except for times.

Rows are joined by their hashes. If two runs hold different things under one hash, neither is preferred and
the merge is refused. The joined store is written beside its place and moved there when it is whole, so that
a merge that is killed leaves nothing but what the next one clears away.
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
from safemt.core.taxonomy import Label
from safemt.run.database import LOCK_FILE, STORE_FILE, is_in_use
from safemt.run.rows import Invocation
from safemt.run.store import Store

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "identities": ("hash",),
    "samples": ("key",),
    "responses": ("key",),
    "verdicts": ("moderator", "conversation"),
    "answers": ("setup", "sample", "turn"),
    "labels": ("judge", "sample", "response"),
    "failures": ("asked_of", "sample"),
}
"""What a row is known by; tables that others refer to come first."""
_MAY_DIFFER: Final = frozenset({"id", "created", "seconds", "attempts", "verdict", "position"})
"""Times, which are also in a verdict's text; and a sample's place, which is compared separately, since a
sample that is not planned any more has none."""
_SAID: Final[Mapping[str, str]] = {
    "samples": "describe the same samples differently",
    "responses": "hold different responses to the same request",
    "verdicts": "hold different verdicts of one moderator on the same conversation",
    "answers": "hold different answers to the same sample",
    "labels": "hold different labels of one judge for the same response",
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
        RunError: they are not parts of one run, hold different things under one hash, are being worked on, or
            `out` cannot be written or exists already.
    """
    newest = _require_parts_of_one(runs)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError("out_exists", f"{out} exists already. Choose another `out`.", path=out)
    work = out.absolute().parent / f".{out.name}.merging"
    if is_in_use(work):
        raise RunError(
            "merge_in_progress",
            f"Another merge into {out} is in progress. Wait for it, or choose another `out`.",
            path=out,
        )
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
        raise RunError("out_unwritable", f"{out} cannot be written: {error.strerror}.", path=out) from error
    return merged


def _require_parts_of_one(runs: Sequence[Path]) -> list[Invocation]:
    """The newest invocation of each run, once they fit together."""
    if len({run.resolve() for run in runs}) < len(runs):
        raise RunError("named_twice", "A run directory is named twice. Name each once.")
    newest: list[Invocation] = []
    for run in runs:
        if is_in_use(run):
            raise RunError(
                "run_in_use",
                f"{run} is being worked on. Wait for it, or stop it, before it is merged.",
                path=run,
            )
        with Store.open_for_reading(run) as store:
            newest.append(store.invocation())
    first = newest[0]
    for run, other in zip(runs[1:], newest[1:], strict=True):
        ours, theirs = _what_must_agree(first), _what_must_agree(other)
        differing = [name for name in ours if ours[name] != theirs[name]]
        if differing:
            raise RunError(
                "not_one_run",
                f"{runs[0]} and {run} are not parts of one run: they differ in {', '.join(differing)}. "
                "Shards are made by one configuration; only the shard's number and `out` may differ.",
                differing=differing,
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
        "the choice of samples (`selection`, `seed`)": benchmark,
        "the number of shards": {shard.partition("/")[2] for shard in _shards(manifest)},
    }


def _shards(manifest: Mapping[str, Any]) -> list[str]:
    """The shards that a run is or was merged from."""
    return [manifest["shard"]] if "shard" in manifest else manifest.get("merged_shards", [])


def _join(runs: Sequence[Path], path: Path) -> None:
    """Bring the rows of `runs` together in the new store at `path`."""
    connection = sqlite3.connect(path.absolute().as_uri(), uri=True, isolation_level=None)
    try:
        connection.execute(
            """CREATE TEMP TABLE numbers (name TEXT, part INTEGER, main INTEGER, PRIMARY KEY (name, part))
            WITHOUT ROWID"""
        )
        for number, run in enumerate(runs):
            connection.execute("ATTACH ? AS part", (f"{(run / STORE_FILE).resolve().as_uri()}?mode=ro",))
            connection.execute("BEGIN IMMEDIATE")
            _add(connection, run, runs[:number])
            connection.execute("COMMIT")
            connection.execute("DETACH part")
        # As in a run: a success deletes the failure before it.
        connection.execute(
            """DELETE FROM failures WHERE
            EXISTS (SELECT 1 FROM answers a WHERE a.setup = asked_of AND a.sample = failures.sample AND last)
            OR EXISTS (SELECT 1 FROM labels l WHERE l.judge = asked_of AND l.sample = failures.sample)"""
        )
    except sqlite3.Error as error:
        raise RunError(
            "merge_failed",
            f"The runs cannot be merged: {error}. Check the disk and its permissions.",
            path=path,
        ) from error
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
    connection.execute("DELETE FROM numbers")
    for table, key in _KEYS.items():
        columns = _view_part(connection, table)
        same = " AND ".join(f"p.{name} = m.{name}" for name in key)
        if table == "labels":
            # An ungraded label is no finding: whatever another run has in its place is as good or better.
            connection.execute(
                f"""DELETE FROM main.labels AS m WHERE label = 'ungraded'
                AND EXISTS (SELECT 1 FROM came p WHERE {same})"""
            )
        if table in _SAID:
            apart = " OR ".join(f"p.{name} IS NOT m.{name}" for name in columns if name not in _MAY_DIFFER)
            counts = "p.label != 'ungraded'" if table == "labels" else "1"
            query = f"SELECT count(*) FROM came p JOIN main.{table} m ON {same} WHERE ({apart}) AND {counts}"
            [(conflicts,)] = connection.execute(query)
            if conflicts:
                raise _conflict(run, earlier, _SAID[table], conflicts)
        listed = ", ".join(columns)
        connection.execute(f"INSERT OR IGNORE INTO main.{table} ({listed}) SELECT {listed} FROM came")
        if table in ("identities", "samples", "responses", "verdicts"):
            connection.execute(
                f"INSERT INTO numbers SELECT '{table}', p.id, m.id FROM came p JOIN main.{table} m ON {same}"
            )
    connection.execute(
        """UPDATE main.samples SET position = p.position FROM part.samples p
        WHERE p.key = main.samples.key AND main.samples.position IS NULL"""
    )
    listed = ", ".join(_view_part(connection, "invocations"))
    connection.execute(f"INSERT INTO main.invocations ({listed}) SELECT {listed} FROM came ORDER BY came.id")


def _view_part(connection: sqlite3.Connection, table: str) -> list[str]:
    """Show a table of the attached store as `came`, its references as numbers of the joined store.

    Gives its columns, without the row's own number.
    """
    refers = {column: to for _, _, to, column, *_ in connection.execute(f"PRAGMA foreign_key_list({table})")}
    columns = [name for _, name, *_ in connection.execute(f"PRAGMA main.table_info({table})")]
    shown = [
        f"(SELECT main FROM temp.numbers n WHERE n.name = '{refers[name]}' AND n.part = t.{name}) AS {name}"
        if name in refers
        else f"t.{name}"
        for name in columns
    ]
    connection.execute("DROP VIEW IF EXISTS temp.came")
    connection.execute(f"CREATE TEMP VIEW came AS SELECT {', '.join(shown)} FROM part.{table} t")
    return [name for name in columns if name != "id"]


def _conflict(run: Path, earlier: Sequence[Path], what: str, count: int) -> RunError:
    others = " or ".join(str(each) for each in earlier)
    return RunError(
        "runs_conflict",
        f"{run} and {others} {what} ({count:,} times), so they cannot be merged. Neither is preferred: "
        "leave one of them out.",
        count=count,
    )


def _finish(runs: Sequence[Path], newest: Sequence[Invocation], work: Path, command: Sequence[str]) -> Merged:
    """Record the merge as an invocation of the joined store, and what was spent; say what there is."""
    first = newest[0]
    benchmark = first.manifest["benchmark"]
    shards = sorted({shard for each in newest for shard in _shards(each.manifest)})
    with Store.open_for_run(work) as store:
        plan = store.plan()
        missing: list[str] = []
        if content_key(sorted(sample.id for _, sample in plan)) != benchmark["selection"] and shards:
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
        store.begin(setup=first.setup, judge=first.judge, manifest=manifest, plan=plan)
        for run in runs:
            with Store.open_for_reading(run) as part:
                for asked, usage in part.spend().items():
                    store.add_spend(asked, usage)
        scored = store.scored_samples(setup=first.setup, judge=first.judge)
        unfinished = sum(sample.label in (None, Label.UNGRADED) for sample in scored)
        store.end(f"stopped: shards are missing ({', '.join(missing)})" if missing else "complete")
    return Merged(samples=len(plan), planned=benchmark["samples"], unfinished=unfinished, missing=missing)
