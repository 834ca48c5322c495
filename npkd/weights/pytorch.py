"""Reads the files that torch.save has written since PyTorch 1.6, and runs nothing.

A zip file, in which nothing is compressed: data.pkl, a pickle of what was saved, in which a tensor
is a call of _rebuild_tensor_v2 with a storage, an offset, a size and strides; and data/0, data/1,
…, the numbers of the storages. Several tensors may lie in one storage, in any order of axes. Only
what a state_dict needs is known of the pickle (`npkd.pickled`), and tensors are made by NumPy. What
else it asks for, settings or an optimiser, is never called: beside a state_dict it is left out, and
in the place of one, or of a tensor of it, refused. A file that asks for a program that does harm is
refused whatever else is in it.

Source: torch/serialization.py and torch/_utils.py.
"""

import sys
import zipfile
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np

from npkd import pickled
from npkd.arguments import shown
from npkd.files import opened_zip
from npkd.pickled import Ignored
from npkd.weights.numbers import KINDS, array_of, count_of, size_of, unreadable

OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of the number that files began with
LONGEST_PICKLE = 1 << 26  # bytes; a tensor takes some 200
MOST_OPERATIONS = 1 << 21
ALONE = "save the weights alone: torch.save(torch.load(PATH)['model'], NEW)"
WHERE = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "model_state",
    "weights",
    "ema",
)
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
    if count and last >= len(storage.values):
        raise ValueError("it holds a tensor that reaches beyond its storage")
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
    ("torch._utils", "_rebuild_tensor_v2"): tensor,
    ("torch._utils", "_rebuild_tensor_v3"): tensor_of_kind,
    ("torch._utils", "_rebuild_parameter"): parameter,
    **{("torch", f"{name}Storage"): Kind(kind) for name, kind in STORAGES.items()},
    **{("torch", kind): Kind(kind) for kind in (*KINDS, *OTHERS)},
    ("torch.storage", "UntypedStorage"): Kind("bytes"),
}


def is_one(data: bytes) -> bool:
    """Whether it is a zip file with a pickle where torch.save puts it."""
    return data[:2] == b"PK" and b"/data.pkl" in data


def read(data: bytes, *, at_most: int) -> dict[str, np.ndarray]:
    """The tensors of the state_dict in the bytes of a file, by name; see `load_weights`.

    float16 and bfloat16 are widened to float32. Arrays are read-only, as they may share memory, and
    one that is expanded repeats it: they have no more than `at_most` bytes together. Raises
    ValueError, or whatever comes of operations that do not go together.
    """
    if b"/archive_format" in data or b"serialized_exported_program" in data:
        raise ValueError(
            "it holds a program of torch.export (.pt2), not a state_dict; in PyTorch: "
            "torch.save(torch.export.load(PATH).state_dict, NEW)"
        )
    if b"/constants.pkl" in data:
        raise ValueError(
            "it holds a TorchScript program, not a state_dict; in PyTorch: "
            "torch.save(torch.jit.load(PATH).state_dict(), NEW)"
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
            raise ValueError(f"its data.pkl has more than {LONGEST_PICKLE:,} bytes; {ALONE}")
        program = archive.read(names[0])
        bytes_of_an_operation = -(-len(program) // MOST_OPERATIONS)
        layout = pickled.Layout(
            STAND_INS, bytes_of_an_operation, f"tensors need; {ALONE}", storages(archive, root)
        )
        found = _state_dict(pickled.load(program, layout), b"torch.nn.modules" in program)
    arrays = {pickled.text(name): _values(name, one) for name, one in found.items()}
    size = sum(array.nbytes for array in arrays.values())
    if size > at_most:
        raise ValueError(
            f"its tensors have {size:,} bytes, as some are expanded; give contiguous()"
        )
    return arrays


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
            raise ValueError(f"its storage {shown(key)} is of two types or sizes")
        return known[key][1]

    return storage


def _read(archive: zipfile.ZipFile, name: str, kind: str, count: Any, order: str) -> Storage:
    if kind not in KINDS:
        return Storage(kind, None)
    if archive.getinfo(name).file_size != count_of("a storage", (count,)) * size_of(kind):
        raise ValueError(f"its storage {shown(name)} has another size than the pickle says")
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


def _state_dict(content: Any, has_modules: bool) -> dict[Any, Tensor]:
    """The tensors of a state_dict, or of the one that stands under a usual name.

    has_modules: whether the file asks for classes of layers.
    """
    entries = content if isinstance(content, dict) else {"state_dict": content}
    usual_last = sorted(entries.items(), key=lambda entry: _is_usual(entry[0]))
    each = {id(one): (name, one) for name, one in usual_last}  # once, by its usual name if any
    own = {name: tensors for name, one in each.values() if (tensors := _own(one))}
    usual = [name for name in own if _is_usual(name)]
    same = [own[name].keys() for name in usual]  # of the same net, under whatever name
    held = [name for name in own if name in usual or own[name].keys() in same]
    if len(held) > 1:
        raise ValueError(f"it holds several: {_some(held)}; save the one you want")
    found = entries[held[0]] if held else content
    if not _own(found):
        nets = [one.name for k, one in entries.items() if _is_usual(k) and isinstance(one, Ignored)]
        if nets and has_modules:
            raise ValueError(
                f"it holds a whole net ({nets[0]}), not its state_dict; in PyTorch: "
                "torch.save(net.state_dict(), NEW)"
            )
        if found is not entries:
            kind = nets[0] if nets else type(content).__name__
            raise ValueError(f"it holds a {kind}, expected a state_dict")
        raise ValueError(
            f"it holds {_some(content) or 'nothing'}; expected tensors by name, or these under one "
            f"of {', '.join(WHERE)}"
        )
    for name, one in found.items():
        if isinstance(one, Ignored):
            raise ValueError(f"its {shown(name)} is a {one.name}, and no tensor that npkd reads")
    return _own(found)


def _own(content: Any) -> dict[Any, Tensor]:
    """What is a tensor of a dictionary; of anything else, nothing."""
    found = content.items() if isinstance(content, dict) else ()
    return {name: one for name, one in found if isinstance(one, Tensor)}


def _is_usual(name: Any) -> bool:
    """Whether a state_dict is kept under this name, or the mean of several (EMA) is."""
    return isinstance(name, str) and name.removesuffix("_ema").removeprefix("ema_") in WHERE


def _some(names: Collection[Any]) -> str:
    """The first few."""
    return ", ".join(shown(name) for name in list(names)[:10])
