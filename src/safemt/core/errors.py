"""The one exception tree.

Each error carries a stable `code`, `fields` for programs, and a sentence for a person: what is wrong, where,
and what to do. The sentence fits a Python program. It names a setting by its path in `RunConfig`, in
backticks (`moderator.threshold`). The command line turns such a path into the option's name, rewords a few
errors (`cli/errors.py`), exits with `exit_code`, and never shows a traceback for these errors.

    SafemtError
    ├── UsageError       a wrong argument or combination of arguments
    ├── BenchmarkError   a benchmark that cannot be read, or must not be used
    ├── DataError        a file of settings (YAML, JSON) that does not have the form it should
    ├── FileError        a file that cannot be read or written
    ├── RunError         a run directory or store that cannot be used
    ├── LabelsError      a labels or recorded-responses file that cannot be used
    ├── DialogueError    a conversation that cannot be moderated
    ├── ModeratorError   a moderator, its model or a policy file that cannot be used
    ├── CallError        one call to an endpoint failed (carries a `CallFailure`)
    └── RunStopped       a run that stopped before its end; what was finished is stored
        └── CapReached   a run that stopped because it has spent what it may
"""

from dataclasses import dataclass


class SafemtError(Exception):
    """Base of every error that safemt raises on purpose."""

    exit_code = 2

    def __init__(self, code: str, message: str = "", **fields: object) -> None:
        """`code` is stable; `fields` hold what the message is about (`name=…`, `path=…`)."""
        if not message:  # not yet given a code
            code, message = "", code
        super().__init__(message)
        self.code = code
        self.fields = fields


class UsageError(SafemtError):
    """A wrong argument, or arguments that do not go together."""


class BenchmarkError(SafemtError):
    """A benchmark that cannot be read, or that must not be used as it is."""

    exit_code = 1


class DataError(SafemtError):
    """A file of settings that does not have the form it should."""


class FileError(SafemtError):
    """A file that cannot be read or written."""


class RunError(SafemtError):
    """A run directory or its store that cannot be used."""


class LabelsError(SafemtError):
    """A file of labels or recorded responses that cannot be used."""


class DialogueError(SafemtError):
    """A conversation that cannot be moderated: empty, without a user message, or not in a known form."""

    exit_code = 1


class ModeratorError(SafemtError):
    """A moderator, its model or its policies that cannot be used."""


@dataclass(frozen=True, slots=True)
class CallFailure:
    """Why one call to an endpoint gave no answer."""

    cause: str
    """A short, stable code: `http_500`, `timeout`, `connection`, `bad_reply`, `empty_reply`, …"""
    message: str
    """A sentence for people, without secrets."""
    retryable: bool = False
    """Whether the same call may succeed if it is made again."""
    throttled: bool = False
    """Whether the endpoint asked for fewer calls (HTTP 429 or 503)."""
    retry_after: float | None = None
    """Seconds that the endpoint asked to wait; None if it did not."""
    fatal: bool = False
    """Whether every other call would fail in the same way (a bad key, an unknown model)."""
    prompt_tokens: int = 0
    """Tokens that the endpoint charges for an unusable answer; 0 if it reports none."""
    completion_tokens: int = 0


class CallError(SafemtError):
    """One call to an endpoint failed; `failure` says why and whether to try again."""

    def __init__(self, failure: CallFailure) -> None:
        super().__init__(failure.cause, failure.message)
        self.failure = failure


class RunStopped(SafemtError):
    """A run stopped before its end. What was finished is in the store; the same call continues."""

    exit_code = 3


class CapReached(RunStopped):
    """A run has spent what it may. `fields["cap"]` is the setting to raise, such as `budget.max_cost`."""
