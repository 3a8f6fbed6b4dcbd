"""Which texts are worth learning from, and why the others are not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestor.quality import judge, judge_raw
from shared.events import RejectionReason
from shared.settings import QualitySettings

SETTINGS = QualitySettings()
ENGLISH = "A slow start, but the second half is funny and the cast have a wonderful time together."
FRENCH = "Un film magnifique, les acteurs sont excellents et la musique accompagne parfaitement chaque scène."
GERMAN = "Ein großartiger Film mit wunderbaren Schauspielern, den man unbedingt gesehen haben sollte."


@pytest.mark.parametrize(
    "text",
    [
        ENGLISH,
        "bad",
        "Meh...",
        "Great product 👍",
        "8 out of 10",
        "no no no no no no no",
        "Wow!!! " + "-" * 60 + ENGLISH,
        "hotel clean quiet staff friendly breakfast average bed comfortable bathroom small shower hot",
    ],
)
def test_what_people_write_passes(text: str) -> None:
    assert judge(text, SETTINGS) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", RejectionReason.EMPTY),
        ("ok", RejectionReason.TOO_SHORT),
        ("word " * 10_001, RejectionReason.TOO_LONG),
        ("10/10", RejectionReason.SYMBOLS),
        ("★★★★★ wow", RejectionReason.SYMBOLS),
        ("so goo" + "o" * 50 + "d", RejectionReason.REPETITION),
        ("spam " * 12, RejectionReason.REPETITION),
        ("buy it now from our shop " * 40, RejectionReason.REPETITION),
        (FRENCH, RejectionReason.LANGUAGE),
        (GERMAN, RejectionReason.LANGUAGE),
    ],
)
def test_each_fault_has_its_reason(text: str, reason: RejectionReason) -> None:
    assert judge(text, SETTINGS) is reason


def test_languages_are_what_the_settings_say() -> None:
    assert judge(FRENCH, QualitySettings(languages=("fr", "en"))) is None
    assert judge(GERMAN, QualitySettings(languages=())) is None
    assert judge(ENGLISH, QualitySettings(languages=("fr",))) is RejectionReason.LANGUAGE
    assert judge(FRENCH, QualitySettings(language_min_chars=len(FRENCH) + 1)) is None


def test_limits_are_inclusive() -> None:
    exact = QualitySettings(min_chars=5, max_chars=5)
    assert [judge(text, exact) for text in ("four", "fiver", "sixsix")] == [
        RejectionReason.TOO_SHORT,
        None,
        RejectionReason.TOO_LONG,
    ]
    assert judge("half1234", SETTINGS) is None
    assert judge("hal12345", SETTINGS) is RejectionReason.SYMBOLS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ENGLISH, None),
        ("two\nlines\tand a tab\r\n", None),
        ("one bell\x07 in a long enough text", None),
        ("PNG\x00\x01\x02\x03", RejectionReason.CONTROL_CHARACTERS),
        ("x" * 200_001, RejectionReason.TOO_LONG),
        ("", None),
    ],
)
def test_raw_texts_are_judged_before_they_are_cleaned(text: str, reason: RejectionReason | None) -> None:
    assert judge_raw(text, SETTINGS) is reason


@given(st.text())
@settings(deadline=None)
def test_no_text_breaks_the_judge(text: str) -> None:
    assert judge(text, SETTINGS) in {None, *RejectionReason}
    assert judge_raw(text, SETTINGS) in {None, *RejectionReason}


@pytest.mark.parametrize("unit", ["a", "ab", "a ", "aab", "💥", "1"])
def test_the_longest_text_of_anything_is_judged(unit: str) -> None:
    """A million characters; quadratic time would not end within the suite's limit."""
    huge = QualitySettings(max_chars=1_000_000)
    assert judge((unit * 1_000_000)[:1_000_000], huge) in {RejectionReason.REPETITION, RejectionReason.SYMBOLS}
