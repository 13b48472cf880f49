"""What the page shows of a run's store beyond its figures: texts, and when it was worked on."""

from pathlib import Path

from safemt.run.rows import Invocation, StoredSample
from safemt.run.store import Store


def read_texts(folder: Path, *, setup: str, judge: str) -> list[StoredSample]:
    """The texts of every sample of the plan.

    Raises:
        RunError: the store cannot be read.
    """
    with Store.open_for_reading(folder) as store:
        return list(store.samples(setup=setup, judge=judge))


def read_invocations(folder: Path) -> list[Invocation]:
    """Every invocation, oldest first.

    Raises:
        RunError: the store cannot be read.
    """
    with Store.open_for_reading(folder) as store:
        return store.invocations()
