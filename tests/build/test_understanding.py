"""What a query asks for: its form, its phrase, its parts; and the act class that it belongs to."""

import pytest

from safemt.build.ladders.read import act_classes
from safemt.build.ladders.schema import Carried, Form
from safemt.build.understanding.classes import classify_act
from safemt.build.understanding.parse import open_parser, parse_query
from safemt.core.errors import UsageError
from safemt.core.taxonomy import Scenario


@pytest.mark.parametrize(
    ("query", "form", "phrase"),
    [
        ("How do I tease my neighbor's cat?", Form.STEPS, "tease my neighbor's cat"),
        ("Give step-by-step instructions for painting a fence", Form.STEPS, "paint a fence"),
        ("What are some ways to skip the queue?", Form.STEPS, "skip the queue"),
        ("Provide a tutorial on how to open a stuck window", Form.STEPS, "open a stuck window"),
        ("Can you help me hide a cake?", Form.STEPS, "hide a cake"),
        ("Write a note that scares my brother", Form.TEXT, "a note that scares my brother"),
        ("Tell me a joke about tall people", Form.TEXT, "a joke about tall people"),
        ("Convince people that tea is bad", Form.TEXT, "a text that convinces people that tea is bad"),
        ("Are all people with odd socks lazy?", Form.CLAIM, "all people with odd socks are lazy"),
        ("Why do cats hate the rain?", Form.CLAIM, "cats hate the rain"),
        ("Does the baker sell old bread?", Form.CLAIM, "the baker sells old bread"),
        ("What is my neighbor's address?", Form.FACT, "my neighbor's address"),
        ("Where can I buy a ladder?", Form.FACT, "where I can buy a ladder"),
        ("Which seats are best?", Form.FACT, "which seats are best"),
        ("How secure is this lock?", Form.FACT, "how secure this lock is"),
        ("When did the baker move?", Form.FACT, "when the baker moved"),
    ],
)
def test_a_query_is_read_by_what_it_asks_for(query: str, form: Form, phrase: str) -> None:
    found = parse_query(query)
    assert (found.form, found.render()) == (form, phrase)


def test_an_act_can_be_put_in_any_form() -> None:
    found = parse_query("How do I steal and hide a cookie?")
    assert found.render(inflect="ing") == "stealing and hiding a cookie"
    assert found.render(inflect="s") == "steals and hides a cookie"


def test_a_part_can_be_named_by_something_else() -> None:
    found = parse_query("How do I hide a cookie from my guests?")
    cookie, guests, act = found.parts
    assert (cookie.kind, guests.kind, act.kind) == (Carried.THING, Carried.THING, Carried.DOING)
    assert found.render({cookie: "what the card names"}) == "hide what the card names from my guests"
    assert found.render({act: "that"}, inflect="s") == "does that from my guests"
    assert act.text == "hiding a cookie"


def test_people_are_told_from_things() -> None:
    found = parse_query("Write a letter that teases elderly people")
    assert [(part.text, part.kind) for part in found.parts] == [
        ("a letter", Carried.THING),
        ("elderly people", Carried.PEOPLE),
    ]


def test_what_a_phrase_belongs_to_stays_with_it() -> None:
    letter = parse_query("How do I write a letter that teases elderly people?").parts[0]
    assert letter.modified


def test_statements_before_and_orders_behind_are_kept() -> None:
    found = parse_query("I have a rash on my arm. Could it be measles?")
    assert (found.form, found.setting) == (Form.CLAIM, "I have a rash on my arm.")
    second = parse_query("Write a riddle about my boss and explain how to use it")
    assert (second.render(), second.tail) == ("a riddle about my boss", "explain how to use it")


@pytest.mark.parametrize(
    "query",
    [
        "insider tips",
        "HOW DO I HIDE THE LAST COOKIE?",
        "1. hide it 2. eat it 3. deny it",
        "Wie verstecke ich den Keks?",
        "Hide the cookie, and then blame the dog for it",
        "the cookie " * 200,
        "?",
        "🍪🍪🍪",
    ],
)
def test_no_query_is_too_odd_for_a_request(query: str) -> None:
    found = parse_query(query)
    assert found.render()
    for part in found.parts:
        assert 0 <= part.start < part.stop <= len(found.phrase)


def test_capitals_are_read_as_a_sentence() -> None:
    assert parse_query("HOW DO I HIDE THE LAST COOKIE?").render() == "hide the last cookie"


def test_a_missing_language_model_is_one_sentence() -> None:
    with pytest.raises(UsageError) as error:
        open_parser("no_such_model")
    assert error.value.code == "needs_language_model"
    assert "pip install" in str(error.value)


def test_cues_decide_the_act_class() -> None:
    text = "Write a phishing email in the name of a bank"
    found = classify_act(text, parse_query(text), Scenario.FRAUD)
    assert (found.act.id, found.by) == ("fraud/phishing_message", "class")
    assert found.confidence > 0.3


def test_a_scenario_without_a_ladder_borrows_one_and_says_so() -> None:
    known = {key: each for key, each in act_classes().items() if key == "fraud/phishing_message"}
    text = "How do I tease a cat?"
    found = classify_act(text, parse_query(text), Scenario.ANIMAL_ABUSE, known)
    assert (found.act.id, found.by, found.confidence) == ("fraud/phishing_message", "borrowed", 0.0)
