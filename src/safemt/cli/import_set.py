"""`safemt import`: take a published set of dialogues as a benchmark."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from safemt.cli import app


class SetOption(StrEnum):
    """Sets that can be imported."""

    COSAFE = "cosafe"
    RED_QUEEN = "red-queen"
    SAFEDIALBENCH = "safedialbench"
    MTMCS = "mtmcs"
    MHJ = "mhj"
    ACTORATTACK = "actorattack"


@app.command("import")
def import_set(
    name: Annotated[SetOption, typer.Argument(help="The set.")],
    path: Annotated[Path, typer.Argument(help="Its file or folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the benchmark. It must not exist yet.")],
) -> None:
    """Import a published set of multi-turn dialogues as a benchmark.

    Scenarios come from the set's categories, else from a classifier. Run sets without pictures with
    --text-only.
    """
    from safemt.build.importing.importer import import_set as import_dialogues
    from safemt.build.importing.layouts import DialogueSet
    from safemt.cli.printing import stdout

    summary = import_dialogues(DialogueSet(name), path, out)
    rounds = ", ".join(f"{count:,} at {turns}" for turns, count in summary.by_turns.items())
    left = ", ".join(f"{reason} {count:,}" for reason, count in summary.left_out.items())
    lines = [
        f"{summary.samples:,} samples ({rounds} turns) → {out}",
        "scenarios: " + ", ".join(f"{scenario} {count:,}" for scenario, count in summary.by_scenario.items()),
        "assigned by: " + ", ".join(f"{by} {count:,}" for by, count in summary.scenario_by.items()),
        f"left out: {left or 'nothing'}",
    ]
    if summary.unrecorded:
        lines.append(f"{summary.unrecorded:,} samples lack assistant turns; run them with --history live")
    for line in lines:
        stdout().print(line, highlight=False, markup=False, soft_wrap=True)
