"""Whether a review is worth learning from.

Cheap tests first; each text is judged by itself, and the first reason counts.
"""

import re
import zlib
from collections import Counter
from functools import cache

from shared.events import RejectionReason
from shared.language import identify
from shared.settings import QualitySettings

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NOT_LETTER_OR_SPACE = {code: None for code in range(128) if not (chr(code).isalpha() or chr(code) == " ")}
# Of several languages' frequent words these are English alone; two of them settle what the model would take 0.3 ms for.
# fmt: off
_ENGLISH = frozenset((
    "the", "and", "this", "that", "with", "are", "you", "they", "it", "not", "have", "has", "but", "very", "from",
    "there", "which", "who", "than", "its", "as", "of", "be", "great", "good", "nice", "would", "really", "because",
    "just", "like", "about", "when", "what", "all", "one", "more", "too", "only", "well", "never",
))
# fmt: on
_ENGLISH_WORDS_NEEDED = 2
_LEAST_COMPRESSED = 11  # bytes of the smallest zlib stream: what cannot be rejected need not be compressed
_DISTINCT_ENOUGH = 0.5


def judge_raw(text: str, settings: QualitySettings) -> RejectionReason | None:
    """Judges a text as it arrived, before the effort of cleaning it; None lets it pass.

    Markup may make it four times as long as what is left of it.
    """
    if len(text) > 4 * settings.max_chars:
        return RejectionReason.TOO_LONG
    controls = 0 if text.isprintable() else len(_CONTROL.findall(text))
    if controls > settings.max_control_share * len(text):
        return RejectionReason.CONTROL_CHARACTERS
    return None


def judge(text: str, settings: QualitySettings) -> RejectionReason | None:
    """Judges a prepared text; None lets it pass."""
    if reason := _judge_length(text, settings):
        return reason
    if _symbols(text) > settings.max_symbol_share * len(text):
        return RejectionReason.SYMBOLS
    words = text.lower().split()
    if _repeats_itself(text, words, settings):
        return RejectionReason.REPETITION
    if _is_foreign(text, words, settings):
        return RejectionReason.LANGUAGE
    return None


def _judge_length(text: str, settings: QualitySettings) -> RejectionReason | None:
    if not text:
        return RejectionReason.EMPTY
    if len(text) < settings.min_chars:
        return RejectionReason.TOO_SHORT
    return RejectionReason.TOO_LONG if len(text) > settings.max_chars else None


def _symbols(text: str) -> int:
    if text.isascii():
        return len(text) - len(text.translate(_NOT_LETTER_OR_SPACE))
    return len(text) - text.count(" ") - sum(map(str.isalpha, text))


def _repeats_itself(text: str, words: list[str], settings: QualitySettings) -> bool:
    if len(text) >= settings.max_char_run and _char_run(settings.max_char_run).search(text):
        return True
    if len(words) >= settings.repetition_min_words:
        distinct, most = len(set(words)), settings.max_repetition * len(words)
        # The commonest word cannot be there more often than this; most reviews need no counting.
        if len(words) - distinct + 1 > most and max(Counter(words).values()) > most:
            return True
        if distinct > _DISTINCT_ENOUGH * len(words):
            return False  # no phrase is repeated much; most reviews need no compressing either
    return _compresses(text, settings.max_compression)


@cache  # of letters and digits only: people draw lines between paragraphs
def _char_run(length: int) -> re.Pattern[str]:
    return re.compile(rf"(\w)\1{{{length - 1}}}")


def _compresses(text: str, times: float) -> bool:
    """Whether zlib makes a text so many times smaller: prose 1 to 3 times, repeated phrases far more."""
    raw = text.encode("utf-8", errors="replace")
    possible = len(raw) > times * _LEAST_COMPRESSED
    return possible and len(raw) > times * len(zlib.compress(raw, level=1))


def _is_foreign(text: str, words: list[str], settings: QualitySettings) -> bool:
    if not settings.languages or len(text) < settings.language_min_chars:
        return False
    if "en" in settings.languages and len(_ENGLISH.intersection(words)) >= _ENGLISH_WORDS_NEEDED:
        return False
    language, confidence = identify(text)
    return language not in settings.languages and confidence >= settings.language_min_confidence
