from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_validations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFEMT_HOME", str(tmp_path / "home"))
