"""Gradient checks by the complex step, for anyone's `function(*args) -> (y, backward)` or loss.

For an analytic f, f(x + i h v) = f(x) + i h J v − …, so that

    J v = Im f(x + i h v) / h        with h = 1e-30 exact to rounding: nothing is subtracted.

The plain transpose is checked against it in one random direction for all arguments together, or in
every unit direction: ⟨dy, J v⟩ = ⟨backward(dy), v⟩, with ⟨a, b⟩ = Σ a b. Functions that decide
(ReLU, max-pool) must do so by the real part; the step then never crosses a kink.

This module imports nothing else of npkd, so that it can judge the rest.

Source: Squire and Trapp 1998, "Using complex variables to estimate derivatives of real functions".
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

STEP = 1e-30


def check(
    function: Callable[..., Any],
    *args: np.ndarray,
    rng: np.random.Generator,
    entrywise: bool = False,
    conditioning: float = 0.0,
) -> None:
    """Raise AssertionError unless `backward` is the transpose of the derivative of `function`.

    function: takes `args`, real arrays, as float64 and as complex128. It returns (y, backward) with
    backward(dy) the gradient by the argument, or a tuple of those by each; or, as losses do,
    (value, gradient). rng draws dy and the directions.

    Directional, for one random v over all arguments; allowed is
        |⟨dy, J v⟩ − ⟨g, v⟩| ≤ 1e-14 (Σ |g v| + Σ |dy (J v)| + conditioning · Σ |v|)
    Entrywise, for every entry of every argument (v = 1 there and 0 elsewhere), with 1e-13.

    conditioning: 0 for what is linear or piecewise linear, 1/B for softmax losses, whose gradient
    is a small difference of numbers near 1.
    """
    args = tuple(np.asarray(a, np.float64) for a in args)
    y, backward = function(*args)
    if callable(backward):
        dy = rng.standard_normal(np.shape(y))
        gradients = backward(dy)
    else:
        dy, gradients = np.ones(np.shape(y)), backward
    gradients = _matching(gradients, args)
    tolerance = 1e-13 if entrywise else 1e-14
    directions = _unit_directions(args) if entrywise else [_random_direction(args, rng)]
    for label, direction in directions:
        stepped = [a + 1j * STEP * v for a, v in zip(args, direction, strict=True)]
        jv = np.imag(function(*stepped)[0]) / STEP
        products = [g * v for g, v in zip(gradients, direction, strict=True)]
        expected, got = np.sum(dy * jv), sum(np.sum(p) for p in products)
        allowed = tolerance * (
            sum(np.sum(np.abs(p)) for p in products)
            + np.sum(np.abs(dy * jv))
            + conditioning * sum(np.sum(np.abs(v)) for v in direction)
        )
        if not np.abs(expected - got) <= allowed:
            raise AssertionError(
                f"gradient {label}: backward gives {got:.17g}, the complex step {expected:.17g}; "
                f"they differ by {np.abs(expected - got):.3g}, allowed is {allowed:.3g}"
            )


def _matching(gradients: Any, args: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """The gradients as a list, one of its own shape for each argument.

    None at the end, for an argument that was not given, is left out.
    """
    found = list(gradients) if isinstance(gradients, tuple) else [gradients]
    while len(found) > len(args) and found[-1] is None:
        found.pop()
    shapes, expected = [np.shape(g) for g in found], [a.shape for a in args]
    if shapes != expected:
        raise AssertionError(f"gradients have shapes {shapes}, expected the arguments' {expected}")
    for k, gradient in enumerate(found):
        if not np.isfinite(gradient).all():
            raise AssertionError(f"the gradient by argument {k} is not finite")
    return found


def _random_direction(
    args: tuple[np.ndarray, ...], rng: np.random.Generator
) -> tuple[str, list[np.ndarray]]:
    return "along a random direction", [rng.standard_normal(a.shape) for a in args]


def _unit_directions(args: tuple[np.ndarray, ...]) -> Iterator[tuple[str, list[np.ndarray]]]:
    for k, a in enumerate(args):
        for index in np.ndindex(a.shape):
            direction = [np.zeros(b.shape) for b in args]
            direction[k][index] = 1
            yield f"by argument {k} at {index}", direction
