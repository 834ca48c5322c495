"""explore.html: one file, in which nothing is fetched and no script runs but npkd's own."""

from importlib.resources import files
from pathlib import Path

from npkd.explore.contents import contents
from npkd.files import BadInput, write_atomically
from npkd.printing.pages import STYLE, Html, document, html, tag, values

FOLDER = files("npkd.explore")
SCRIPTS = ("ops.js", "losses.js", "elements.js", "walk.js", "check.js", "page.js")
NAME = "explore.html"


def write(folder: str | Path, path: str | Path | None = None) -> Path:
    """Write the page of a finished run, by default into its folder; where it is.

    Raises BadInput for a folder that is none of a finished run, or whose nets make images, have too
    many parameters, or give what no loss takes, and OSError.
    """
    folder = Path(folder)
    text = page(folder).encode()
    path = folder / NAME if path is None else Path(path)
    write_atomically(path, lambda file: file.write(text))
    return path


def page(folder: Path) -> str:
    """The page as text. Raises as `write` does."""
    try:
        held = contents(folder)
        numbers = values("run", held)  # which have to be finite
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(f"{folder}: cannot be explored: {error}") from error
    script = "\n".join((FOLDER / name).read_text("utf-8") for name in SCRIPTS)
    style = STYLE + (FOLDER / "style.css").read_text("utf-8")
    title = f"The gradient of distillation, on {held['data']}"
    pieces = [
        tag("h1", title),
        tag(
            "p",
            "Knowledge distillation trains a small net to give the outputs of a large one. Here "
            "are two small nets of one run, one that is distilled and one that has learnt from the "
            "labels alone, and what the large one said of the same images. Choose an image, a "
            "loss, a layer, a cell: all that you see is computed in this page, by npkd’s "
            "operations, written once more in the page’s own script.",
        ),
        tag("p", "The numbers are being compared with npkd’s.", id="status", role="status"),
        tag("h2", "Five questions"),
        tag("p", "Each sets the page so that its answer can be seen, and leads there."),
        tag("ol", id="questions"),
        *_section("image", "1. An image, and what the nets see in it"),
        _place("samples"),
        _place("drawing"),
        _place("views"),
        _place("predictions"),
        *_section("net", "2. One net, layer by layer"),
        _place("nets"),
        _place("layer"),
        *_section("loss", "3. The loss, and its gradient by the outputs"),
        _place("dials"),
        _place("gradient"),
        *_section("walk", "4. Backward: the numbers that meet in the chosen cell"),
        tag("p", "Of the loss above; the cell is chosen in the picture of the layer."),
        tag("h3", id="here", aria_live="polite"),
        _place("cell"),
        *_section("step", "5. One step downhill, or up"),
        tag(
            "p",
            tag("label", "rate α ", for_="rate"),
            tag("input", id="rate", type="range", min="-6", max="0", step="0.05", value="-3"),
            tag("output", id="rate-now"),
        ),
        tag(
            "p",
            tag(
                "label",
                tag("input", id="printed", type="checkbox"),
                " along the sign that npkd’s source document prints, y_large − y_small",
            ),
        ),
        _place("stepped"),
        *_section("check", "6. The gradient, checked"),
        tag("p", "A weight of the last layer, for the class that is chosen in the table above."),
        _place("last"),
        tag("h3", "Beside a kink"),
        _place("kink"),
        tag("noscript", tag("p", html("This page computes, and needs JavaScript for it."))),
        numbers,
    ]
    return document(title, pieces, style=style, script=script)


def _section(name: str, title: str) -> tuple[Html, Html]:
    """The heading of a section, and a place for the question that led there."""
    return tag("h2", title, id=name, tabindex="-1"), tag("p", id=f"{name}-asked", class_="asked")


def _place(name: str) -> Html:
    """Where the script puts something."""
    return tag("div", id=name)
