import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from report.pages import data, tables, tags, words
from report.runs import ROUNDS, Answer, add, drifting, make_image, make_run, sample, samples
from safemt.core.errors import LabelsError, RunError, SafemtError, UsageError
from safemt.core.schema import Sample
from safemt.core.taxonomy import Label
from safemt.judges.validation import Validation, save_validation
from safemt.report.html.dialogues import ANSWER_LIMIT, dialogue_data, script_json
from safemt.report.html.run_page import run_page
from safemt.report.results import results_json, results_of
from safemt.report.runs import compare_if_fair, open_runs
from safemt.report.text import visible
from safemt.run.store import Store
from safemt.stats.agreement import Confusion

HOSTILE = (
    "</script><script>window.hacked = 1</script><!--<script>",
    "<img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} {% raw %} {#",
    "\u202eevil\u202c \u2066isolated\u2069 \u200b\u2028\u2029 \U000e0041",
    "]]> &amp; \" ' `${1}`",
    "\x00\x1b[31m",
)


def page_of(*folders: Path, redact: bool = False, force: bool = False) -> str:
    with open_runs(folders) as runs:
        page = run_page(runs, *compare_if_fair(runs, force=force), redact=redact)
    assert not re.search(r"\b(None|NaN|nan|undefined|inf)\b", words(page))
    return page


def row_of(table: Sequence[Sequence[str]], *start: object) -> list[str]:
    """What follows in the row that starts like this."""
    wanted = [str(each) for each in start]
    [found] = [row[len(wanted) :] for row in table if list(row[: len(wanted)]) == wanted]
    return list(found)


def written(value: float, interval: Sequence[float]) -> str:
    """A share with its interval, as cells show it."""
    low, high = (f"{100 * end:.1f}" for end in interval)
    return f"{100 * value:.1f} % {low}–{high}"


def test_every_figure_on_the_page_is_that_of_the_results_document(tmp_path: Path) -> None:
    names = ("openai/first", "openai/second")
    first = make_run(tmp_path / "a", samples(40), target=names[0])
    second = make_run(tmp_path / "b", samples(40), lambda _: Answer(label=Label.UNSAFE), target=names[1])
    page = page_of(first, second)
    found = tables(page)

    for at, (name, folder) in enumerate(zip(names, (first, second), strict=True)):
        document = results_json(results_of(folder))
        for k in ROUNDS:
            entry, twins = document["turns"][str(k)], document["over_refusal"][str(k)]
            counts = [str(entry[label]) for label in ("unsafe", "safe", "ungraded")]
            assert row_of(found["ASR by turns"], name, k) == [
                written(entry["asr"], entry["interval"]),
                *counts,
            ]
            turned_away = row_of(found["Over-refusal on benign twins"], name, k)[0]
            assert turned_away == written(twins["rate"], twins["interval"])
        for kind, groups in (("scenario", "scenarios"), ("method", "methods")):
            for group, entry in document[groups].items():
                row = row_of(found[f"ASR in % by {kind} and turns"], name, group)
                assert row[len(ROUNDS)] == written(entry["asr"], entry["interval"])
                for column, k in enumerate(ROUNDS):
                    there = entry["turns"].get(str(k))
                    assert row[column] == (f"{100 * there['asr']:.1f}" if there and there["n"] else "–")
        for outcome, n in document["outcomes"].items():
            assert row_of(found["Outcomes of harmful samples"], outcome.capitalize())[at] == f"{n:,}"
        si, slope = document["safety_index"], document["trend"]["slope_per_doubling"]
        overall = found["Overall, with 95 % intervals"]
        assert row_of(overall, "Safety Index")[at].startswith(f"{si['value']:.3f} {si['interval'][0]:.3f}–")
        assert row_of(overall, "ASR, all turns")[at] == written(*document["overall"]["asr"].values())
        assert f'<data value="{slope["value"]}">' in page
        unsafe = found["Share of queries by their first unsafe response"]
        for k, share in document["first_unsafe"]["turns"].items():
            turns = f"{k} turn{'s' if k != '1' else ''}"
            assert row_of(unsafe, f"First at {turns}")[at] == written(share["value"], share["interval"])


