"""verdicts.html: what the judge found, on one page, for somebody who was not there.

Beside it lies verdicts.json, with every figure.
"""

import functools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npkd.files import BadInput, write_atomically
from npkd.printing.pages import Html, document, figure, table, tag
from npkd.printing.text import short
from npkd.validate.bounds.rounding import BFLOAT16, FLOAT32, FLOAT64, TF32
from npkd.validate.judging import verdicts
from npkd.validate.judging.verdicts import BUG, CONSISTENT, CONVENTION, UNPROVEN, Report, Verdict

LOWER = f"{CONSISTENT} at a lower precision"
STYLES: dict[str, dict[str, Any]] = {  # Okabe and Ito 2008, and markers that differ
    CONSISTENT: {"color": "#0072b2", "marker": "o", "markersize": 4},
    LOWER: {"color": "#56b4e9", "marker": "D", "fillstyle": "none"},
    CONVENTION: {"color": "#e69f00", "marker": "^"},
    UNPROVEN: {"color": "#cc79a7", "marker": "s", "fillstyle": "none"},
    BUG: {"color": "#900000", "marker": "X", "markersize": 8},
}
ROWS = 45  # operations of one picture, at most
DECADES = 4  # of error over bound that a picture shows, on either side of 1
Row = tuple[str, Sequence[Verdict]]  # an operation of a picture


