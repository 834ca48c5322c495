"""The numbers of weights' files: their types by name, and bytes made arrays."""

import math
from typing import Any

import numpy as np

from npkd.arguments import shown

KINDS = (
    *("float64", "float32", "float16", "bfloat16", "complex128", "complex64", "bool"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
)


def size_of(kind: str) -> int:
    """The bytes of one number of a type out of KINDS."""
    return 2 if kind == "bfloat16" else np.dtype(kind).itemsize


def array_of(data: bytes | memoryview, kind: str, order: str = "<") -> np.ndarray:
    """Bytes as an array of a type out of KINDS, in this machine's byte order.

    NumPy has no bfloat16, so that is widened to float32, which is exact: it has the first half of
    its bits, and the others are zeros.
    """
    if kind == "bfloat16":
        upper = np.frombuffer(data, f"{order}u2").astype(np.uint32)
        return (upper << 16).view(np.float32)
    values = np.frombuffer(data, np.dtype(kind).newbyteorder(order))  # type: ignore[arg-type]
    return values.astype(kind, copy=False)


def unreadable(name: str, kind: str) -> ValueError:
    """What is raised for a tensor of another type."""
    return ValueError(
        f"{shown(name)} is of {shown(kind)}, which npkd does not read; save it as float32 "
        "(PyTorch's w.float())"
    )


def count_of(name: str, shape: Any) -> int:
    """How many numbers a tensor of this shape has. Raises ValueError if it is no shape."""
    if len(shape) > 64 or not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
        raise ValueError(f"{shown(name)} has no shape that a tensor can have")
    return math.prod(shape)