def test_the_data_of_the_list_is_every_sample_with_its_texts(tmp_path: Path) -> None:
    asked = samples(6)
    page = page_of(make_run(tmp_path / "a", asked))

    index = data(page, "index")
    dialogues, answers = data(page, "dialogues-0"), data(page, "answers-0")
    assert [(row[1], row[2]) for row in index["rows"]] == [(one.query_id, one.turns) for one in asked]
    for row, answer, one in zip(index["rows"], answers, asked, strict=True):
        assert row[3] == one.scenario
        assert dialogues[row[8]] == [one.question, [message.content for message in one.dialogue]]
        got = drifting(one)
        assert answer == [None if got.text is None else [got.text], got.reasoning if got.text else ""]


def test_the_same_dialogue_of_two_runs_is_carried_once(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name, samples(5), target=f"openai/{name}") for name in "ab"]
    page = page_of(*folders)

    assert page.count("words 3-8-0-False") == 1
    assert len(data(page, "index")["rows"]) == 100
    assert len(data(page, "dialogues-0")) == 50


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_does_nothing_and_is_carried_whole(tmp_path: Path, text: str) -> None:
    asked = [sample(1, k, text=text) for k in ROUNDS]
    clean = make_run(tmp_path / "clean", [sample(1, k) for k in ROUNDS])
    folder = make_run(
        tmp_path / "run",
        asked,
        lambda _: Answer(text=text, reasoning=text, label=Label.UNSAFE),
        target=text.replace("\x00", ""),
        benchmark=tmp_path,
        target_base_url=text,
    )
    page = page_of(folder)

    assert [t for t in tags(page) if t in ("script", "img")] == [
        t for t in tags(page_of(clean)) if t in ("script", "img")
    ]
    assert data(page, "answers-0")[0] == [[text], text]
    assert visible(text) in html.unescape(page) or "\n" in visible(text)
    for hidden in "\u202e\u2066\u2028\u2029\x00\x1b\U000e0041":
        assert hidden not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_script_data_never_ends_its_element_and_survives_any_encoding() -> None:
    text = "".join(HOSTILE) + "\ud800 lone"
    written = script_json([text])

    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written.encode("utf-8")) == [text]


