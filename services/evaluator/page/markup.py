"""HTML that is safe by construction: whatever is not markup already is escaped where it is put in.

Reviews are written by strangers, and a page with them is opened in somebody's browser.
"""

from collections.abc import Iterable, Sequence
from html import escape


class Markup(str):
    """HTML; `element` and `joined` make it, and anything that is done to it as to a string makes it text again."""

    __slots__ = ()


Content = Markup | str | float | None

# What may only be followed, never run.
_LINKS = ("http://", "https://")
_VOID = frozenset({"img", "meta", "br"})
NOTHING = Markup("")


def element(tag: str, *children: Content, **attributes: str) -> Markup:
    """One element. Children that are no markup are escaped, None is left out; `class_` and `aria_label` as in HTML."""
    named = "".join(f' {name.rstrip("_").replace("_", "-")}="{text(value)}"' for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{named}>")
    return Markup(f"<{tag}{named}>{joined(*children)}</{tag}>")


def joined(*children: Content) -> Markup:
    """Several pieces one after the other."""
    return Markup("".join(text(child) for child in children))


def text(content: Content) -> str:
    """The content as HTML: escaped unless it is markup, lone surrogates replaced, since no file can hold them."""
    match content:
        case Markup():
            return content
        case None:
            return ""
        case _:
            return escape(str(content).encode("utf-8", "replace").decode(), quote=True)


def foreign(content: str) -> Markup:
    """A stranger's text: its own direction of writing ends with it."""
    return element("bdi", content, class_="foreign")


def link(address: str, label: str) -> Markup:
    """A link, or the label alone where the address is none of the web's."""
    if not address.startswith(_LINKS):
        return element("span", label)
    return element("a", label, href=address, rel="noopener noreferrer")


def paragraph(*children: Content, **attributes: str) -> Markup:
    """A paragraph."""
    return element("p", *children, **attributes)


def bullets(items: Iterable[Content]) -> Markup:
    """A list; nothing if it is empty."""
    found = [element("li", item) for item in items]
    return element("ul", *found) if found else NOTHING


def table(heads: Sequence[Content], rows: Iterable[Sequence[Content]], **attributes: str) -> Markup:
    """A table that scrolls by itself where it is too wide. Cells that are markup of a cell are taken as they are."""
    head = element("tr", *(_cell(name, "th") for name in heads))
    body = [element("tr", *(_cell(value, "td") for value in row)) for row in rows]
    whole = element("table", element("thead", head), element("tbody", *body), **attributes)
    return element("div", whole, class_="wide")


def folded(summary: str, *children: Content, opened: bool = False) -> Markup:
    """What is shown on demand."""
    attributes = {"open": "open"} if opened else {}
    return element("details", element("summary", summary), *children, **attributes)


def _cell(content: Content, tag: str) -> Markup:
    if isinstance(content, Markup) and content.startswith(("<td", "<th")):
        return content
    numeric = isinstance(content, int | float)
    return element(tag, content, **({"class_": "number"} if numeric else {}))
