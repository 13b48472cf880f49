"""What a run will cost: as a document, and on the terminal."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from safemt.endpoints.spend import dollars
from safemt.endpoints.tokens import Tokens
from safemt.report.document import document
from safemt.report.table import RULE, Row, Table, columns, print_table, say
from safemt.report.text import count, number
from safemt.run.estimate import Estimate, Part

if TYPE_CHECKING:
    from rich.console import Console


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """The estimate as a document, described in docs/file-formats.md."""
    return {
        "samples": estimate.samples,
        "done": estimate.done,
        "models": [
            {
                **document(part.asked),
                "calls": part.calls,
                "images": part.images,
                "image_tokens": part.image_formula if part.images else None,
                "input_tokens": _rounded(part.input),
                "output_tokens": _rounded(part.output),
                "output_per_call": {"expected": round(part.output_each.expected, 1), "seen": part.seen},
                "price": None
                if part.price is None
                else {
                    "input": part.price.input,
                    "output": part.price.output,
                    "read": part.price.read or None,
                    "source": part.price.source or None,
                },
                "cost": document(part.cost),
            }
            for part in estimate.parts
        ],
        "cost": document(estimate.cost),
    }


def print_estimate(estimate: Estimate, console: "Console") -> None:
    """Print the calls still to make, and what their number of tokens rests on."""
    parts = estimate.parts
    if not any(part.calls for part in parts):
        say(console, f"No call is left to make for {count(estimate.samples, 'sample')}.")
        return
    rows = [
        row
        for part in parts
        for row in _rows(
            f"{part.asked.role} {part.asked.model}", part.calls, part.input, part.output, part.cost
        )
    ]
    if len(parts) > 1:
        sent, received = (
            sum((getattr(part, way) for part in parts), Tokens()) for way in ("input", "output")
        )
        rows += [RULE, *_rows("all", sum(part.calls for part in parts), sent, received, estimate.cost)]
    headings = ("Asked", "Calls", "Input tokens", "Output tokens", "Cost")
    print_table(Table("Calls still to make", columns(*headings, text=headings[:1]), tuple(rows)), console)
    say(console)
    if estimate.done:
        say(
            console,
            f"{estimate.done:,} of {count(estimate.samples, 'sample')} need no call and are not counted.",
        )
    for part in parts:
        for line in _basis(part):
            say(console, line, wrap=False)
    if not all(part.seen for part in parts):
        say(
            console,
            "After a run of a few samples into the same directory, measured lengths replace assumed ones.",
        )


def _basis(part: Part) -> Iterable[str]:
    model, each = part.asked.model, number(part.output_each.expected, 0)
    seen = f"as in its {count(part.seen, 'response')} so far" if part.seen else "assumed"
    yield f"{model}: {each} tokens per response, {seen}."
    if part.images:
        yield f"{model}: {count(part.images, 'image')}, tokens {part.image_formula}."
    if part.price is None:
        yield f"{part.asked}: its price is not known. A file of prices can say it."
    elif part.price.read:
        yield f"{model}: price read on {part.price.read} ({part.price.source or 'own table'})."


def _rows(name: str, calls: int, sent: Tokens, received: Tokens, cost: Tokens | None) -> tuple[Row, Row]:
    expected, worst = (
        ("unknown", "unknown") if cost is None else (dollars(cost.expected), dollars(cost.worst))
    )
    return (
        (name, calls, number(sent.expected, 0), number(received.expected, 0), expected),
        ("  at worst", "", number(sent.worst, 0), number(received.worst, 0), worst),
    )


def _rounded(tokens: Tokens) -> dict[str, int]:
    return {"expected": round(tokens.expected), "worst": round(tokens.worst)}
