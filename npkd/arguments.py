"""General checks of arguments, and values in one line for a message."""

import math
from contextlib import suppress

import numpy as np

FLOATS = tuple(map(np.dtype, ("float32", "float64", "complex64", "complex128")))


def require_arrays(op: str, optional: str = "", **arrays: np.ndarray | None) -> None:
    """Raise ValueError unless all are NumPy arrays of one dtype out of FLOATS.

    optional: the names of arrays that may be None.
    """
    dtypes: dict[str, np.dtype] = {}
    for name, array in arrays.items():
        if array is None and name in optional.split():
            continue
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{op}: {name} is a {type(array).__name__}, expected a NumPy array")
        if array.dtype not in FLOATS:
            offered = ", ".join(dtype.name for dtype in FLOATS)
            raise ValueError(f"{op}: {name} is {array.dtype}, expected one of {offered}")
        dtypes[name] = array.dtype
    if len(set(dtypes.values())) > 1:
        found = ", ".join(f"{name} is {dtype}" for name, dtype in dtypes.items())
        raise ValueError(f"{op}: {found}; expected one dtype for all")


def require_axes(op: str, name: str, array: np.ndarray, axes: str) -> None:
    """Raise ValueError unless `array` has the axes named, as in "N C H W"."""
    names = axes.split()
    if array.ndim != len(names):
        expected = ", ".join(names)
        raise ValueError(f"{op}: {name} has shape {array.shape}, expected ({expected})")


def positive_integer(op: str, name: str, value: int) -> int:
    """`value` as an int, or ValueError if it is no integer of at least 1."""
    if not is_integer(value) or value < 1:
        raise ValueError(f"{op}: {name} is {shown(value)}, expected a positive integer")
    return int(value)


def shown(value: object) -> str:
    """A value that somebody gave, in one short line for a message."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # integers of thousands of digits have no text, nor need other objects
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def is_integer(value: object) -> bool:
    """Whether it is Python's or NumPy's, and no truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def as_float(value: object) -> float:
    """A number as a float; NaN, which no range holds, for anything else and what overflows."""
    if is_integer(value) or isinstance(value, float | np.floating):
        with suppress(OverflowError):
            return float(value)  # type: ignore[arg-type]
    return math.nan
