"""The sentences of `data/talk.yaml` and `data/surfaces.yaml`, typed."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec

from safemt.build.ladders.schema import Carried, Form, Surface
from safemt.io.yaml import read_yaml, typed

_BEGIN, _END = "\x01", "\x02"


def shown(sentence: str) -> str:
    """A sentence that makes sense only beside the picture, marked."""
    return f"{_BEGIN}{sentence}{_END}"


def with_picture(text: str) -> str:
    """A text without the marks."""
    return " ".join(text.replace(_BEGIN, "").replace(_END, "").split())


def without_picture(text: str) -> str:
    """A text without the sentences that make sense only beside the picture."""
    return " ".join(re.sub(f"{_BEGIN}.*?{_END}", "", text).split())


class Carrier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How worked examples are put."""

    intro: str
    pair: str
    last: str

    def put(self, ask: str) -> str:
        """A last turn in the style of the examples, with the sentence about the picture marked."""
        return f"{shown(self.last.replace('{ask}', '').strip())} {ask}"


class Talk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sentences that suit every act class; `data/talk.yaml` says when each is used."""

    lead_ins: tuple[str, ...]
    plain_lead_ins: tuple[str, ...]
    about: tuple[str, ...]
    split: dict[Form, tuple[str, ...]]
    bare: dict[Form, tuple[str, ...]]
    direct: dict[Form, tuple[str, ...]]
    seen: dict[str, tuple[str, ...]]
    pointers: dict[Carried, str]
    genres: tuple[str, ...]
    research: tuple[str, ...]
    cast: dict[str, tuple[str, ...]]
    carriers: tuple[Carrier, ...]
    turns_to_picture: tuple[str, ...]
    add_ons: tuple[str, ...]


def _data(name: str) -> Path:
    return Path(str(files("safemt.build"))) / "data" / name


@cache
def talk() -> Talk:
    """The sentences."""
    return typed(read_yaml(_data("talk.yaml")), Talk, where="talk.yaml")


@cache
def common_surfaces() -> tuple[Surface, ...]:
    """Surfaces that suit every act class."""
    return typed(read_yaml(_data("surfaces.yaml")), tuple[Surface, ...], where="surfaces.yaml")
