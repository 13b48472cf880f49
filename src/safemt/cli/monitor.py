"""`safemt monitor`: a deployment over time, from its audit logs."""

from pathlib import Path

from safemt.cli.command import Argument, command
from safemt.cli.options import Setting, option


@command(
    Setting("window", "Length of a window of time: 15m, 6h, 1d, 2w.", str, "1d", metavar="TIME"),
    Setting(
        "reference",
        "Length of the stretch at the beginning that the rest is compared with. Default: a third of it all.",
        str,
        metavar="TIME",
    ),
    option("out", "Write the page here.", short="-o"),
    "as_json",
    arguments=[Argument("audit", "Audit logs that `safemt serve` wrote.", nargs=-1)],
    examples=(
        "safemt monitor audit.jsonl --out monitor.html",
        "safemt monitor audit.jsonl* --window 6h --reference 7d --json",
    ),
)
def monitor(
    audit: tuple[Path, ...], *, window: str, reference: str | None, out: Path | None, as_json: bool
) -> int | None:
    """Shows alerts, risk, coverage, degraded verdicts and latency by window of time, and drift.

    The exit code is 1 if there is drift against the reference, so that a scheduled job can raise an alarm.
    """
    from safemt.cli.printing import print_json, say, stdout
    from safemt.io.files import PUBLIC, write_file
    from safemt.report.table import print_table
    from safemt.serve.audit import read_audit
    from safemt.serve.monitor import duration_of, monitored_json
    from safemt.serve.monitor import monitor as monitor_records
    from safemt.serve.monitor_page import drift_sentences, monitor_page, monitor_tables

    records = [record for path in audit for record in read_audit(path)]
    length = duration_of(window)
    found = monitor_records(
        records, window=length, reference=None if reference is None else duration_of(reference)
    )
    if out is not None:
        write_file(out, monitor_page(found).encode(), mode=PUBLIC)
    if as_json:
        print_json(monitored_json(found))
    else:
        for table in monitor_tables(found):
            print_table(table, stdout())
        for sentence in drift_sentences(found.drifts):
            say(stdout(), sentence)
    return 1 if found.drifts else None
