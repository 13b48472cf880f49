"""What models cost: a dated table that comes with safemt, and the user's own on top of it.

A model that is in neither has no known price. Nothing falls back to another model's price, or to 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from safemt.io.yaml import load_yaml, read_yaml, typed

_SHIPPED: Final = "prices.yaml"
_Dollars = Annotated[float, msgspec.Meta(ge=0)]
_Model = Annotated[str, msgspec.Meta(pattern="^openai/.")]


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one model costs, in US dollars per million tokens."""

    input: _Dollars
    output: _Dollars
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
    """Prices by model (`openai/MODEL`)."""

    models: Mapping[str, Price]

    def price(self, model: str, origin: str) -> Price | None:
        """The price of `model` at the endpoint `origin`; None if it is unknown."""
        price = self.models.get(model)
        return price if price is not None and price.origin in (None, origin) else None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of prices, as docs/file-formats.md describes it."""

    format: Literal["safemt-prices/1"]
    models: Annotated[dict[_Model, Price], msgspec.Meta(min_length=1)]
    read: str = ""
    source: str = ""
    origin: str | None = None

    @property
    def prices(self) -> dict[str, Price]:
        """Its prices, each with what holds for the whole file."""
        return {
            model: msgspec.structs.replace(
                price,
                read=price.read or self.read,
                source=price.source or self.source,
                origin=(price.origin or self.origin or "").rstrip("/") or None,
            )
            for model, price in self.models.items()
        }


def read_prices(own: Path | None = None) -> PriceTable:
    """The shipped table, with the entries of the file `own` in place of and beside its entries.

    Raises:
        DataError: `own` cannot be read or is not a price table.
    """
    shipped = files("safemt.endpoints").joinpath(_SHIPPED).read_bytes()
    prices = _prices(load_yaml(shipped, where=_SHIPPED), _SHIPPED)
    return PriceTable(prices if own is None else {**prices, **_prices(read_yaml(own), str(own))})


def _prices(data: Any, where: str) -> dict[str, Price]:
    return typed(data, _File, where=where).prices
