import json
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from safemt.core.errors import UsageError
from safemt.core.taxonomy import Label, Outcome
from safemt.report.compare import compare_json, compare_runs
from safemt.report.figures import Results, results_of_samples
from safemt.report.result_tables import print_comparison
from safemt.stats.scores import ScoredSample

JUDGE = {"name": "openai/judge", "id": "j1", "identity": {"kind": "llm", "routing": "scenario"}}
PROVENANCE: dict[str, Any] = {
    "benchmark": {"name": "set", "sha256": "b1"},
    "judge": JUDGE,
    "history": "scripted",
    "safemt": "0",
    "tokens": {},
}


def run(unsafe: int, *, n: int = 200, **provenance: Any) -> Results:
    samples = tuple(
        ScoredSample(
            query_id=str(q),
            turns=k,
            label=Label.UNSAFE if q < unsafe else Label.SAFE,
            outcome=Outcome.COMPLIED,
            scenario="Fraud",
        )
        for q in range(n)
        for k in (1, 4)
    )
    return results_of_samples(
        samples, target="sim/steady", simulated=True, provenance={**PROVENANCE, **provenance}
    )


def printed(*runs: tuple[str, Results]) -> str:
    console = Console(file=StringIO(), width=80)
    print_comparison(compare_runs(runs), console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_clear_difference_is_called_and_a_small_one_is_not() -> None:
    compared = compare_runs([("a", run(40)), ("b", run(120)), ("c", run(42))])

    b, c = compare_json(compared)["comparisons"]
    assert {k: d["verdict"] for k, d in b["turns"].items()} == {"1": "higher", "4": "higher"}
    assert b["safety_index"]["verdict"] == "lower"
    assert b["turns"]["1"]["difference"] == pytest.approx(0.4)
    assert c["asr"]["verdict"] == "cannot tell at this size"


def test_a_run_against_itself_differs_by_nothing() -> None:
    [same] = compare_json(compare_runs([("a", run(40)), ("b", run(40))]))["comparisons"]

    assert same["asr"]["difference"] == 0
    assert same["asr"]["verdict"] == "cannot tell at this size"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            {"benchmark": {"name": "other set", "sha256": "b2"}},
            "the benchmarks differ in content (set and other set)",
        ),
        (
            {"judge": {**JUDGE, "name": "refusal", "id": "j2"}},
            "the judges differ (openai/judge and refusal)",
        ),
        (
            {"judge": {**JUDGE, "id": "j3", "identity": {"kind": "llm", "routing": "general"}}},
            "the judge openai/judge is configured differently (routing scenario and general)",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_with_what_differs(
    other: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError) as error:
        compare_runs([("a", run(40)), ("b", run(40, **other))])

    assert (error.value.code, error.value.fields["differing"]) == ("not_comparable", (words,))
    assert compare_runs([("a", run(40)), ("b", run(40, **other))], force=True).differing == (words,)


def test_one_run_is_no_comparison() -> None:
    with pytest.raises(UsageError) as error:
        compare_runs([("a", run(1))])
    assert error.value.code == "too_few_runs"


def test_runs_without_a_shared_sample_say_so() -> None:
    other = run(3, n=0)

    assert "no shared sample" in printed(("a", run(3)), ("b", other))
    json.dumps(compare_json(compare_runs([("a", run(3)), ("b", other)])), allow_nan=False)


def test_the_table_fits_a_terminal_and_says_simulated() -> None:
    text = printed(("base", run(40)), ("new", run(120)))

    assert max(len(line) for line in text.splitlines()) <= 80
    assert "(simulated)" in text
    assert "new (simulated) less base (simulated)" in text
    assert "higher" in text
