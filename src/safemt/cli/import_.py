"""`safemt import`: take a published set of dialogues as a benchmark."""

from pathlib import Path
from typing import Final

import click

from safemt.cli.command import Argument, command
from safemt.cli.options import option

_SETS: Final = ("cosafe", "red-queen", "safedialbench", "mtmcs", "mhj", "actorattack")


@command(
    option("out", "Folder for the benchmark. It must not exist yet.", required=True),
    arguments=[
        Argument("name", "The set: " + ", ".join(_SETS) + ".", type=click.Choice(_SETS)),
        Argument("path", "Its file or folder.", type=click.Path(path_type=Path)),
    ],
    examples=("safemt import cosafe CoSafe-Dataset --out cosafe",),
)  # fmt: skip
def import_(name: str, path: Path, *, out: Path) -> None:
    """Takes scenarios from the set's categories, else from a classifier.

    Run a set without pictures with --text-only.
    """
    from safemt.build.importing.importer import import_set
    from safemt.build.importing.layouts import DialogueSet
    from safemt.cli.printing import say, stdout

    summary = import_set(DialogueSet(name), path, out)
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
        say(stdout(), line)
