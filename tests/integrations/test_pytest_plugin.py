"""The plugin in a pytest of its own."""

import subprocess
import sys
from pathlib import Path

TEST = """
def test_gate(safemt_results, record_property):
    asr = safemt_results.turns[1].asr
    record_property("asr", asr.value)
    assert 0 <= asr.interval.low <= asr.interval.high <= {limit}
"""


def run(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-q", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_run_as_a_gate(tmp_path: Path) -> None:
    out = tmp_path / "run"
    demo = [sys.executable, "-m", "safemt", "demo", "--out", str(out)]
    subprocess.run(demo, check=True, capture_output=True)
    (tmp_path / "test_gate.py").write_text(TEST.format(limit=1))
    done = run(tmp_path, "--safemt-run", out, "--junitxml", tmp_path / "out.xml")
    assert done.returncode == 0, done.stdout
    assert 'name="asr"' in (tmp_path / "out.xml").read_text()
    (tmp_path / "test_gate.py").write_text(TEST.format(limit=0))
    assert run(tmp_path, "--safemt-run", out).returncode == 1
    assert "1 skipped" in run(tmp_path).stdout