def test_a_response_of_a_megabyte_is_cut_and_the_page_says_so(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a", samples(2, twins=False), lambda _: Answer(text="y" * 1_000_000))
    page = page_of(folder)

    assert len(page) < 500_000
    kept, cut = data(page, "answers-0")[0][0][0]
    assert (len(kept), cut) == (ANSWER_LIMIT, 1_000_000 - ANSWER_LIMIT)
    assert "(10 texts)" in words(page)


def test_texts_beyond_the_limit_of_the_page_are_left_out_and_counted(tmp_path: Path) -> None:
    with open_runs([make_run(tmp_path / "a", samples(4))]) as runs:
        found = dialogue_data(runs, redact=False, text_limit=1000)

    written = json.dumps([found.dialogues, found.answers])
    assert 500 < sum(map(len, re.findall(r'"([^"]*)"', written))) <= 1000
    assert written.count("null") >= found.left_out > 0
    assert len(found.rows) == 40
    assert f"{found.left_out} texts are left out" in " ".join(found.limits)


@pytest.mark.parametrize("encoded", [False, True])
def test_a_redacted_page_holds_no_text_and_no_image(tmp_path: Path, encoded: bool) -> None:
    image = make_image(tmp_path, "picture.png")
    asked = [sample(q, k, image=image, twin=twin) for q in range(4) for k in ROUNDS for twin in (False, True)]
    folder = make_run(
        tmp_path / "a",
        asked,
        lambda s: Answer(text=f"response to {s.id} é", reasoning=f"judged {s.id} é", label=Label.UNSAFE),
        benchmark=tmp_path,
    )
    page, whole = page_of(folder, redact=True), page_of(folder)

    texts = [one.question for one in asked] + [m.content for one in asked for m in one.dialogue]
    texts += [
        f"{start} {one.id} é" for one in asked if one.twin_of is None for start in ("response to", "judged")
    ]
    for text in texts:
        if encoded:
            forms = [base64.b64encode(b"x" * shift + text.encode()).decode()[4:-4] for shift in range(3)]
            forms += [json.dumps(text)[1:-1], html.escape(text), text.encode().hex()]
        else:
            forms = [text]
            assert text in whole
        assert not any(form in page for form in forms), text
    assert "data:image/" in whole
    assert "data:image/" not in page
    assert "picture.png" not in page
    assert "REDACTED" in words(page)
    assert len(data(page, "index")["rows"]) == len(asked)


def test_images_become_small_copies_carried_once(tmp_path: Path) -> None:
    images = [make_image(tmp_path, f"{colour}.png", colour=colour) for colour in ("red", "blue", "green")]
    asked = [sample(q, k, image=images[q]) for q in range(3) for k in ROUNDS]
    folder = make_run(tmp_path / "a", asked, benchmark=tmp_path)
    (tmp_path / "green.png").write_bytes(b"changed")
    page = page_of(folder)

    small = data(page, "thumbnails")
    assert len(small) == 2
    assert all(uri.startswith("data:image/webp;base64,") and len(uri) < 3000 for uri in small)
    assert {row[9] for row in data(page, "index")["rows"] if row[1] == "q2"} == {-2}


def test_only_the_styles_and_scripts_of_the_page_are_allowed(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path / "a", samples(1)))

    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1].startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert content
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]
    assert "http://" not in page.replace("http://localhost:1/v1", "")
    assert "https://" not in page


def test_simulated_runs_say_so_wherever_they_are_named(tmp_path: Path) -> None:
    page = page_of(
        make_run(tmp_path / "a", samples(3), target="sim/x", simulated=True),
        make_run(tmp_path / "b", samples(3), target="openai/real"),
    )

    assert "<title>SIMULATED – Safety report" in page
    assert "SIMULATED." in words(page)
    assert page.count('<span class="badge simulated">') > 5
    for name in re.findall(r"<text[^>]*>(sim/x[^<]*)<", page):
        assert "(simulated)" in name or "…" in name


def still_to_do(one: Sample) -> Answer | None:
    return drifting(one) if one.query_id in ("q0", "q1") else None


@pytest.mark.parametrize(
    "answer",
    [
        still_to_do,
        lambda _: None,
        lambda _: Answer(label=None),
        lambda _: Answer(label=Label.UNGRADED),
        lambda _: Answer(label=Label.SAFE),
        lambda _: Answer(label=Label.UNSAFE),
        lambda _: Answer(text=None),
        lambda s: Answer(label=Label.SAFE if s.turns < 4 else None),
    ],
    ids=["half", "nothing", "no labels", "ungraded", "safe", "unsafe", "failed", "rounds unjudged"],
)
@pytest.mark.parametrize(
    "asked",
    [samples(5), samples(1), samples(1, rounds=(4,), twins=False), samples(3, rounds=(2, 8))],
    ids=["five", "one query", "one sample", "rounds missing"],
)
def test_a_page_of_too_little_is_still_right(tmp_path: Path, answer: Any, asked: list[Sample]) -> None:
    folder = make_run(tmp_path / "a", asked, answer)
    other = make_run(tmp_path / "b", asked, target="openai/other")
    document = results_json(results_of(folder))

    alone, beside = page_of(folder), page_of(folder, other)

    assert ("PARTIAL" in words(alone)) == (document["pending"] > 0)
    assert ("Nothing is graded yet" in words(alone)) == (document["overall"]["asr"] is None)
    assert "Do the runs differ?" in words(beside)
    assert len(data(alone, "index")["rows"]) == len(asked)


