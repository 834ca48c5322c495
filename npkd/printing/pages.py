"""Pages of HTML that hold everything themselves, pictures too, and ask no network for anything.

Whatever comes into a page is text, and escaped as such, unless `html` or `tag` made it: so nothing
that somebody has put into a file becomes a tag. Were it to become one in spite of that, it could do
nothing: POLICY has the browser run no script, but for npkd's own, and fetch nothing.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape

from npkd.files import one_line
from npkd.printing import pictures

STYLE = """
body { font: 1rem/1.55 Georgia, serif; color: #111; background: #fff; margin: 0 auto;
       max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
img { width: 100%; height: auto; } figure { margin: 1rem 0; overflow-x: auto; }
figure.wide img { min-width: 44rem; } .row { display: flex; flex-wrap: wrap; gap: .5rem; }
.row img { flex: 1 1 18rem; min-width: 0; width: auto; max-width: 100%; }
figcaption { font-size: .9rem; color: #333; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ccc; text-align: right; }
th:first-child, td:first-child { text-align: left; min-width: 10rem; }
thead th { border-bottom: 2px solid #111; }
code { font-size: .85rem; overflow-wrap: anywhere; } li { margin: .35rem 0; }
"""


def policy(style: str = STYLE, script: str = "") -> str:
    """Content Security Policy, level 3: of the style this very one, of pictures those inside.

    Of scripts none, or this very one.
    """
    scripts = f"script-src {_digest(script)}; " if script else ""
    return (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; {scripts}"
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = policy()
VOID = ("img", "input", "meta")  # elements that hold nothing and have no end


class Html(str):
    """Text that is HTML already."""


def html(*pieces: object) -> Html:
    """Pieces one after another; each that is not Html is text in one line, and escaped."""
    return Html(
        "".join(
            piece if isinstance(piece, Html) else escape(one_line(str(piece))) for piece in pieces
        )
    )


def tag(name: str, /, *pieces: object, **attributes: object) -> Html:
    """An element that holds these pieces; its attribute class is given as class_."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html(value)}"' for key, value in attributes.items()
    )
    return Html(f"<{name}{given}>" + ("" if name in VOID else f"{html(*pieces)}</{name}>"))


def document(title: str, pieces: Iterable[object], *, style: str = STYLE, script: str = "") -> str:
    """A whole page of these pieces.

    script: one of npkd's own, which is run at the end; what comes from outside is none (`values`).
    """
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Html(style)),
    )
    pieces = [*pieces, tag("script", Html(script))] if script else pieces
    parts = (tag("head", _lines(head)), tag("body", _lines(pieces)))
    return f"<!DOCTYPE html>\n{tag('html', _lines(parts), lang='en')}\n"


def values(name: str, held: object) -> Html:
    """Numbers and texts for the page's script, as JSON, in which no text can end the element."""
    text = json.dumps(held, allow_nan=False, separators=(",", ":"))
    return tag("script", Html(text.replace("<", "\\u003c")), id=name, type="application/json")


def _lines(pieces: Iterable[object]) -> Html:
    """Each piece in a line of the file."""
    return Html("\n" + "\n".join(map(html, pieces)) + "\n")


def table(cells: Iterable[Sequence[str]]) -> Html:
    """A table of cells of plain text, the first row its head, if it says anything."""
    head, *body = cells
    lines = [tag("tr", *(tag("td", cell) for cell in row)) for row in body]
    titles = [tag("thead", tag("tr", *(tag("th", cell) for cell in head)))] if any(head) else []
    return tag("div", tag("table", *titles, tag("tbody", *lines)), class_="scroll")


def figure(
    caption: str,
    *draws: pictures.Draw,
    size: tuple[float, float] = (5, 4),
    wide: bool = False,
) -> Html:
    """Pictures inside of the page, each of so many inches, side by side where there is room.

    A wide one scrolls on a phone. Raises what `pictures.png` does.
    """
    images = [
        tag(
            "img",
            alt=f"{caption} ({number} of {len(draws)})",
            src=_address(pictures.png(draw, width=size[0], height=size[1], dpi=130)),
        )
        for number, draw in enumerate(draws, 1)
    ]
    row = images[0] if len(draws) == 1 else tag("div", *images, class_="row")
    kind = {"class_": "wide"} if wide else {}
    return tag("figure", row, tag("figcaption", caption), **kind)


def _address(png: bytes) -> Html:
    """A picture as its own address, whose letters mean nothing in HTML."""
    return Html("data:image/png;base64," + base64.b64encode(png).decode())
