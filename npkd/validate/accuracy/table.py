"""Tables: one framework's figures on a terminal, several frameworks' side by side in Markdown.

Text from files is text: `cell` makes it one line, and takes from it what Markdown would obey.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from npkd.files import one_line
from npkd.printing.text import aligned, short
from npkd.validate.accuracy.measuring import Accuracy, Row
from npkd.validate.accuracy.questions import LARGEST
from npkd.validate.accuracy.ulps import KINDS, Fault, Place

NOTHING = "–"
PERHAPS_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|~&$-])")
LONGEST_CELL = 80
DIFFERING = 0.005  # ulp, below which an error is shown as 0

EXPLAINED = (
    "Largest error found, in ulp: distances of float32 numbers at the right result, so that 0.5 "
    "is rounded correctly; with figures in brackets, which are effective bits, at the largest "
    "result of all, as sums may cancel. What letters but o stand for is not in the error: "
)


# One framework


def of_one(accuracy: Accuracy) -> list[str]:
    """The lines of one framework's table."""
    head = ["", "ulp", "typical", "bits", "", "where it is worst"]
    rows = [
        [
            short(row.name, 40),
            number(row.measured.ulp),
            number(row.measured.typical),
            NOTHING if row.bits is None else f"{row.bits:.1f}",
            letters(row),
            short(_briefly(row.measured.worst), 70),
        ]
        for row in accuracy.rows
    ]
    rows += [
        [short(name, 40), *[NOTHING] * 3, "", short(why, 60)] for name, why in accuracy.left.items()
    ]
    return aligned([head, *rows], left=(0, 4, 5))


def faults_of_one(accuracy: Accuracy) -> list[str]:
    """A line for each thing that is wrong in another way."""
    return [
        f"{letter}  {row.name}: {in_words(kind, row.measured.faults[kind])}"
        for kind, (letter, _) in KINDS.items()
        for row in accuracy.rows
        if kind in row.measured.faults
    ]


def in_words(kind: str, fault: Fault) -> str:
    """How often, and where."""
    where = "; ".join(map(at, fault.places))
    start = {"zero": "from here on: ", "subnormal results": "the largest: "}.get(kind, "")
    return f"{KINDS[kind][1]} ({fault.count:,} of {fault.of:,}); {start}{where}"


def at(place: Place | None) -> str:
    """In full: the argument exactly, too."""
    if place is None:
        return ""
    exact = f" ({place.hex})" if "x" in place.hex else ""
    return f"{place.x}{exact} gives {place.found}, right is {place.right}"


def _briefly(place: Place | None) -> str:
    return "" if place is None else f"{place.x} gives {place.found}, right is {place.right}"


def number(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return NOTHING
    if value < DIFFERING:
        return "0"
    if value < 10:
        return f"{value:.2f}"
    return f"{value:.0f}" if value < 1e5 else f"{value:.1e}".replace("e+0", "e")


def letters(row: Row) -> str:
    return "".join(letter for kind, (letter, _) in KINDS.items() if kind in row.measured.faults)


# Several


def titles(every: Sequence[Accuracy]) -> list[str]:
    """What each is called: by its device and flags too, where two would be called alike."""
    names = [one.about.get("framework", "") for one in every]
    for more in ("device", "flags"):
        often = Counter(names)
        names = [
            f"{name}, {one.about.get(more, '')}" if often[name] > 1 else name
            for name, one in zip(names, every, strict=True)
        ]
    return [short(name, LONGEST_CELL) for name in names]


def cells(every: Sequence[Accuracy]) -> list[list[str]]:
    """Operators × frameworks, plain text, a head first."""
    found = [{row.name: row for row in one.rows} for one in every]
    rows = [[name, *(_cell(of.get(name)) for of in found)] for name in _names(every)]
    return [["", *titles(every)], *rows]


def _names(every: Iterable[Accuracy]) -> list[str]:
    """The rows of all; those that one alone lacks are where the others have them."""
    names: list[str] = []
    for one in every:
        last = -1
        for name in [row.name for row in one.rows]:
            if name not in names:
                names.insert(last + 1, name)
            last = names.index(name)
    return names


def _cell(row: Row | None) -> str:
    if row is None:
        return NOTHING
    bits = f" ({row.bits:.1f})" if row.unit == LARGEST and row.bits is not None else ""
    marks = letters(row)
    return f"{number(row.measured.ulp)}{bits}{' ' * bool(marks)}{marks}"


def legend(every: Iterable[Accuracy]) -> str:
    """What the table shows, with those letters that are in it."""
    kinds = {kind for one in every for row in one.rows for kind in row.measured.faults}
    words = [f"{letter}: {text}" for kind, (letter, text) in KINDS.items() if kind in kinds]
    return EXPLAINED + ("; ".join(words) or "there are none") + "."


def off(every: Iterable[Accuracy]) -> str:
    """How far what is right may be off."""
    most = max((row.off for one in every for row in one.rows), default=0.0)
    return f"What is right was computed in float64, and is off by {most:g} ulp at most itself."


def of_which(every: Sequence[Accuracy]) -> Iterator[tuple[str, str]]:
    """Each framework, and how it was asked."""
    for title, one in zip(titles(every), every, strict=True):
        parts = [one.about[name] for name in ("device", "flags", "platform") if one.about.get(name)]
        yield title, "; ".join(parts)


def thresholds(every: Sequence[Accuracy]) -> list[list[str]]:
    """From which argument on functions are 0 too early, operators × frameworks; "" if none is."""
    found = [{row.name: row.measured.faults.get("zero") for row in one.rows} for one in every]
    names = [name for name in _names(every) if any(of.get(name) for of in found)]
    rows = [[name, *(_threshold(of.get(name)) for of in found)] for name in names]
    return [["", *titles(every)], *rows] if rows else []


def _threshold(fault: Fault | None) -> str:
    if fault is None or not fault.places:
        return ""
    place = fault.places[0]
    return f"{_few(place.x)}: {place.found}, right is {_few(place.right)}"


def _few(text: str) -> str:
    """A number in three digits, and with the words before it."""
    *words, last = text.split(" ")
    try:
        return " ".join([*words, f"{float(last):.3g}"])
    except ValueError:
        return text


def markdown(every: Sequence[Accuracy]) -> str:
    """The table over all, what it says, and who was asked."""
    early = thresholds(every)
    parts = [
        *_rows(cells(every)),
        "",
        f"{legend(every)} {off(every)}",
        *(["", "0 too early, from these arguments on:", "", *_rows(early)] if early else []),
        "",
        *(f"- {cell(title, 1000)}: {cell(how, 2000)}" for title, how in of_which(every)),
    ]
    return "\n".join(parts) + "\n"


def _rows(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def cell(text: str, most: int = LONGEST_CELL) -> str:
    """Text as such in Markdown, in one line, of so many letters at most."""
    return PERHAPS_MARKDOWN.sub(_escaped, short(one_line(text), most))


def _escaped(found: re.Match[str]) -> str:
    """An entity for what begins HTML, and for | a letter that is no border; a backslash else."""
    letter = found[1]
    return ENTITIES.get(letter, "\\" + letter)


ENTITIES: Mapping[str, str] = {
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    "|": "&#124;",
    **{letter: letter for letter in "()+-"},  # which mean nothing within a line
}
