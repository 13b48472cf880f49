"""Sets that come as folders: MM-SafetyBench (both layouts), BeaverTails-V, MLLMGuard."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from safemt.build.queries import Ledger, PictureSource, RawQuery, Reject, Stage
from safemt.build.sources.files import (
    categories_of,
    csv_rows,
    json_document,
    parquet_image,
    parquet_rows,
    safe_name,
    text_of,
)
from safemt.core.errors import BenchmarkError

_MM_KINDS: Final = ("SD_TYPO", "SD", "TYPO")
"""MM-SafetyBench draws each query three times; the first kind at hand is used."""
_MM_TEXT: Final = "Text_only"
_LICENCE: Final = "CC BY-NC 4.0"
MLLMGUARD_HARMFUL: Final = frozenset({"privacy", "bias", "toxicity", "legality"})
"""Dimensions of MLLMGuard whose prompts ask for harm; the others measure truthfulness."""


def read_mm_safetybench(path: Path, *, images: Path | None) -> Iterator[RawQuery]:
    """MM-SafetyBench as in its repository: `processed_questions/NN-Scenario.json`, one file or the folder.

    The images are `imgs/NN-Scenario/KIND/N.jpg`. Licence CC BY-NC 4.0.

    Raises:
        BenchmarkError: there is no such file, or it is not in that form.
    """
    files = [path] if path.is_file() else sorted(_questions_folder(path).glob("[0-9][0-9]-*.json"))
    if not files:
        raise BenchmarkError(
            "wrong_layout", f"{path} holds no NN-Scenario.json of MM-SafetyBench.", path=path
        )
    for file in files:
        document = json_document(file)
        if not isinstance(document, dict):
            raise BenchmarkError(
                "wrong_layout", f"{file} is not an object of questions by number, as MM-SafetyBench has it."
            )
        root = images or _mm_images(file)
        for number, row in document.items():
            place = f"{file.name}, question {number}"
            if not isinstance(row, dict):
                raise BenchmarkError("wrong_layout", f"{place} is not an object; is it another kind of file?")
            yield RawQuery(
                text=text_of(row, "Question"),
                place=place,
                source="mm-safetybench",
                source_id=f"{file.stem}-{number}",
                licence=_LICENCE,
                family="mm-safetybench",
                category=file.stem.partition("-")[2],
                categories=categories_of(row),
                picture=_mm_picture(root, file.stem, number, place),
                key_phrase=text_of(row, "Key Phrase"),
            )


def read_mm_safetybench_hub(path: Path) -> Iterator[RawQuery]:
    """MM-SafetyBench as on the hub: `data/SCENARIO/KIND.parquet` with `id`, `question` and `image`.

    The question is that of `Text_only`, which says what is wanted without a picture; the image is that of the
    first other kind with the same id. Ids begin anew in each scenario. Licence CC BY-NC 4.0.

    Raises:
        BenchmarkError: there is no `Text_only.parquet`, or a file is not in that form.
    """
    folders = sorted({file.parent for file in path.rglob(f"{_MM_TEXT}.parquet")})
    if not folders:
        raise BenchmarkError(
            "wrong_layout",
            f"{path} holds no SCENARIO/{_MM_TEXT}.parquet of MM-SafetyBench. Its questions are in these "
            f"files; the "
            "other kinds hold what goes with their pictures.",
            path=path,
        )
    for folder in folders:
        pictures = _hub_pictures(folder)
        file = folder / f"{_MM_TEXT}.parquet"
        for number, row in parquet_rows(file, ("id", "question")):
            key = str(row.get("id"))
            place = f"{folder.name}/{file.name}, row {number}"
            found = pictures.get(key)
            yield RawQuery(
                text=text_of(row, "question"),
                place=place,
                source="mm-safetybench",
                source_id=f"{folder.name}-{key}",
                licence=_LICENCE,
                family="mm-safetybench",
                category=folder.name,
                picture=PictureSource(name=place, read=parquet_image(*found)) if found else None,
            )


def _hub_pictures(folder: Path) -> dict[str, tuple[Path, int]]:
    """Where the picture of each id is: the file and the row."""
    for kind in _MM_KINDS:
        file = folder / f"{kind}.parquet"
        if file.is_file():
            return {str(row.get("id")): (file, number) for number, row in parquet_rows(file, ("id",))}
    return {}


def read_beavertails_v(path: Path) -> Iterator[RawQuery]:
    """BeaverTails-V: `data/CATEGORY/SPLIT.parquet` with `question` and `image`. Licence CC BY-NC 4.0.

    The category is the column's, else the folder's. There are no ids: folder, file and row make one.

    Raises:
        BenchmarkError: there is no such file, or it is not in that form.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    if not files:
        raise BenchmarkError("wrong_layout", f"{path} holds no Parquet file of BeaverTails-V.", path=path)
    for file in files:
        for number, row in parquet_rows(file, ("question",), ("category",)):
            place = f"{file.parent.name}/{file.name}, row {number}"
            category = text_of(row, "category") or file.parent.name
            yield RawQuery(
                text=text_of(row, "question"),
                place=place,
                source="beavertails-v",
                source_id=f"{file.parent.name}-{file.stem}-{number}",
                licence=_LICENCE,
                family="beavertails-v",
                category=category,
                categories=(file.parent.name,),
                picture=PictureSource(name=place, read=parquet_image(file, number)),
            )


