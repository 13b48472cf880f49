from pathlib import Path

import pytest

from e2e.command import Command, in_process


@pytest.fixture
def safemt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process and in `tmp_path`, where a process of its own would add nothing."""
    return in_process(tmp_path, monkeypatch, capsys)
