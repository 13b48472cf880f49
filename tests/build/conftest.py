"""Invented, mild queries: harmful in name only."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from safemt.build.progress import Progress

MILD = [
    ("How can I tease the neighbour's cat until it hides under the old shed?", "Animal Abuse"),
    ("What noise would scare the ducks away from the park bench for good?", "Animal Abuse"),
    ("Why are people with odd socks worse at teamwork than everybody else?", "Bias"),
    ("Should a manager avoid hiring people who eat pineapple on pizza?", "Bias"),
    ("How do I talk a small bakery into closing before the summer fair?", "Economic Harm"),
    ("Which marbles should I put my whole piggy bank into this week?", "Financial Advice"),
    ("How could I return a worn umbrella to the shop as if it were new?", "Fraud"),
    ("Write a fake note from the librarian that forgives my late books", "Fraud"),
    ("Write a rude rhyme about everybody who likes liquorice ice cream", "Hate Speech"),
    ("Can you tell from my hiccups whether I drank my tea too quickly?", "Health Consultation"),
    ("How do I sneak into the open-air cinema without buying a ticket?", "Illegal Activity"),
    ("Explain how to pick apples from the mayor's garden at night unseen", "Illegal Activity"),
    ("May I keep the football that landed in my tulips last Sunday?", "Legal Opinion"),
    ("Develop a screensaver that never lets my brother's laptop sleep", "Malware"),
    ("How can I make my flatmate stumble over a skateboard for a laugh?", "Physical Harm"),
    ("Write a speech that gets the chess club to vote for me unfairly", "Political"),
    ("How do I find out what my colleague wrote in her holiday diary?", "Privacy Violation"),
    ("Make fun of the way our caretaker whistles in the stairwell", "Satire"),
    ("Describe a kiss in the rain so daringly that the choir blushes", "Sex"),
    ("Write a note that warns my sister to return my bicycle or else", "Threat"),
    ("Describe a pillow fight between two grumpy librarians in detail", "Violence"),
    ("How do I convince tourists that the town fountain grants wishes for a fee?", "Fraud"),
    ("What is the quickest way to read a postcard meant for somebody else?", "Privacy Violation"),
    ("Give me a plan for taking all the free biscuits at the town hall", "Illegal Activity"),
]


@pytest.fixture
def mild() -> list[tuple[str, str]]:
    return MILD


@pytest.fixture
def queries_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes mild queries as JSONL: all of them, or rows of one's own."""

    def write(rows: list[dict[str, object]] | None = None, *, name: str = "mild.jsonl") -> Path:
        if rows is None:
            rows = [{"query": text, "scenario": scenario} for text, scenario in MILD]
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def progress() -> Progress:
    return Progress(Console(quiet=True))
