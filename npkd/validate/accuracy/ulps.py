"""Found beside right, number by number: errors in ulp, and what is wrong in another way.

Each number belongs to one of these, in this order; only the last has an error in ulp:

    its argument is subnormal, and it is what 0 would give       "subnormal arguments"
    right is NaN, ±∞ or beyond the largest number; or the argument is ±∞   "special", if wrong
    found is NaN or ±∞                                           "not finite"
    right is below the smallest normal number                    "subnormal results", if found is 0;
                                                                 "not small", if far off
    found is 0                                                   "zero": a normal number is right
    all else                                                     how many ulp is it off?

And whatever it belongs to, it may be out of the function's range: "range".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

KINDS = {  # by kind: its letter in tables, and what it says
    "zero": ("z", "0 where the right result is a normal number"),
    "subnormal results": ("r", "results below the smallest normal number are 0"),
    "subnormal arguments": ("a", "arguments below the smallest normal number count as 0"),
    "not small": ("t", "far off where the right result is below the smallest normal number"),
    "range": ("o", "out of the function's range"),
    "not finite": ("n", "NaN or ∞ where the right result is a number"),
    "special": ("s", "wrong where ∞ or NaN is right, or is the argument"),
}
LIMITS = np.finfo(np.float32)
MOST, SMALLEST = float(LIMITS.max), float(LIMITS.smallest_normal)
STEP = float(LIMITS.smallest_subnormal)  # between subnormal numbers
NEARLY = 2.0**-19  # of the largest or smallest normal number: 16 ulp, by which one is missed
FAR = 256  # steps, which is 256 ulp of the smallest normal number
EXAMPLES = 4  # of what is wrong with special values


@dataclass(frozen=True)
class Place:
    """Where something is, as text: an argument, or the index of an entry; what came out there.

    hex: the argument exactly, where it is a float32 number.
    """

    x: str
    hex: str
    found: str
    right: str


@dataclass(frozen=True)
class Fault:
    """How often something is wrong, of so many where it might have been, and where.

    places: of "zero" and "subnormal results" the one that should have been largest.
    """

    count: int
    of: int
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Measured:
    """The figures of one result.

    entries  how many numbers have an error in ulp
    ulp      the largest; None if there are none
    typical  the median
    worst    where it is largest; None where there is no error
    faults   by kind, those that there are
    """

    entries: int
    ulp: float | None
    typical: float | None
    worst: Place | None
    faults: Mapping[str, Fault] = field(default_factory=dict)


@dataclass(frozen=True)
class Arguments:
    """The arguments of a function of one number.

    x        float32
    at_zero  what is right for 0 of the sign of each
    counted  those that make the typical error
    """

    x: np.ndarray
    at_zero: np.ndarray
    counted: np.ndarray

    @classmethod
    def of(
        cls, x: np.ndarray, function: Callable[[np.ndarray], np.ndarray], counted: np.ndarray
    ) -> "Arguments":
        zeros = function(np.array([0.0, -0.0]))
        return cls(x, np.where(np.signbit(x), zeros[1], zeros[0]), counted)


def in_ulps(found: np.ndarray, right: np.ndarray) -> np.ndarray:
    """|found − right| in ulp of float32 at each right result, all of them normal numbers."""
    _, exponent = np.frexp(right)
    return np.ldexp(np.abs(found - right), LIMITS.nmant + 1 - exponent)


def by_own(
    found: np.ndarray,
    right: np.ndarray,
    arguments: Arguments | None = None,
    shown: tuple[str, np.ndarray] | None = None,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Measured:
    """Each number in ulp of its own right result.

    right    in float64
    shown    by what places are named, if not by arguments: a word, and numbers; else by index
    limits   the function's range
    """
    with np.errstate(all="ignore"):
        return _Sorting(found, right, arguments, shown).measured(limits)


def by_largest(found: np.ndarray, right: np.ndarray) -> Measured:
    """All numbers in ulp of the largest right result, which are sums that may cancel."""
    sorting = _Sorting(found, right, None, None)
    finite = np.isfinite(sorting.found)
    _, exponent = np.frexp(np.max(np.abs(right)))
    errors = np.ldexp(np.abs(sorting.found - right)[finite], LIMITS.nmant + 1 - exponent)
    where = np.flatnonzero(finite)
    return sorting.with_errors(where, errors, errors, {"not finite": ~finite.ravel()})


class _Sorting:
    """Numbers, by what they belong to."""

    def __init__(
        self,
        found: np.ndarray,
        right: np.ndarray,
        arguments: Arguments | None,
        shown: tuple[str, np.ndarray] | None,
    ):
        self.shown_as, values = shown or ("", None)
        self.shape, self.given, self.arguments = right.shape, found, arguments
        self.found, self.right = found.astype(np.float64), right
        self.rounded = right.astype(np.float32).astype(np.float64)
        self.names = values if arguments is None else arguments.x

    def measured(self, limits: tuple[float, float]) -> Measured:
        found, right, rounded = self.found, self.right, self.rounded
        nearly_most = np.abs(right) > MOST * (1 - NEARLY)
        beyond = np.isinf(found) & nearly_most & (np.sign(found) == np.sign(right))
        found = np.where(beyond, np.copysign(2.0**128, found), found)
        as_zero, may_be = self._of_subnormal_arguments()
        left = ~as_zero
        special = left & ~np.isfinite(rounded)
        if self.arguments is not None:
            special |= left & np.isinf(self.arguments.x)
        wrong = special & ~_same(self.found, rounded) & ~(beyond & np.isinf(rounded))
        wrong &= ~(nearly_most & (np.abs(found) > MOST * (1 - NEARLY)) & np.isfinite(right))
        left &= ~special
        infinite = left & ~np.isfinite(found)
        left &= ~infinite
        small = left & (np.abs(right) < SMALLEST * (1 + NEARLY))
        flushed = small & (found == 0) & (rounded != 0)
        far = small & ~flushed & ~(np.abs(found - right) <= FAR * STEP)
        left &= ~small
        zero = left & (found == 0)
        low, high = limits
        out = (self.found < low) | (self.found > high)
        where = np.flatnonzero(left & ~zero)
        errors = in_ulps(found.ravel()[where], right.ravel()[where])
        typical = errors
        if self.arguments is not None:
            typical = errors[self.arguments.counted.ravel()[where]]
        masks = {
            "zero": zero,
            "subnormal results": flushed,
            "subnormal arguments": as_zero,
            "not small": far,
            "range": out,
            "not finite": infinite,
            "special": wrong,
        }
        of = {
            "subnormal results": small & (rounded != 0),
            "subnormal arguments": may_be,
            "not small": small,
            "special": special,
        }
        return self.with_errors(where, errors, typical, masks, of)

    def _of_subnormal_arguments(self) -> tuple[np.ndarray, np.ndarray]:
        """Which count as 0 although another result is right; and which might."""
        if self.arguments is None:
            return np.zeros(self.shape, bool), np.zeros(self.shape, bool)
        x = self.arguments.x
        at_zero = self.arguments.at_zero.astype(np.float32)
        tell = (x != 0) & (np.abs(x) < SMALLEST) & ~_same(at_zero, self.rounded)
        return tell & _same(self.found, at_zero), tell

    def with_errors(
        self,
        where: np.ndarray,
        errors: np.ndarray,
        typical: np.ndarray,
        masks: Mapping[str, np.ndarray],
        of: Mapping[str, np.ndarray] | None = None,
    ) -> Measured:
        """The figures; errors of the entries at `where`. of: where a fault might have been."""
        faults = {}
        for kind, mask in masks.items():
            at = np.flatnonzero(mask)
            if at.size:
                size = np.abs(self.right.ravel()[at])
                places = at[:EXAMPLES] if kind == "special" else at[[int(np.argmax(size))]]
                among = int(np.count_nonzero((of or {})[kind])) if kind in (of or {}) else None
                found = tuple(map(self._place, places))
                faults[kind] = Fault(at.size, self.right.size if among is None else among, found)
        worst = self._place(where[int(np.argmax(errors))]) if np.any(errors) else None
        return Measured(
            entries=errors.size,
            ulp=float(np.max(errors)) if errors.size else None,
            typical=float(np.median(typical)) if typical.size else None,
            worst=worst,
            faults=faults,
        )

    def _place(self, at: int) -> Place:
        index = np.unravel_index(at, self.shape)
        name, exact = str([int(k) for k in index]), ""
        if self.names is not None:
            x = self.names[index]
            name = str(x) if self.arguments is not None else f"{self.shown_as}{float(x):.9g}"
            exact = float(x).hex() if self.arguments is not None else ""
        return Place(name, exact, str(self.given[index]), f"{float(self.right[index]):.9g}")


def _same(found: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Whether they are equal, or both NaN."""
    return (found == right) | (np.isnan(found) & np.isnan(right))
