"""Settings from YAML and JSON: plain data of bounded size, or one sentence with the place."""

import json
import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from safemt.core.errors import DataError
from safemt.io.yaml import load_json, load_yaml, read_json, read_yaml, typed

HOSTILE: Final = Path(__file__).parents[3] / "shared/cases/hostile"


def refusal(load: Callable[..., Any], text: bytes | str) -> DataError:
    with pytest.raises(DataError) as caught:
        load(text, where="run.yaml")
    error = caught.value
    assert error.fields["where"] == "run.yaml"
    assert str(error).startswith("run.yaml")
    assert str(error).endswith(".")
    assert len(str(error)) < 400
    return error


# YAML.


def test_the_core_types_of_yaml_1_2_are_read() -> None:
    text = """
    texts: [yes, no, on, 2024-02-30, 2024-02-29 12:00, 1_000, 0o17, 12:30, 1.2.3, "1"]
    numbers: [0, -7, +7, 0x1F, 007, 1.5, .5, 1e3, -2.5E-3]
    others: [true, False, null, ~, ]
    block: |
      two
      lines
    """
    assert load_yaml(text, where="x") == {
        "texts": [
            *("yes", "no", "on", "2024-02-30", "2024-02-29 12:00"),
            *("1_000", "0o17", "12:30", "1.2.3", "1"),
        ],
        "numbers": [0, -7, 7, 31, 7, 1.5, 0.5, 1000.0, -0.0025],
        "others": [True, False, None, None],
        "block": "two\nlines\n",
    }


def test_anchors_and_merge_keys_are_read() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a"
    assert load_yaml(text, where="x") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2},
    }


def bomb(width: int, depth: int) -> str:
    lines = ["a0: &a0 x"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (bomb(60, 5), "too_many_nodes", "200,000 values"),
        (bomb(2, 30), "too_many_nodes", ""),
        ("a: &a\n  b: *a", "recursive", "line 2"),
        ("&a [*a]", "recursive", "line 1"),
        ("[" * 100 + "]" * 100, "too_deep", "line 1"),
        ("[" * 100_000, "too_deep", "line 1"),
        ("{a: " * 60 + "1" + "}" * 60, "too_deep", ""),
        ("\n".join("  " * n + "a:" for n in range(60)), "too_deep", "line 4"),
        ("a: 99999999999999999999999", "bad_number", "line 1: 99999999999999999999999 has more than 64 bits"),
        ("a: " + "9" * 10_000, "bad_number", "line 1"),
        ("a: 9223372036854775808", "bad_number", "64 bits"),
        ("a: 0xffffffffffffffff", "bad_number", "64 bits"),
        ("a: .nan", "bad_number", "line 1: .nan is not a finite number"),
        ("a:\n- .inf", "bad_number", "line 2"),
        ("a: 1e999", "bad_number", "1e999 is not a finite number"),
        ("a: !!int x", "bad_number", "x is not a finite number"),
        ("a: !!float x", "bad_number", ""),
        ("1: a", "bad_key", "line 1: the key 1 is not text; put it in quotes"),
        ("a: 1\ntrue: b", "bad_key", "line 2"),
        ("null: b", "bad_key", ""),
        ("[a, b]: 1", "bad_key", ""),
        ("? {a: 1}\n: 1", "bad_key", ""),
        ("a: 1\n<<: {2: b}", "bad_key", "line 2"),
        ("a: 1\n<<: 3", "not_yaml", "line 2"),
        ("a: 1\nb: 2\na: 3", "key_twice", "line 3: the key 'a' occurs twice"),
        ("a: 1\n\tb: 2", "not_yaml", "line 2 is not YAML: found a tab character"),
        ("a: [1\nb: 2", "not_yaml", "line 2"),
        ("a: b: c", "not_yaml", "line 1"),
        ("a: *b", "recursive", ""),
        ("a: 1\n---\nb: 2", "not_yaml", "line 2"),
        ("a: !!binary aGk=", "not_yaml", "tag:yaml.org,2002:binary"),
        ("a: !!timestamp 2024-01-01", "not_yaml", "timestamp"),
        ("a: !!set {b}", "not_yaml", "set"),
        ("a: !!python/object/apply:os.getcwd []", "not_yaml", "python"),
        ("a: !mine 1", "not_yaml", "!mine"),
        ("a: \0", "not_yaml", ""),
        (b"a: \xff", "not_yaml", "line 1 is not UTF-8 text"),
        (b"a: 1\nb: \xe9t\xe9", "not_yaml", "line 2 is not UTF-8 text"),
        ("a: grüße".encode("utf-16"), "utf16", "Save it as UTF-8"),
        (b"# " + b"x" * 10_000_000, "too_large", "larger than 4 MB"),
        ("a: " + "x" * 10_000_000, "too_large", "larger than 4 MB"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(text: str | bytes, code: str, says: str) -> None:
    error = refusal(load_yaml, text)
    assert error.code == code, error
    assert says in str(error)


def test_a_large_plain_document_is_read() -> None:
    rows = [{"id": f"q{number}", "text": "word " * 5} for number in range(5_000)]
    text = "".join(f"- {{id: {row['id']}, text: '{row['text']}'}}\n" for row in rows)
    assert load_yaml(text, where="x") == rows


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc: -'\"#é", max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


class _Quoted(yaml.SafeDumper):
    """PyYAML writes YAML 1.1, in which some texts need no quotes that are numbers in 1.2."""


_Quoted.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, '"'))


