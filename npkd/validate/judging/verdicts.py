"""What the judge says: a verdict for each tensor, causes, and the report that holds them."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from npkd.files import one_line
from npkd.validate.program import OWN, REPLAYED

CONSISTENT, CONVENTION, UNPROVEN, BUG = "CONSISTENT", "CONVENTION", "UNPROVEN", "BUG"
MOST_IN_TEXT = 20  # operations, or names, of which the text says more


@dataclass(frozen=True)
class Verdict:
    """What was found of one tensor.

    verdict     CONSISTENT, CONVENTION, UNPROVEN or BUG
    precision   with which it is consistent
    error       |found − expected| at the worst entry, which is `index`
    bound       there
    ratio       of the two
    bits        the effective ones; infinite where nothing differs
    band        the largest error in units of the probabilistic band
    smallest    the smallest relative fault, a factor 1 + ε on all of it, that would have shown here
    note        anything else, in words
    factor      of a bug: found is this times what is expected, but for rounding; NaN if it is not
    """

    case: str
    subject: str
    operation: str
    op: str
    result: str
    tensor: str
    exact: bool
    verdict: str
    precision: str
    error: float
    bound: float
    ratio: float
    index: tuple[int, ...]
    found: float
    expected: float
    bits: float
    band: float
    smallest: float = math.nan
    note: str = ""
    factor: float = math.nan

    @property
    def by_probes(self) -> bool:
        """Whether it is consistent only as exact probes of the same shapes pass."""
        return self.verdict == CONSISTENT and bool(self.note)

    @property
    def suspicious(self) -> bool:
        """Whether it is outside of the probabilistic band of the declared precision."""
        return self.band > 1 and not self.lower

    @property
    def lower(self) -> bool:
        """Whether it is consistent, but only with a lower precision than the declared one."""
        return self.verdict == CONSISTENT and self.ratio > 1


@dataclass(frozen=True)
class Cause:
    """Why a subject's results are wrong: the faults that fit every probe of it; none is unknown.

    op           of which operation
    faults       by name; one names the cause
    pipeline     whether it lies in how data are prepared, not in what is computed with them
    convention   where all of them are other choices that are valid: who has it so
    """

    subject: str
    op: str
    faults: tuple[str, ...]
    pipeline: bool = False
    convention: str = ""

    def __str__(self) -> str:
        if not self.faults:
            return "cause unknown: no known fault fits every probe"
        if self.convention:
            return f"a convention, {self.convention}: {' or '.join(self.faults)}"
        if len(self.faults) == 1:
            where = "in the preparation of data: " if self.pipeline else ""
            return f"cause: {where}{self.faults[0]}"
        return f"one of these, which the probes do not tell apart: {'; '.join(self.faults)}"


@dataclass(frozen=True)
class Report:
    """All verdicts, in the order of the programs, and the causes of what is wrong.

    missing    needed tensors that were not given, as CASE/TENSOR
    unjudged   operations that the judge does not know
    left       what the framework does not have, in words
    own        those of them whose backward pass is the user's own: what a judge is asked about
    asked      those of them that it was asked about, else than by a backward pass of one's own

    Names that somebody made up are in one line, and no terminal obeys them.
    """

    verdicts: tuple[Verdict, ...]
    causes: tuple[Cause, ...] = ()
    missing: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    own: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("verdicts", "causes", "missing", "unjudged", "own", "asked", "left"):
            object.__setattr__(self, name, _in_one_line(getattr(self, name)))

    @property
    def ok(self) -> bool:
        """Whether something was judged, nothing is a bug, and nothing is missing.

        What was asked about and not judged is missing: a backward pass of the user's own, an
        update, a parameter that none reached. What a framework was only asked again, in float64,
        was not judged.
        """
        judged = any(one.op not in REPLAYED for one in self.verdicts)
        judged = judged and not self.own and not self.asked
        return judged and not self.missing and all(one.verdict != BUG for one in self.verdicts)

    @property
    def proved(self) -> bool:
        """Whether it is `ok`, and nothing is UNPROVEN."""
        return self.ok and all(one.verdict != UNPROVEN for one in self.verdicts)

    @property
    def first(self) -> Verdict | None:
        """The first tensor that is a bug: the operation that diverges."""
        return next((one for one in self.verdicts if one.verdict == BUG), None)

    def check(self) -> "Report":
        """Raise AssertionError, with what is wrong, unless `ok`."""
        if not self.ok:
            raise AssertionError(str(self))
        return self

    def __str__(self) -> str:
        return text(self)


def text(report: Report) -> str:
    """The report as a table: a row for each operation, and below what is not consistent."""
    title = str(report.about.get("title", ""))
    lines = [*map(one_line, title.split("\n")), ""] if title else []
    lines += _table(report)
    wrong = [some for some in groups(report).values() if not _all_consistent(some)]
    for some in wrong[:MOST_IN_TEXT]:
        lines += ["", *_in_words(some)]
    if len(wrong) > MOST_IN_TEXT:
        lines += ["", f"… and {len(wrong) - MOST_IN_TEXT} more operations"]
    others = [name for name in report.unjudged if name not in report.asked]
    below = _listed("not given", report.missing) + _listed("not judged", others)
    below += _listed("left out", report.left)
    below += _listed("asked about, and not judged", report.asked)
    below += [f"{name}: a backward pass of your own, try npkd.gradcheck" for name in report.own]
    if report.first:
        below.append(f"first to diverge: {where(report.first)}")
    below += [f"{of_cause(cause)}: {cause}" for cause in report.causes]
    if below:
        lines += ["", *below]
    return "\n".join([*lines, "", summary(report)])


def _in_one_line(value: Any) -> Any:
    """A text in one line; a tuple, or a verdict or cause, with all its texts so."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, tuple):
        return tuple(map(_in_one_line, value))
    if isinstance(value, Verdict | Cause):
        return replace(value, **{name: _in_one_line(one) for name, one in vars(value).items()})
    return value


