import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.moderation.reading.language import UNKNOWN_LATIN, UNTOLD, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How should one water the garden in a hot summer?", "en"),
        ("Wie soll man den Garten in einem heißen Sommer gießen?", "de"),
        ("Comment faut-il arroser le jardin pendant un été chaud ?", "fr"),
        ("¿Cómo se debe regar el jardín en un verano caluroso?", "es"),
        ("Come si deve annaffiare il giardino in un'estate calda?", "it"),
        ("Como se deve regar o jardim em um verão quente?", "pt"),
        ("Hoe moet je de tuin water geven in een hete zomer?", "nl"),
        ("Jak należy podlewać ogród w upalne lato, żeby nic nie uschło?", "pl"),
        ("गर्मियों में बगीचे को पानी कैसे देना चाहिए?", "hi"),
        ("夏天应该怎样给花园浇水\uff1f", "zh"),
        ("夏に庭の水やりはどうすればいいですか\uff1f", "ja"),
        ("여름에 정원에 물을 어떻게 줘야 하나요?", "ko"),
        ("Как поливать сад жарким летом?", "ru"),
        ("Як поливати сад спекотного літа?", "uk"),
        ("در تابستان گرم چگونه باید باغچه را آب داد؟", "fa"),
        ("كيف يجب ري الحديقة في الصيف الحار؟", "ar"),
        ("ควรรดน้ำสวนอย่างไรในฤดูร้อน", "th"),
    ],
)
def test_a_sentence_is_told(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize("text", ["", "ok", "2 + 2 = 4", "Milk, eggs, flour", "Où est-ce ?", "Ж"])
def test_a_few_words_are_of_no_language(text: str) -> None:
    assert language_of(text) == UNTOLD


def test_latin_letters_of_an_unknown_language_are_noticed() -> None:
    yoruba = "Bawo ni mo se le se akara oyinbo fun iya mi ni ola ati baba mi gbogbo won ni ile wa nla yen"
    assert language_of(yoruba) == UNKNOWN_LATIN


@pytest.mark.parametrize(
    "text",
    [
        "What does déjà vu mean, and is c'est la vie said in the same way?",
        "def add(a, b):\n    return a + b  # is this the best way to do it in Python?",
        "I met José and Zoë at El Cerrito, and they like the food of the south.",
    ],
)
def test_foreign_names_and_code_leave_english_english(text: str) -> None:
    assert language_of(text) == "en"


@given(st.text(max_size=400))
def test_any_text_has_a_code(text: str) -> None:
    assert language_of(text).isascii()
    assert language_of(text)


def test_a_long_text_is_looked_at_in_three_places() -> None:
    assert language_of("How do I water the garden in a hot summer? " * 250_000) == "en"
