import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from report.runs import ROUNDS, Answer, drifting, make_run, sample, samples
from safemt.core.errors import FileError, UsageError
from safemt.core.taxonomy import Label
from safemt.report.compare import compare_json, compare_runs
from safemt.report.export import figure_rows, sample_rows, write_report, write_samples
from safemt.report.results import results_json, results_of
from safemt.report.runs import compare_if_fair, open_runs


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
    assert "**openai/first**: The final response was unsafe in" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_hostile_names_stay_in_their_cells(tmp_path: Path) -> None:
    name = "=cmd|'/c calc'!A1 <script>alert(1)</script> | [x](javascript:1)\n# heading `code`\u202e"
    folder = make_run(tmp_path / "a", samples(2), target=name)
    write_report([folder], [tmp_path / "r.csv", tmp_path / "r.md"])

    row = read_csv(tmp_path / "r.csv")[0]
    assert row["target"].startswith("'=cmd")
    text = (tmp_path / "r.md").read_text()
    assert not re.search(r"(?<!\\)[<`]|\n# heading|(?<!\\)\[x", text)
    assert "\u202e" not in text + row["target"]


def test_an_unfinished_run_marks_every_row(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a", samples(2), lambda s: None if s.turns == 8 else Answer())
    with open_runs([folder]) as runs:
        rows = figure_rows(runs, compare_if_fair(runs, force=False)[0])

    assert {row.pending for row in rows} == {4}
    write_report([folder], [tmp_path / "f.csv"])
    assert "nan" not in (tmp_path / "f.csv").read_text().lower()


def read_samples(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        return list(read_csv(path))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    parquet = pytest.importorskip("pyarrow.parquet")
    return list(parquet.read_table(path).to_pylist())


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_every_sample_is_a_row_with_all_that_is_known_of_it(tmp_path: Path, ending: str) -> None:
    asked = samples(6)
    folder = make_run(tmp_path / "a", asked)

    rows = read_samples(write_samples(folder, tmp_path / f"samples.{ending}"))

    assert [row["id"] for row in rows] == [one.id for one in asked]
    for row, one in zip(rows, asked, strict=True):
        got = drifting(one)
        assert (row["query_id"], str(row["turns"])) == (one.query_id, str(one.turns))
        assert (row["scenario"], row["question"]) == (one.scenario, one.question)
        assert row["twin_of"] == (one.twin_of or ("" if ending == "csv" else None))
        if one.twin_of is None and got.text and got.label is not None and not got.blocked:
            assert row["label_openai/judge"] == got.label
            assert row["label"] == got.label
        if got.text is None:
            assert (row["outcome"], row["label"], row["cause"]) == ("error", "ungraded", "http_500")
        else:
            assert row["response"] == got.text
            assert float(row["seconds"]) == 0.1


def test_texts_can_be_left_out(tmp_path: Path) -> None:
    asked = [sample(1, k, text="secret") for k in ROUNDS]
    folder = make_run(tmp_path / "a", asked, lambda _: Answer(text="secret answer"))

    path = write_samples(folder, tmp_path / "samples.csv", text=False)

    assert "secret" not in path.read_text()
    assert not {"question", "response"} & set(read_csv(path)[0])


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_no_text_becomes_a_formula_in_a_spreadsheet(tmp_path: Path, start: str) -> None:
    text = f"{start}HYPERLINK(1)"
    folder = make_run(tmp_path / "a", [sample(1, 1)], lambda _: Answer(text=text))

    [row] = read_csv(write_samples(folder, tmp_path / "samples.csv"))

    assert row["response"] == f"'{text}"
    assert sample_rows(folder)[0].response == text


def test_the_end_of_a_name_says_what_to_write(tmp_path: Path, runs: list[Path]) -> None:
    with pytest.raises(UsageError) as error:
        write_report(runs, [tmp_path / "report.pdf"])
    assert error.value.code == "unknown_format"
    assert error.value.fields["known"] == (".html", ".md", ".csv", ".parquet")
    with pytest.raises(UsageError) as error:
        write_samples(runs[0], tmp_path / "samples.xlsx")
    assert error.value.fields["known"] == (".csv", ".jsonl", ".parquet")
    assert not [path for path in tmp_path.iterdir() if path not in runs]


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path, runs: list[Path]) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(FileError) as error:
        write_report(runs, [tmp_path / "taken" / "report.md"])
    assert error.value.code == "cannot_write"
    assert error.value.fields["path"] == tmp_path / "taken" / "report.md"


def test_each_output_is_written_whole(tmp_path: Path, runs: list[Path]) -> None:
    outputs = [tmp_path / "out" / f"report.{end}" for end in ("html", "md", "csv")]

    assert write_report(runs, outputs, redact=True) == tuple(outputs)

    assert "REDACTED" in outputs[0].read_text()
    assert sorted((tmp_path / "out").iterdir()) == sorted(outputs)
