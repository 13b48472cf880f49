"""What models cost: a dated table that comes with safemt, and the user's own on top of it.

A model that is in neither has no known price. Nothing falls back to another model's price, or to 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from safemt.core.errors import UsageError

FORMAT: Final = "safemt-prices/1"
_SHIPPED: Final = "prices.yaml"
_ABOUT: Final = frozenset({"read", "source", "origin"})
_COSTS: Final = ("input", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one model costs, in US dollars per million tokens."""

    input: float
    output: float
    read: str = ""
    """The day on which it was read, as an ISO date."""
    source: str = ""
    """Where it was read."""
    origin: str | None = None
    """The endpoint (scheme, host, port) at which it holds; None for any."""

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """US dollars for so many tokens."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1_000_000


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by model, named as on the command line (`openai/MODEL`)."""

    models: Mapping[str, Price]

    def price(self, model: str, origin: str) -> Price | None:
        """The price of `model` at the endpoint `origin`; None if it is unknown."""
        price = self.models.get(model)
        return price if price is not None and price.origin in (None, origin) else None


def read_prices(own: Path | None = None) -> PriceTable:
    """The shipped table, with the entries of the file `own` in place of and beside its entries.

    Raises:
        UsageError: `own` cannot be read or is no price table.
    """
    shipped = _models(files("safemt.endpoints").joinpath(_SHIPPED).read_text("utf-8"), _SHIPPED)
    if own is None:
        return PriceTable(shipped)
    try:
        text = own.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"The price table {own} cannot be read: {reason}.") from error
    return PriceTable({**shipped, **_models(text, str(own))})


def _models(text: str, name: str) -> dict[str, Price]:
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"The price table {name} is no YAML: {_on_one_line(error)}.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(
            f"The price table {name} must begin with `format: {FORMAT}`. An example stands in "
            "docs/file-formats.md."
        )
    unknown = content.keys() - {"format", "models", *_ABOUT}
    models = content.get("models")
    if unknown or not isinstance(models, dict) or not models:
        what = f"holds the unknown key {min(map(str, unknown))!r}" if unknown else "lists no `models`"
        raise UsageError(f"The price table {name} {what}.")
    about = {key: content[key] for key in _ABOUT & content.keys()}
    return {str(model): _price(str(model), entry, about, name) for model, entry in models.items()}


def _price(model: str, entry: Any, about: Mapping[str, Any], name: str) -> Price:
    if not model.startswith("openai/"):
        raise UsageError(
            f"The price table {name} names {model!r}; models are named as for --target: openai/{model}."
        )
    if not isinstance(entry, dict) or entry.keys() - {*_COSTS, *_ABOUT}:
        raise UsageError(
            f"The price table {name} must give {model} as input and output (and read, source, origin), in US "
            "dollars per million tokens."
        )
    costs = [entry.get(key) for key in _COSTS]
    if not all(
        isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < math.inf
        for cost in costs
    ):
        raise UsageError(
            f"The price table {name} must give both input and output of {model} as numbers, in US dollars "
            "per million tokens; 0 is for what costs nothing."
        )
    said = {key: str(value) for key, value in {**about, **entry}.items() if key in _ABOUT}
    if "origin" in said:
        said["origin"] = said["origin"].rstrip("/")
    return Price(input=float(entry["input"]), output=float(entry["output"]), **said)


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
