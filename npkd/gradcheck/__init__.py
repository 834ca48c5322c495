"""Gradient checks for anyone's `function(*args) -> (y, backward)` or loss `-> (value, gradient)`.

    gradcheck.check(function, *args, rng=rng)                      # raises unless it is right
    result = gradcheck.compare(function, *args, rng=rng)           # tells
    gradcheck.check_contract(function, *args, rng=rng)

All checks compare the two sides of one identity, with J the derivative of the function at the
arguments and ⟨a, b⟩ = Σ a b, never conjugated:

    s₁ = ⟨dy, J v⟩ = ⟨backward(dy), v⟩ = s₂

for a random dy, and for v either one random direction of all arguments together, or every unit
direction in turn (`entrywise`): one random direction dilutes a single wrong entry. They differ in
where J v comes from, without the backward pass:

    "complex"   J v = Im f(x + i h v) / h with h = 1e-30. For an analytic f nothing is subtracted,
                so it is exact to rounding, and no step crosses a kink: what decides (ReLU,
                max-pool) must do so by the real part. At an exact tie it sees the branch taken.
    "affine"    J v = f(x + v) − f(x), exact for a function that is affine in each argument alone.
    "linear"    J v = f(v), v in place of an argument in which the function is linear: the test of
                an adjoint, ⟨A v, dy⟩ = ⟨v, Aᵀ dy⟩. Takes complex arguments too.
    "central"   J v ≈ (f(x + h v) − f(x − h v)) / 2h, for functions that cannot take complex
                numbers, with the best of many steps, an estimate of its error, and the kinks near
                the point found and reported.

The answer is one of three. With B the difference that is allowed, S = Σ |gᵢ vᵢ| + Σ |dyⱼ (J v)ⱼ|:

    RIGHT       |s₁ − s₂| ≤ B, and B is small: a fault δg with |⟨δg, v⟩| ≥ power · S would have been
                seen, and power is reported
    WRONG       |s₁ − s₂| > B, also by other steps where they are differences, or g is not finite
                while the value and its derivative are
    UNDECIDED   everything else, with the reason and what would decide it; among it whatever gives
                other bits when it is called again at the same point: that is not a function

B is measured, not declared. What rounding does to s₁ − s₂ is not seen at one point, but it is
beside it. Along a ray x + t w from the point, t from some units in the last place on,

    rounding                     makes s₁ − s₂ jump from one point of the ray to the next
    a fault                      stays as it is, or changes as little as t does
    a kink at the point itself   makes a step between the point and the ray, and none along it

so B is 1e-14 S (1e-13 for an entry) and 32 times the steps of s₁ − s₂ along rays. A right backward
pass is right on both sides of a kink; at the point it is the branch taken that is compared. RIGHT
needs 2 B ≤ 1e-8 S, and 1e-3 S by differences or where less than double precision is returned.

Where both sides are but what rounding left of larger parts that cancel, as in the gradient of
Σ batch_norm(x), which is 0, S says nothing. Rounding then tells the parts: they are some 2⁵³ times
larger than it. Zero by cancellation is right if it is as small everywhere beside the point, if
rounding is as large near the point as far from it, and if differences find no derivative either.

The complex step and a backward pass may share one mistake: both lose |x|, whose imaginary part is
0. So central differences are always asked as well; they need nothing analytic, but are weak: of
such a shared fault the power is theirs, some 1e-9, entry by entry of what all entries come to.

This module imports nothing else of npkd, so that it can judge the rest.

Sources: Squire and Trapp 1998, "Using complex variables to estimate derivatives of real functions";
Ridders 1982, "Accurate computation of F'(x) and F'(x) F''(x)", for the choice of the step; Moré and
Wild 2011, "Estimating computational noise", for the tables of differences.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from npkd.gradcheck.answers import RIGHT, UNDECIDED, WRONG, Crossing, Result
from npkd.gradcheck.contract import check_contract
from npkd.gradcheck.differences import STEP, switched
from npkd.gradcheck.trial import NOT_A_FUNCTION, Trial
from npkd.gradcheck.vectors import Vector, generator, random_directions, unit_directions

__all__ = [
    "METHODS",
    "RIGHT",
    "STEP",
    "UNDECIDED",
    "WRONG",
    "Crossing",
    "Result",
    "check",
    "check_contract",
    "compare",
]

METHODS = ("complex", "affine", "linear", "central")


def check(function: Callable[..., Any], *args: Any, **options: Any) -> Result:
    """`compare`, raising AssertionError with the result's text unless the answer is RIGHT.

    Example
        >>> result = gradcheck.check(lambda x: (x**3, lambda dy: 3 * x**2 * dy), np.ones(2), rng=0)
        >>> result.answer
        'RIGHT'
    """
    result = compare(function, *args, **options)
    if not result.ok:
        raise AssertionError(str(result))
    return result


def compare(
    function: Callable[..., Any],
    *args: Any,
    rng: np.random.Generator | int,
    method: str = "complex",
    entrywise: bool = False,
    sample: int | None = None,
    power: float | None = None,
    branches: Callable[..., Any] | None = None,
) -> Result:
    """Whether `backward` is the transpose of the derivative of `function` at `args`.

    function: called with arrays like `args`, it returns (y, backward), where backward(dy) is the
    gradient by the argument or a tuple of those by each; or, as losses do, (value, gradient), taken
    as that of the sum where `value` is an array. A framework's arrays are taken as NumPy takes
    them. It is called many times, at the point and beside it.

    args: arrays or dicts of arrays; y and dy may be dicts of arrays too. All are promoted to
    float64 (complex128 if one is complex, which only "linear" takes). rng, a Generator or a seed,
    draws dy and directions, whose entries are between ½ and 1½ in size, so that none is left out.

    entrywise: every entry of every argument, or of each array as many as `sample` says, drawn by
    rng, each with an answer of its own; by default one random direction.

    power: the largest fault, relative to S, that may remain unseen where the answer is RIGHT; by
    default 1e-3 for "central" and for values of less than double precision, otherwise 1e-8.

    branches: branches(*args) gives what units decide (x > 0, say), as an array or a
    dict of arrays; those that decide otherwise on the two sides of the point are then named.

    Where the answer is not RIGHT, the result's notes say what else was found: what a central
    difference gives, and, along a random direction, which entry is worst.

    Raises AssertionError where gradients have not the shapes of the arguments, TypeError where the
    function returns no pair, and ValueError for arguments that make no sense.

    Example
        >>> x = np.array([0.5, -1.0, 2.0])
        >>> gradcheck.compare(lambda x: (x**3, lambda dy: 3 * x**2 * dy), x, rng=0).answer
        'RIGHT'
        >>> gradcheck.compare(lambda x: (x**3, lambda dy: 2 * x**2 * dy), x, rng=0).answer
        'WRONG'
    """
    rng = generator(rng)
    _require_sense(method, sample, power, entrywise)
    x = Vector.of_arguments(args)
    if np.iscomplexobj(x.values) and method != "linear":
        raise ValueError(f'gradcheck: complex arguments go with method "linear", not {method!r}')
    trial = Trial(function, x, rng, method, 1e-13 if entrywise else 1e-14, power)
    result = trial.without_comparison() or _worst(
        [
            trial.judged(direction)
            for direction in (
                unit_directions(x, rng, sample)
                if entrywise
                else random_directions(x, rng, method, trial.here.g)
            )
        ],
        method,
    )
    if not trial.same_again():
        return Result(UNDECIDED, NOT_A_FUNCTION, method)
    if branches is not None:
        units = [unit for _, _, v, _ in trial.compared for unit in switched(branches, x, v)]
        result = replace(result, switched=tuple(dict.fromkeys(units)))
    return result


def _worst(results: list[Result], method: str) -> Result:
    """The worst of these, which speaks for all."""
    if not results:
        return Result(
            UNDECIDED, "nothing was compared: no argument has entries", method, directions=0
        )
    by_answer = {WRONG: 2, UNDECIDED: 1, RIGHT: 0}
    worst = max(results, key=lambda result: (by_answer[result.answer], result.of_allowed))
    crossings = tuple(crossing for result in results for crossing in result.crossings)
    entries = tuple(results) if worst.index is not None else ()
    return replace(worst, directions=len(results), entries=entries, crossings=crossings)


def _require_sense(method: str, sample: int | None, power: float | None, entrywise: bool) -> None:
    if method not in METHODS:
        raise ValueError(f"gradcheck: method is {method!r}, expected one of {METHODS}")
    whole = isinstance(sample, int | np.integer) and not isinstance(sample, bool)
    if sample is not None and (not whole or sample < 1):
        raise ValueError(f"gradcheck: sample is {sample!r}, expected a whole number from 1")
    if sample is not None and not entrywise:
        raise ValueError(
            f"gradcheck: sample is {sample!r}, of entries; give entrywise=True with it"
        )
    if power is not None and not (isinstance(power, float | int | np.floating) and 0 < power < 1):
        raise ValueError(f"gradcheck: power is {power!r}, expected a number between 0 and 1")
