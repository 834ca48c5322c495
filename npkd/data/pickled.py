"""The pickles of CIFAR's python layout: a dictionary of lists, and of arrays of numbers.

In the place of the functions that NumPy's arrays are made with there are stand-ins, which keep the
bytes, the shape and the type; the array is made from these without NumPy's own unpickling, where a
crafted type could reach memory that is not its own. Of what is no number only the type and the
shape are kept, as it may stand beside the images and means nothing to them.
"""

from typing import Any

import numpy as np

from npkd import pickled
from npkd.pickled import Unfit, latin1_bytes, text

# At least, on average. An image has 3,072 and takes three or so, or forty where its labels are
# NumPy's numbers.
BYTES_OF_AN_OPERATION = 64


class Array:
    """Stands for numpy.ndarray, which a pickle makes empty and then fills from a state."""

    def __init__(self, *_: object):
        self.values: np.ndarray = np.empty(0, np.uint8)

    def build(self, state: Any) -> None:
        """Fill it from (version, shape, type, whether in Fortran order, bytes)."""
        _, shape, type_, is_fortran, data = state
        self.values = array_of(data, type_, shape, "F" if is_fortran else "C").values


class Type:
    """Stands for numpy.dtype, which a pickle makes from a name and then a state."""

    def __init__(self, name: str | bytes, *_: object):
        name = text(name)
        if len(name) > len("uint64") + 1:
            raise Unfit(f"it holds an array of {name[:40]}")
        self.dtype = np.dtype(name)

    @property
    def is_number(self) -> bool:
        return self.dtype.kind in "iuf"

    def build(self, state: Any) -> None:
        """Take over the order of its bytes from (version, order, …)."""
        self.dtype = self.dtype.newbyteorder(text(state[1]))  # type: ignore[arg-type]


def array_of(data: Any, type_: Any, shape: Any, order: Any, axes: Any = None) -> Array:
    """Stands for numpy's _frombuffer, with which protocol 5 makes a whole array at once.

    axes: in the order "K", those of the bytes in which the array's come.
    """
    if not isinstance(type_, Type) or not all(type(size) is int for size in shape):
        raise Unfit("it holds an array without a type or a shape")
    array = Array()
    if not type_.is_number:
        array.values = np.broadcast_to(np.empty((), type_.dtype), shape)
        return array
    values = np.frombuffer(data, type_.dtype)
    if text(order) == "F":
        array.values = values.reshape(shape[::-1]).T
    elif text(order) == "K" and axes is not None:
        array.values = values.reshape(shape).transpose(axes)
    else:
        array.values = values.reshape(shape)
    return array


def scalar(type_: Any, data: Any) -> int | float | None:
    """Stands for numpy's scalar, with which it makes one number from its bytes."""
    if isinstance(type_, Type) and not type_.is_number:
        return None
    if not isinstance(type_, Type) or len(data) != type_.dtype.itemsize:
        raise Unfit("it holds a number without a type, or with other bytes than it has")
    (value,) = np.frombuffer(data, type_.dtype).tolist()
    return value


STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): Type,
    ("numpy", "ndarray"): Array,  # an argument of _reconstruct
    ("numpy.core.multiarray", "_reconstruct"): Array,
    ("numpy._core.multiarray", "_reconstruct"): Array,
    ("numpy.core.numeric", "_frombuffer"): array_of,
    ("numpy._core.numeric", "_frombuffer"): array_of,
    ("numpy.core.multiarray", "scalar"): scalar,
    ("numpy._core.multiarray", "scalar"): scalar,
    ("_codecs", "encode"): latin1_bytes,
}

LAYOUT = pickled.Layout(STAND_INS, BYTES_OF_AN_OPERATION, "images")


def load(data: bytes) -> Any:
    """What the pickle holds: dictionaries, lists, tuples, numbers, text, bytes, and `Array`s.

    Raises Unfit for what it does not take, or whatever comes of damaged bytes.
    """
    return pickled.load(data, LAYOUT)