def _listed(what: str, names: Sequence[str]) -> list[str]:
    lines = [f"{what}: {name}" for name in names[:MOST_IN_TEXT]]
    more = len(names) - len(lines)
    return [*lines, f"{what}: … and {more} more"] if more else lines


def summary(report: Report) -> str:
    """The report in one line."""
    counts = {
        name: sum(one.verdict == name for one in report.verdicts)
        for name in (CONSISTENT, CONVENTION, UNPROVEN, BUG)
    }
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    if lower := lower_precisions(report):
        parts.append(f"some only at the precision of {' and of '.join(lower)}")
    if outside := sum(one.verdict == CONSISTENT and one.suspicious for one in report.verdicts):
        parts.append(f"{outside} outside of the probabilistic band, which proves nothing")
    if by_probes := sum(one.by_probes for one in report.verdicts):
        parts.append(f"{by_probes} of few bits, as exact probes of the same shapes pass")
    if report.missing:
        parts.append(f"{len(report.missing)} not given")
    if parts and report.left:
        parts.append(f"left out, as listed: {len(report.left)}")
    replayed = {(one.case, one.operation) for one in report.verdicts if one.op in (*REPLAYED, *OWN)}
    if parts and (report.unjudged or replayed):
        count = len({(one.case, one.operation) for one in report.verdicts})
        judged = f"{count - len(replayed)} of {count + len(report.unjudged)} operations judged"
        parts.append(judged + (f", {len(replayed)} replayed" if replayed else ""))
    if report.asked:
        parts.append(f"{len(report.asked)} that it was asked about are not")
    return f"{len(report.verdicts)} tensors: {', '.join(parts) or 'nothing to judge'}"


def lower_precisions(report: Report) -> list[str]:
    """Those that tensors are consistent with and that are not the declared one."""
    return sorted({one.precision for one in report.verdicts if one.lower})


def groups(report: Report) -> dict[tuple[str, str], list[Verdict]]:
    """The verdicts of each operation, in the order of the programs.

    By subject and what it is; of one program alone, with exact probes or without, by where in it
    and what it is.
    """
    alone = len({one.case for one in report.verdicts if not one.exact}) <= 1
    found: dict[tuple[str, str], list[Verdict]] = {}
    for one in report.verdicts:
        found.setdefault((one.operation if alone else one.subject, one.op), []).append(one)
    return found


def worst(some: Iterable[Verdict]) -> str:
    """The most serious verdict among some."""
    return min((one.verdict for one in some), key=(BUG, UNPROVEN, CONVENTION, CONSISTENT).index)


