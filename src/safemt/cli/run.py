"""`safemt run`: evaluate a model on a benchmark."""

import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import click

from safemt.cli.command import command, paths_of
from safemt.core.errors import UsageError
from safemt.run.config import RunConfig


@command(
    "config", "print_config", *paths_of(RunConfig), "shard", "executor", "ray.address", "ray.workers", "out",
    "log_json", "as_json",
    config=RunConfig,
    examples=(
        "safemt run --benchmark demo --target openai/MODEL --judge openai/JUDGE --out runs/first",
        "safemt run --config run.yaml --moderator embedded --out runs/moderated",
    ),
)  # fmt: skip
def run(
    config: RunConfig,
    *,
    print_config: bool,
    shard: str | None,
    executor: Literal["local", "ray"],
    ray_address: str,
    ray_workers: int | None,
    out: Path | None,
    log_json: Path | None,
    as_json: bool,
) -> int | None:
    """Asks the target every selected dialogue, judges the last response, and prints the figures.

    The same command continues an interrupted run. A finished run makes no call.
    """
    from safemt.cli.printing import finish_run, print_yaml, stderr
    from safemt.run.config import config_data
    from safemt.run.plan import plan_run
    from safemt.run.spread.shards import read_shard
    from safemt.run.start import announce, start_run
    from safemt.run.watch.events import EventLog

    if print_config:
        print_yaml(config_data(config))
        return None
    if out is None:
        raise click.UsageError("Missing option '--out'.")
    on_ray = executor == "ray"
    if on_ray and shard is not None:
        raise UsageError("settings_conflict", "`executor` ray splits the run itself. Leave out `shard`.")
    if on_ray and config.moderator is not None:
        raise UsageError(
            "no_moderator_on_ray",
            "`executor` ray does not support a moderator yet. Use `shard` on several machines instead.",
        )
    part = read_shard(shard) if shard else None
    console = stderr()
    # On a cluster the workers make the calls, so only their environments need the keys.
    plan = plan_run(config, shard=part, command=["safemt", *sys.argv[1:]], keyless=on_ray)
    announce(plan, out, console=console)
    with ExitStack() as stack:
        events = stack.enter_context(closing(EventLog(log_json, complain=console.print)))
        on_cluster = None
        if on_ray:
            from safemt.run.spread.ray_executor import ray_cluster

            on_cluster = stack.enter_context(ray_cluster(ray_address, ray_workers)).executor()
        start_run(replace(plan, events=events), out, console=console, executor=on_cluster)
    return finish_run(out, as_json=as_json)
