"""Small labelled data for the evaluation of moderators: invented, and easy to check by hand."""

import json
from pathlib import Path
from typing import Any

from moderation.word_detector import BAD, row


def write_rows(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def mixed_rows(count: int = 40) -> list[dict[str, Any]]:
    """As many harmful as benign dialogues, and a quarter as many borderline ones; sources by number.

    A harmful one says the word from its second of three turns on, every fifth never; a benign one never,
    every tenth once in its only turn; a borderline one twice in its only turn.
    """
    rows = []
    for number in range(count):
        bad = ("hello", f"{BAD} {BAD}", f"{BAD} please")
        meek = ("hello", "and you?", "good")
        said = meek if number % 5 == 0 else bad
        where = f"set_{number % 2}"
        scenario = ("Fraud", "Malware")[number % 2]
        rows.append(
            row(f"h{number}", "harmful", *said, source=where, language="en", scenario=scenario, method="slow")
        )
        text = f"{BAD} {BAD}" if number % 10 == 0 else "good morning"
        rows.append(row(f"b{number}", "benign", text, source=where, language="en"))
        if number % 4 == 0:
            rows.append(row(f"x{number}", "borderline", f"{BAD} {BAD} a process", source=where))
    return rows
