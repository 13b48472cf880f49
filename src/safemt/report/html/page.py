"""The base of every page: one self-contained file that needs no network, made of sections.

A page's sections hold charts, tables and a little prose. In prose, text in backticks is code.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from importlib.resources import files
from typing import Final, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from safemt.report.figures import REPLICATES, SEED
from safemt.report.table import Name, Table, cell_html
from safemt.report.text import Figure, visible

_PACKAGE: Final = "safemt.report.html"
_TOGETHER: Final = re.compile(r"(\([^()]{1,40}\)|[\d.]+ %)")
_CODE: Final = re.compile(r"`([^`]+)`")


class Part(Protocol):
    """What a section holds: it says how it is shown."""

    def __html__(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph; its class may be `note`."""

    text: str
    css: str = ""

    def __html__(self) -> str:
        return f'<p class="{self.css}">{prose(self.text)}</p>'


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section: words, or the names of runs or moderators."""

    of: str | Sequence[Name]

    def __html__(self) -> str:
        names = [self.of] if isinstance(self.of, str) else self.of
        return f"<h3>{', '.join(cell_html(name) for name in names)}</h3>"


@dataclass(frozen=True, slots=True)
class Banner:
    """A remark that nobody should miss."""

    word: str
    text: str
    css: str = ""

    def __html__(self) -> str:
        return f'<p class="banner {self.css}"><strong>{prose(self.word)}</strong> {prose(self.text)}</p>'


@dataclass(frozen=True, slots=True)
class Shown:
    """A table, which scrolls where it is too wide."""

    table: Table

    def __html__(self) -> str:
        label = escape(visible(self.table.title))
        table = self.table.__html__()
        return f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">{table}</div>'


@dataclass(frozen=True, slots=True)
class Folded:
    """A table that opens by a click."""

    table: Table

    def __html__(self) -> str:
        title = escape(visible(self.table.title))
        shown = Shown(self.table).__html__()
        return f'<details class="figures"><summary>Table: {title}</summary>{shown}</details>'


@dataclass(frozen=True, slots=True)
class Preformatted:
    """A text with its own line ends, which opens by a click."""

    title: str
    text: str

    def __html__(self) -> str:
        title, text = escape(visible(self.title)), escape(visible(self.text))
        return f'<details class="figures"><summary>{title}</summary><pre tabindex="0">{text}</pre></details>'


@dataclass(frozen=True, slots=True)
class Card:
    """The main figures of one run or moderator."""

    name: Name
    tiles: tuple[tuple[str, Figure], ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page that its navigation leads to."""

    id: str
    name: str
    """In the navigation."""
    title: str
    lead: str
    parts: Sequence[Part | None]
    """None is left out: a chart that could not be drawn."""


def render(
    *,
    title: str,
    eyebrow: str,
    lead: str,
    cluster: str,
    banners: Sequence[Banner],
    cards: Sequence[Card],
    sections: Sequence[Section],
    data: Mapping[str, Markup] | None = None,
) -> str:
    """A page as text. `cluster` is what intervals are clustered by.

    `data` are JSON documents for the page's script, by id. Only its own style, and its own script if there
    are data, may act on the page.
    """
    style = _read("chart.css") + _read("style.css")
    script = _read("script.js") if data else ""
    scripts = f"; script-src '{_hash(script)}'" if script else ""
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'{scripts}"
    environment = Environment(
        loader=PackageLoader(_PACKAGE, ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": lambda cell: Markup(cell_html(cell)), "prose": prose}  # noqa: S704
    return environment.get_template("page.html.j2").render(
        title=title,
        eyebrow=eyebrow,
        lead=lead,
        cluster=cluster,
        banners=banners,
        cards=cards,
        sections=sections,
        data=data or {},
        # Ours, from this package, and allowed by their hashes.
        policy=Markup(f"{policy}; base-uri 'none'; form-action 'none'"),  # noqa: S704
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        made=f"{REPLICATES:,} bootstrap replicates, seed {SEED}. Page made by safemt {version('safemt')}.",
    )


def prose(text: str) -> Markup:
    """`text` escaped: code in backticks, and what is in brackets, or a number and its %, on one line."""
    escaped = _CODE.sub(r"<code>\1</code>", escape(visible(text)))
    return Markup(_TOGETHER.sub(r'<span class="together">\1</span>', escaped))  # noqa: S704


def _read(name: str) -> str:
    return files(_PACKAGE).joinpath(name).read_text("utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
