"""Reads the ladder files of the package, or of any folder."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from safemt.build.ladders.schema import ActClass, Ladder
from safemt.core.errors import DataError
from safemt.core.taxonomy import SCENARIO_BY_SLUG
from safemt.io.yaml import read_yaml, typed

LADDERS: Final = Path(str(files("safemt.build"))) / "data" / "ladders"


def ladder_files(root: Path = LADDERS) -> list[Path]:
    """Every ladder file below `root`, in a fixed order: `SCENARIO/CLASS.yaml`."""
    return sorted(root.glob("*/*.yaml"))


def read_ladder(path: Path) -> ActClass:
    """The act class in one file.

    Raises:
        DataError: the file is not YAML, does not have the form of a ladder, or lies in a folder that is not
            named after a scenario.
    """
    scenario = SCENARIO_BY_SLUG.get(path.parent.name)
    if scenario is None:
        raise DataError(
            "unknown_scenario",
            f"{path}: the folder {path.parent.name} is not named after a scenario (fraud, hate_speech, …).",
            path=path,
            name=path.parent.name,
        )
    return ActClass(scenario, path.stem, typed(read_yaml(path), Ladder, where=str(path)))


@cache
def act_classes() -> Mapping[str, ActClass]:
    """The act classes of the package, by id."""
    found = [read_ladder(path) for path in ladder_files()]
    return {each.id: each for each in found}
