"""What a chat endpoint is asked for, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a chat model is asked to generate."""

    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = 0.0
    """None leaves it to the server (some models accept no other)."""
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] = 1024


class EndpointConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that is asked over an endpoint, as a person configures it."""

    name: str
    """Such as `openai/MODEL`."""
    base_url: str | None = None
    """An OpenAI-compatible server; None is OpenAI's own."""
    api_key_env: str | None = None
    """The environment variable that holds the key; None is `OPENAI_API_KEY`."""


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
