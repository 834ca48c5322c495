"""accuracy.html, all figures of several frameworks on one page; accuracy.md, the table alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from npkd.files import write_atomically, writing_to
from npkd.printing.pages import Html, document, table, tag
from npkd.validate.accuracy import table as tables
from npkd.validate.accuracy.measuring import Accuracy
from npkd.validate.accuracy.ulps import KINDS

TITLE = "How exact frameworks’ operators are"


def write(folder: str | Path, every: Sequence[Accuracy]) -> None:
    """Make accuracy.md and accuracy.html in a folder, which is made if it is not there.

    Raises BadInput if they cannot be written.
    """
    folder = Path(folder)
    texts = {"accuracy.md": tables.markdown(every), "accuracy.html": page(every)}
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            _write(folder / name, text.encode("utf-8", "replace"))


def _write(path: Path, data: bytes) -> None:
    write_atomically(path, lambda file: file.write(data))


def page(every: Sequence[Accuracy]) -> str:
    """The page as text."""
    early = tables.thresholds(every)
    return document(
        TITLE,
        [
            tag("h1", TITLE),
            tag("p", tables.legend(every), " ", tables.off(every)),
            table(tables.cells(every)),
            *([tag("h2", "0 too early, from these arguments on"), table(early)] if early else []),
            tag("h2", "Who was asked"),
            table([["", ""], *([title, how] for title, how in tables.of_which(every))]),
            *_each(every),
        ],
    )


def _each(every: Sequence[Accuracy]) -> Iterator[Html]:
    """One framework after another in full."""
    head = ["", "largest error, ulp", "typical", "effective bits", "where it is largest"]
    for title, one in zip(tables.titles(every), every, strict=True):
        yield tag("h2", title)
        rows = [
            [
                row.name,
                tables.number(row.measured.ulp),
                tables.number(row.measured.typical),
                "" if row.bits is None else f"{row.bits:.1f}",
                tables.at(row.measured.worst),
            ]
            for row in one.rows
        ]
        yield table([head, *rows])
        items = [
            tag("li", tag("b", row.name), f": {tables.in_words(kind, row.measured.faults[kind])}")
            for kind in KINDS
            for row in one.rows
            if kind in row.measured.faults
        ]
        items += [
            tag("li", tag("b", name), f": not given: {why}") for name, why in one.left.items()
        ]
        if items:
            yield tag("ul", *items)
