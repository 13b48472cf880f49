"""`safemt judge`: judge the responses of a run again."""

import sys
from pathlib import Path

from safemt.cli.command import Argument, command, paths_of
from safemt.cli.options import option
from safemt.run.config import JudgingConfig


@command(
    option("judge.name", required=True),
    *(path for path in paths_of(JudgingConfig) if path != "judge.name"),
    "as_json",
    config=JudgingConfig,
    arguments=[Argument("run", "A run directory.")],
    examples=(
        "safemt judge runs/first --judge openai/JUDGE",
        "safemt judge runs/first --judge panel:openai/A,openai/B,openai/C",
    ),
)
def judge(config: JudgingConfig, run: Path, *, as_json: bool) -> int | None:
    """The labels of both judges are kept, and their agreement is reported."""
    from safemt.cli.printing import finish_run, stderr
    from safemt.run.judge_again import judge_again

    judge_again(run, config, console=stderr(), command=["safemt", *sys.argv[1:]])
    return finish_run(run, as_json=as_json)
