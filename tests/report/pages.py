"""What is on a page: the words that a reader sees, its tables, and the data of its script."""

import json
import re
from html.parser import HTMLParser
from typing import Any


class _Reader(HTMLParser):
    """Reads what is outside scripts and styles; nothing on a page may act by itself or load anything."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.tags: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._hidden = False
        self._rows: list[list[str]] = []
        self._spans: dict[int, tuple[str, int]] = {}
        self._cell: list[str] | None = None
        self._span = 1
        self._caption: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._hidden = tag in ("script", "style")
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs), attrs
        found = dict(attrs)
        for name in ("src", "href"):
            assert (found.get(name) or "#").startswith(("#", "data:"))
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            carried = [text for text, left in self._spans.values() if left]
            self._spans = {at: (text, left - 1) for at, (text, left) in self._spans.items() if left > 1}
            self._rows.append(carried)
        elif tag in ("td", "th"):
            self._cell, self._span = [], int(found.get("rowspan") or 1)

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False
        if tag in ("td", "th") and self._cell is not None:
            text = " ".join("".join(self._cell).split())
            if self._span > 1:
                self._spans[0] = (text, self._span - 1)
            self._rows[-1].append(text)
            self._cell = None
        elif tag == "table" and self._caption is not None:
            self.tables[self._caption.removesuffix(" (simulated)")] = self._rows
            self._caption = None

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        self.seen.append(data)
        if self._cell is not None:
            self._cell.append(data)
        elif self._caption == "":
            self._caption = data


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


def words(page: str) -> str:
    return " ".join(" ".join(_read(page).seen).split())


def tags(page: str) -> list[str]:
    return _read(page).tags


def tables(page: str) -> dict[str, list[list[str]]]:
    """The rows of each table by its title, headings first; a name that spans rows is in each of them."""
    return _read(page).tables


def data(page: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="data-{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])