def write(folder: str | Path, report: Report) -> str:
    """Make verdicts.json and verdicts.html in a folder, which is made if it is not there.

    Returns why the page has no pictures, as without matplotlib, or nothing. Raises OSError if they
    cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = json.dumps(verdicts.as_json(report), indent=2, allow_nan=False) + "\n"
    why = ""
    try:
        pictures = list(_pictures(report))
    except (ImportError, BadInput) as error:
        why = str(error)
        pictures = [tag("p", f"There are no pictures: {why}.")]
    text = page(report, pictures).encode()
    write_atomically(folder / "verdicts.json", lambda file: file.write(figures.encode()))
    write_atomically(folder / "verdicts.html", lambda file: file.write(text))
    return why


def page(report: Report, pictures: Sequence[Html]) -> str:
    """The page as text."""
    return document(
        f"npkd validate: {report.about.get('title', headline(report))}",
        [
            tag("h1", headline(report)),
            *_judged(report),
            *_wrong(report),
            tag("h2", "How far from the truth"),
            *pictures,
            tag("h2", "Operation by operation"),
            table(_by_operation(report)),
            *_in_full(report),
            tag("h2", "How to read this"),
            *_explained(),
        ],
    )


def headline(report: Report) -> str:
    """The verdict on everything, in a sentence."""
    count = {name: _count(report, name) for name in (CONSISTENT, CONVENTION, UNPROVEN, BUG)}
    tensors, precision = len(report.verdicts), report.about.get("precision")
    rounding = f"rounding in {precision}" if precision else "rounding"
    lower = verdicts.lower_precisions(report)
    only = f", some of them only at the precision of {' and of '.join(lower)}" if lower else ""
    missing = f"; {len(report.missing)} more must be there and are not" if report.missing else ""
    if report.left:
        missing += "; operations were left out, as listed below"
    if asked := len(report.asked) + len(report.own):
        missing += f"; {asked} that it was asked about could not be judged"
    if not tensors:
        return f"Nothing was judged{missing}."
    if count[BUG]:
        sentence = f"Wrong: {rounding} does not explain {count[BUG]} of {tensors} tensors"
    elif count[CONSISTENT] == tensors:
        sentence = f"All {tensors} tensors are within what {rounding} can do{only}"
        sentence = f"Right: {sentence[0].lower()}{sentence[1:]}" if report.ok else sentence
    else:
        doubts = [f"{number} {name}" for name, number in count.items() if number]
        sentence = f"No bug was found among {tensors} tensors: {', '.join(doubts)}{only}"
    return f"{sentence}{missing}."


def _count(report: Report, verdict: str) -> int:
    return sum(one.verdict == verdict for one in report.verdicts)


def _judged(report: Report) -> Iterator[Html]:
    """What was judged, by what."""
    about = dict(report.about)
    if "title" in about:
        yield tag("p", tag("b", about.pop("title")))
    cases, subjects = (
        {getattr(one, kind) for one in report.verdicts} for kind in ("case", "subject")
    )
    many = f"{len(cases)} programs on {len(subjects)} subjects" if len(cases) > 1 else "one program"
    yield tag(
        "p",
        f"Judged were the results of {many}, tensor by tensor. Each operation was computed anew "
        "in float64 from the inputs that the framework itself had recorded, and what the framework "
        "made of them was compared with it, entry by entry. How far the two may be apart is proved "
        "for each entry: so far can rounding take a right computation, and no farther.",
    )
    if about:
        yield table([["", ""], *([name, str(value)] for name, value in about.items())])


def _wrong(report: Report) -> Iterator[Html]:
    """Where it goes wrong first, why, and what is not there."""
    items = []
    if report.first:
        where = tag("b", verdicts.where(report.first))
        items.append(tag("li", "The first operation that diverges is ", where, "."))
    items += [tag("li", verdicts.of_cause(cause), ": ", tag("b", cause)) for cause in report.causes]
    lists = {"Not given": report.missing, "Not judged": report.unjudged, "Left out": report.left}
    for what, names in lists.items():
        if names:
            listed = [f"{', ' if k else ': '}{name}" for k, name in enumerate(names)]
            items.append(tag("li", what, *listed))
    if items:
        yield tag("h2", "What is wrong, and why" if not report.ok else "To be noted")
        yield tag("ul", *items)


def _by_operation(report: Report) -> list[list[str]]:
    """The rows of `verdicts.rows`, subject and operation in one cell."""
    head, body = verdicts.TITLES[2:], verdicts.rows(report)
    return [["", *head], *([_label(*row[:2]), *row[2:]] for row in body)]


def _label(name: str, op: str) -> str:
    """Of a row: what it is about, and which operation of it, unless either says it all."""
    if op in name:
        return name
    return op if op.startswith(f"{name}_") else f"{name}: {op}"


def _in_full(report: Report) -> Iterator[Html]:
    """All that is not consistent."""
    some = [one for one in report.verdicts if one.verdict != CONSISTENT]
    if not some:
        return
    yield tag("h2", "Everything that is not CONSISTENT")
    titles = ["", "verdict", "worst entry", "found", "expected", "error", "bound", "error/bound"]
    cells = [
        [
            verdicts.where(one),
            one.verdict,
            ", ".join(map(str, one.index)),
            *(f"{value:.9g}" for value in (one.found, one.expected)),
            *(verdicts.number(value) for value in (one.error, one.bound, one.ratio)),
            verdicts.bits(one.bits),
            one.note,
        ]
        for one in some
    ]
    notes = any(one.note for one in some)
    yield table(row if notes else row[:-1] for row in [[*titles, "bits", "note"], *cells])


def _explained() -> Iterator[Html]:
    """What the words mean."""
    meanings = {
        CONSISTENT: "every entry is within its bound, in the precision that is named. Where that "
        "is a lower one than was asked for (TF32, bfloat16, float16), the errors are those of "
        "factors rounded to it, in size and in effective bits, and exact probes of the operation "
        "are right.",
        CONVENTION: "another choice that is valid, such as the slope at a kink; it is named.",
        UNPROVEN: "neither right nor wrong is proved; the reason is given. Something was decided "
        "(which side of 0, which of two is larger) within rounding; or another formula for the "
        "same function, or a fast transform (Winograd’s, Fourier’s), may give this; or the bound "
        "is larger than what it should see.",
        BUG: "no rounding explains it. A cause is named if it, of all known faults, is the only "
        "one that gives what was found in every program on the subject.",
        "error/bound": "the error of the worst entry in parts of its bound: above 1 it is not "
        "rounding. Bounds are of the worst case; an error is usually far below.",
        "the band": "how far errors of rounding go if they are random. What lies between it and "
        "the bound is suspicious, and proves nothing.",
        "bits": "effective bits, those of the precision that would make errors of this size: "
        "about 24 for float32, 11 for TF32 and float16, 8 for bfloat16.",
        "unseen below": "a relative fault, a factor on all of a tensor, that is smaller than this "
        "may have been missed: it would have stayed within the bound, and have left as many bits "
        "as such sums have.",
        "exact probes": "programs on small integers and powers of two, of which no order of "
        "additions rounds anything: any difference at all is a bug.",
    }
    yield tag("ul", *(tag("li", tag("b", word), f": {text}") for word, text in meanings.items()))
    yield tag("p", "All figures are in ", tag("code", "verdicts.json"), ".")


# Pictures


def _pictures(report: Report) -> Iterator[Html]:
    """Errors and bits of each operation, so many operations to a picture; or why there are none.

    Raises what `pictures.png` does.
    """
    rows: list[Row] = []
    for names, some in verdicts.groups(report).items():
        shown = [one for one in some if not (one.exact and one.verdict == CONSISTENT)]
        if shown:
            rows.append((_label(*names), shown))
    if not rows:
        yield tag("p", "Every exact probe is right, and there is nothing else to show.")
        return
    caption = (
        "Each mark is a tensor, each row an operation, in the order of the programs. Left: its "
        "worst error in parts of what is proved to be the most that rounding can do. The line at "
        "1 is that bound, a dotted one the narrowest probabilistic band in the row. Right: its "
        "effective bits, and those of the usual precisions. At the edges: no difference at all, "
        "or one beyond the axis. Exact probes are shown only where they fail."
    )
    parts = math.ceil(len(rows) / ROWS)
    size = math.ceil(len(rows) / parts)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield figure(
            "The operations that follow." if start else caption,
            functools.partial(draw, rows=part),
            size=(11, 1.4 + 0.2 * len(part)),
            wide=True,
        )


def draw(area: Any, rows: Sequence[Row]) -> None:
    """Error over bound, and effective bits, of each operation."""
    left, right = area.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _errors(left, rows)
    _bits(right, rows)
    left.set_yticks(range(len(rows)), [short(name, 40) for name, _ in rows], fontsize=8)
    left.set_ylim(len(rows) - 0.4, -0.6)
    handles, labels = left.get_legend_handles_labels()
    area.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8)


def _errors(axes: Any, rows: Sequence[Row]) -> None:
    """Each tensor's worst error over its bound; 0 and what is beyond the axis are at its ends."""
    none, beyond = -DECADES - 1, DECADES + 1  # powers of ten
    _marks(axes, rows, lambda one: _power(one.ratio, none, beyond))
    bands = [(y, _band(some)) for y, (_, some) in enumerate(rows)]
    shown = [(y, math.log10(band)) for y, band in bands if band]
    axes.vlines(
        [x for _, x in shown],
        [y - 0.45 for y, _ in shown],
        [y + 0.45 for y, _ in shown],
        colors="#777777",
        linestyles=":",
        label="probabilistic band",
    )
    axes.axvline(0, color="k", linewidth=1.5, label="bound")
    powers = range(-DECADES, DECADES + 1)
    axes.set_xticks(
        [none, *powers, beyond], ["none", *(f"{10.0**k:g}" for k in powers), "more"], fontsize=8
    )
    axes.set(xlim=(none - 0.3, beyond + 0.3), title="largest error ÷ its bound")
    axes.grid(axis="x", alpha=0.3)


