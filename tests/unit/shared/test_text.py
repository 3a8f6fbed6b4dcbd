"""What `prepare` promises to the curator and the server: clean, masked, stable, and never slow."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.text import canonical, mask, normalise, prepare

# Pieces that patterns are made of: drawn together they hit what plain random text never does.
PIECES = (
    *("&", "amp;", "lt;", "#60;", "&#x3c;", "<", ">", "/", "<b", "<br/>", "<!--", "-->", "\u037e", "\u0338", "\u0301"),
    *("\u0316", "\u0958", "é", "\x85", "\x93", "\ud800", "\u200b", "\x00", " ", "\n", "\u3000", "ß", "İ", "🙂"),
    *("a", "x", "@", ".", "-", "+", "(", ")", ":", "::", "://", "http", "www.", "DE89", "3704", "0044 0532 0130 00"),
    *("1", "7 ", "202-555-0143", "4111111111111111", "192.168.0.1", "[", "]", "[URL]", "bob@mail.org", "\u0301" * 31),
)
HOSTILE = (
    "<",
    "&",
    "@",
    "1",
    "1 ",
    "1.",
    "a@",
    "a.",
    "<a ",
    "&#",
    "&amp;",
    "::",
    "(-",
    "www.",
    "DE",
    "\u0301\u0316",
    "\x85",
)
anything = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=25).map("".join))


@given(anything)
@example("4111111111111111www.x.com")
@example("&" + "amp;" * 50 + "lt;br&gt;")
@example("<b " * 50 + ">" * 50)
@example("ế" + "\u0316" * 40)
@settings(max_examples=500, deadline=None)
def test_each_function_gives_what_it_would_leave_alone(text: str) -> None:
    for clean in (normalise, mask, prepare, canonical):
        once = clean(text)
        assert clean(once) == once, clean.__name__


@given(anything)
@settings(deadline=None)
def test_a_prepared_text_can_be_stored_and_has_no_control_characters(text: str) -> None:
    prepared = prepare(text)
    assert prepared.encode().decode() == prepared
    assert not any(ord(letter) < 0x20 or 0x7F <= ord(letter) <= 0x9F for letter in prepared)
    assert prepared == " ".join(prepared.split())


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Great.<br /><br />Really <b>great</b>", "Great. Really great"),
        ("Tom &amp; Jerry &quot;live&quot;", 'Tom & Jerry "live"'),
        ("escaped &amp;lt;br&amp;gt; twice", "escaped twice"),
        ("I <3 it, 2 < 3 > 1, AT&T", "I <3 it, 2 < 3 > 1, AT&T"),
        ("wait\x85 \x93fine\x94 it\x92s", "wait… “fine” it’s"),
        ("cafe\u0301\t\n au  lait\u00a0", "café au lait"),
        ("zero\u200bwidth \ufeffbell\x07", "zerowidth bell"),
        ("half\ud83d pair", "half pair"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
    ],
)
def test_normalise_leaves_what_was_written_and_takes_what_was_not(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


@pytest.mark.parametrize(
    ("raw", "masked"),
    [
        ("write to bob.smith+x@ex-ample.co.uk.", "write to [EMAIL]."),
        ("thanks @VirginAmerica, see you @ home", "thanks @VirginAmerica, see you @ home"),
        ("call (202) 555-0143 or +44 20 7946 0958!", "call [PHONE] or [PHONE]!"),
        ("10/10 in 2015 and 2016, 2 of 3, $1 234 567 890", "10/10 in 2015 and 2016, 2 of 3, $1 234 567 890"),
        ("card 4111 1111 1111 1111, 3782 822463 10005", "card [CARD], [CARD]"),
        ("order 4111 1111 1111 1112", "order 4111 1111 1111 1112"),
        ("IBAN DE89 3704 0044 0532 0130 00 IS MINE", "IBAN [IBAN] IS MINE"),
        ("gb82west12345698765432", "[IBAN]"),
        ("DE88 3704 0044 0532 0130 00", "DE88 3704 0044 0532 0130 00"),
        ("from 192.168.0.1:8080 and fe80::1.", "from [IP]:8080 and [IP]."),
        ("at 10:30:15, std::vector, 999.1.1.1 ::)", "at 10:30:15, std::vector, 999.1.1.1 ::)"),
        ("see https://a.b/c?d=1, or WWW.foo.com!", "see [URL], or [URL]!"),
    ],
)
def test_mask_hides_people_and_pages_and_nothing_else(raw: str, masked: str) -> None:
    assert mask(raw) == masked


def test_what_looks_like_personal_data_only_after_cleaning_is_masked_too() -> None:
    assert prepare("bob&#64;mail.org") == "[EMAIL]"
    assert prepare("202-555-\u200b0143") == "[PHONE]"


@pytest.mark.parametrize("same", ["It's GREAT!!", "it s great", " It’s…great "])
def test_canonical_sees_through_case_punctuation_and_spacing(same: str) -> None:
    assert canonical(prepare(same)) == "it s great"


def test_canonical_keeps_apart_what_only_symbols_tell_apart() -> None:
    assert len({canonical(text) for text in (":)", ":(", "👍", "👎", "great 👍", "great 👎")}) == 6
    assert canonical("❤\ufe0f") == canonical("❤")


@pytest.mark.parametrize("unit", HOSTILE)
def test_ten_megabytes_of_anything_end(unit: str) -> None:
    """Quadratic time would be hours here, so that finishing at all is the assertion."""
    hostile = unit * (10_000_000 // len(unit))
    assert len(prepare(hostile)) <= len(hostile)


def test_nesting_deeper_than_any_page_is_defused() -> None:
    assert "&" not in normalise("&" + "&".join(["amp;" * depth for depth in range(200)]) + "&" + "#38;" * 2000)
    assert "<" not in normalise("<b " * 2000 + ">" * 2000)
