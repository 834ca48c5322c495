"""What a random case is, and what cases of several kinds draw alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

Integers = Callable[[int, int], int]
Size = int | tuple[int, int]


@dataclass(frozen=True)
class Drawn:
    """A case of one call: `op` names it in npkd.ops or npkd.losses, and in npkd.definitions.

    `shapes` holds the shape of each array argument under its name, in the order of the
    arguments; `options` holds the other arguments, by keyword (labels, integers, are one).

    A network or a training is a case too: `op` is its key in NETWORKS or TRAININGS, and `options`
    are what npkd.proofs builds it from.
    """

    op: str
    shapes: dict[str, tuple[int, ...]]
    options: dict[str, Any]


def arrays(
    case: Drawn, rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> dict[str, np.ndarray]:
    """Standard normal arrays of the case's shapes; for a complex dtype both parts are normal.

    The ops that choose (`relu`, `relu6`, `max_pool2d`) get about half of their entries rounded to
    multiples of ½, so that zeros and ties occur; those of `relu6` are four times as large. The real
    parts of a variance are above ½.
    """
    ties, size = case.op in ("relu", "relu6", "max_pool2d"), 4 if case.op == "relu6" else 1
    drawn = {
        name: normal(shape, rng, dtype, ties=ties, size=size) for name, shape in case.shapes.items()
    }
    if "variance" in drawn:
        drawn["variance"].real = np.abs(drawn["variance"].real) + 0.5
    return drawn


def normal(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    dtype: DTypeLike = np.float64,
    *,
    ties: bool = False,
    size: float = 1.0,
) -> np.ndarray:
    """A normal array of this size; with `ties` about half of it is rounded to multiples of half."""
    values = np.asarray(rng.standard_normal(shape))
    if np.issubdtype(dtype, np.complexfloating):
        values = values + 1j * rng.standard_normal(shape)
    if ties:
        values = np.where(rng.random(shape) < 0.5, np.round(2 * values) / 2, values)
    return np.asarray(size * values).astype(dtype)


# Arguments


def rows(integers: Integers) -> tuple[int, ...]:
    """A shape (N, C), N at least 2."""
    return integers(2, 3), integers(1, 4)


def images(integers: Integers) -> tuple[int, ...]:
    """A shape (N, C, H, W), N at least 2, height and width each for itself."""
    return integers(2, 3), integers(1, 3), integers(1, 4), integers(1, 4)


def rows_or_images(integers: Integers) -> tuple[int, ...]:
    return rows(integers) if boolean(integers) else images(integers)


def boolean(integers: Integers) -> bool:
    return integers(0, 1) == 1


def pair(size: Size) -> tuple[int, int]:
    """The (height, width) of a size."""
    return size if isinstance(size, tuple) else (size, size)


def size_of(integers: Integers, low: int, high: Size) -> Size:
    """An int or a pair, at least `low` and at most `high` in both directions."""
    height, width = pair(high)
    if integers(0, 2):
        return integers(low, height), integers(low, width)
    return integers(low, min(height, width))


def other(integers: Integers, value: int, high: int) -> int:
    """A number from 1 to `high` that is not `value`, itself one of them."""
    return (value + integers(0, high - 2)) % high + 1


# Cases


# Losses


BATCH_MEANS = ("batchmean", "sum", "none")
EVERY_REDUCTION = (*BATCH_MEANS, "elementmean")
OF_PAIRS = ("elementmean", "batchmean", "sum")


def one_of(integers: Integers, *offered: Any) -> Any:
    return offered[integers(0, len(offered) - 1)]


def outputs(integers: Integers, least: int = 1) -> tuple[int, int]:
    """Outputs (B, C) of a net for a batch."""
    return integers(2, 4), integers(least, 6)


def labels(integers: Integers, count: int, classes: int) -> np.ndarray:
    return np.array([integers(0, classes - 1) for _ in range(count)])


def temperature(integers: Integers, most: int = 6) -> dict[str, Any]:
    """A temperature from ½ to `most`, its square in the loss or not."""
    return {"temperature": integers(1, 2 * most) / 2, "temperature_squared": boolean(integers)}


def epsilon(integers: Integers, least: float = 0.0, most: float = 0.1) -> dict[str, float]:
    """An ε of `least`, or a large one that no gradient may forget."""
    return {"epsilon": one_of(integers, least, most)}


def entries(integers: Integers) -> tuple[int, ...]:
    """Outputs (B, C), or features of any axes."""
    return outputs(integers) if boolean(integers) else rows_or_images(integers)


# Networks and trainings


Cases = dict[str, Callable[[Integers], Drawn]]
