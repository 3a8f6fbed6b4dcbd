"""How a text is cleaned before any tokenizer sees it: curator and server call `prepare`, so they never disagree.

All functions are pure, idempotent and take time linear in the text, on hostile input too. Any change that alters an
output needs a new `NORMALISER_VERSION`: a stream keeps the one that it was begun with.
"""

import re
import unicodedata
from collections.abc import Callable
from html import unescape

from shared.personal_data import defuse, mask_once

NORMALISER_VERSION = "1"

# Clean text settles in one pass, a doubly escaped page in three; beyond, the text was built to keep us busy.
_MOST_PASSES = 8
# Only with the semicolon: "AT&T" and "?a=1&copy=2" are commoner than HTML without it.
# Bounded, because int() refuses long digits.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>]*)?/?>|<!--[^<>]*-->")
# Invisible format characters but the two joiners, which emoji and some scripts need; lone surrogates; controls.
_INVISIBLE = (0xAD, 0x61C, 0x200B, 0x200E, 0x200F, 0xFEFF, *range(0x202A, 0x202F), *range(0x2060, 0x2070))
_SEEN_AS = (
    dict.fromkeys((*_INVISIBLE, *range(0xD800, 0xE000)), "")
    | dict.fromkeys((*range(0x20), 0x7F), " ")
    | {code: bytes([code]).decode("cp1252", errors="ignore") or " " for code in range(0x80, 0xA0)}
)
_LONGEST_MARK_RUN = 30  # as in Unicode's stream-safe format; no language needs more on one letter


def _marks() -> str:
    """All that canonical ordering moves, for a character class; CPython sorts a run of them in quadratic time."""
    codes = range(0x300, 0x20000)
    return "".join(chr(code) for code in codes if unicodedata.combining(unicodedata.normalize("NFD", chr(code))[0]))


_MARKS = _marks()
# `re` is quick with sets below U+10000 only, so a coarse set with all that lies above looks first.
_MARK_RUN_SUSPECT = re.compile(
    f"[{''.join(m for m in _MARKS if m < chr(0x10000))}\U00010000-\U0001ffff]{{{_LONGEST_MARK_RUN + 1}}}"
)
_MARK_RUN = re.compile(f"[{_MARKS}]{{{_LONGEST_MARK_RUN + 1},}}")
_MARKUP_OR_MARK = re.compile(f"[<&{_MARKS}]")


class _WordTable(dict[int, str]):
    """For `str.translate`: keeps what words are made of, fills itself as characters turn up."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        ascii_symbol = code < 128 and category[0] == "S"
        variation_selector = 0xFE00 <= code <= 0xFE0F
        kept = category[0] not in "PZC" and not ascii_symbol and not variation_selector
        self[code] = chr(code) if kept else " "
        return self[code]


_WORDS = _WordTable()


def prepare(text: str) -> str:
    """What the models read and the topics carry: normalised, then masked."""
    return _settle(lambda each: mask_once(_normalise_once(each)), text, lambda each: defuse(_defuse_markup(each)))


def normalise(text: str) -> str:
    """Composed Unicode (NFC) without HTML and control characters, its white space single spaces.

    C1 controls are read as the Windows-1252 characters that they were before someone took them for Latin-1.
    """
    return _settle(_normalise_once, text, _defuse_markup)


def mask(text: str) -> str:
    """Puts `[EMAIL]`, `[PHONE]`, `[CARD]`, `[IBAN]`, `[IP]`, `[URL]` for what identifies a person or a page."""
    return _settle(mask_once, text, defuse)


def canonical(text: str) -> str:
    """A prepared text's identity: case-folded, without punctuation; the key of split and exact duplicates.

    Emoji stay: they can be all that tells two reviews apart. A text of punctuation alone is its own identity.
    """
    folded = text.casefold() if text.isascii() else unicodedata.normalize("NFC", text.casefold())
    return " ".join(folded.translate(_WORDS).split()) or " ".join(folded.split())


def _settle(step: Callable[[str], str], text: str, defused: Callable[[str], str]) -> str:
    """Applies `step` until nothing changes, so that the result is a fixed point; a text that will not is defused."""
    for _ in range(_MOST_PASSES):
        before, text = text, step(text)
        if text == before:
            return text
    return step(defused(text))


def _normalise_once(text: str) -> str:
    if not text.isprintable():
        text = text.translate(_SEEN_AS)
    if not text.isascii():
        text = unicodedata.normalize("NFC", _shorten_mark_runs(text))
    if "&" in text:
        text = _ENTITY.sub(lambda match: unescape(match.group()), text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    return " ".join(text.split())


def _shorten_mark_runs(text: str) -> str:
    if not _MARK_RUN_SUSPECT.search(text):
        return text
    return _MARK_RUN.sub(lambda run: run.group()[:_LONGEST_MARK_RUN], text)


def _defuse_markup(text: str) -> str:
    return _MARKUP_OR_MARK.sub(" ", text)
