"""Reads that trust nothing and writes that never leave half a file.

Whatever a user names may be missing, cut off, far too large or made to do harm. It is checked
here before memory is spent on it, and what is wrong with it becomes one line: a `BadInput`. There
are four kinds, for all readers of checkpoints, weights, cells, cases, results, reports and data
alike, and what follows from each is the same everywhere:

    Unreadable      It cannot be read just now (permission denied, too little memory, an error of
                    the disk). It may be sound: stop, and touch nothing.
    Damaged         Its bytes are not those that were written, as its own digest shows. It is of no
                    use: go on with another copy where there is one, and say so; else stop.
    OtherVersion    Another version of npkd wrote it, which can use it: stop, and touch nothing.
    BadInput        Anything else: it is not what it should be. Stop, and touch nothing.
"""

import errno
import io
import math
import mmap
import os
import re
import secrets
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from npkd.arguments import shown

LONGEST_LINE = 8000  # letters of a message; names that somebody made up may have millions
LONGEST_HEADER = 1 << 14  # bytes of an .npy file; NumPy refuses more than 10,000 of its text


class BadInput(ValueError):
    """Something read from outside is not what it should be.

    The message is one line: the path, what was found, what was expected, what to do. The command
    prints it and exits with status 2.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message))


class Unreadable(BadInput):
    """It cannot be read just now; it may be sound."""


class Damaged(BadInput):
    """Its bytes are not those that were written; another copy may be sound."""


class OtherVersion(BadInput):
    """It is sound, and of another version of npkd."""


# What says that there is no such file, or that it is of another kind; all else may pass.
_NO_SUCH = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL),
    errno.ENXIO,
}


@contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """Say it in one line where this file or folder cannot be read.

    what: what it should be, "a checkpoint". Raises BadInput where there is no such file, Unreadable
    for any other OSError and for a MemoryError.
    """
    try:
        yield
    except MemoryError as error:
        raise Unreadable(f"{path}: not enough memory to read it as {what}") from error
    except OSError as error:
        problem = error.strerror or error
        if error.errno in _NO_SUCH:
            raise BadInput(f"{path}: {problem}; expected {what}") from error
        raise Unreadable(f"{path}: cannot be read just now: {problem}; expected {what}") from error


@contextmanager
def taking(path: str | Path, what: str) -> Iterator[None]:
    """`reading`, and BadInput too for whatever is raised by what this file holds.

    Those who wrote the decoders answer damaged bytes in a dozen ways.
    """
    try:
        with reading(path, what):
            yield
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{path}: not {what} that npkd can take: {error}") from error


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, in which no name stands twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{shown(name)} stands twice in one object")
        found[name] = value
    return found


def one_line(message: str) -> str:
    """Text from outside in one line, and without what a terminal would obey or could not show.

    It may quote names and values that somebody made up.
    """
    message = " ".join(message.expandtabs().splitlines())
    if len(message) > LONGEST_LINE:
        message = f"{message[: LONGEST_LINE // 2]} … {message[-LONGEST_LINE // 2 :]}"
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in message
    )


@contextmanager
def writing_to(folder: str | Path) -> Iterator[None]:
    """Say it in one line where this folder cannot be written to: BadInput for any OSError.

    But a BrokenPipeError, which is about a reader of our output that has gone, stays what it is.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written to: {error.strerror or error}") from error


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace the file at `path` by what `write(file)` writes, wholly or not at all.

    The bytes go to a temporary file in the same folder, reach the disk, and only then take the
    name `path`; so a crash leaves the old file or the new one, never a part of it.

    Raises whatever `write` raises, OSError if the folder cannot be written to, and BadInput if what
    is there is no file, such as a device; the temporary file is gone and `path` is as it was.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise BadInput(f"{path}: is no file that could be replaced")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")  # see `half_of`
    try:
        with open(temporary, "x+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def half_of(path: Path) -> str:
    """The name of the file of which `write_atomically` left a part, cut short by a kill; or ""."""
    left = re.fullmatch(r"\.(.+)\.[0-9a-f]{16}", path.name)
    return left[1] if left else ""


def read_bytes(path: str | Path, *, at_most: int, what: str) -> bytes:
    """The content of the regular file at `path`, if it is no longer than `at_most` bytes.

    `what` says in an error what the file should have been: "a CIFAR-10 batch".

    Raises BadInput if it is missing, not a regular file or too large, Unreadable if it cannot be
    read just now.
    """
    size = size_of(path, what)
    if size > at_most:
        raise BadInput(f"{path}: {size:,} bytes; expected {what} of {at_most:,} at most")
    with reading(path, what), open(path, "rb") as file:
        return file.read(size)


def is_there(path: str | Path) -> bool:
    """Whether there is anything of this name, though it be a link to nothing.

    Raises Unreadable where that cannot be found out.
    """
    try:
        with reading(path, "a file"):
            os.lstat(path)
    except Unreadable:
        raise
    except ValueError:  # BadInput, or a name that no file can have
        return False
    return True


def require_new(folder: Path) -> None:
    """Raise BadInput for what is there already, but for an empty folder."""
    if is_there(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise BadInput(f"{folder}: is there and not an empty folder; give the name of a new one")


def files_in(folder: str | Path, what: str) -> list[Path]:
    """What is in a folder and is none itself, in order of name; nothing if it is not there.

    So a link to nothing is among it, as where it leads may be there another time.

    Raises BadInput if it is no folder, Unreadable if it cannot be read just now.
    """
    if not is_there(folder):
        return []
    with reading(folder, what), os.scandir(folder) as entries:
        return sorted(Path(entry) for entry in entries if not entry.is_dir())


def size_of(path: str | Path, what: str) -> int:
    """The bytes of a regular file. Raises BadInput if it is none; see `read_bytes`."""
    return _regular(path, what).st_size


def _regular(path: str | Path, what: str) -> os.stat_result:
    """What the system knows of a file, if it is a regular one.

    Looked at before the file is opened, since opening a named pipe would wait for its writer.
    """
    with taking(path, what):  # or ValueError: a name that no file can have
        found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"{path}: not a regular file; expected {what}")
    return found


class ArrayInFile:
    """An array that stays in its file; what is asked for of it comes to memory, as a copy.

    The file is mapped into memory for each part anew, and for no longer: nothing of it counts as
    the process's memory in between, and a file that changes meanwhile is noticed. (One that is cut
    off in the very moment of a read ends the process, as with any memory map.)

    shape, strides    of the array whose first cell is at byte `offset`; strides as NumPy has them
    what              in an error, what the file should have been: "a CIFAR-10 batch"

    Raises BadInput if the file is missing, not a regular one, or has another size than `size`.
    """

    def __init__(
        self,
        path: str | Path,
        dtype: DTypeLike,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *,
        offset: int,
        size: int,
        what: str,
    ):
        self.path = Path(path).absolute()
        self.dtype, self.shape, self.strides = np.dtype(dtype), shape, strides
        self.offset, self.what = offset, what
        self.state = self._state_of_file()
        if self.state[0] != size:
            raise BadInput(f"{path}: {self.state[0]:,} bytes; expected {what} of {size:,}")

    def _state_of_file(self) -> tuple[int, ...]:
        found = _regular(self.path, self.what)
        return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: Any) -> np.ndarray:
        """A copy of a part, which is given as to an array.

        Raises BadInput if the file is not as it was found.
        """
        if self._state_of_file() != self.state:
            raise BadInput(f"{self.path}: has been changed since it was first read")
        if not math.prod(self.shape):
            return np.empty(self.shape, self.dtype)[part]
        with reading(self.path, self.what):
            try:
                with open(self.path, "rb") as file:
                    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                whole: np.ndarray = np.ndarray(
                    self.shape, self.dtype, content, self.offset, self.strides
                )
            except (TypeError, ValueError) as error:  # cut off in this very moment
                raise BadInput(f"{self.path}: {error}; expected {self.what}") from error
            return np.array(whole[part])


