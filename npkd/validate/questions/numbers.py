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
