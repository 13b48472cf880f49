from pathlib import Path

import pytest

from e2e.command import Command, in_process
from safemt.endpoints import limits


@pytest.fixture
def safemt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process, with waits a fiftieth as long."""
    monkeypatch.setattr(limits, "OF_A_RUN", limits.Patience(first_backoff=0.01, longest_backoff=0.5))
    return in_process(tmp_path, monkeypatch, capsys)
