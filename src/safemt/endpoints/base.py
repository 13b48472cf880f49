"""What a chat endpoint is asked for, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a chat model is asked to generate."""

    temperature: float | None = 0.0
    """None leaves it to the endpoint's default (some models accept no other)."""
    max_output_tokens: int = 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered to one request."""

    text: str
    blocked: bool = False
    """Whether the provider's content filter stood in; `text` is then its notice or a partial answer."""
    finish_reason: str | None = None
    model: str | None = None
    """The model as the endpoint names it, often a dated version."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_token: Mapping[str, float] | None = None
    """Probabilities of the answer's first token; None unless they were asked for and given."""