def test_label_files_make_a_page_without_dialogues(tmp_path: Path) -> None:
    for k in (1, 2):
        labels = tmp_path / str(k) / "label"
        labels.mkdir(parents=True)
        rows = [{"id": f"q{i}", "safety_label": ["safe", "unsafe", "perhaps"][i % 3]} for i in range(9)]
        (labels / "model.json").write_text(json.dumps(rows))
    page = page_of(tmp_path)

    assert "Only labels are known; there are no texts to show." in words(page)
    assert "No scenarios are known." in words(page)
    assert len(data(page, "index")["rows"]) == 18


def test_a_judge_says_what_is_known_of_it(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a", samples(30))
    unknown = words(page_of(folder))
    save_validation(
        Validation(
            "openai/judge",
            "judge",
            "people.jsonl",
            "d" * 64,
            "all",
            Confusion(90, 10, 180, 20),
            "2026-01-02",
            "0",
        )
    )
    known = page_of(folder)

    assert "openai/judge has not been checked against people" in unknown
    assert "safemt judge-check LABELS.jsonl --judge openai/judge" in unknown
    document, found = results_json(results_of(folder)), tables(known)
    sensitivity = document["judge_validation"]["sensitivity"]
    shown = row_of(found["The judge against people"], "Sensitivity")[0]
    assert shown == written(sensitivity["value"], sensitivity["interval"])
    corrected = document["turns"]["4"]["corrected"]["asr"]
    assert row_of(found["ASR by turns"], 4)[1] == written(corrected["value"], corrected["interval"])


def test_runs_with_other_judges_are_not_compared_unless_forced(tmp_path: Path) -> None:
    one = make_run(tmp_path / "a", samples(4))
    other = make_run(
        tmp_path / "b", samples(4), judge={"name": "refusal", "id": "r", "identity": {"kind": "r"}}
    )

    refused, forced = page_of(one, other), page_of(one, other, force=True)

    differences = "openai/made-up, b less openai/made-up, a"
    assert "Not compared. the judges differ (openai/judge and refusal)" in words(refused)
    assert differences not in tables(refused)
    assert "Compared anyway: the judges differ" in words(forced)
    assert differences in tables(forced)


def test_runs_of_one_target_go_by_their_folders(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name, samples(1)) for name in ("x/run", "y/run", "other")]

    with open_runs(folders) as runs:
        names = [run.name for run in runs]

    assert len(set(names)) == 3
    assert names[2] == "openai/made-up, other"


def error_of(kind: type[SafemtError], *folders: Path) -> str:
    with pytest.raises(kind) as error, open_runs(folders):
        pass
    return error.value.code


def test_what_cannot_be_reported_is_one_clear_error(tmp_path: Path) -> None:
    assert error_of(LabelsError, tmp_path / "absent") == "nothing_to_score"
    error_of(LabelsError, tmp_path)
    folder = make_run(tmp_path / "a", samples(1))
    assert error_of(UsageError, folder, tmp_path / "b" / ".." / "a") == "named_twice"
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.sqlite").write_text("no database at all, but a text")
    error_of(RunError, tmp_path / "c")


def test_texts_and_figures_of_a_run_that_goes_on_are_of_one_moment(tmp_path: Path) -> None:
    asked = samples(3, rounds=(1,), twins=False)
    folder = make_run(tmp_path / "a", asked, lambda _: None)
    going_on = Store.open_for_run(folder)
    with open_runs([folder]) as runs:
        assert runs[0].results.pending == 3
        for one in asked:
            add(going_on, one, Answer())

        assert all(found.reply is None for found in runs[0].samples())

    with open_runs([folder]) as runs:
        assert runs[0].results.pending == 0
        assert all(found.reply is not None for found in runs[0].samples())
    going_on.close()


@pytest.mark.slow
def test_ten_thousand_samples_redacted_are_a_small_file(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path / "a", samples(2000, twins=False)), redact=True)

    assert len(page.encode()) <= 15_000_000
    assert len(data(page, "index")["rows"]) == 10_000
