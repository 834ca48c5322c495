"""Reads the pickles of CIFAR's python layout, and runs nothing.

A pickle is a program for a stack machine. It may name any function and have it called, and a few
bytes of it can take any time and memory: tuples in tuples that are hashed, one text copied over and
over, a place in the memo that has to be made room for. What the layout needs is little: a
dictionary of lists, numbers, text and arrays of numbers. The machine here knows no operation that
this does not take. In the place of the functions that NumPy's arrays are made with it has
stand-ins, which keep the bytes, the shape and the type; the array is made from these without
NumPy's own unpickling, where a crafted type could reach memory that is not its own.

Source: pickletools, Python's own description of the operations.
"""

import pickletools
from typing import Any

import numpy as np

NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"}
TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}  # Python 2's, which were bytes
# At least, on average. An image has 3,072 and takes three or so, or forty where its labels are
# NumPy's numbers.
BYTES_OF_AN_OPERATION = 64


class Unfit(ValueError):
    """The pickle may be whole, but holds what this machine does not take."""


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
        if self.dtype.kind not in "iuf":
            raise Unfit(f"it holds an array of {self.dtype}")

    def build(self, state: Any) -> None:
        """Take over the order of its bytes from (version, order, …)."""
        self.dtype = self.dtype.newbyteorder(text(state[1]))  # type: ignore[arg-type]


def array_of(data: Any, type_: Any, shape: Any, order: Any) -> Array:
    """Stands for numpy's _frombuffer, with which protocol 5 makes a whole array at once."""
    if not isinstance(type_, Type) or not all(type(size) is int for size in shape):
        raise Unfit("it holds an array without a type or a shape")
    array = Array()
    values = np.frombuffer(data, type_.dtype)
    if text(order) == "F":
        array.values = values.reshape(shape[::-1]).T
    else:
        array.values = values.reshape(shape)
    return array


def scalar(type_: Any, data: Any) -> int | float:
    """Stands for numpy's scalar, with which it makes one number from its bytes."""
    if not isinstance(type_, Type) or len(data) != type_.dtype.itemsize:
        raise Unfit("it holds a number without a type, or with other bytes than it has")
    (value,) = np.frombuffer(data, type_.dtype).tolist()
    return value


def latin1_bytes(string: str, encoding: str) -> bytes:
    """Stands for _codecs.encode, with which Python 3 writes bytes at protocols up to 2."""
    if text(encoding) != "latin1":
        raise Unfit(f"it asks for the encoding {text(encoding)[:20]}")
    return string.encode("latin1")


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


def load(data: bytes) -> Any:
    """What the pickle holds: dictionaries, lists, tuples, numbers, text, bytes, and `Array`s.

    Raises Unfit for what it does not take, or whatever comes of damaged bytes.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}
    encoded = 0

    def from_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    def top_of(kind: type) -> Any:
        if not isinstance(stack[-1], kind):
            raise Unfit(f"it treats a {type(stack[-1]).__name__} as a {kind.__name__}")
        return stack[-1]

    def set_items(items: list[Any]) -> None:
        keys = items[::2]
        if not all(isinstance(key, str | bytes) for key in keys):  # others may take long to hash
            raise Unfit("it has a dictionary whose keys are no text")
        top_of(dict).update(zip(keys, items[1::2], strict=True))

    def stand_in(module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise Unfit(f"it asks for {module[:40]}.{name[:40]}, which no array needs")
        return STAND_INS[module, name]

    for number, (operation, argument, _) in enumerate(pickletools.genops(data)):
        if number > 900 + len(data) // BYTES_OF_AN_OPERATION:
            raise Unfit("it has many more operations than images")
        match operation.name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                marks.append(len(stack))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[operation.name])
            case name if name in NUMBERS | TEXTS | BYTES:
                stack.append(argument)
            case name if name in STRINGS:
                stack.append(str(argument).encode("latin1"))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "DICT":
                items = from_mark()
                stack.append({})
                set_items(items)
            case "LIST":
                stack.append(from_mark())
            case "TUPLE":
                stack.append(tuple(from_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                marks.append(len(stack) - int(operation.name[-1]))
                stack.append(tuple(from_mark()))
            case "SETITEM":
                marks.append(len(stack) - 2)
                set_items(from_mark())
            case "SETITEMS":
                set_items(from_mark())
            case "APPEND":
                item = stack.pop()
                top_of(list).append(item)
            case "APPENDS":
                items = from_mark()
                top_of(list).extend(items)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(stand_in(*str(argument).split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = text(stack.pop()), text(stack.pop())
                stack.append(stand_in(module, name))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                if not any(function is known for known in STAND_INS.values()):
                    raise Unfit(f"it calls a {type(function).__name__}")
                stack.append(function(*arguments))
                if isinstance(stack[-1], bytes):
                    encoded += len(stack[-1])
                    if encoded > len(data):
                        raise Unfit("it makes more bytes than it has")
            case "BUILD":
                state = stack.pop()
                if not isinstance(stack[-1], Array | Type):
                    raise Unfit(f"it alters a {type(stack[-1]).__name__}")
                stack[-1].build(state)
            case "STOP":
                return stack.pop()
            case name:
                raise Unfit(f"it has the operation {name}, which no array needs")
    raise Unfit("it has no end")


def text(value: Any) -> str:
    """Text, which Python 2 wrote as bytes."""
    if isinstance(value, bytes):
        value = value.decode("latin1")
    if not isinstance(value, str):
        raise Unfit(f"it has a {type(value).__name__} where text belongs")
    return value
