"""Reads and writes the format .safetensors.

The length of a header, in 8 bytes; the header, JSON that gives each tensor's type, shape and place
in what follows; and the numbers, tensor after tensor without a gap, little-endian, in C order.

Source: https://github.com/huggingface/safetensors, "Format".
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from npkd.arguments import shown
from npkd.files import BadInput, each_once
from npkd.weights.numbers import array_of, count_of, size_of, unreadable

METADATA = "__metadata__"  # what texts stand under
LONGEST_HEADER = 1 << 24  # bytes; a tensor takes some hundred
TYPES = {  # in the order in which those who defined the format write the tensors
    **{"U64": "uint64", "I64": "int64", "F64": "float64", "C64": "complex64", "F32": "float32"},
    **{"U32": "uint32", "I32": "int32", "BF16": "bfloat16", "F16": "float16", "U16": "uint16"},
    **{"I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"},
}


def is_one(data: bytes) -> bool:
    """Whether it begins as such a file does."""
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= LONGEST_HEADER


def read(data: bytes) -> dict[str, np.ndarray]:
    """The tensors in the bytes of a file, by name, bfloat16 widened to float32.

    Raises ValueError, or what comes of other JSON, for anything else.
    """
    (length,) = struct.unpack_from("<Q", data)
    if length > min(len(data) - 8, LONGEST_HEADER):
        raise ValueError("its header is cut off or too long")
    header = json.loads(data[8 : 8 + length], object_pairs_hook=each_once)
    header.pop(METADATA, None)
    body, at, found = memoryview(data)[8 + length :], 0, {}
    for name, tensor in sorted(header.items(), key=lambda entry: entry[1]["data_offsets"]):
        if tensor["dtype"] not in TYPES:
            raise unreadable(name, tensor["dtype"])
        kind, shape = TYPES[tensor["dtype"]], tensor["shape"]
        size = count_of(name, shape) * size_of(kind)
        if tensor["data_offsets"] != [at, at + size] or at + size > len(body):
            raise ValueError(
                f"{shown(name)} is cut off, or not where a tensor of its shape has to be"
            )
        found[name] = array_of(body[at : at + size], kind).reshape(shape)
        at += size
    if at != len(body):
        raise ValueError(f"it has {len(body) - at:,} bytes that are no tensor's")
    return {name: found[name] for name in header}


def written(path: str | Path, arrays: Mapping[str, np.ndarray]) -> list[bytes | memoryview]:
    """A file with these arrays, in pieces. Raises BadInput for what the format has not."""
    names = {kind: name for name, kind in TYPES.items()}
    if METADATA in arrays:
        raise BadInput(f"{path}: a parameter is named {METADATA}, as the format's own texts are")
    for name, array in arrays.items():
        if array.dtype.name not in names:
            raise BadInput(f"{path}: {name} is {array.dtype}, which the format does not have")
    order = list(names)
    header, body, at = {}, [], 0
    for name in sorted(arrays, key=lambda name: (order.index(arrays[name].dtype.name), name)):
        array = np.asarray(arrays[name], arrays[name].dtype.newbyteorder("<"), order="C")
        place, at = [at, at + array.nbytes], at + array.nbytes
        kind = names[array.dtype.name]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": place}
        body.append(array.reshape(-1).view(np.uint8).data)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [struct.pack("<Q", len(text)), text, *body]
