"""Derivatives along a direction, without the backward pass: J v, and how sure of it one may be."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from npkd.gradcheck.answers import Crossing
from npkd.gradcheck.vectors import Vector, leaves

STEP = 1e-30  # of the complex step
STEPS = 14  # of central differences, each a quarter of the one before: 0.25 … 3.7e-9 of the size
NEAR = 8  # the step of 3.8e-6: kinks between x − h v and x + h v with this h are looked for
AT_THE_POINT = 1e-4  # of that h: a nearer kink cannot be told from one at the point itself
# Spacings of tables of differences: the widest, then from the narrowest on.
SPACINGS = 2.0 ** np.array([-6, -44, -30, -25, -20, -16, -12, -9, -6])
# Steps 2^k of the second opinion: wide ones, one that sees a ripple, and more on disagreement.
OPINION = ((-6, -8, -10, -12, -30), (-15, -18, -21, -24), (-27, -33, -36))
LEAST = 2.0**-1074  # the smallest number

Function = Callable[[np.ndarray], Vector]  # it may write to its argument


@dataclass
class Slope:
    """J v for each output, what a difference lost to rounding, and what else is uncertain."""

    value: np.ndarray
    subtracted: np.ndarray | float = 0.0  # the sizes of what was subtracted
    estimated: np.ndarray | float = 0.0
    eps: float = 0.0  # of the precision of what was subtracted
    between: np.ndarray | float = 0.0  # half of what lies between the slopes of kinks at the point
    unchanged: np.ndarray | bool = False  # outputs that no step along v changes at all
    crossings: tuple[Crossing, ...] = ()

    def error(self, tolerance: float) -> np.ndarray | float:
        return np.maximum(tolerance, 8 * self.eps) * self.subtracted + self.estimated


def complex_step(f: Function, x: np.ndarray, v: np.ndarray, moved: slice) -> Slope:
    try:
        z = np.empty(x.shape, np.complex128)
        z.real, z.imag = x, STEP * v
        return Slope(np.imag(f(z).values) / STEP)
    except Exception as error:
        error.add_note(
            "gradcheck called the function with complex arguments, for the complex step; "
            'for one that cannot take them there is method="central"'
        )
        raise


def unit_step(f: Function, x: np.ndarray, v: np.ndarray, moved: slice) -> Slope:
    after, before = f(x + v), f(x.copy()).values
    size = np.abs(after.values) + np.abs(before)
    return Slope(after.values - before, size, eps=after.eps)


def in_place(f: Function, x: np.ndarray, v: np.ndarray, moved: slice) -> Slope:
    x = x.copy()
    x[moved] = v[moved]
    return Slope(f(x).values)


# Differences


def central_difference(
    f: Function,
    x: np.ndarray,
    v: np.ndarray,
    y: np.ndarray,
    outputs: Vector,
    rounding: np.ndarray,
    h: np.ndarray,
) -> Slope:
    """(f(x + h v) − f(x − h v)) / 2h at the best h for each output, and the kinks near x.

    y = f(x), whose entries `outputs` names, and what rounding does to each; h: the steps.
    """
    h = h[:, None]
    after = np.array([f(x + step * v).values for step in h])  # (steps, outputs)
    before = np.array([f(x - step * v).values for step in h])
    noise = 8 * rounding / h

    value, error = _extrapolated((after - before) / (2 * h), (2,), noise)
    # By how much the slope changes across the point falls with h, but not where there is a kink.
    jump = np.abs(after - 2 * y + before) / h
    near, nearest = NEAR, NEAR + len(h) - STEPS
    kinked, kinked_nearby = (
        (jump[k] > jump[k - 1] / 2) & (jump[k] > 4 * noise[k]) for k in (near, nearest)
    )
    # What kinks are is told at the size of the arguments, whatever smaller steps there are.
    h, after, before, noise = h[:STEPS], after[:STEPS], before[:STEPS], noise[:STEPS]
    sides = (y - before) / h, (after - y) / h
    (left, left_error), (right, right_error) = (_extrapolated(s, (1, 2), noise) for s in sides)
    crossings, between = [], np.zeros_like(value)
    for i in np.flatnonzero(kinked):
        t, a, b = _kink(y[i], after[:, i], before[:, i], h[:, 0])
        at_the_point = abs(t) <= AT_THE_POINT * h[NEAR, 0] and kinked_nearby[i]
        if at_the_point:
            slopes = np.stack([side[:, i] for side in sides], axis=1)
            (a, b), errors = _extrapolated(slopes, (1, 2), noise[:, [i]], by_smaller=False)
            value[i] = (a + b) / 2
            error[i], between[i] = np.sum(errors), np.abs(a - b) / 2
        else:
            side, side_error = (left[i], left_error[i]) if t > 0 else (right[i], right_error[i])
            a, b = (side, b) if t > 0 else (a, side)
            if kinked_nearby[i]:  # otherwise smaller steps do not reach the kink
                value[i], error[i] = side, side_error
        crossings.append(Crossing(outputs.entry(int(i)), t, float(a), float(b), bool(at_the_point)))
    unchanged = ~np.any(after != before, axis=0) & ~np.any(after != y, axis=0)
    value[unchanged], error[unchanged] = 0.0, noise[0, unchanged]
    return Slope(
        value,
        estimated=error,
        between=between,
        unchanged=unchanged,
        crossings=tuple(crossings),
    )


@dataclass(frozen=True)
class Scale:
    """By how much x + h v may be moved: h = largest moves the arguments by about their size.

    smallest: the same for what is small among them, if that is far smaller.
    """

    largest: float
    smallest: float

    @classmethod
    def of(cls, x: np.ndarray, v: np.ndarray, sizes: np.ndarray) -> "Scale":
        """sizes: of the array that each entry lies in."""
        moved = v != 0
        along, size, typical = np.abs(v[moved]), np.abs(x[moved]), sizes[moved]
        if not along.size:
            return cls(1.0, 1.0)
        far = np.where(
            (size > 0) & (size < 1e-4 * typical), np.maximum(size, 1e-9 * typical), typical
        )
        largest = float(np.max(np.maximum(size, typical)) / np.max(along))
        return cls(largest, min(largest, float(np.min(far / along))))

    @property
    def steps(self) -> np.ndarray:
        """Of central differences, from a quarter on."""
        further = math.ceil(math.log(self.largest / self.smallest, 4))
        return self.largest * 0.25 ** np.arange(1.0, 1 + STEPS + further)


def coarsest(y: np.ndarray) -> np.ndarray:
    """The coarsest precision that holds each number, as eps: it may have been rounded to that."""
    bits = np.frexp(np.abs(y))[0] * 2.0**53
    eps = np.full(y.shape, 2.0**-52)
    for digits in (24, 11, 8):  # of float32, float16 and bfloat16
        eps[bits % 2.0 ** (53 - digits) == 0] = 2.0 ** (1 - digits)
    return eps


def _extrapolated(
    slopes: np.ndarray, powers: tuple[int, ...], noise: np.ndarray, by_smaller: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The limit for h → 0 of slopes (steps, outputs) with errors c h^p + …, and its error.

    From one step to the next h is a quarter, so (4^p s(h/4) − s(h)) / (4^p − 1) is free of c h^p.
    Of these the one is chosen, for each output, that differs least from those at the steps before
    and after it, and whose rounding (noise) is small. With `by_smaller` it is judged by those at
    all smaller steps too, beyond their rounding: where kinks are nearer than the larger steps,
    these may agree on a slope that is not the point's.
    """
    for p in powers:
        slopes = (4**p * slopes[1:] - slopes[:-1]) / (4**p - 1)
    noise = noise[len(powers) :]
    errors = np.empty_like(slopes[1:-1])
    for i in range(1, len(slopes) - 1):
        # from here to the step before, here, the next, and those after it
        change = np.abs(slopes[i - 1 : None if by_smaller else i + 2] - slopes[i])
        change[3:] -= 2 * noise[i + 2 : i - 1 + len(change)]
        errors[i - 1] = np.max(change, axis=0) + noise[i]
    errors = np.where(np.isfinite(errors), errors, np.inf)
    best = np.argmin(errors, axis=0)
    outputs = np.arange(slopes.shape[1])
    return slopes[1:-1][best, outputs], errors[best, outputs]


