"""Reads the files that torch.save has written since PyTorch 1.6, and runs nothing.

A zip file, in which nothing is compressed: data.pkl, a pickle of what was saved, in which a tensor
is a call of _rebuild_tensor_v2 with a storage, an offset, a size and strides; and data/0, data/1,
…, the numbers of the storages. Several tensors may lie in one storage, in any order of axes. Only
what a state_dict needs is known of the pickle (`npkd.pickled`), and tensors are made by NumPy.

Source: torch/serialization.py and torch/_utils.py.
"""

import sys
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from npkd import pickled
from npkd.files import opened_zip
from npkd.weights.numbers import KINDS, array_of, count_of, size_of, unreadable

OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of the number that files began with
LONGEST_PICKLE = 1 << 22  # bytes; a tensor takes some 200
BYTES_OF_AN_OPERATION = 2  # at least, on average
WHERE = ("state_dict", "model_state_dict", "model", "net", "network", "model_state", "weights")
ORDERS = {b"little": "<", b"big": ">"}
STORAGES = {
    **{"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16"},
    **{"ComplexDouble": "complex128", "ComplexFloat": "complex64", "Bool": "bool"},
    **{"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8"},
    **{"QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32"},
}
OTHERS = (  # types that only later versions have
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
    *("float4_e2m1fn_x2", "uint16", "uint32", "uint64"),
)


class Kind(NamedTuple):
    """Stands for a type of numbers, and for the storages of that type."""

    name: str


class Storage(NamedTuple):
    """The numbers that one or more tensors lie in; None if their type is not known."""

    kind: str
    values: np.ndarray | None


class Tensor(NamedTuple):
    """A tensor; None if its type is not known."""

    kind: str
    values: np.ndarray | None


class Dictionary(dict):
    """Stands for an OrderedDict, which a pickle makes empty and gives attributes."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()

    def build(self, state: Any) -> None:
        """Attributes, such as the versions of modules, are left out."""


class Plain:
    """Stands for what is left out: settings, a number of NumPy's, a size."""

    __slots__ = ()

    def __init__(self, *_: object):
        pass

    def build(self, state: Any) -> None:
        """What is in it is left out too."""


def tensor(storage: Any, offset: Any, size: Any, stride: Any, *more: object) -> Tensor:
    """Stands for _rebuild_tensor_v2: a view of a storage, and of nothing outside of it."""
    if not isinstance(storage, Storage):
        raise ValueError("it holds a tensor without a storage")
    if len(more) > 2:  # beside whether it has gradients, and hooks
        raise ValueError("it holds a tensor that is conjugated or negated as it is read")
    count = count_of("a tensor", size)
    if len(stride) != len(size):
        raise ValueError("it holds a tensor with more strides than axes, or fewer")
    count_of("a tensor", (offset, *stride))  # whole numbers, and none is negative
    if storage.values is None:
        return Tensor(storage.kind, None)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > len(storage.values) or (count and last >= len(storage.values)):
        raise ValueError("it holds a tensor that reaches beyond its storage, or repeats it")
    values = storage.values[offset:] if count else storage.values[:0]
    strides = [step * values.itemsize for step in stride]
    return Tensor(
        storage.kind, np.ndarray(size, values.dtype, values, 0, strides if count else None)
    )


def tensor_of_kind(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, kind: Any, *_: object
) -> Tensor:
    """Stands for _rebuild_tensor_v3, of types that came later."""
    if not isinstance(kind, Kind):
        raise ValueError("it holds a tensor without a type")
    return Tensor(kind.name, None)


def parameter(data: Any, *_: object) -> Tensor:
    """Stands for _rebuild_parameter: the tensor in it."""
    if not isinstance(data, Tensor):
        raise ValueError("it holds a parameter without a tensor")
    return data


STAND_INS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Dictionary,
    ("collections", "Counter"): Plain,
    ("torch._utils", "_rebuild_tensor_v2"): tensor,
    ("torch._utils", "_rebuild_tensor_v3"): tensor_of_kind,
    ("torch._utils", "_rebuild_parameter"): parameter,
    **{("torch", f"{name}Storage"): Kind(kind) for name, kind in STORAGES.items()},
    **{("torch", kind): Kind(kind) for kind in (*KINDS, *OTHERS)},
    ("torch.storage", "UntypedStorage"): Kind("bytes"),
    ("torch", "Size"): Plain,
    ("torch", "device"): Plain,
    ("argparse", "Namespace"): Plain,
    ("numpy", "dtype"): Plain,
    ("numpy.core.multiarray", "scalar"): Plain,
    ("numpy._core.multiarray", "scalar"): Plain,
    ("_codecs", "encode"): pickled.latin1_bytes,
}


