"""The numbers that questions are asked with, and what questions share."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import npkd.proofs.cases
from npkd.validate.program import Case, Operation

N, C, T = 5, 7, 3.0
LARGE = 2.0**17  # above the largest float16

Arrays = dict[str, np.ndarray]
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Options = Mapping[str, Any]
Cases = Iterator[Case]
Draw = Callable[[np.random.Generator, Shape], np.ndarray]


def normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Standard normal numbers in float32."""
    return np.asarray(rng.standard_normal(shape)).astype(np.float32)


def with_ties(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """The same, half of them rounded to multiples of ½: there are zeros, and windows tie."""
    return npkd.proofs.cases.normal(shape, rng, np.float32, ties=True)


def about_six(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Numbers of about 4, half of them multiples of 2: there are zeros and sixes, and larger."""
    return npkd.proofs.cases.normal(shape, rng, np.float32, ties=True, size=4)


def masking(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """A mask of dropout for p = ¾: a quarter of the entries 4, the others 0."""
    return np.where(rng.random(shape) < 0.25, 4.0, 0.0).astype(np.float32)


def saturated(rng: np.random.Generator, shape: Shape, unit: float = 1.0) -> np.ndarray:
    """Logits (N, C, …) that overflow, or vanish beside others, where no care is taken, times unit.

    Row by row of the batch, again and again: numbers of about 20, and of about 100; one class
    ahead of all others by 150, where float32's exp is 0 below −104; all the same at 100; all but
    equal at −100.
    """
    row = (-1,) + (1,) * (len(shape) - 1)
    spread = np.resize([20.0, 100.0, 1.0, 0.0, 2.0**-16], shape[0]).reshape(row)
    middle = np.resize([0.0, 0.0, 0.0, 100.0, -100.0], shape[0]).reshape(row)
    logits = middle + spread * rng.standard_normal(shape)
    ahead = np.arange(2, shape[0], 5)
    logits[ahead, rng.integers(0, shape[1], len(ahead))] += 150
    return (unit * logits).astype(np.float32)


def masked(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Logits of which the last class of every other sample is ruled out, by −∞."""
    logits = normal(rng, shape)
    logits[::2, -1] = -np.inf
    return logits


def near_ties(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Numbers from 1 on that are a few units in the last place apart, or equal."""
    return (1 + rng.integers(0, 5, shape) * 2.0**-23).astype(np.float32)


def subnormal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Numbers below the smallest normal one, 2⁻¹²⁶, and about it, and zeros."""
    x = rng.standard_normal(shape) * 2.0 ** rng.integers(-140, -124, shape)
    return np.where(rng.random(shape) < 0.2, 0.0, x).astype(np.float32)


def dyadic(
    rng: np.random.Generator,
    shape: Shape,
    *,
    nonzero: int | None = None,
    largest: int = 1,
    unit: float = 1.0,
) -> np.ndarray:
    """Whole numbers from −largest to largest, times `unit`, a power of two, in float32.

    nonzero: how many of each row, of shape[1:], are not 0; as many as chance has it by default.
    They are spread evenly over the columns: of R rows of K entries each, no column gets more than
    ⌈R · nonzero / K⌉ of them.
    """
    if nonzero is None:
        return (rng.integers(-largest, largest + 1, shape) * unit).astype(np.float32)
    rows, columns = shape[0], math.prod(shape[1:])
    nonzero = min(nonzero, columns)
    passes = math.ceil(rows * nonzero / columns)  # through all columns, in a new order each
    order = np.concatenate([rng.permutation(columns) for _ in range(passes)])
    places = order[: rows * nonzero].reshape(rows, nonzero)
    values = np.zeros((rows, columns), np.float32)
    signed = rng.integers(1, largest + 1, places.shape) * rng.choice([-1, 1], places.shape)
    np.put_along_axis(values, places, (signed * unit).astype(np.float32), axis=1)
    return values.reshape(shape)


def small_integers(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return dyadic(rng, shape, largest=3)


def drawn_labels(rng: np.random.Generator, count: int, classes: int) -> np.ndarray:
    return rng.integers(0, classes, count)


def case_of(
    name: str,
    subject: str,
    about: str,
    inputs: Arrays,
    operations: Sequence[Operation],
    *,
    exact: bool = False,
    needed: Sequence[str] | None = None,
) -> Case:
    """A case that needs all tensors that it makes, unless some of them are named."""
    case = Case(name, subject, about, inputs, tuple(operations), exact)
    return replace(case, needed=frozenset(case.tensors() if needed is None else needed))
