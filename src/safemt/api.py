"""What `import safemt` offers beside the moderator: evaluate, load, compare, check a judge, build.

Each function does what the command of its name does, returns typed results, and prints nothing but progress.
"""

import asyncio
import io
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safemt.core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from safemt.report.charts import Chart
    from safemt.report.compare import Compared
    from safemt.report.export import Sheet
    from safemt.report.figures import Results
    from safemt.run.judge_check import JudgeCheck
    from safemt.stats.agreement import Agreement

T = TypeVar("T")
Setting = str | dict[str, Any]
"""A model by its name, or with its settings as in a configuration file."""


@dataclass(frozen=True)
class Run:
    """A run directory. It shows its results in a notebook."""

    path: Path

    @cached_property
    def results(self) -> "Results":
        """Every figure with its interval, as they were when first asked for; `load` again for newer ones."""
        from safemt.report.results import results_of

        return results_of(self.path)

    def samples(self, *, text: bool = True) -> Any:
        """One row per sample; `text=False` leaves out questions and responses.

        A pandas DataFrame if pandas is installed, else an Arrow table. Columns: docs/file-formats.md.

        Raises:
            UsageError: neither pandas nor pyarrow is installed.
        """
        from safemt.report.export import sample_sheet

        return _frame(sample_sheet(self.path, text=text))

    def figures(self) -> Any:
        """One row per figure, as a DataFrame or an Arrow table like `samples`."""
        from safemt.report.export import figure_sheet

        return _frame(figure_sheet(self.path))

    def plot(self, name: str = "asr") -> "Chart":
        """A chart of the report. It shows itself in a notebook; `standalone()` is the text of an SVG file.

        Raises:
            UsageError: there is no such chart, or the run lacks the data for it.
        """
        from safemt.report.plots import PLOTS
        from safemt.report.runs import open_runs

        if name not in PLOTS:
            raise UsageError(
                "unknown_plot", f"There is no chart {name!r}. Choose one of: {', '.join(PLOTS)}.", name=name
            )
        with open_runs([self.path]) as runs:
            chart = PLOTS[name](runs)
        if chart is None:
            raise UsageError(
                "nothing_to_plot", f"{self.path} lacks the data for the chart {name!r}.", name=name
            )
        return chart

    def report(self, path: str | Path, *, redact: bool = False) -> Path:
        """Write the report; the ending of `path` chooses .html, .md, .csv or .parquet."""
        from safemt.report.export import write_report

        [written] = write_report([self.path], [Path(path)], redact=redact)
        return written

    def __str__(self) -> str:
        from safemt.report.result_tables import summary

        return f"{self.results.target}: {' '.join(summary(self.results))}"

    def _repr_html_(self) -> str:
        from safemt.report.result_tables import turn_table
        from safemt.report.runs import open_runs

        with open_runs([self.path]) as runs:
            return f"{turn_table(runs).__html__()}{self.plot('asr').standalone()}"


@dataclass(frozen=True)
class CheckedJudge:
    """A judge's labels beside people's, as `judge_check` found them."""

    check: "JudgeCheck"

    @property
    def agreement(self) -> "Agreement":
        """Accuracy, sensitivity, specificity, κ and the rest, each with its interval."""
        from safemt.stats.agreement import agreement

        return agreement(self.check.validation.confusion)

    def __str__(self) -> str:
        from rich.console import Console

        from safemt.report.judge_check import print_judge_check

        page = io.StringIO()
        print_judge_check(self.check, Console(file=page, width=100, emoji=False), show_text=False)
        return page.getvalue().strip()


