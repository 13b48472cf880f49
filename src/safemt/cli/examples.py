"""`safemt examples`: small sample inputs for the other commands."""

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from safemt.cli.command import Argument, command

_ABOUT = {
    "run.yaml": "safemt run --config {} --out runs/sample",
    "dialogues.jsonl": "safemt moderate {}",
    "labelled.jsonl": "safemt moderator eval --data {}",
    "judged.jsonl": "safemt judge-check {} --judge refusal",
    "queries.jsonl": "safemt build --queries {} --out my-benchmark --count 20 --allow-fewer",
}
"""The files, with a command for each."""
_SHOWN = 6
"""Queries of `dialogues.jsonl`, each with its benign twin."""


@command(
    arguments=[Argument("folder", "Where to write the files.", metavar="DIR")],
    examples=(
        "safemt examples samples",
        "safemt examples samples && safemt moderate samples/dialogues.jsonl",
    ),
)
def examples(folder: Path) -> None:
    """Their content is invented and mild. Existing files are not overwritten."""
    from safemt.core.errors import UsageError

    for name in _ABOUT:
        if (folder / name).exists():
            raise UsageError(
                "file_exists",
                f"{folder / name} exists. Remove it, or name another folder.",
                path=folder / name,
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in _texts().items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            "unwritable_file", f"{folder} cannot be written: {error.strerror}.", path=folder
        ) from error
    print("Try these commands:")
    for name, line in _ABOUT.items():
        print(f"  {line.format(folder / name)}")


def _texts() -> dict[str, str]:
    """The content of each file. Dialogues and queries are those of the demo benchmark."""
    shipped = files("safemt.cli") / "samples"
    text = (files("safemt.benchmark") / "demo" / "samples.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    shown = list(dict.fromkeys(row["twin_of"] or row["query_id"] for row in rows))[:_SHOWN]
    return {
        **{name: (shipped / name).read_text(encoding="utf-8") for name in ("run.yaml", "judged.jsonl")},
        "dialogues.jsonl": _lines(
            {"id": row["query_id"], "turns": row["dialogue"]}
            for row in rows
            if row["turns"] == 4 and (row["twin_of"] or row["query_id"]) in shown
        ),
        "labelled.jsonl": _lines(
            {
                "id": f"{row['query_id']}@{row['turns']}",
                "source": "demo",
                "label": "benign" if row["twin_of"] else "harmful",
                "turns": row["dialogue"],
            }
            for row in rows
            if row["turns"] in (1, 4)
        ),
        "queries.jsonl": _lines(
            {"id": row["query_id"], "query": row["question"], "scenario": row["scenario"]}
            for row in rows
            if row["turns"] == 1 and not row["twin_of"]
        ),
    }


def _lines(rows: Iterable[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
