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
    """What a section holds, such as a chart or a piece of markup: it says how it is shown."""

    def __html__(self) -> str: ...


def paragraph(text: str) -> Markup:
    """A paragraph of prose."""
    return Markup(f"<p>{prose(text)}</p>")  # noqa: S704


def note(text: str) -> Markup:
    """A paragraph of prose that is less important."""
    return Markup(f'<p class="note">{prose(text)}</p>')  # noqa: S704


def heading(*of: str | Name) -> Markup:
    """A heading within a section: words, or the names of runs or moderators."""
    return Markup(f"<h3>{', '.join(map(cell_html, of))}</h3>")  # noqa: S704


def banner(word: str, text: str, css: str = "") -> Markup:
    """A remark that nobody should miss."""
    return Markup(f'<p class="banner {css}"><strong>{prose(word)}</strong> {prose(text)}</p>')  # noqa: S704


def shown(table: Table) -> Markup:
    """A table, which scrolls where it is too wide."""
    label = escape(visible(table.title))
    drawn = table.__html__()
    return Markup(f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">{drawn}</div>')  # noqa: S704


def folded(title: str, content: Table | str) -> Markup:
    """A table, or a text with its own line ends, that opens by a click."""
    inner = (
        shown(content)
        if isinstance(content, Table)
        else f'<pre tabindex="0">{escape(visible(content))}</pre>'
    )
    summary = f"<summary>{escape(visible(title))}</summary>"
    return Markup(f'<details class="figures">{summary}{inner}</details>')  # noqa: S704


def folded_table(table: Table) -> Markup:
    """A table that opens by a click."""
    return folded(f"Table: {table.title}", table)


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
    banners: Sequence[Markup],
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