def is_one(data: bytes) -> bool:
    """Whether it is a zip file with a pickle where torch.save puts it."""
    return data[:2] == b"PK" and b"/data.pkl" in data


def read(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of the state_dict in the bytes of a file, by name; see `load_weights`.

    float16 and bfloat16 are widened to float32. Arrays are read-only, as they may share memory.
    Raises ValueError, or whatever comes of operations that do not go together.
    """
    if b"/constants.pkl" in data:
        raise ValueError(
            "it holds a TorchScript program, not a state_dict; in PyTorch: "
            "torch.save(torch.jit.load(PATH).state_dict(), …)"
        )
    with opened_zip(data, at_most=sys.maxsize) as archive:
        members = archive.infolist()
        if any(one.compress_type for one in members) or sum(one.file_size for one in members) > len(
            data
        ):
            raise ValueError("it is compressed, which torch.save does not do")
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError(f"it has {len(names)} members named data.pkl, expected one")
        root = names[0].removesuffix("data.pkl")
        if archive.getinfo(names[0]).file_size > LONGEST_PICKLE:
            raise ValueError(f"its data.pkl has more than {LONGEST_PICKLE:,} bytes")
        program = archive.read(names[0])
        layout = pickled.Layout(
            STAND_INS,
            BYTES_OF_AN_OPERATION,
            "tensors",
            frozenset({"BINFLOAT", "NEWOBJ", "BINPERSID"}),
            storages(archive, root),
        )
        try:
            content = pickled.load(program, layout)
        except pickled.Unknown as error:
            if b"torch.nn.modules" not in program:
                raise
            raise ValueError(
                f"it holds a whole net ({error.name}), not its state_dict; in PyTorch: "
                "torch.save(net.state_dict(), …)"
            ) from error
    return {pickled.text(name): _values(name, one) for name, one in _tensors(content).items()}


def storages(archive: zipfile.ZipFile, root: str) -> Callable[[Any], Storage]:
    """What makes storages of persistent ids, ("storage", type, name, device, count): each once."""
    order, known = "<", dict[str, tuple[Any, Storage]]()
    if f"{root}byteorder" in archive.namelist():
        order = ORDERS.get(archive.read(f"{root}byteorder"), "")
        if not order:
            raise ValueError("its byteorder is neither little nor big")

    def storage(identity: Any) -> Storage:
        what, kind, key, _, count = identity[:5]
        if pickled.text(what) != "storage" or not isinstance(kind, Kind):
            raise ValueError("it asks for something outside of it that is no storage")
        key = pickled.text(key)
        if key not in known:
            known[key] = (kind, count), _read(archive, f"{root}data/{key}", kind.name, count, order)
        if known[key][0] != (kind, count):
            raise ValueError(f"its storage {key[:40]} is of two types or sizes")
        return known[key][1]

    return storage


def _read(archive: zipfile.ZipFile, name: str, kind: str, count: Any, order: str) -> Storage:
    if kind not in KINDS:
        return Storage(kind, None)
    if archive.getinfo(name).file_size != count_of("a storage", (count,)) * size_of(kind):
        raise ValueError(f"its storage {name[:40]} has another size than the pickle says")
    values = array_of(archive.read(name), kind, order)
    if kind == "float16":
        with np.errstate(invalid="ignore"):  # of a NaN
            values = values.astype(np.float32)
    values.setflags(write=False)
    return Storage(kind, values)


def _values(name: str, one: Tensor) -> np.ndarray:
    if one.values is None:
        raise unreadable(name, one.kind)
    return one.values


def _tensors(content: Any) -> dict[Any, Tensor]:
    """The tensors of a state_dict, or of the one that stands under a usual name."""
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, expected a state_dict")
    held = {name: found for name in WHERE if (found := _own(content.get(name)))}
    if len(held) > 1:
        raise ValueError(f"it holds several: {', '.join(held)}; save one of them")
    found = next(iter(held.values()), _own(content))
    if not found:
        names = ", ".join(map(str, list(content)[:10]))
        raise ValueError(
            f"it holds {names or 'nothing'}; expected tensors by name, or these under one of "
            f"{', '.join(WHERE)}"
        )
    return found


def _own(content: Any) -> dict[Any, Tensor]:
    """What is a tensor of a dictionary; of anything else, nothing."""
    found = content.items() if isinstance(content, dict) else ()
    return {name: one for name, one in found if isinstance(one, Tensor)}