@settings(max_examples=150, deadline=None)
@given(data=plain)
def test_what_is_dumped_is_read_again(data: Any) -> None:
    assert load_yaml(yaml.dump(data, Dumper=_Quoted, allow_unicode=True), where="x") == data
    assert load_json(json.dumps(data), where="x") == data


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=60) | st.text(max_size=60) | st.text("[]{}:,-&*!|>'\"\n a1.", max_size=40))
def test_any_content_gives_plain_data_or_the_defined_error(content: bytes | str) -> None:
    for load in (load_yaml, load_json):
        try:
            json.dumps(load(content, where="x"), allow_nan=False)
        except DataError as error:
            assert error.code  # noqa: PT017


# JSON.


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ('{"a": 1', "not_json", "at line 1, column 8"),
        ('{"a": 1,\n "b" 2}', "not_json", "at line 2, column 6"),
        ("", "not_json", "column 1"),
        ("{'a': 1}", "not_json", ""),
        ('{"a": 1} {}', "not_json", "extra data"),
        ('{"a": NaN}', "bad_number", "NaN is not a finite number"),
        ('{"a": -Infinity}', "bad_number", ""),
        ('{"a": 1e999}', "bad_number", ""),
        ('{"a": ' + "9" * 5000 + "}", "bad_number", "64 bits"),
        ('{"a": 1, "a": 2}', "key_twice", "the key 'a' occurs twice"),
        ("[" * 41 + "]" * 41, "too_deep", "40"),
        ("[" * 100_000, "too_deep", "40"),
        (b'{"a": "\xff"}', "not_json", "line 1 is not UTF-8 text"),
        ('{"a": 1}'.encode("utf-16"), "utf16", ""),
        (b" " * 5_000_000, "too_large", "4 MB"),
    ],
)
def test_what_is_no_plain_json_is_refused_with_its_place(text: str | bytes, code: str, says: str) -> None:
    error = refusal(load_json, text)
    assert error.code == code, error
    assert says in str(error)


def test_files_are_read_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    for number, mark in enumerate((b"", b"\xef\xbb\xbf")):
        path = tmp_path / f"{number}.json"
        path.write_bytes(mark + '{"a": "grüße 🦜"}'.encode())
        assert read_json(path) == read_yaml(path) == {"a": "grüße 🦜"}


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_what_is_no_readable_file_is_refused(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    (tmp_path / "large").write_bytes(b" " * 5_000_000)
    for path, code in (
        (tmp_path / "absent", "unreadable_file"),
        (tmp_path, "unreadable_file"),
        (Path("/dev/zero"), "not_a_file"),
        (tmp_path / "large", "too_large"),
    ):
        with pytest.raises(DataError) as caught:
            read(path)
        assert (caught.value.code, caught.value.fields["path"]) == (code, path)


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="the hostile samples are not here")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("policy_alias_bomb.yaml", "too_many_nodes"),
        ("tp_hugeint.yaml", "bad_number"),
        ("tp_oddtypes.yaml", "not_yaml"),
        ("guard_json_template.yaml", ""),
        ("template_redos.yaml", ""),
    ],
)
def test_hostile_samples_are_refused_or_plain_data(name: str, code: str) -> None:
    try:
        assert isinstance(read_yaml(HOSTILE / name), dict)
        found = ""
    except DataError as error:
        found = error.code
    assert found == code


# From plain data to a typed value.


