import csv
import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from browser.runs import ROUNDS, Answer, make_run, samples
from safemt.cli import app
from safemt.core.errors import FileError, UsageError
from safemt.core.taxonomy import Label
from safemt.report.compare import compare_json, compare_runs
from safemt.report.export import csv_table, figure_rows, write_report
from safemt.report.page.build import compare_if_fair, load_runs
from safemt.report.results import results_json, results_of


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        make_run(tmp_path / "a", samples(20), target="openai/first"),
        make_run(tmp_path / "b", samples(20), lambda _: Answer(label=Label.UNSAFE), target="openai/second"),
    ]


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_csv_holds_the_figures_of_the_results_document(tmp_path: Path, runs: list[Path]) -> None:
    write_report(runs, [tmp_path / "figures.csv"])

    rows = read_csv(tmp_path / "figures.csv")
    at = {(r["run"], r["figure"], r["group"], r["name"], r["turns"]): r for r in rows}
    assert len(at) == len(rows)
    for folder, name in zip(runs, ("openai/first", "openai/second"), strict=True):
        document = results_json(results_of(folder))
        for k in map(str, ROUNDS):
            row, entry = at[name, "asr", "", "", k], document["turns"][k]
            assert [float(row[c]) for c in ("value", "low", "high")] == [entry["asr"], *entry["interval"]]
            assert [int(row[c]) for c in ("unsafe", "safe", "ungraded")] == [
                entry[c] for c in ("unsafe", "safe", "ungraded")
            ]
            assert float(row["if_ungraded_unsafe"]) == entry["if_ungraded"]["unsafe"]
        assert float(at[name, "safety_index", "", "", ""]["value"]) == document["safety_index"]["value"]
        for scenario, group in document["scenarios"].items():
            assert float(at[name, "asr", "scenario", scenario, ""]["value"]) == group["asr"]
        for outcome, n in document["outcomes"].items():
            assert int(at[name, "outcome", "outcome", outcome, ""]["samples"]) == n
    compared = compare_json(compare_runs([(str(r), results_of(r)) for r in runs]))["comparisons"][0]
    row = at["openai/second", "difference_asr", "baseline", "openai/first", "8"]
    assert float(row["value"]) == compared["turns"]["8"]["difference"]
    assert row["verdict"] == compared["turns"]["8"]["verdict"]


def test_parquet_holds_the_same_rows_typed(tmp_path: Path, runs: list[Path]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_report(runs, [tmp_path / "f.parquet", tmp_path / "f.csv"])

    rows = parquet.read_table(tmp_path / "f.parquet").to_pylist()
    written = read_csv(tmp_path / "f.csv")
    assert len(rows) == len(written)
    for one, other in zip(rows, written, strict=True):
        assert {key: "" if value is None else str(value) for key, value in one.items()} == other
    assert all(type(row["value"]) in (float, type(None)) for row in rows)


def test_markdown_says_the_same_in_tables(tmp_path: Path, runs: list[Path]) -> None:
    write_report(runs, [tmp_path / "report.md"])

    text = (tmp_path / "report.md").read_text()
    entry = results_json(results_of(runs[0]))["turns"]["8"]
    low, high = (f"{100 * end:.1f}" for end in entry["interval"])
    assert f"{100 * entry['asr']:.1f} % ({low}–{high})" in text
    assert "## openai/second less openai/first" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_hostile_names_stay_in_their_cells(tmp_path: Path) -> None:
    name = "=cmd|'/c calc'!A1 <script>alert(1)</script> | [x](javascript:1)\n# heading `code`\u202e"
    folder = make_run(tmp_path / "a", samples(2), target=name)
    write_report([folder], [tmp_path / "r.csv", tmp_path / "r.md"])

    row = read_csv(tmp_path / "r.csv")[0]
    assert row["target"].startswith("'=cmd")
    text = (tmp_path / "r.md").read_text()
    assert not re.search(
        r"(?<!\\)[<`]|\n# heading|(?<!\\)\[x", text.replace("`bbbbbbbbbbbbbbbb`", "").replace("`judge`", "")
    )
    assert "\u202e" not in text + row["target"]


def test_an_unfinished_run_marks_every_row(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a", samples(2), lambda s: None if s.turns == 8 else Answer())
    runs = load_runs([folder])

    rows = figure_rows(runs, compare_if_fair(runs, force=False)[0])

    assert {row.pending for row in rows} == {4}
    assert "nan" not in csv_table(rows).lower()


def test_the_end_of_a_name_says_what_to_write(tmp_path: Path, runs: list[Path]) -> None:
    with pytest.raises(UsageError, match=r"ends in none of \.html, \.md, \.csv, \.parquet"):
        write_report(runs, [tmp_path / "report.pdf"])
    assert not list(tmp_path.glob("report*"))


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path, runs: list[Path]) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(FileError) as caught:
        write_report(runs, [tmp_path / "taken" / "report.md"])
    assert (caught.value.code, caught.value.fields["path"]) == ("cannot_write", tmp_path / "taken/report.md")


def test_the_command_writes_what_it_is_asked_for(tmp_path: Path, runs: list[Path]) -> None:
    outputs = [tmp_path / "out" / f"report.{end}" for end in ("html", "md", "csv")]
    arguments = [part for path in outputs for part in ("-o", str(path))]

    done = CliRunner().invoke(app, ["report", *map(str, runs), *arguments, "--redact"], standalone_mode=False)

    assert done.exit_code == 0, done.output
    assert [str(path) in done.output.replace("\n", "") for path in outputs] == [True] * 3
    assert "REDACTED" in outputs[0].read_text()
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".csv", ".html", ".md"]