TITLES = (
    "",
    "",
    "verdict",
    "precision",
    "tensors",
    "error/bound",
    "bits",
    "unseen below",
    "exact probes",
)
WORDS = 4  # of these are words, the others figures


def rows(report: Report) -> list[list[str]]:
    """A row of cells for each of the `groups`, by the titles above.

    The largest error over its bound, the fewest effective bits, and the relative fault below which
    one may have been missed, are of ordinary numbers; of exact probes it says how many are equal.
    """
    made = []
    for names, some in groups(report).items():
        floats, probes = ([one for one in some if one.exact is kind] for kind in (False, True))
        precisions = sorted({one.precision for one in floats or some} - {""})
        equal = sum(one.ratio == 0 for one in probes)
        made.append(
            [
                *names,
                worst(some),
                ", ".join(precisions) or "–",
                str(len(some)),
                number(max((one.ratio for one in floats), default=math.nan)),
                bits(min((one.bits for one in floats), default=math.nan)),
                number(
                    max((one.smallest for one in floats if one.smallest >= 0), default=math.nan)
                ),
                f"{equal} of {len(probes)} equal" if probes else "–",
            ]
        )
    return made


def _table(report: Report) -> list[str]:
    """The rows, aligned; what stands in the row above is not said again."""
    cells = rows(report)
    if not cells:
        return []
    if all(of == op for of, op, *_ in cells):
        cells = [["", *row[1:]] for row in cells]
    cells = [
        ["" if i and row[0] == cells[i - 1][0] else row[0], *row[1:]] for i, row in enumerate(cells)
    ]
    widths = [max(len(row[k]) for row in [TITLES, *cells]) for k in range(len(TITLES))]
    lines = [
        "  ".join(
            cell.ljust(width) if k < WORDS else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [TITLES, *cells]
    ]
    return [line.rstrip() for line in lines]


def number(value: float) -> str:
    """Three digits; a dash for none."""
    return "–" if math.isnan(value) else f"{value:.3g}"


def bits(value: float) -> str:
    """Effective bits; all, where nothing differs."""
    return "–" if math.isnan(value) else "all" if math.isinf(value) else f"{value:.1f}"


def where(one: Verdict) -> str:
    """Where a tensor stands."""
    op = "" if one.op in one.operation else f" ({one.op})"
    result = "" if one.tensor == one.operation else f", {one.tensor}"
    return f"{one.case}: {one.operation}{op}{result}"


def of_cause(cause: Cause) -> str:
    """What a cause is the cause of."""
    return cause.subject if cause.op == cause.subject else f"{cause.subject}, {cause.op}"


def _all_consistent(some: Sequence[Verdict]) -> bool:
    return all(one.verdict == CONSISTENT for one in some)


def _in_words(some: Sequence[Verdict]) -> Iterator[str]:
    """What is not consistent of an operation: the first of its worst tensors, and how many more."""
    wrong = [one for one in some if one.verdict != CONSISTENT]
    one = next(one for one in wrong if one.verdict == worst(wrong))
    more = f"; and {len(wrong) - 1} more of {one.op}" if len(wrong) > 1 else ""
    yield f"{one.verdict}  {where(one)}{more}"
    if 0 < one.error < math.inf or not one.note:
        place = f"at {one.index}: " if one.index else ""
        yield f"    {place}found {one.found:.9g}, expected {one.expected:.9g}"
        bound = "" if math.isnan(one.bound) else f" where {one.bound:.3g} is the bound"
        yield f"    off by {one.error:.3g}{bound}; effective bits: {bits(one.bits)}"
    if one.verdict == BUG and not math.isnan(one.factor):
        yield f"    found is {one.factor:.6g} times what is expected, in every entry"
    if one.note:
        yield f"    {one.note}"


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON has it; infinities and NaN as text."""
    return {
        "about": dict(report.about),
        "ok": report.ok,
        "summary": summary(report),
        "first": None if report.first is None else where(report.first),
        "causes": [asdict(cause) for cause in report.causes],
        "missing": list(report.missing),
        "unjudged": list(report.unjudged),
        "left": list(report.left),
        "asked": list(report.asked),
        "verdicts": [
            {key: _plain(value) for key, value in asdict(one).items()} for one in report.verdicts
        ],
    }


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
