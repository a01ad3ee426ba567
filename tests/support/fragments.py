"""Read HTML back with the standard parser: the independent judge of what a fragment holds."""

from __future__ import annotations

from html.parser import HTMLParser

# Elements that neither run, load nor link anything.
HARMLESS = frozenset(
    [
        "b",
        "code",
        "dd",
        "del",
        "details",
        "div",
        "dl",
        "dt",
        "h2",
        "h3",
        "h4",
        "i",
        "ins",
        "p",
        "section",
        "small",
        "span",
        "summary",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
    ]
)
ATTRIBUTES = frozenset({"class", "style", "scope", "open", "tabindex", "aria-hidden", "role"})


class Fragment(HTMLParser):
    """A parsed fragment.

    Attributes:
        tags: Names of its elements.
        attributes: Names of their attributes.
        words: Its text.
        marked: Text inside `del` and inside `ins`.
        classes: Class attributes.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self.marked = {"del": "", "ins": ""}
        self.classes: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"elements left open: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.classes += [value for name, value in attrs if name == "class"]
        self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.words += data
        for name in self.marked:
            if name in self._open:
                self.marked[name] += data

    @property
    def is_harmless(self) -> bool:
        """Whether nothing in it can run, load or link."""
        return self.tags <= HARMLESS and self.attributes <= ATTRIBUTES
