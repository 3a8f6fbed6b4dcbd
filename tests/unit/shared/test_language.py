"""A text's language is told with how sure that is."""

import pytest

from shared.language import identify


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The acting was wonderful, and the story kept us all in our seats until the very end of the film.", "en"),
        ("Die Schauspieler waren wunderbar, und die Geschichte hat uns bis zum Ende des Films gefesselt.", "de"),
        ("Les acteurs étaient merveilleux, et l'histoire nous a tenus en haleine jusqu'à la fin du film.", "fr"),
    ],
)
def test_sentences_are_told_apart(text: str, language: str) -> None:
    found, confidence = identify(text)
    assert (found, confidence > 0.9) == (language, True)


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    english = "This is a very good film and I would see it again with my friends. " * 20
    assert identify(english + "Das war ein sehr guter Film. " * 500) == identify(english)
