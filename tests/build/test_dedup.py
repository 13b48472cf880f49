from hypothesis import given
from hypothesis import strategies as st

from safemt.build.dedup import merge_queries, similarity
from safemt.build.queries import Ledger, PictureSource, Query, RawQuery
from safemt.core.taxonomy import Scenario


def query(text: str, place: str = "p", picture: PictureSource | None = None) -> Query:
    raw = RawQuery(text=text, place=place, source="s", picture=picture)
    return Query(text=text, scenario=Scenario.FRAUD, assigned_by="source", confidence=1.0, raw=raw)


def test_the_same_words_are_merged_whatever_their_case_and_punctuation() -> None:
    ledger = Ledger()
    kept = merge_queries([query("Hide the cookie!"), query("hide  the COOKIE", "second")], ledger)
    assert [found.text for found in kept] == ["Hide the cookie!"]
    assert kept[0].merged == ("second",)
    assert (ledger.rejects[0].reason, ledger.rejects[0].kept) == ("exact_duplicate", kept[0].id)


def test_nearly_the_same_words_are_merged_with_the_measure_on_record() -> None:
    ledger = Ledger()
    long = "How do I carry all of the free biscuits out of the old town hall without a bag"
    kept = merge_queries(
        [query(long), query(long + " today"), query("How do I carry a piano upstairs")], ledger
    )
    assert len(kept) == 2
    assert ledger.rejects[0].reason == "near_duplicate"
    assert "of the word pairs" in ledger.rejects[0].detail


def test_different_questions_of_one_form_stay() -> None:
    kept = merge_queries([query("How do I fold a boat"), query("How do I fold a hat")], Ledger())
    assert len(kept) == 2


def test_the_one_that_stays_inherits_the_picture() -> None:
    picture = PictureSource(name="a.png")
    (kept,) = merge_queries([query("Hide it"), query("hide it", picture=picture)], Ledger())
    assert kept.raw.picture is picture


@given(st.text(alphabet="abc ", max_size=30), st.text(alphabet="abc ", max_size=30))
def test_similarity_is_symmetric_and_one_for_the_same(first: str, second: str) -> None:
    assert similarity(first, second) == similarity(second, first)
    assert 0 <= similarity(first, second) <= 1
    assert similarity(first, first) == 1
