"""Reads that trust nothing and writes that never leave half a file.

Whatever a user names may be missing, cut off, far too large or made to do harm. It is checked
here before memory is spent on it, and what is wrong with it becomes one line: a `BadInput`.
"""

import io
import math
import os
import secrets
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np


class BadInput(ValueError):
    """Something read from outside is not what it should be.

    The message is one line: the path, what was found, what was expected, what to do. The command
    prints it and exits with status 2.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(message.splitlines()))


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace the file at `path` by what `write(file)` writes, wholly or not at all.

    The bytes go to a temporary file in the same folder, reach the disk, and only then take the
    name `path`; so a crash leaves the old file or the new one, never a part of it.

    Raises whatever `write` raises, and OSError if the folder cannot be written to; the temporary
    file is gone and `path` is as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_bytes(path: str | Path, *, at_most: int, what: str) -> bytes:
    """The content of the regular file at `path`, if it is no longer than `at_most` bytes.

    `what` says in an error what the file should have been: "a CIFAR-10 batch".

    Raises BadInput if it is missing, not a regular file, too large or unreadable.
    """
    try:
        # Looked at before it is opened: opening a named pipe would wait for its writer.
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise BadInput(f"{path}: not a regular file; expected {what}")
        if found.st_size > at_most:
            raise BadInput(
                f"{path}: {found.st_size:,} bytes; expected {what} of {at_most:,} at most"
            )
        with open(path, "rb") as file:
            return file.read(found.st_size)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; expected {what}") from error


def read_npz(path: str | Path, *, at_most: int) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, if they declare no more than `at_most` bytes together.

    See `npz_arrays`. Raises BadInput for anything but a whole .npz file of plain arrays within
    that size.
    """
    data = read_bytes(path, at_most=at_most, what="an .npz file")
    try:
        return npz_arrays(data, at_most=at_most)
    except ValueError as error:
        raise BadInput(f"{path}: not an .npz file that npkd can take: {error}") from error


def npz_arrays(data: bytes | memoryview, *, at_most: int) -> dict[str, np.ndarray]:
    """The arrays in the bytes of an .npz file, by name.

    A small compressed file can unpack to any size, so the sizes that it declares are added up
    before anything is unpacked, and no member can unpack to more than it declared. Arrays of
    Python objects are refused, since unpickling them could run code.

    Raises ValueError if it is damaged or declares more than `at_most` bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            declared = sum(member.file_size for member in archive.infolist())
            if declared > at_most:
                raise ValueError(f"it unpacks to {declared:,} bytes; at most {at_most:,} allowed")
            return {
                member.filename.removesuffix(".npy"): _read_member(archive, member)
                for member in archive.infolist()
            }
    except Exception as error:  # zipfile, zlib and NumPy answer damaged bytes in a dozen ways
        raise ValueError(str(error)) from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array of the archive, once its .npy header agrees with the zip directory."""
    name = member.filename
    if not name.endswith(".npy"):
        raise ValueError(f"member {name} is not an .npy array")
    # The two that NumPy writes; the others' decoders may take memory of a size that we cannot see.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"member {name} is compressed in a way that NumPy never uses")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"member {name} has .npy version {version}; expected (1, 0) or (2, 0)")
        if dtype.hasobject:
            raise ValueError(f"member {name} holds Python objects; expected numbers")
        declared = file.tell() + math.prod(shape) * dtype.itemsize
        if declared != member.file_size:
            raise ValueError(
                f"the header of {name} declares {declared:,} bytes, "
                f"the zip directory {member.file_size:,}"
            )
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
