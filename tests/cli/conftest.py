import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.command import KEY, Done
from safemt.cli import main

Command = Callable[..., Done]


@pytest.fixture
def safemt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process and in `tmp_path`, where a process of its own would add nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SAFEMT_HOME", str(tmp_path / "home"))

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["safemt", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Done(code, written.out, written.err)

    return run
