"""Pages of npkd, read as a browser reads them: npkd's own tags alone, nothing from outside.

And texts that would be more than text, with reports that have them wherever there may be any.
"""

from html.parser import HTMLParser
from pathlib import Path

from npkd.printing import pages
from npkd.validate import BUG, Cause, Report, Verdict

PLAIN = "head title style body h1 h2 p ol ul li b code sub figcaption table thead tbody tr th td"
ATTRIBUTES = {
    **{tag: set() for tag in PLAIN.split()},
    "html": {"lang"},
    "meta": {"charset", "name", "content", "http-equiv"},
    "div": {"class"},
    "figure": {"class"},
    "img": {"alt", "src"},
}
SCRIPT = "top.document.title += ' ran:' + window.name"
OUTSIDE = "http://127.0.0.1:9/"
HOSTILE = [  # each would be more than text where somebody had forgotten that it is text
    f"<script>{SCRIPT}</script>",
    f"</td></title></style><script>{SCRIPT}</script>",
    f'"><img src=x onerror="{SCRIPT}">',
    f'\'><svg onload="{SCRIPT}">',
    f"<style>@import '{OUTSIDE}'</style>",
    f'<meta http-equiv="refresh" content="0;url={OUTSIDE}">',
    f"<!-- --><base href={OUTSIDE}><link rel=stylesheet href=/a><iframe src=/b></iframe>",
    "&lt;b&gt;&#60;<!DOCTYPE a><?a?><![CDATA[",
    "\x00\x1b[31m\u202e\ud800\r\n$\\frac{",
]


class Page(HTMLParser):
    """Every tag is npkd's and closed in its turn, every address is inside of the page."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.images, self.text, self.policies = 0, "", []
        self.feed(text)
        self.close()
        assert self.open == []
        assert self.policies == [pages.POLICY]

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        assert values.keys() <= ATTRIBUTES[tag]
        assert len(values) == len(attrs)
        if tag == "img":
            self.images += 1
            assert values["src"].startswith("data:image/png;base64,")
            assert values["alt"]
        elif tag == "meta":
            self.policies += [values["content"]] if "http-equiv" in values else []
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def handle_decl(self, decl):
        assert decl == "DOCTYPE html"

    def handle_pi(self, data):
        raise AssertionError(data)

    handle_comment = unknown_decl = handle_pi


def read(path: Path) -> Page:
    """The page in a file."""
    return Page(path.read_text())


def with_texts(held: dict, texts: list[str]) -> dict:
    """What report.json holds, with these texts wherever any may stand."""
    of_task = {}
    if "measured_on" in held:
        of_task["measured_on"] = held["measured_on"] | {"channel": texts[8]}
    return {
        **held,
        "data": held["data"] | {"name": texts[0]},
        "class_names": texts[: len(held["class_names"])],
        "versions": held["versions"] | {texts[1]: texts[2], "python": texts[3]},
        "config": held["config"] | {texts[4]: texts[5], "schedule": texts[6]},
        "loss": texts[7],
        **of_task,
    }


def verdicts_with(text: str) -> Report:
    """Verdicts that have a text wherever any may stand."""
    names = ("case", "subject", "operation", "op", "result", "tensor", "precision", "note")
    figures = {"error": 1.0, "bound": 0.1, "ratio": 10.0, "index": (0, 3), "bits": 4.0}
    found = {"found": 1.0, "expected": 2.0, "band": 0.2, "exact": False, "verdict": BUG}
    one = Verdict(**dict.fromkeys(names, text), **figures, **found)
    return Report(
        (one,), (Cause(text, text, (text,)),), (text,), (text,), {"title": text, text: text}
    )