def npy_in_file(path: str | Path) -> ArrayInFile:
    """The array of an .npy file, of any size, which stays in its file.

    Raises BadInput for anything but a whole .npy file of a plain array.
    """
    what = "an .npy file"
    _regular(path, what)
    with taking(path, what), _without_warnings(), open(path, "rb") as file:
        shape, is_fortran, dtype, offset = _read_npy_header(file, "it")
    sizes = shape if is_fortran else shape[::-1]
    strides = [dtype.itemsize * math.prod(sizes[:axis]) for axis in range(len(sizes))]
    return ArrayInFile(
        path,
        dtype,
        shape,
        tuple(strides if is_fortran else strides[::-1]),
        offset=offset,
        size=offset + dtype.itemsize * math.prod(shape),
        what=what,
    )


def read_npz(path: str | Path, *, at_most: int) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, if they declare no more than `at_most` bytes together.

    See `npz_arrays`. Raises BadInput for anything but a whole .npz file of plain arrays within
    that size, Unreadable if it cannot be read just now.
    """
    what = "an .npz file"
    with taking(path, what):
        return npz_arrays(read_bytes(path, at_most=at_most, what=what), at_most=at_most)


def npz_arrays(data: bytes | memoryview, *, at_most: int) -> dict[str, np.ndarray]:
    """The arrays in the bytes of an .npz file, by name.

    A small compressed file can unpack to any size, so the sizes that it declares are added up
    before anything is unpacked, and no member can unpack to more than it declared. Arrays of
    Python objects are refused, since unpickling them could run code.

    Raises ValueError if it is damaged or declares more than `at_most` bytes, MemoryError if there
    is too little memory for them.
    """
    with opened_zip(data, at_most=at_most) as archive:
        return {
            member.filename.removesuffix(".npy"): _read_member(archive, member)
            for member in archive.infolist()
        }


@contextmanager
def opened_zip(data: bytes | memoryview, *, at_most: int) -> Iterator[zipfile.ZipFile]:
    """A zip file, if the sizes that it declares are no more than `at_most` bytes together.

    Raises ValueError if they are, if two members have one name, and for whatever is raised of its
    bytes as it is read; MemoryError if there is too little memory for them.
    """
    try:
        with _without_warnings(), zipfile.ZipFile(io.BytesIO(data)) as archive:
            declared = sum(member.file_size for member in archive.infolist())
            if declared > at_most:
                raise ValueError(f"it unpacks to {declared:,} bytes; at most {at_most:,} allowed")
            if len(set(archive.namelist())) < len(archive.namelist()):
                raise ValueError("it has two members of one name")
            yield archive
    except MemoryError:
        raise
    except zipfile.BadZipFile as error:
        why = "it is cut off or damaged" if data[:2] == b"PK" else str(error)
        raise ValueError(why) from error
    except Exception as error:  # zipfile, zlib and NumPy answer damaged bytes in a dozen ways
        raise ValueError(str(error)) from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array of the archive, once its .npy header agrees with the zip directory."""
    name = shown(member.filename)
    if not member.filename.endswith(".npy"):
        raise ValueError(f"member {name} is not an .npy array")
    # The two that NumPy writes; the others' decoders may take memory of a size that we cannot see.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"member {name} is compressed in a way that NumPy never uses")
    with archive.open(member) as file:
        shape, _, dtype, offset = _read_npy_header(file, f"member {name}")
        declared = offset + math.prod(shape) * dtype.itemsize
        if declared != member.file_size:
            raise ValueError(
                f"the header of {name} declares {declared:,} bytes, "
                f"the zip directory {member.file_size:,}"
            )
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_npy_header(file: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether in Fortran order, dtype, and where the values begin: if these are numbers.

    A header may declare itself to be gigabytes long, so no more than a usual one is read.
    """
    head = io.BytesIO(file.read(LONGEST_HEADER))
    version = np.lib.format.read_magic(head)
    try:
        if version == (1, 0):
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(head)
        elif version == (2, 0):
            shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(head)
        else:
            raise ValueError(f"{name} has .npy version {version}; expected (1, 0) or (2, 0)")
    except MemoryError as error:  # Python's parser, of thousands of brackets
        raise ValueError(f"{name} has a header that is no array's") from error
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects; expected numbers, or text: .astype(str)")
    if not dtype.itemsize:
        raise ValueError(f"{name} has entries of no bytes ({dtype}); expected numbers")
    if min(shape, default=0) < 0:
        raise ValueError(f"{name} has the shape {shape}")
    return shape, is_fortran, dtype, head.tell()


def _without_warnings() -> AbstractContextManager:
    """NumPy's that a file comes from Python 2, zipfile's that names repeat: the file is read, or
    refused in one line.
    """
    return warnings.catch_warnings(action="ignore")
