import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# The training is no part of the package: it stands beside src, where nothing else looks.
sys.path.insert(0, str(ROOT))

DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of published data sets."""
    if not DATA.is_dir():
        pytest.skip("../shared/data is not here")
    return DATA
