import pytest


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the developer's environment is none of the tests' business."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
