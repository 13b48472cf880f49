"""CSV files: our own plain one, and those of HarmBench, JailBreakV-28K and FigStep."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from safemt.build.queries import PictureSource, RawQuery
from safemt.build.sources.files import categories_of, csv_rows, safe_name, text_of
from safemt.build.sources.jsonl import QUERY_FIELDS


def read_csv(path: Path, *, images: Path | None) -> Iterator[RawQuery]:
    """A table with a column for the query; also scenario, category, image, id, source, licence, language.

    Raises:
        BenchmarkError: see `csv_rows`; or an image path leads out of its folder.
    """
    for number, row in csv_rows(path, needs=(QUERY_FIELDS,)):
        place = f"{path.name}, row {number}"
        name = text_of(row, "image", "image_path")
        yield RawQuery(
            text=text_of(row, *QUERY_FIELDS),
            place=place,
            source=text_of(row, "source") or path.name.split(".")[0],
            source_id=text_of(row, "id"),
            licence=text_of(row, "licence", "license") or "not stated",
            family=text_of(row, "source").lower(),
            category=text_of(row, "category"),
            categories=categories_of(row),
            scenario=text_of(row, "scenario"),
            language=text_of(row, "language"),
            picture=PictureSource(root=images or path.parent, name=safe_name(name, place)) if name else None,
            key_phrase=text_of(row, "key_phrase"),
        )


HARMBENCH_COLUMNS: Final = ("behavior", "semanticcategory", "behaviorid")


def read_harmbench(path: Path, *, images: Path | None) -> Iterator[RawQuery]:
    """`harmbench_behaviors_*.csv`, text or multimodal. Licence MIT.

    Raises:
        BenchmarkError: see `csv_rows`; or an image path leads out of its folder.
    """
    for number, row in csv_rows(path, needs=tuple((name,) for name in HARMBENCH_COLUMNS)):
        place = f"{path.name}, row {number}"
        name = text_of(row, "imagefilename")
        yield RawQuery(
            text=text_of(row, "behavior"),
            place=place,
            source="harmbench",
            source_id=text_of(row, "behaviorid"),
            licence="MIT",
            family="harmbench",
            category=text_of(row, "semanticcategory"),
            categories=categories_of(row),
            picture=PictureSource(root=images, name=safe_name(name, place)) if name and images else None,
            picture_text=text_of(row, "redactedimagedescription", "imagedescription", "contextstring"),
        )


JAILBREAKV_COLUMNS: Final = ("redteam_query", "policy")
_SHOWING: Final = ("query_related", "figstep")
"""Folders of JailBreakV-28K whose pictures show the query, the better first.

Pictures of `llm_transfer_attack` go with the jailbreak around it and show anything.
"""


def read_jailbreakv(path: Path, *, images: Path | None) -> Iterator[RawQuery]:
    """`JailBreakV_28K.csv` or its smaller version: the red-team query, not the jailbreak wrapped around it.

    Each query comes many times. It is given once, with the first picture that shows it. Licence MIT.

    Raises:
        BenchmarkError: see `csv_rows`; or an image path leads out of its folder.
    """
    best: dict[str, tuple[int, RawQuery]] = {}
    root = images or path.parent
    for number, row in csv_rows(path, needs=tuple((name,) for name in JAILBREAKV_COLUMNS)):
        place = f"{path.name}, row {number}"
        name = safe_name(text_of(row, "image_path"), place)
        rank = next((n for n, folder in enumerate(_SHOWING) if folder in name.split("/")), len(_SHOWING))
        shown = rank < len(_SHOWING) and (root / name).is_file()
        text = text_of(row, "redteam_query")
        key = f"{text_of(row, 'policy')}\n{text}"
        rank = rank if shown else len(_SHOWING)
        if key in best and best[key][0] <= rank:
            continue
        query = RawQuery(
            text=text,
            place=place,
            source="jailbreakv",
            source_id=text_of(row, "id"),
            licence="MIT",
            family="jailbreakv",
            category=text_of(row, "policy"),
            categories=categories_of(row),
            picture=PictureSource(root=root, name=name) if shown else None,
        )
        best[key] = (rank, query)
    yield from (query for _, query in best.values())


REDTEAM_COLUMNS: Final = ("question", "policy", "from")


def read_redteam(path: Path) -> Iterator[RawQuery]:
    """`RedTeam_2K.csv` of JailBreakV-28K: queries with their policy, without pictures. Licence MIT.

    Raises:
        BenchmarkError: see `csv_rows`.
    """
    for number, row in csv_rows(path, needs=tuple((name,) for name in REDTEAM_COLUMNS)):
        yield RawQuery(
            text=text_of(row, "question"),
            place=f"{path.name}, row {number}",
            source="redteam-2k",
            source_id=text_of(row, "id"),
            licence="MIT",
            family="jailbreakv",
            category=text_of(row, "policy"),
            categories=categories_of(row),
        )


FIGSTEP_COLUMNS: Final = ("category_id", "task_id", "category_name", "question", "instruction")


def read_figstep(path: Path, *, images: Path | None) -> Iterator[RawQuery]:
    """`safebench.csv`, with the images of `SafeBench/query_ForbidQI_{category}_{task}_6.png`. Licence MIT.

    Raises:
        BenchmarkError: see `csv_rows`.
    """
    root = images or _figstep_images(path.parent)
    for number, row in csv_rows(path, needs=tuple((name,) for name in FIGSTEP_COLUMNS)):
        place = f"{path.name}, row {number}"
        name = safe_name(f"query_ForbidQI_{row['category_id']}_{row['task_id']}_6.png", place)
        yield RawQuery(
            text=text_of(row, "question"),
            place=place,
            source="figstep",
            source_id=f"{row['category_id']}-{row['task_id']}",
            licence="MIT",
            family="figstep",
            category=text_of(row, "category_name"),
            categories=categories_of(row),
            picture=PictureSource(root=root, name=name) if root and (root / name).is_file() else None,
            key_phrase=text_of(row, "instruction"),
        )


def _figstep_images(folder: Path) -> Path | None:
    for candidate in (folder.parent / "images" / "SafeBench", folder / "images", folder / "SafeBench"):
        if candidate.is_dir():
            return candidate
    return None
