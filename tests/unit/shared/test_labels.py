"""What people write for a label, and what nobody should have to guess at."""

import pytest

from shared.errors import ConfigurationError
from shared.labels import Label, LabelMap, UnknownLabelError

SENTIMENT = LabelMap(("negative", "positive"), {"neg": "negative", "pos": "positive", "fresh": "positive"})
STARS = LabelMap(("1", "2", "3", "4", "5"), {"worst": "1"})
MOODS = LabelMap(("sad", "calm", "glad"), {"neg": "negative"})


@pytest.mark.parametrize("label", [1, 1.0, True, "1", "1 ", "positive", " POSITIVE\n", "Pos", "Fresh", "true"])
def test_many_spellings_mean_positive(label: Label) -> None:
    assert SENTIMENT.class_id(label) == 1


@pytest.mark.parametrize("label", [0, 0.0, -0.0, False, "0", "negative", "NEG", "False"])
def test_many_spellings_mean_negative(label: Label) -> None:
    assert SENTIMENT.class_id(label) == 0


def test_a_spelling_has_the_name_of_its_class() -> None:
    assert [SENTIMENT.class_name(label) for label in ("POS", "1", 0)] == ["positive", "positive", "negative"]


def test_null_is_text_without_a_label() -> None:
    assert SENTIMENT.class_id(None) is None


@pytest.mark.parametrize(
    "label", ["", " ", "meh", "null", "nan", float("nan"), float("inf"), 1e300, 0.5, -1, 2, 10**30, "1.5", "x" * 10_000]
)
def test_anything_else_is_unknown(label: Label) -> None:
    with pytest.raises(UnknownLabelError, match="known: 0, 1, false, fresh, neg"):
        SENTIMENT.class_id(label)


def test_the_error_quotes_no_more_of_a_label_than_helps() -> None:
    with pytest.raises(UnknownLabelError) as caught:
        SENTIMENT.class_id("x" * 10_000)
    assert len(str(caught.value)) < 300


def test_classes_that_are_called_numbers_are_not_class_ids() -> None:
    assert [STARS.class_id(label) for label in (1, "5", 5.0, "worst")] == [0, 4, 4, 0]
    with pytest.raises(UnknownLabelError):
        STARS.class_id(0)


@pytest.mark.parametrize("label", [True, "false", "neg"])
def test_more_than_two_classes_have_no_true_and_no_foreign_aliases(label: Label) -> None:
    assert MOODS.class_id(2) == 2
    with pytest.raises(UnknownLabelError):
        MOODS.class_id(label)


def test_an_alias_may_give_a_number_another_meaning() -> None:
    assert LabelMap(("negative", "positive"), {"-1": "negative", "0": "positive"}).class_id(0) == 1


@pytest.mark.parametrize(
    ("labels", "aliases"),
    [(("Good", "good"), {}), (("good", "bad"), {"BAD": "good"}), (("a", "b"), {"x": "a", "X": "b"})],
)
def test_one_name_for_two_classes_is_refused(labels: tuple[str, ...], aliases: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="two classes"):
        LabelMap(labels, aliases)
