"""Whatever a stranger writes stays text."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluator.page.markup import Markup, bullets, element, foreign, joined, link, table


class Reader(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@given(st.text())
def test_a_text_is_read_as_it_was_written(written: str) -> None:
    found = read(foreign(written))
    assert (found.tags, found.text) == (["bdi"], written)


@given(st.text())
def test_a_text_in_an_attribute_stays_in_it(written: str) -> None:
    found = read(element("img", alt=written, src="data:,"))
    assert (found.tags, found.attributes) == (["img"], [("alt", written), ("src", "data:,")])


def test_a_piece_of_markup_that_was_changed_is_text_again() -> None:
    assert joined(element("b", "x") + "<i>") == "&lt;b&gt;x&lt;/b&gt;&lt;i&gt;"


def test_a_lone_surrogate_does_not_keep_the_page_from_a_file() -> None:
    assert foreign("\ud800").encode() == b'<bdi class="foreign">?</bdi>'


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//elsewhere", ""])
def test_only_web_addresses_become_links(address: str) -> None:
    assert "href" not in link(address, "here")


def test_a_web_address_becomes_a_link() -> None:
    assert read(link("http://127.0.0.1:5000/#/runs/1", "run")).attributes[0] == (
        "href",
        "http://127.0.0.1:5000/#/runs/1",
    )


def test_none_leaves_its_cell_empty_and_numbers_are_marked_as_such() -> None:
    found = read(table(["a", "b"], [[None, 7]]))
    assert (found.text, found.attributes[-1]) == ("ab7", ("class", "number"))


def test_nothing_to_list_is_no_list() -> None:
    assert bullets([]) == Markup("")
