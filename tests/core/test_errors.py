"""The exception tree: exit codes, and a failed call that carries its cause."""

from safemt.core.errors import (
    BenchmarkError,
    CallError,
    CallFailure,
    LabelsError,
    RunError,
    RunStopped,
    SafemtError,
    UsageError,
)


def test_every_error_is_a_safemt_error_with_its_exit_code() -> None:
    codes = {UsageError: 2, BenchmarkError: 1, RunError: 2, LabelsError: 2, RunStopped: 3}
    for kind, code in codes.items():
        error = kind("What is wrong, and what to do.")
        assert isinstance(error, SafemtError)
        assert (error.exit_code, str(error)) == (code, "What is wrong, and what to do.")


def test_a_failed_call_says_why() -> None:
    failure = CallFailure(
        "http_503", "The endpoint is busy.", retryable=True, throttled=True, retry_after=2.0
    )
    error = CallError(failure)
    assert str(error) == "The endpoint is busy."
    assert error.failure is failure
    assert not failure.fatal
