"""`safemt judge-check`: measure a judge against people."""

import sys
from pathlib import Path

from safemt.cli.command import Argument, command, paths_of
from safemt.cli.options import Setting, option
from safemt.run.config import JudgeCheckConfig

_HELP = {
    "selection.limit": "Use at most this many rows, with the labels in proportion.",
    "seed": "Random seed for the choice of rows.",
}


@command(
    option("judge.name", required=True),
    *(
        option(path, _HELP.get(path, ""))
        for path in paths_of(JudgeCheckConfig)
        if path not in ("judge.name", "judge.with_image")
    ),
    Setting("selection.language", "Use only rows in this language, such as en."),
    Setting("show_text", "Show the texts of disagreements. They may be harmful.", bool),
    "as_json",
    config=JudgeCheckConfig,
    arguments=[
        Argument("labels", "JSONL (or .gz) of `turns` or `prompt`, `response`, and a `label` by people.")
    ],
    examples=(
        "safemt judge-check judged.jsonl --judge refusal",
        "safemt judge-check judged.jsonl --judge openai/JUDGE --limit 200 --show-text",
    ),
)  # fmt: skip
def judge_check(config: JudgeCheckConfig, labels: Path, *, show_text: bool, as_json: bool) -> None:
    """The result is kept for this exact judge, and corrects its figures in score and report."""
    from safemt.cli.printing import print_json, stderr, stdout
    from safemt.report.judge_check import judge_check_json, print_judge_check
    from safemt.run.judge_check import check_judge

    result = check_judge(labels, config, console=stderr(), command=["safemt", *sys.argv[1:]])
    if as_json:
        print_json(judge_check_json(result))
    else:
        print_judge_check(result, stdout(), show_text=show_text)
