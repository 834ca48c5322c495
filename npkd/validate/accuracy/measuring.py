"""The figures of one framework: a row for each result, and why others are not there."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from npkd.validate.accuracy.asking import Ask
from npkd.validate.accuracy.questions import LARGEST, Question, Right
from npkd.validate.accuracy.ulps import Measured, by_largest, by_own
from npkd.validate.bounds.rounding import Rounded
from npkd.validate.judging.trial import effective_bits, errors_of


@dataclass(frozen=True)
class Row:
    """What was measured of one result of an op.

    name    of the row
    op      which it is a result of
    unit    of which right result an ulp is: each number's "own", or the "largest"
    off     how far what is right may be off itself, in ulp
    bits    effective bits, as the judge counts them; None where they are not counted, or where
            nothing differs
    """

    name: str
    op: str
    unit: str
    off: float
    measured: Measured
    bits: float | None = None


@dataclass(frozen=True)
class Accuracy:
    """A framework's rows, in order; and by the name of a row, why it is not there.

    about   framework, with its version, device, flags, platform
    """

    about: Mapping[str, str]
    rows: tuple[Row, ...]
    left: Mapping[str, str]


def measure(
    questions: Iterable[Question],
    ask: Ask,
    about: Mapping[str, str],
    where: Callable[[str], None] = lambda name: None,
) -> Accuracy:
    """Ask all questions, and measure what comes out. where: is told which one it is at."""
    rows: list[Row] = []
    left: dict[str, str] = {}
    for question in questions:
        where(question.case.name)
        given = ask(question.case)
        for tensor, right in question.right().items():
            name = question.row(tensor)
            if tensor not in given.arrays:
                left[name] = "; ".join(given.why) or "not given"
                continue
            found = np.asarray(given.arrays[tensor])
            if found.shape != right.value.shape or found.dtype.kind != "f":
                kind = f"{found.dtype} {found.shape}"
                left[name] = f"is {kind}, expected floats {right.value.shape}"
                continue
            rows.append(_row(name, question.op, found, right))
    return Accuracy(dict(about), tuple(rows), left)


def _row(name: str, op: str, found: np.ndarray, right: Right) -> Row:
    if right.unit == LARGEST:
        measured = by_largest(found, right.value)
    else:
        measured = by_own(found, right.value, right.arguments, right.shown, right.limits)
    bits = _bits(found, right) if right.bits else None
    return Row(name, op, right.unit, right.off, measured, bits)


def _bits(found: np.ndarray, right: Right) -> float | None:
    errors = errors_of(found, right.value)
    if errors is None or not np.any(errors):
        return None
    scale = right.scale
    outcome = Rounded(right.value, scale=None if scale is None else lambda: scale)
    bits = effective_bits(errors, outcome, found.dtype)[0]
    return bits if math.isfinite(bits) else None
