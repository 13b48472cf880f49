"""Where the command's output goes: figures to stdout, everything else to stderr."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from safemt.cli.errors import with_options

if TYPE_CHECKING:
    from safemt.report.figures import Results

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./:@-]*")


def stdout() -> Console:
    """The console for results. It shows a name such as `a:bug:b` as it is."""
    return Console(emoji=False)


class _Remarks(Console):
    """Names options in place of settings; falls silent when its reader has gone (`2>&1 | tee`, Ctrl-C)."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print as any console does."""
        super().print(*(with_options(each) if isinstance(each, str) else each for each in objects), **how)

    def on_broken_pipe(self) -> None:
        self.quiet = True


def stderr() -> Console:
    """The console for progress and remarks."""
    # No emoji: their table, loaded while the samples are in memory, would lie among them and keep that memory
    # from being given back.
    return _Remarks(stderr=True, emoji=False)


def say(console: Console, line: str) -> None:
    """Print a line as it is, without colours and breaks."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False), flush=True)


def print_yaml(document: dict[str, Any]) -> None:
    """One YAML document on stdout, which safemt reads back as it was."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes all but plain words: YAML 1.2 reads more as numbers (1e3) than PyYAML, which writes 1.1."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = None if _PLAIN.fullmatch(value) else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    print(yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True), end="", flush=True)


def finish_run(folder: Path, *, as_json: bool, results: "Results | None" = None) -> int | None:
    """Write and print the results of the run in `folder`. The exit code is 1 if nothing was graded.

    `results` are those of the run, if they have been computed.
    """
    # Imported late: a run makes its first call sooner without the statistics.
    from safemt.io.files import PUBLIC, write_file
    from safemt.report.document import json_bytes
    from safemt.report.result_tables import print_results
    from safemt.report.results import results_json, results_of

    results = results or results_of(folder)
    document = results_json(results)
    path = write_file(folder / "results.json", json_bytes(document), mode=PUBLIC)
    if as_json:
        print_json(document)
    else:
        print_results(results, stdout())
        say(stdout(), f"Results: {path}")
    return None if results.overall.graded else 1
