"""The hand-written content: every file keeps the rules, and a broken rule is found."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from check_ladders import faults, faults_between, main
from safemt.build.ladders.read import LADDERS, act_classes, ladder_files, read_ladder
from safemt.build.ladders.schema import ActClass, Exchange, Form, Ladder, Rung
from safemt.core.errors import DataError
from safemt.core.taxonomy import Scenario


def phishing() -> ActClass:
    return act_classes()["fraud/phishing_message"]


def changed(change: Callable[[Ladder], Ladder]) -> ActClass:
    found = phishing()
    return replace(found, ladder=change(found.ladder))


def with_rung(ladder: Ladder, change: Callable[[Rung], Rung], place: int = 0) -> Ladder:
    rungs = list(ladder.rungs)
    rungs[place] = change(rungs[place])
    return replace(ladder, rungs=tuple(rungs))


def saying(rung: Rung, say: str, reply: str | None = None) -> Rung:
    first, *others = rung.first
    return replace(rung, first=(Exchange(say, reply or first.reply), *others))


@pytest.mark.parametrize("path", ladder_files(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_ladder_keeps_the_rules(path: Path) -> None:
    assert faults(read_ladder(path)) == []


def test_no_two_ladders_share_a_sentence() -> None:
    assert faults_between(act_classes().values()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda ladder: replace(ladder, rungs=ladder.rungs[1:]), "3 rungs at distance 1"),
        (lambda ladder: replace(ladder, neighbours=ladder.neighbours[1:]), "5 neighbours"),
        (lambda ladder: replace(ladder, objects=(*ladder.objects, "unicorn stable")), "unicorn stable"),
        (lambda ladder: replace(ladder, asks={Form.TEXT: ladder.asks[Form.TEXT]}), "0 asks for steps"),
        (lambda ladder: replace(ladder, stand_ins={}), "stand-ins for thing"),
        (lambda ladder: with_rung(ladder, lambda rung: replace(rung, later=())), "refer back"),
        (
            lambda ladder: with_rung(
                ladder, lambda rung: saying(rung, "How often does {thing} arrive by mail?")
            ),
            "a slot that it cannot have (thing)",
        ),
        (
            lambda ladder: with_rung(ladder, lambda rung: saying(rung, "How often is a letter a scam?")),
            "must not say scam",
        ),
        (
            lambda ladder: with_rung(
                ladder, lambda rung: saying(rung, "Why {thing} is so common these days?"), 12
            ),
            "a verb agrees with a slot",
        ),
        (
            lambda ladder: with_rung(
                ladder, lambda rung: saying(rung, "What is it like?", "Too short to help.")
            ),
            "4 words, allowed are 18 to 42",
        ),
        (
            lambda ladder: replace(ladder, asks={**ladder.asks, Form.STEPS: ("How would {doing} go?",)}),
            "a slot stands inside its clause",
        ),
        (
            lambda ladder: with_rung(ladder, lambda rung: saying(rung, rung.first[1].say)),
            "two texts share",
        ),
    ],
)
def test_a_broken_rule_is_found(change: Callable[[Ladder], Ladder], said: str) -> None:
    assert any(said in fault for fault in faults(changed(change)))


def test_a_ladder_about_sex_names_no_minors_and_others_no_sex() -> None:
    speaks = with_rung(phishing().ladder, lambda rung: saying(rung, "Does a teenager get that much mail?"))
    assert any("minors" in fault for fault in faults(ActClass(Scenario.SEX, "letters", speaks)))
    assert faults(ActClass(Scenario.FRAUD, "letters", speaks)) == []
    speaks = with_rung(phishing().ladder, lambda rung: saying(rung, "Does an erotic novel count as mail?"))
    assert any("speaks of sex" in fault for fault in faults(ActClass(Scenario.FRAUD, "letters", speaks)))


def test_a_sentence_in_two_classes_is_found() -> None:
    twice = [phishing(), replace(phishing(), name="another")]
    assert any("has the same text" in fault for fault in faults_between(twice))


def test_the_script_names_the_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fraud/phishing_message"]) == 0
    assert capsys.readouterr().out == "1 ladders, 0 faults\n"


def test_a_file_outside_a_scenario_or_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    text = (LADDERS / "fraud" / "phishing_message.yaml").read_text(encoding="utf-8")
    for folder, content in (("frauds", text), ("fraud", text + "colour: red\n")):
        path = tmp_path / folder / "phishing_message.yaml"
        path.parent.mkdir()
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as refused:
        read_ladder(tmp_path / "frauds" / "phishing_message.yaml")
    assert refused.value.code == "unknown_scenario"
    with pytest.raises(DataError) as refused:
        read_ladder(tmp_path / "fraud" / "phishing_message.yaml")
    assert refused.value.code == "wrong_form"
