"""Samples and the fixed vocabulary."""

import pytest

from safemt.core.schema import ImageRef, Message, Part, Sample, UnknownPart
from safemt.core.taxonomy import (
    PUBLISHED_TURNS,
    SCENARIO_BY_SLUG,
    Label,
    Method,
    Outcome,
    Scenario,
    scenario_named,
)


def test_a_sample_is_named_by_query_and_turns() -> None:
    sample = Sample("mllm_fraud_1", 4, Scenario.FRAUD, "A question?", (Message("user", "A question?"),))
    assert sample.id == "mllm_fraud_1@4"
    assert (sample.method, sample.image, sample.twin_of) == (None, None, None)
    assert sample.meta == {}


def test_the_vocabulary_is_the_published_one() -> None:
    assert len(Scenario) == len(SCENARIO_BY_SLUG) == 17
    assert SCENARIO_BY_SLUG["hate_speech"] is Scenario.HATE_SPEECH
    assert Scenario.HATE_SPEECH.slug == "hate_speech"
    assert PUBLISHED_TURNS == (1, 2, 4, 6, 8)
    assert [*Label] == ["safe", "unsafe", "ungraded"]
    assert {*Outcome} == {"complied", "refused", "blocked", "moderated", "error"}
    assert {*Method} == {"gradual", "role_play", "in_context", "hybrid"}


IMAGE = ImageRef("ab" * 32, "image/png", 4, 4)
OTHER = ImageRef("cd" * 32, "image/png", 4, 4)


def test_a_message_is_the_same_whether_given_as_text_or_as_parts() -> None:
    assert Message("user", "hello") == Message("user", ["hello"])
    assert Message("user", "hello", IMAGE) == Message("user", [IMAGE, "hello"])


def test_a_message_says_its_texts_and_pictures_in_their_order() -> None:
    message = Message("user", ["a", OTHER, "b", IMAGE, UnknownPart("file")])
    assert (message.content, message.images, message.image) == ("a\nb", (OTHER, IMAGE), OTHER)
    assert (Message("user", "a").images, Message("user", "a").image) == ((), None)


def test_the_identity_of_a_text_behind_a_picture_is_role_text_and_hash() -> None:
    assert Message("user", "a").identity == ["user", "a", None]
    assert Message("user", "a", IMAGE).identity == ["user", "a", IMAGE.sha256]
    assert Message("user", [IMAGE]).identity == Message("user", "", IMAGE).identity
    assert Message("user", []).identity == Message("user", "").identity


def test_messages_that_differ_in_any_part_have_different_identities() -> None:
    contents: list[list[Part]] = [
        ["a", "b"],
        ["a\nb"],
        [IMAGE, "a"],
        ["a", IMAGE],
        [IMAGE, OTHER, "a"],
        [OTHER, IMAGE, "a"],
        [IMAGE, "a", "b"],
        ["a", UnknownPart("file")],
        ["a", UnknownPart("input_audio")],
    ]
    identities = [Message("user", each).identity for each in contents]
    assert all(identities.count(each) == 1 for each in identities)


class Folder:
    """A source of pictures."""

    def read(self, image: ImageRef) -> bytes:
        return image.path.encode()

    def data_uri(self, image: ImageRef) -> bytes:
        raise AssertionError


def test_pictures_are_read_from_their_own_source_first() -> None:
    bound = Message("user", "a", ImageRef("ab" * 32, "image/png", 4, 4, "1.png")).with_source(Folder())
    assert bound.images[0].read() == b"1.png"
    assert bound.with_source(Folder()) == bound
    with pytest.raises(ValueError, match="no source"):
        IMAGE.read()


@pytest.mark.parametrize(
    "name", ["Hate Speech", "hate_speech", " HATE-speech\n", "hate  speech", "hate - speech"]
)
def test_a_scenario_is_found_by_its_name_in_any_spelling(name: str) -> None:
    assert scenario_named(name) is Scenario.HATE_SPEECH


@pytest.mark.parametrize("name", ["", "hate", "hatespeech", "hate.speech", None, 7, ["Fraud"]])
def test_another_name_is_no_scenario(name: object) -> None:
    assert scenario_named(name) is None
