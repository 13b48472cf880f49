import pytest


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the developer's environment must not change a test."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