class Action(StrEnum):
    INJECT = "inject"
    BLOCK = "block"


class Sampling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] = 0.0
    stop: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...] = ()
    band: tuple[float, float] | None = None
    weights: dict[str, Annotated[float, msgspec.Meta(ge=0)]] = {}
    seed: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    sampling: Sampling = Sampling()
    action: Action = Action.INJECT
    mode: Literal["live", "scripted"] | None = None
    folder: Path | None = None
    streamed: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    target: Target
    others: tuple[Target, ...] = ()


def test_plain_data_becomes_a_typed_value() -> None:
    data = {"target": {"name": "m", "folder": "a/b", "action": "block", "sampling": {"temperature": 1}}}
    config = typed(data, Config, where="run.yaml")
    assert config.target.folder == Path("a/b")
    assert (config.target.action, config.target.sampling.temperature) == (Action.BLOCK, 1)


@pytest.mark.parametrize(
    ("target", "path", "says"),
    [
        ({"sampling": {"temperature": 3}}, "sampling.temperature", "must be a number of at most 2, not 3"),
        ({"sampling": {"temperature": "hot"}}, "sampling.temperature", "must be a number, not 'hot'"),
        (
            {"sampling": {"temperature": math.nan}},
            "sampling.temperature",
            "must be a number of at least 0, not nan",
        ),
        ({"sampling": {"seed": 0}}, "sampling.seed", "must be a whole number of at least 1, not 0"),
        ({"sampling": {"seed": 1.5}}, "sampling.seed", "must be a whole number or null, not 1.5"),
        ({"sampling": {"seed": True}}, "sampling.seed", "must be a whole number or null, not true"),
        (
            {"sampling": {"stop": ["a", ""]}},
            "sampling.stop[1]",
            "must be text of length at least 1, not ''",
        ),
        ({"sampling": {"stop": "a"}}, "sampling.stop", "must be a list, not 'a'"),
        ({"sampling": {"band": [1]}}, "sampling.band", "must be a list of length 2, not a list"),
        ({"sampling": {"band": [1, "b"]}}, "sampling.band[1]", "must be a number, not 'b'"),
        ({"sampling": {"weights": {"a": -1}}}, "sampling.weights[...]", "must be a number of at least 0"),
        ({"sampling": []}, "sampling", "must be a mapping of keys to values, not a list"),
        ({"sampling": None}, "sampling", "must be a mapping of keys to values, not null"),
        (
            {"sampling": {"heat": 1}},
            "sampling.heat",
            "is not known here; use temperature, stop, band, weights or seed",
        ),
        ({"action": "burn"}, "action", "must be inject or block, not 'burn'"),
        ({"mode": "dead"}, "mode", "must be live or scripted, not 'dead'"),
        ({"streamed": "yes"}, "streamed", "must be true or false, not 'yes'"),
        ({"folder": 7}, "folder", "must be a path, not 7"),
        ({"name": None}, "name", "must be text, not null"),
        ({"name": {"a": 1}}, "name", "must be text, not a mapping"),
        ({"name": ["x" * 900]}, "name", "must be text, not a list"),
        ({"mode": "x" * 900}, "mode", "…"),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_its_path(target: Any, path: str, says: str) -> None:
    with pytest.raises(DataError) as caught:
        typed({"target": {"name": "m", **target}}, Config, where="run.yaml")
    error = caught.value
    assert (error.code, error.fields) == ("wrong_form", {"where": "run.yaml", "path": f"target.{path}"})
    assert str(error).startswith(f"run.yaml: `target.{path}` ")
    assert says in str(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    ("data", "path", "says"),
    [
        ({}, "target", "`target` is missing"),
        ({"target": {}}, "target.name", "`target.name` is missing"),
        ([], "", "the content must be a mapping of keys to values, not a list"),
        (None, "", "the content must be a mapping of keys to values, not null"),
        (
            {"target": {"name": "m"}, "others": [{"name": "n"}, {"name": "o", "action": "burn"}]},
            "others[1].action",
            "`others[1].action` must be inject or block, not 'burn'",
        ),
        ({"target": {"name": "m"}, "x": 1}, "x", "`x` is not known here; use target or others"),
    ],
)
def test_what_is_missing_or_unknown_is_named(data: Any, path: str, says: str) -> None:
    with pytest.raises(DataError) as caught:
        typed(data, Config, where="run.yaml")
    assert caught.value.fields["path"] == path
    assert str(caught.value) == f"run.yaml: {says}."
