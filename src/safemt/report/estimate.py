"""How an estimate is shown: a table for people, a document for programs."""

from typing import Any

from rich.console import Console
from rich.table import Table

from safemt.endpoints.spend import dollars
from safemt.endpoints.tokens import Tokens
from safemt.run.estimate import Estimate, Part


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """The estimate as a document; its keys are described in docs/file-formats.md."""
    return {
        "samples": estimate.samples,
        "done": estimate.done,
        "models": [
            {
                "role": part.asked.role,
                "model": part.asked.model,
                "origin": part.asked.origin,
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
                "cost": _cost(part.cost),
            }
            for part in estimate.parts
        ],
        "cost": _cost(estimate.cost),
    }


def print_estimate(estimate: Estimate, console: Console) -> None:
    """The estimate as a table, with what it rests on."""
    parts = estimate.parts
    if not any(part.calls for part in parts):
        console.print(f"No call is left to make: {estimate.samples:,} samples.", highlight=False)
        return
    table = Table(title="Calls still to make", title_justify="left")
    table.add_column("asked", overflow="fold")
    for name in ("calls", "input tokens", "output tokens", "cost"):
        table.add_column(name, justify="right")
    for part in parts:
        name = f"{part.asked.role} {part.asked.model}"
        _add_rows(table, name, part.calls, part.input, part.output, part.cost)
    if len(parts) > 1:
        table.add_section()
        _add_rows(
            table,
            "all",
            sum(part.calls for part in parts),
            sum((part.input for part in parts), Tokens()),
            sum((part.output for part in parts), Tokens()),
            estimate.cost,
        )
    console.print(table)
    if estimate.done:
        console.print(
            f"{estimate.done:,} of {estimate.samples:,} samples need no call and are not counted.",
            highlight=False,
        )
    for part in parts:
        for line in _basis(part):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if not all(part.seen for part in parts):
        console.print(
            "A run of a few samples (--limit) into the same --out makes assumed lengths measured ones."
        )


def _basis(part: Part) -> list[str]:
    model = part.asked.model
    lines = [
        f"{model}: {part.output_each.expected:.0f} tokens an answer, as in its {part.seen:,} answers so far."
        if part.seen
        else f"{model}: {part.output_each.expected:.0f} tokens an answer, assumed."
    ]
    if part.images:
        lines.append(f"{model}: {part.images:,} images, tokens {part.image_formula}.")
    if part.price is None:
        lines.append(f"{part.asked}: its price is not known; give it with --prices FILE.")
    elif part.price.read:
        lines.append(f"{model}: price read on {part.price.read} ({part.price.source or 'own table'}).")
    return lines


def _add_rows(
    table: Table, name: str, calls: int, sent: Tokens, received: Tokens, cost: Tokens | None
) -> None:
    expected = "unknown" if cost is None else dollars(cost.expected)
    worst = "unknown" if cost is None else dollars(cost.worst)
    table.add_row(name, f"{calls:,}", f"{sent.expected:,.0f}", f"{received.expected:,.0f}", expected)
    table.add_row("  at worst", "", f"{sent.worst:,.0f}", f"{received.worst:,.0f}", worst)


def _rounded(tokens: Tokens) -> dict[str, int]:
    return {"expected": round(tokens.expected), "worst": round(tokens.worst)}


def _cost(cost: Tokens | None) -> dict[str, float] | None:
    return None if cost is None else {"expected": cost.expected, "worst": cost.worst}
