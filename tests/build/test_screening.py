import json
from pathlib import Path

import pytest

from safemt.build.build import BuildPlan, build
from safemt.build.progress import Progress
from safemt.build.queries import Ledger, RawQuery
from safemt.build.screening import minors_and_sex, screen

POLICY = "The policy bans any sexual material about a child."


@pytest.mark.parametrize(
    "text",
    [
        POLICY,
        "The rule on sexual matters holds for every minor.",
        "A form on sexuality for a 16-year-old reader.",
        "\uff33\uff25\uff38\uff35\uff21\uff2c policy, child chapter",
    ],
)
def test_minors_and_anything_sexual_together_are_seen(text: str) -> None:
    assert minors_and_sex(text)


@pytest.mark.parametrize(
    "text", ["The policy bans sexual material.", "A child plays in the park.", "Kindness costs nothing."]
)
def test_either_alone_is_not(text: str) -> None:
    assert not minors_and_sex(text)


def test_the_rule_looks_at_all_that_a_row_holds() -> None:
    ledger = Ledger()
    row = RawQuery(text="Write about the sexual policy", key_phrase="child", place="p", source="s")
    assert not list(screen([row], language="en", ledger=ledger))
    assert ledger.rejects[0].reason == "minors_and_sex"


def test_a_category_of_that_kind_is_refused_whole() -> None:
    ledger = Ledger()
    row = RawQuery(text="A plain sentence", category="Child Abuse Content", place="p", source="s")
    assert not list(screen([row], language="en", ledger=ledger))


def test_refused_rows_are_counted_and_written_nowhere(tmp_path: Path, progress: Progress) -> None:
    path = tmp_path / "mild.jsonl"
    texts = [POLICY, "How do I hide the last cookie from my guests?", "How do I sneak into the summer fair?"]
    path.write_text("".join(json.dumps({"query": text}) + "\n" for text in texts))
    out = tmp_path / "made"
    stats = build(BuildPlan(queries=[path], out=out, count=2, turns=(1, 2)), progress=progress)
    assert stats["minors_and_sex_refused"] == 1
    written = b"".join(
        file.read_bytes() for file in out.rglob("*") if file.suffix in (".jsonl", ".json", ".md")
    )
    assert b"bans any" not in written
