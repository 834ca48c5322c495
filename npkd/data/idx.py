"""idx files, in which MNIST comes, and Fashion-MNIST, KMNIST and EMNIST; packed by gzip or not.

An idx file is two zero bytes, the type of its entries, the number of its axes, the size of each
(four bytes, the most significant first), and the entries, the last axis running fastest.

Source: http://yann.lecun.com/exdb/mnist/.
"""

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from npkd.data import arrays
from npkd.data.dataset import Dataset
from npkd.files import ArrayInFile, BadInput, Damaged, files_in, size_of, taking

NAME = re.compile(
    r"(?P<set>.*?)-?(?P<part>train|t10k|test)-(?P<what>images|labels)[-.]idx\d-ubyte(\.gz)?",
    re.IGNORECASE,
)
TYPES = {
    0x08: "unsigned bytes",
    0x09: "signed bytes",
    0x0B: "16-bit numbers",
    0x0C: "32-bit numbers",
    0x0D: "floats",
    0x0E: "doubles",
}
MOST_BYTES = 2**30  # of a packed file's entries; MNIST's are 47 million
PART = 2**20  # bytes that are unpacked at once
WHAT = "an idx file"


def found(folder: Path) -> dict[str, dict[str, Path]]:
    """The files of each set in the folder: "emnist-letters", or "" where the names have none.

    By the names of arrays; a file that is there twice, packed and not, is taken as it is. Hidden
    files are none of them: macOS puts ._NAME beside each NAME.
    """
    sets: dict[str, dict[str, Path]] = {}
    for path in files_in(folder, "a folder of idx files"):  # .gz after the same name without it
        if (name := NAME.fullmatch(path.name)) and not path.name.startswith("."):
            part = "" if name["part"].lower() == "train" else "test_"
            files = sets.setdefault(name["set"], {})
            files.setdefault(f"{part}{name['what'].lower()}", path)
    return sets


def read(folder: Path, sets: dict[str, dict[str, Path]], *, size: int | None = None) -> Dataset:
    """The data set of these files. Labels that start elsewhere than at 0, as those of EMNIST's
    letters do, are brought there; the classes are called by the labels in the files.

    Entries of unpacked files stay in them.

    Raises BadInput for a missing part, for several sets, and for a file that is damaged.
    """
    if len(sets) > 1:
        raise BadInput(
            f"{folder}: holds several sets of idx files: {', '.join(sorted(sets))}; put those of "
            "one into a folder of its own"
        )
    ((name, files),) = sets.items()
    for array in ("images", "labels"):
        if array not in files:
            there = ", ".join(path.name for path in files.values())
            raise BadInput(
                f"{folder}: no idx file of {array} for training, train-{array}-…; it holds {there}"
            )
    notes: tuple[str, ...] = ()
    if name.lower().startswith("emnist"):
        notes = ("EMNIST's files hold images with rows and columns exchanged; they stay so",)
    stored = {array: _read_file(path) for array, path in files.items()}
    return arrays.read(folder, stored, size=size, first_label=None, notes=notes)


def _read_file(path: Path) -> arrays.Stored:
    """The array of a file; whether it is packed is told by its content, not by its name."""
    size = size_of(path, WHAT)
    with taking(path, WHAT), open(path, "rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if is_packed:
            try:
                with gzip.open(file) as unpacked:
                    return _unpacked(path, unpacked)
            except (gzip.BadGzipFile, zlib.error, EOFError) as error:
                raise Damaged(f"{path}: damaged: {error}; fetch the file again") from error
        shape = _read_header(path, file)
        offset = file.tell()
    if size != offset + math.prod(shape):
        raise BadInput(
            f"{path}: {size:,} bytes; expected {offset + math.prod(shape):,}, for {shape} entries; "
            "fetch the file again"
        )
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return ArrayInFile(path, np.uint8, shape, strides, offset=offset, size=size, what=WHAT)


def _read_header(path: Path, file: BinaryIO) -> tuple[int, ...]:
    """The shape."""
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES or not 1 <= head[3] <= 4:
        raise BadInput(f"{path}: begins with {head.hex(' ') or 'nothing'}, as no idx file does")
    if head[2] != 0x08:
        raise BadInput(f"{path}: holds {TYPES[head[2]]}; expected unsigned bytes, 0 to 255")
    sizes = file.read(4 * head[3])
    return struct.unpack(f">{head[3]}I", sizes)


def _unpacked(path: Path, file: gzip.GzipFile) -> np.ndarray:
    """A small file can unpack to any size; no more is taken than its header declares."""
    shape = _read_header(path, file)  # type: ignore[arg-type]
    size = math.prod(shape)
    if size > MOST_BYTES:
        raise BadInput(
            f"{path}: unpacks to {size:,} bytes; at most {MOST_BYTES:,} allowed; unpack it first"
        )
    data = bytearray()
    while len(data) <= size and (part := file.read(PART)):
        data += part
    if len(data) != size:
        raise BadInput(
            f"{path}: unpacks to {'more' if len(data) > size else 'less'} than the {size:,} bytes "
            f"that it declares, {shape}; fetch the file again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)
