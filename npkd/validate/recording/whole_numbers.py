"""Small whole numbers for exact probes: no sum of them rounds, in whatever order it is added up."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

RANGE = 2.0**17  # which takes small integers out of float16's range, and no other's
MOST = 2.0**24  # up to which float32 has all whole numbers

Arrays = Mapping[str, np.ndarray]


def whole_numbers(
    shapes: Mapping[str, tuple[int, ...]],
    sums: Callable[[Arrays], Iterable[np.ndarray]],
    rng: np.random.Generator,
    *,
    most: float = MOST,
    unit: int = 1,
) -> dict[str, np.ndarray] | None:
    """Integers from −3 to 3, times `unit`, of these shapes, or None if there are none.

    sums: all results of the probe, which are sums of products. Of the absolute values of all
    entries they are the sums of the terms' sizes, whose bits must not be more than are stored:
    entries are left 0 until they are at most `most`.
    """
    for halvings in range(16):
        density = 0.5**halvings
        arrays = {
            key: rng.integers(-3, 4, shape) * (rng.random(shape) < density) * 1.0 * unit
            for key, shape in shapes.items()
        }
        of_sizes = sums({key: np.abs(array) for key, array in arrays.items()})
        if max(float(np.max(one, initial=0.0)) for one in of_sizes) <= most:
            return arrays
    return None
