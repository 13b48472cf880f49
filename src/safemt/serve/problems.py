"""What a client is told when the gateway itself answers with an error."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_TYPES: Final = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


@dataclass(eq=False)
class Problem(Exception):
    """An answer of the gateway in place of the upstream's. It never repeats a text of the conversation."""

    status: int
    code: str
    """Stable: `invalid_json`, `too_many_messages`, `overloaded`, `upstream_timeout`, …"""
    message: str
    param: str | None = None
    """The field of the body that is wrong."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The `type` of the error, as OpenAI and Anthropic name it."""
        return _TYPES.get(self.status, "api_error" if self.status >= 500 else "invalid_request_error")


def openai_error(problem: Problem) -> dict[str, Any]:
    """The body of an error as OpenAI's clients expect it."""
    return {
        "error": {
            "message": problem.message,
            "type": problem.kind,
            "param": problem.param,
            "code": problem.code,
        }
    }


def anthropic_error(problem: Problem) -> dict[str, Any]:
    """The body of an error as Anthropic's clients expect it; the code begins the message."""
    return {
        "type": "error",
        "error": {"type": problem.kind, "message": f"{problem.code}: {problem.message}"},
    }


def invalid(code: str, message: str, param: str | None = None) -> Problem:
    """A request that the gateway does not understand, and therefore does not pass on."""
    return Problem(400, code, message, param)
