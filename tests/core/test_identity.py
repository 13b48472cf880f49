"""Content keys: the same for the same content, another for any change, and never for what has no JSON."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.core.identity import Json, content_key

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
contents = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=9
)


def test_the_key_is_the_hash_of_canonical_json() -> None:
    canonical = b'{"a":[1,null,true],"\\u00e9":"x"}'
    assert content_key({"é": "x", "a": [1, None, True]}) == hashlib.sha256(canonical).hexdigest()


@given(st.dictionaries(st.text(), contents))
def test_the_order_of_keys_does_not_matter(content: dict[str, Json]) -> None:
    assert content_key(dict(reversed(content.items()))) == content_key(content)


def test_order_type_and_nesting_do_matter() -> None:
    variants: list[Json] = [["a", "b"], ["b", "a"], ["ab"], [["a"], "b"], "1", 1, True, None, "", [], {}]
    assert len({content_key(variant) for variant in variants}) == len(variants)


def test_what_is_not_a_number_has_no_key() -> None:
    with pytest.raises(ValueError, match="JSON"):
        content_key([float("nan")])
