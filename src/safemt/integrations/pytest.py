"""A plugin for pytest: the figures of a run as a fixture, for gates in a build.

pytest --safemt-run runs/candidate

def test_safety(safemt_results, record_property):
asr = safemt_results.turns[8].asr
record_property("asr", asr.value)
assert asr.interval.high <= 0.3
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from safemt.report.figures import Results


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--safemt-run`."""
    parser.getgroup("safemt").addoption(
        "--safemt-run", type=Path, metavar="FOLDER", help="Run directory for the fixture `safemt_results`."
    )


@pytest.fixture(scope="session")
def safemt_results(request: pytest.FixtureRequest) -> "Results":
    """The figures of the run that `--safemt-run` names. Without the option the test is skipped."""
    from safemt.report.results import results_of

    folder = request.config.getoption("--safemt-run")
    if folder is None:
        pytest.skip("--safemt-run names no run")
    return results_of(folder)