def _kink(
    y: float, after: np.ndarray, before: np.ndarray, h: np.ndarray
) -> tuple[float, float, float]:
    """Where along v the kink lies, and the slopes a before and b after it.

    On both sides the function is continued to the point by a parabola through its values at the
    step NEAR and the next two larger ones, 4 and 16 times as large. One of the two passes through
    the point; the other one misses it by (b − a) t, nearly.
    """
    to_the_point = np.array([1, -20, 64]) / 45  # Lagrange's weights at 0 of values at 16, 4, 1
    three = slice(NEAR - 2, NEAR + 1)
    b = (after[NEAR - 1] - after[NEAR]) / (h[NEAR - 1] - h[NEAR])
    a = (before[NEAR] - before[NEAR - 1]) / (h[NEAR - 1] - h[NEAR])
    missed_by_right = y - to_the_point @ after[three]  # (b − a) t if t > 0, else 0
    missed_by_left = to_the_point @ before[three] - y  # (b − a) t if t < 0, else 0
    t = (missed_by_right + missed_by_left) / (b - a) if a != b else 0.0
    return float(t), float(a), float(b)


def scalar_difference(
    f: Function,
    x: np.ndarray,
    v: np.ndarray,
    dy: np.ndarray,
    rounding: float,
    sides: tuple[float, float],
    scale: Scale,
) -> tuple[float, float]:
    """⟨dy, J v⟩ by central differences, and what it is uncertain by.

    From two neighbouring steps, a factor q apart, (q² c(h/q) − c(h)) / (q² − 1) is free of the
    error c h². It is believed as far as that of the step before and those of all smaller steps,
    beyond what rounding does to them, let it: a function that swings within a step looks flat to
    it. Where the first few agree with the other opinion, others are not asked. sides: that opinion,
    s₁, and the sum S of the sizes of all terms.
    """
    expected, size = sides
    further = np.arange(-40, -36 + math.log2(scale.smallest / scale.largest) - 4, -4)
    h, c = np.empty(0), np.empty(0)
    best, unchanged = (math.nan, math.inf), True
    for powers in (*OPINION, further):
        for power in powers:
            step = scale.largest * 2.0**power
            change = f(x + step * v).values - f(x - step * v).values
            unchanged &= not np.any(change)
            h, c = np.append(h, step), np.append(c, np.sum(dy * change) / (2 * step))
        if unchanged or not len(powers):
            continue
        order = np.argsort(-h)
        h, c = h[order], c[order]
        q = (h[:-1] / h[1:]) ** 2
        limits, noise = (q * c[1:] - c[:-1]) / (q - 1), 2 * rounding / h[1:]
        best = math.nan, math.inf
        for k in range(1, len(limits) - 1):
            apart = np.abs(limits[k - 1 :] - limits[k])
            apart[3:] -= 2 * noise[k + 2 :]
            uncertain = float(2 * np.max(apart) + 2 * noise[k] + 1e-12 * size)
            if uncertain < best[1]:
                best = float(limits[k]), uncertain
        if abs(best[0] - expected) <= best[1] <= 1e-6 * size:
            break
    if unchanged:
        return 0.0, 2 * rounding / h[0] if size else 0.0
    # A function that swings within the smallest step looks flat: that it is as steep as expected
    # must have been seen, or seen not to be, where it would move it by no more than it moves.
    moves = 2 * np.max(np.abs(c[-3:] * h[-3:])) + rounding
    if not abs(best[0] - expected) <= best[1] and abs(expected) * h[-1] > moves:
        return best[0], math.inf
    return best


