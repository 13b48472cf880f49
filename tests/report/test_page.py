import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from browser.runs import ROUNDS, Answer, drifting, make_image, make_run, sample, samples
from safemt.core.errors import LabelsError, RunError, UsageError
from safemt.core.schema import Sample
from safemt.core.taxonomy import Label
from safemt.judges.validation import Validation, save_validation
from safemt.report.page.build import build_page, load_runs
from safemt.report.page.dialogues import ANSWER_LIMIT, dialogue_data, script_json
from safemt.report.page.words import visible
from safemt.report.results import results_json, results_of
from safemt.stats.agreement import Confusion

HOSTILE = (
    "</script><script>window.hacked = 1</script><!--<script>",
    "<img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} {% raw %} {#",
    "\u202eevil\u202c \u2066isolated\u2069 \u200b\u2028\u2029 \U000e0041",
    "]]> &amp; \" ' `${1}`",
    "\x00\x1b[31m",
)


class Words(HTMLParser):
    """What a reader sees: texts outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.tags: list[str] = []
        self.hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.hidden = tag in ("script", "style")
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs), attrs
        for name, value in attrs:
            if name in ("src", "href"):
                assert value is not None
                assert value.startswith(("#", "data:"))

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.seen.append(data)


def words(page: str) -> str:
    parser = Words()
    parser.feed(page)
    return " ".join(" ".join(parser.seen).split())


def page_of(*folders: Path, redact: bool = False, force: bool = False) -> str:
    page = build_page(load_runs(folders), redact=redact, force=force)
    assert not re.search(r"\b(None|NaN|nan|undefined|inf)\b", words(page))
    return page


def data(page: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="data-{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def figures(page: str, figure: str, run: int = 0) -> str:
    pattern = rf'data-run="{run}" data-figure="{figure}">(.*?)</(?:tbody|table)>'
    return "".join(re.findall(pattern, page, re.DOTALL))


def cell(table: str, **where: object) -> tuple[float, str, str]:
    """Value, text and interval of the first figure of a row."""
    key, value = next(iter(where.items()))
    row = re.search(rf'<tr data-{key}="{re.escape(str(value))}">(.*?)</tr>', table, re.DOTALL)
    assert row, where
    found = re.search(r'<data value="([^"]*)">([^<]*)</data> <span class="ci">([^<]*)</span>', row[1])
    assert found, row[1]
    return float(found[1]), found[2], found[3]


def same(shown: tuple[float, str, str], value: float, interval: list[float]) -> bool:
    low, high = (f"{100 * end:.1f}" for end in interval)
    return shown == (value, f"{100 * value:.1f} %", f"{low}–{high}")


def test_every_figure_on_the_page_is_that_of_the_results_document(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", samples(40), target="openai/first")
    second = make_run(
        tmp_path / "b", samples(40), lambda _: Answer(label=Label.UNSAFE), target="openai/second"
    )
    page = page_of(first, second)

    for number, folder in enumerate((first, second)):
        document = results_json(results_of(folder))
        for k in ROUNDS:
            entry = document["turns"][str(k)]
            assert same(cell(figures(page, "turns", number), turns=k), entry["asr"], entry["interval"])
            twins = document["over_refusal"][str(k)]
            shown = cell(figures(page, "over-refusal", number), turns=k)
            assert same(shown, twins["rate"], twins["interval"])
        for name, group in document["scenarios"].items():
            shown = cell(figures(page, "scenarios", number).rpartition("</thead>")[2], name=name)
            assert same(shown, group["asr"], group["interval"])
        for name, group in document["methods"].items():
            assert same(cell(figures(page, "methods", number), name=name), group["asr"], group["interval"])
        for name, n in document["outcomes"].items():
            assert f'<data value="{n}">{n:,}</data>' in figures(page, "outcomes", number)
            assert f"<td>{name}</td>" in figures(page, "outcomes", number)
        si = document["safety_index"]
        text = f'<data value="{si["value"]}">{si["value"]:.3f}</data>'
        assert page.count(text) >= 2
        slope = document["trend"]["slope_per_doubling"]
        assert f'<data value="{slope["value"]}">' in page
        for k, share in document["first_unsafe"]["turns"].items():
            assert f'<data value="{share["value"]}">' in page, k


def test_the_data_of_the_list_is_every_sample_with_its_texts(tmp_path: Path) -> None:
    asked = samples(6)
    page = page_of(make_run(tmp_path / "a", asked))

    index = data(page, "index")
    dialogues, answers = data(page, "dialogues-0"), data(page, "answers-0")
    assert [(row[1], row[2]) for row in index["rows"]] == [(one.query_id, one.turns) for one in asked]
    for row, answer, one in zip(index["rows"], answers, asked, strict=True):
        assert index["scenarios"][row[3]] == one.scenario
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

    parser, unharmed = Words(), Words()
    parser.feed(page)
    unharmed.feed(page_of(clean))
    assert [t for t in parser.tags if t in ("script", "img")] == [
        t for t in unharmed.tags if t in ("script", "img")
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
    runs = load_runs([make_run(tmp_path / "a", samples(4))])

    found = dialogue_data(runs, redact=False, text_limit=1000)

    written = "".join(found.dialogues + found.answers)
    assert 500 < sum(map(len, re.findall(r'"([^"]*)"', written))) <= 1000
    assert written.count("null") >= found.left_out > 0
    assert found.rows == 40


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
    assert page.count('<span class="badge simulated">') > 10
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
    assert "Can the runs be told apart?" in words(beside)
    assert len(data(alone, "index")["rows"]) == len(asked)


def test_label_files_make_a_page_without_dialogues(tmp_path: Path) -> None:
    for k in (1, 2):
        labels = tmp_path / str(k) / "label"
        labels.mkdir(parents=True)
        rows = [{"id": f"q{i}", "safety_label": ["safe", "unsafe", "perhaps"][i % 3]} for i in range(9)]
        (labels / "model.json").write_text(json.dumps(rows))
    page = page_of(tmp_path)

    assert "Only labels are known; there are no texts to show." in words(page)
    assert "no scenarios are known" in words(page)
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
    document = results_json(results_of(folder))
    sensitivity = document["judge_validation"]["sensitivity"]
    table = known[known.index('<table data-figure="validation">') :]
    assert same(cell(table, name="sensitivity"), sensitivity["value"], sensitivity["interval"])
    corrected = document["turns"]["4"]["corrected"]["asr"]
    row = re.search(r'<tr data-turns="4">(.*?)</tr>', figures(known, "corrected"), re.DOTALL)
    assert row
    assert f'<data value="{corrected["value"]}">' in row[1]


def test_runs_with_other_judges_are_not_compared_unless_forced(tmp_path: Path) -> None:
    one = make_run(tmp_path / "a", samples(4))
    other = make_run(
        tmp_path / "b", samples(4), judge={"name": "refusal", "id": "r", "identity": {"kind": "r"}}
    )

    refused, forced = page_of(one, other), page_of(one, other, force=True)

    assert "Not compared. the judges differ (openai/judge and refusal)" in words(refused)
    assert not figures(refused, "differences", 1)
    assert "Compared all the same: the judges differ" in words(forced)
    assert figures(forced, "differences", 1)


def test_runs_of_one_target_go_by_their_folders(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name, samples(1)) for name in ("x/run", "y/run", "other")]

    names = [run.name for run in load_runs(folders)]

    assert len(set(names)) == 3
    assert names[2] == "openai/made-up, other"


def test_what_cannot_be_reported_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="nothing to score"):
        load_runs([tmp_path / "absent"])
    with pytest.raises(LabelsError):
        load_runs([tmp_path])
    folder = make_run(tmp_path / "a", samples(1))
    with pytest.raises(UsageError, match="named twice"):
        load_runs([folder, tmp_path / "b" / ".." / "a"])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.sqlite").write_text("no database at all, but a text")
    with pytest.raises(RunError):
        load_runs([tmp_path / "c"])


@pytest.mark.slow
def test_ten_thousand_samples_redacted_are_a_small_file(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path / "a", samples(2000, twins=False)), redact=True)

    assert len(page.encode()) <= 15_000_000
    assert len(data(page, "index")["rows"]) == 10_000
