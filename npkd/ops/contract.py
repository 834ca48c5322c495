"""What every op promises and checks: arrays of one floating dtype, sizes as PyTorch takes them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from npkd.arguments import is_integer, require_arrays, shown

Op = tuple[np.ndarray, Callable[..., Any]]  # an op's value and its backward pass
Pair = int | tuple[int] | tuple[int, int]  # or a list


def require_gradient(op: str, dy: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise ValueError unless dy, the gradient by an op's value y, has y's shape and dtype."""
    require_arrays(f"backward of {op}", dy=dy)
    if dy.shape != shape or dy.dtype != dtype:
        raise ValueError(
            f"backward of {op}: dy is {dy.dtype} {dy.shape}, expected y's {dtype} {shape}"
        )


def pair(op: str, name: str, value: Any, minimum: int) -> tuple[int, int]:
    """An int, or one or two ints in a tuple or list, as a pair (rows, columns).

    One int is for both. Raises ValueError for anything else, and below `minimum`.
    """
    if type(value) is int and value >= minimum:
        return value, value
    values = value if isinstance(value, tuple | list) else (value,)
    integers = all(map(is_integer, values))
    if len(values) not in (1, 2) or not integers or min(values) < minimum:
        raise ValueError(
            f"{op}: {name} is {shown(value)}, expected an int or a pair of ints, at least {minimum}"
        )
    return int(values[0]), int(values[-1])