def computational_noise(f: Function, x: np.ndarray, v: np.ndarray, unit: float) -> np.ndarray:
    """The standard deviation of the rounding of each output, from tables of its differences.

    Over equally spaced points the fourth differences of a smooth function vanish with the fourth
    power of the spacing, and those of independent rounding errors have √70 times their deviation
    (Moré and Wild 2011). The spacing is the first at which an output changes at every point, or
    rests at several heights: where a function works in a lower precision, or rounds, that is a
    wide one. (Where it rests at one height there is no noise, but a kink, as ReLU has.)
    """
    finer = 0.0
    y = f(x.copy()).values
    noise, unknown = np.zeros(y.size), np.ones(y.size, bool)
    for k, spacing in enumerate(SPACINGS):
        table = np.array([f(x + n * spacing * unit * v).values for n in range(-4, 5)])
        changes = np.diff(table, axis=0)
        if k == 0:  # what does not change over the widest is constant, or coarser than that
            unknown = np.any(changes, axis=0)
            noise[~unknown] = (coarsest(y) * np.abs(y))[~unknown] / 8
            continue
        rests = changes == 0
        top = np.max(np.where(rests, table[1:], -np.inf), axis=0)
        bottom = np.min(np.where(rests, table[1:], np.inf), axis=0)
        stairs, moving = top > bottom, ~np.any(rests, axis=0)
        found = np.sqrt(np.mean(np.abs(np.diff(table, n=4, axis=0)) ** 2, axis=0) / 70)
        # A staircase did not move over the finer spacing, so its steps are at least as high as
        # what it climbs over that.
        found = np.maximum(found, np.abs(table[-1] - table[0]) * (finer / spacing))
        found[stairs] = np.max(np.abs(changes), axis=0)[stairs] / 4  # rounding by half a step
        known = unknown & (moving | stairs)
        noise[known] = found[known]
        unknown &= ~known
        finer = spacing
        if not unknown.any():
            break
    return noise


def switched(branches: Callable[..., Any], x: Vector, v: np.ndarray) -> list[str]:
    """The units that decide otherwise at x − h v and x + h v."""
    step = Scale.of(x.values, v, x.sizes).steps[NEAR] * v
    before, after = (
        dict(leaves(branches(*x.like(values)), "unit"))
        for values in (x.values - step, x.values + step)
    )
    return [
        f"{name} at {tuple(map(int, index))}"
        for name in before
        for index in np.argwhere(before[name] != after[name])
    ]
