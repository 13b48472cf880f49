"""Estimated tokens: the providers' own examples for images, and what holds for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.core.schema import ImageRef, Message
from safemt.endpoints.tokens import image_formula, image_tokens, messages_tokens, text_tokens


def image(width: int, height: int) -> ImageRef:
    return ImageRef("0" * 64, "image/png", width, height, "a.png")


@pytest.mark.parametrize(
    ("model", "width", "height", "tokens"),
    [
        # The examples of OpenAI's guide to images.
        ("openai/gpt-4o", 1024, 1024, 765),
        ("openai/gpt-4o", 2048, 4096, 1105),
        ("openai/gpt-4.1", 512, 512, 255),
        ("openai/gpt-4o-mini-2024-07-18", 1024, 1024, 2833 + 4 * 5667),
        ("openai/gpt-5", 1024, 1024, 70 + 4 * 140),
        ("openai/o3", 512, 512, 75 + 150),
        ("openai/gpt-4.1-mini", 1024, 1024, 1659),
        ("openai/gpt-4.1-mini", 4000, 1474, 2489),
        ("openai/gpt-5-nano", 32, 32, 3),
        # Qwen: a token for each 28 x 28 or 32 x 32 pixels, 4 to 16,384.
        ("openai/Qwen/Qwen2.5-VL-7B-Instruct", 1120, 560, 800),
        ("openai/Qwen/Qwen3-VL-8B-Instruct", 1024, 512, 512),
        ("openai/Qwen/Qwen2-VL-2B-Instruct", 4, 4, 4),
        ("openai/Qwen/Qwen2-VL-2B-Instruct", 6000, 6000, 16384),
    ],
)
def test_an_image_counts_as_its_provider_says(model: str, width: int, height: int, tokens: int) -> None:
    counted = image_tokens(image(width, height), image_formula(model))
    assert (counted.expected, counted.worst) == (tokens, tokens)


@pytest.mark.parametrize(
    "model", ["openai/gpt-5.4", "openai/llava-1.6", "openai/solo1", "openai/gpt-5.4-mini"]
)
def test_a_model_without_a_known_formula_gets_the_fallback_and_says_so(model: str) -> None:
    formula = image_formula(model)
    assert "no formula known" in formula.name
    counted = image_tokens(image(900, 600), formula)
    assert counted.expected == 720
    assert counted.worst == 4096


@given(
    st.integers(1, 20_000),
    st.integers(1, 20_000),
    st.sampled_from(["gpt-4o", "gpt-4.1-mini", "qwen3-vl", "m"]),
)
def test_any_image_has_tokens_and_no_more_at_worst_than_a_request_can_hold(
    width: int, height: int, model: str
) -> None:
    counted = image_tokens(image(width, height), image_formula(model))
    assert 0 < counted.expected <= counted.worst <= 20_000


@given(st.text(), st.text())
def test_text_adds_up_and_is_never_more_than_at_worst(one: str, other: str) -> None:
    both, parts = text_tokens(one + other), text_tokens(one) + text_tokens(other)
    assert both.expected == pytest.approx(parts.expected)
    assert both.worst == pytest.approx(parts.worst)
    assert both.expected <= both.worst


def test_scripts_beyond_ascii_have_more_tokens_a_character() -> None:
    assert text_tokens("x" * 48).expected == pytest.approx(10)
    assert text_tokens("安" * 11).expected == pytest.approx(10)
    assert text_tokens("\ud800").worst > 0


def test_a_request_is_its_texts_its_images_and_some_framing() -> None:
    messages = [
        Message("user", "x" * 48, image(512, 512)),
        Message("assistant", ""),
        Message("user", "x" * 48),
    ]
    counted = messages_tokens(messages, "openai/gpt-4o")
    assert counted.expected == pytest.approx(3 + 3 * 4 + 10 + 255 + 10)
