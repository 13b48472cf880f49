"""docs/python.md: its blocks run in order in one namespace, as a reader would run them."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_every_block_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAFEMT_HOME", str(tmp_path / "home"))
    namespace: dict[str, object] = {}
    assert len(BLOCKS) > 8
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), namespace)  # noqa: S102 (our own page)
    printed = capsys.readouterr().out
    assert "cannot tell" in printed or "lower" in printed
    assert "not_a_run" in printed
