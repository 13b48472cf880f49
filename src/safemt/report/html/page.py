"""The base of every page: one self-contained file that needs no network, in the same style."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from safemt.report.figures import REPLICATES, SEED
from safemt.report.table import Name, cell_html
from safemt.report.text import UNKNOWN, Figure, visible

_PACKAGE: Final = "safemt.report.html"
_TOGETHER: Final = re.compile(r"(\([^()]{1,40}\)|[\d.]+ %)")


@dataclass(frozen=True, slots=True)
class Banner:
    """A remark at the top of a page that nobody should miss."""

    word: str
    text: str
    css: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """The main figures of one run or moderator."""

    name: Name
    tiles: tuple[tuple[str, Figure], ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of provenance."""

    term: str
    text: str
    code: bool = False
    """Whether the text is a hash or a command."""


def render(template: str, *, script: bool = False, nav: Sequence[tuple[str, str]], **content: Any) -> str:
    """A page from a template of this folder; `nav` are the ids and names of its sections.

    Only its own style, and its own script if it has one, may act on the page.
    """
    style = _read("chart.css") + _read("style.css")
    code = _read("script.js") if script else ""
    allowed = f"style-src '{_hash(style)}'" + (f"; script-src '{_hash(code)}'" if script else "")
    environment = Environment(
        loader=PackageLoader(_PACKAGE, ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": lambda cell: Markup(cell_html(cell)), "together": _together}  # noqa: S704
    return environment.get_template(template).render(
        # Ours, from this package, and allowed by their hashes.
        style=Markup(style),  # noqa: S704
        script=Markup(code),  # noqa: S704
        policy=f"default-src 'none'; img-src data:; {allowed}; base-uri 'none'; form-action 'none'",
        nav=nav,
        replicates=f"{REPLICATES:,}",
        seed=SEED,
        safemt=version("safemt"),
        **content,
    )


def _read(name: str) -> str:
    return files(_PACKAGE).joinpath(name).read_text("utf-8")


def _shown(value: Any) -> Any:
    """Every value that a template shows passes here: no `None`, no text that hides itself."""
    if value is None:
        return UNKNOWN
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _together(text: str) -> Markup:
    """`text` escaped, with what is in brackets, and a number and its %, kept on one line."""
    return Markup(_TOGETHER.sub(r'<span class="together">\1</span>', str(escape(visible(text)))))  # noqa: S704


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
