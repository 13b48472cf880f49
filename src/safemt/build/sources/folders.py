"""Sets that come as folders: MM-SafetyBench's JSON files with images, BeaverTails-V's Parquet files."""

from collections.abc import Iterator
from pathlib import Path

from safemt.build.queries import PictureSource, RawQuery
from safemt.build.sources.files import categories_of, json_document, parquet_rows, safe_name, text_of
from safemt.core.errors import BenchmarkError

_MM_KINDS = ("SD_TYPO", "SD", "TYPO")
"""MM-SafetyBench draws each query three times; the first kind at hand is used."""


def read_mm_safetybench(path: Path, *, images: Path | None) -> Iterator[RawQuery]:
    """`processed_questions/NN-Scenario.json`, one file or the folder, with `imgs/NN-Scenario/KIND/N.jpg`.

    Licence CC BY-NC 4.0.

    Raises:
        BenchmarkError: there is no such file, or it is not in that form.
    """
    files = [path] if path.is_file() else sorted(_questions_folder(path).glob("[0-9][0-9]-*.json"))
    if not files:
        raise BenchmarkError(f"{path} holds no NN-Scenario.json of MM-SafetyBench.")
    for file in files:
        document = json_document(file)
        if not isinstance(document, dict):
            raise BenchmarkError(f"{file} is not an object of questions by number, as MM-SafetyBench has it.")
        root = images or _mm_images(file)
        for number, row in document.items():
            place = f"{file.name}, question {number}"
            if not isinstance(row, dict):
                raise BenchmarkError(f"{place} is not an object; is it another kind of file?")
            yield RawQuery(
                text=text_of(row, "Question"),
                place=place,
                source="mm-safetybench",
                source_id=f"{file.stem}-{number}",
                licence="CC BY-NC 4.0",
                family="mm-safetybench",
                category=file.stem.partition("-")[2],
                categories=categories_of(row),
                picture=_mm_picture(root, file.stem, number, place),
                key_phrase=text_of(row, "Key Phrase"),
            )


def read_beavertails_v(path: Path) -> Iterator[RawQuery]:
    """Parquet files with `question`, `category` and the image's bytes, one file or a folder. CC BY-NC 4.0.

    Raises:
        BenchmarkError: there is no such file, or it is not in that form.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    if not files:
        raise BenchmarkError(f"{path} holds no Parquet file of BeaverTails-V.")
    for file in files:
        for number, row in parquet_rows(file, ("question", "category", "image")):
            image = row.get("image")
            content = image.get("bytes") if isinstance(image, dict) else None
            place = f"{file.name}, row {number}"
            yield RawQuery(
                text=text_of(row, "question"),
                place=place,
                source="beavertails-v",
                source_id=f"{file.stem}-{number}",
                licence="CC BY-NC 4.0",
                family="beavertails-v",
                category=text_of(row, "category"),
                categories=categories_of(row),
                picture=PictureSource(name=place, content=content) if content else None,
            )


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