def evaluate(
    benchmark: str | Path,
    *,
    target: Setting,
    judge: Setting | None = None,
    moderator: Setting | None = None,
    out: str | Path,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Evaluate a model on a benchmark, or continue an interrupted run.

    Works inside a running event loop, as in a notebook. An interrupt lets the calls in flight finish, stores
    them and raises RunStopped; the same call continues.

    Args:
        benchmark: A folder, a file, `demo`, or `hub:OWNER/NAME[@REVISION]`.
        target: The model under test: `openai/MODEL`, or a dictionary of its settings.
        judge: What labels the responses. A simulated target needs none.
        moderator: What guards the target, if anything.
        out: The run directory.
        quiet: Whether no progress is shown.
        settings: Other sections of the configuration: `selection`, `limits`, `budget`, `history`, `seed`.

    Raises:
        UsageError, DataError: a setting does not fit.
        BenchmarkError, LabelsError, ModeratorError: an input cannot be used.
        RunStopped: the run stopped before its end.
        RunError: the run directory cannot be used.
    """
    from safemt.run.config import config_from
    from safemt.run.plan import plan_run
    from safemt.run.start import start_run

    given = {
        "benchmark": str(benchmark),
        "target": target,
        "judge": judge,
        "moderator": moderator,
        **settings,
    }
    config = config_from({name: value for name, value in given.items() if value is not None})
    folder = Path(out)
    _outside_the_loop(lambda: start_run(plan_run(config), folder, console=_progress(quiet=quiet)))
    return Run(folder)


async def aevaluate(benchmark: str | Path, **arguments: Any) -> Run:
    """`evaluate` for asynchronous code. Other tasks of the event loop go on meanwhile."""
    return await asyncio.to_thread(evaluate, benchmark, **arguments)


def load(path: str | Path) -> Run:
    """Load a run that exists. No call is made.

    Raises:
        RunError: the folder is not a run directory, or its store is damaged or of another version.
    """
    from safemt.run.store import Store

    folder = Path(path)
    with Store.open_for_reading(folder) as store:
        store.invocation()
    return Run(folder)


def compare(first: Run | str | Path, *others: Run | str | Path, force: bool = False) -> "Compared":
    """Compare runs with the first on the samples that they share.

    Raises:
        UsageError: there are fewer than two runs; or benchmarks or judges differ, and `force` is False.
        RunError: a run cannot be read.
    """
    from safemt.report.compare import compare_runs

    runs = [each if isinstance(each, Run) else load(each) for each in (first, *others)]
    return compare_runs([(str(run.path), run.results) for run in runs], force=force)


def judge_check(labels: str | Path, *, judge: Setting, quiet: bool = False, **settings: Any) -> CheckedJudge:
    """Compare a judge with labels by people. The result is kept, and corrects later figures of that judge.

    Args:
        labels: The file of labelled responses.
        judge: The judge: a name, or a dictionary of its settings.
        quiet: Whether no progress is shown.
        settings: Other sections: `selection` (`language`, `limit`), `limits`, `budget`, `seed`.

    Raises:
        UsageError, DataError: a setting does not fit.
        LabelsError, RunError: the labels cannot be read, or the result cannot be kept.
        RunStopped: it stopped before its end; the same call continues.
    """
    from safemt.io.yaml import typed
    from safemt.run.config import JudgeCheckConfig
    from safemt.run.judge_check import check_judge

    data = {"judge": {"name": judge} if isinstance(judge, str) else judge, **settings}
    config = typed(data, JudgeCheckConfig, where="the configuration")
    return CheckedJudge(
        _outside_the_loop(lambda: check_judge(Path(labels), config, console=_progress(quiet=quiet)))
    )


def _outside_the_loop(work: Callable[[], T]) -> T:
    """Do `work`, which runs an event loop of its own; in another thread if this one runs a loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    found: list[T] = []
    problems: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 (raised again below, where the caller is)
            problems.append(error)

    thread = threading.Thread(target=run, name="safemt")
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return found[0]


def _progress(*, quiet: bool) -> "Console":
    from rich.console import Console

    return Console(file=sys.stderr, quiet=quiet, emoji=False)


def _frame(sheet: "Sheet") -> Any:
    try:
        import pandas as pd
    except ImportError:
        from safemt.report.export import as_arrow

        return as_arrow(sheet, purpose="A table needs pandas, or")
    return pd.DataFrame(list(sheet.rows), columns=list(sheet.types))