def _power(ratio: float, none: int, beyond: int) -> float:
    """The power of ten of a ratio, within those that are shown."""
    return float(np.clip(math.log10(ratio), none + 0.5, beyond)) if ratio > 0 else none


def _band(some: Sequence[Verdict]) -> float | None:
    """The narrowest probabilistic band among some tensors, in parts of the bound."""
    shares = [one.ratio / one.band for one in some if 0 < one.band < math.inf]
    return min(shares, default=None)


def _bits(axes: Any, rows: Sequence[Row]) -> None:
    """Each tensor's effective bits; those of a tensor without any error are at the right."""
    precisions = {BFLOAT16.bits: "bfloat16", TF32.bits: "TF32, float16", FLOAT32.bits: "float32"}
    most = FLOAT32.bits + 3
    if any(one.precision == FLOAT64.name for _, some in rows for one in some):
        precisions[FLOAT64.bits], most = FLOAT64.name, FLOAT64.bits + 3
    _marks(
        axes, rows, lambda one: min(max(one.bits, 0.0), most) if one.bits < math.inf else most + 2
    )
    for bits in precisions:
        axes.axvline(bits, color="#555555", linewidth=1, linestyle="--")
    axes.set_xticks([0, *precisions, most + 2], ["0", *map(str, precisions), "all"], fontsize=8)
    axes.set(xlim=(-0.5, most + 3), title="effective bits")
    axes.set_xlabel("; ".join(f"{bits}: {name}" for bits, name in precisions.items()), fontsize=8)
    axes.tick_params(left=False)


def _marks(axes: Any, rows: Sequence[Row], x: Any) -> None:
    """A mark for each tensor, by its verdict; the worst on top."""
    for kind, style in STYLES.items():
        places = [
            (x(one), y) for y, (_, some) in enumerate(rows) for one in some if _kind(one) == kind
        ]
        if places:
            across, down = zip(*places, strict=True)
            axes.plot(across, down, linestyle="", label=kind, zorder=3, alpha=0.8, **style)


def _kind(one: Verdict) -> str:
    """The verdict, or that it is consistent only with a lower precision."""
    return LOWER if one.lower else one.verdict