def read_mllmguard(path: Path, *, ledger: Ledger) -> Iterator[RawQuery]:
    """MLLMGuard: `DIMENSION/prompt.csv` with `DIMENSION/imgs/`. Rows of dimensions without harm are left out.

    Columns are found by their names (`Prompt`, `Image`, `Lan`), since their places differ between dimensions.

    Raises:
        BenchmarkError: there is no such file, or a column is missing.
    """
    files = [path] if path.is_file() else sorted(path.rglob("prompt.csv"))
    if not files:
        raise BenchmarkError("wrong_layout", f"{path} holds no DIMENSION/prompt.csv of MLLMGuard.", path=path)
    for file in files:
        dimension = file.parent.name
        for number, row in csv_rows(file, needs=(("prompt",),)):
            place = f"{dimension}/{file.name}, row {number}"
            if dimension not in MLLMGUARD_HARMFUL:
                ledger.add(Reject(Stage.READING, reason="not_harmful", place=place, detail=dimension))
                continue
            name = text_of(row, "image", "image1", "image 1", "image_path")
            yield RawQuery(
                text=text_of(row, "prompt"),
                place=place,
                source="mllmguard",
                source_id=f"{dimension}-{number}",
                family="mllmguard",
                category=dimension,
                categories=categories_of(row),
                language=text_of(row, "lan", "language").lower(),
                picture=_guard_picture(file.parent, name, place) if name else None,
            )


def _guard_picture(folder: Path, name: str, place: str) -> PictureSource:
    name = safe_name(name, place)
    inside = name if (folder / name).is_file() else f"imgs/{name}"
    return PictureSource(root=folder, name=inside)


def _questions_folder(path: Path) -> Path:
    for candidate in (path / "processed_questions", path / "data" / "processed_questions"):
        if candidate.is_dir():
            return candidate
    return path


def _mm_images(file: Path) -> Path | None:
    for base in (file.parent, file.parent.parent, file.parent.parent.parent):
        if (base / "imgs").is_dir():
            return base / "imgs"
    return None


def _mm_picture(root: Path | None, scenario: str, number: str, place: str) -> PictureSource | None:
    if root is None:
        return None
    for kind in _MM_KINDS:
        for suffix in ("jpg", "png"):
            name = safe_name(f"{scenario}/{kind}/{number}.{suffix}", place)
            if (root / name).is_file():
                return PictureSource(root=root, name=name)
    return None
