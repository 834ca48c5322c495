"""A run on disk: its folder, the weights of its nets, and the checkpoints that it goes on from."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from npkd import __version__
from npkd.files import (
    BadInput,
    Damaged,
    OtherVersion,
    files_in,
    half_of,
    is_there,
    npz_arrays,
    read_bytes,
    taking,
    write_atomically,
    writing_to,
)
from npkd.weights import MOST_BYTES, require_readable

RUN_FILES = (
    "report.html",
    "explore.html",
    "report.json",
    "report.png",
    "large.npz",
    "small.npz",
    "small_from_labels.npz",
    "samples.npz",
)
KEPT = 2  # checkpoints: the newest, and the one before in case that it is damaged
NAME = re.compile(r"checkpoint-\d{10,}\.npkd")
HEADER = b"npkd checkpoint 1, SHA-256 "  # then the digest of what follows, and a line's end
FORMAT = re.compile(rb"npkd checkpoint (\d+)")  # how it begins in any version


@contextmanager
def run_folder(path: str | Path, resume: bool = False) -> Iterator[Path]:
    """A folder for one run at a time, found writable; taken away again if a new one is left empty.

    Raises BadInput if it already holds a run, unless an unfinished one is to go on (`resume`), if
    another run is at work in it, or if it cannot be made or written to.
    """
    folder = Path(path)
    with one_at_work(folder):
        held = results(folder)
        unfinished = found(folder)
        if unfinished and not resume:
            raise BadInput(
                f"{folder}: holds an unfinished run ({unfinished[0].name}); go on with it by "
                "--resume, or give another --seed or --out"
            )
        if held and not unfinished:
            ended = " that is finished" if resume else ""
            raise BadInput(
                f"{folder}: already holds a run{ended} ({', '.join(held)}); give another --seed "
                "or --out"
            )
        yield folder


@contextmanager
def one_at_work(folder: Path) -> Iterator[None]:
    """Make a folder if need be, and keep others out meanwhile; a new one that stays empty goes.

    Raises BadInput if it cannot be made or written to, or if another run is at work in it.
    """
    with writing_to(folder):
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"{folder}: is not a folder; give another --out")
        new = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        lock = _locked(folder)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)
        with suppress(OSError):  # gone, or no longer ours to take away
            for path in new:  # from the innermost on, as long as they are empty
                path.rmdir()


def results(folder: Path) -> list[str]:
    """The names of the files in a folder that a run ends with."""
    return [name for name in RUN_FILES if is_there(folder / name)]


def _locked(folder: Path) -> int | None:
    """Keep other runs out of the folder for as long as what is returned is open.

    The system lets go of it however the process ends. Raises BadInput if another run is in it.
    """
    try:
        import fcntl
    except ImportError:  # not on every system
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BadInput(f"{folder}: another run is at work in it; give another --out") from error
    except OSError:  # some file systems have no locks
        pass
    return descriptor


# Checkpoints: a line with the digest of the rest, then an .npz file; its member "about" is JSON


def found(folder: Path) -> list[Path]:
    """The checkpoints of a folder, the newest first. Raises Unreadable if it cannot be listed."""
    files = files_in(folder, "the folder of a run")
    return [path for path in reversed(files) if NAME.fullmatch(path.name)]


def save(folder: Path, number: int, about: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write the checkpoint of this number, and let go of all but it and the one before.

    number: grows from one checkpoint to the next; so one with a higher number is one that could not
    be gone on from. about: anything that JSON can hold. arrays: by name. Raises OSError if it
    cannot be written; then the older ones are as they were.
    """
    path = folder / f"checkpoint-{number:010}.npkd"
    write(path, about, arrays)
    remove(folder, keep=[other for other in found(folder) if other <= path][:KEPT])


def write(path: Path, about: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write one such file, which `load` reads, with the version of npkd that does.

    Raises OSError if it cannot be written, BadInput for more bytes than `load` takes.
    """
    text = np.frombuffer(json.dumps({**about, "npkd": __version__}).encode(), np.uint8)
    require_readable(path, text.nbytes + sum(array.nbytes for array in arrays.values()))

    def into(file: Any) -> None:
        rest = _Rest(file, len(HEADER) + 65)
        np.savez(rest, about=text, **arrays)
        rest.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest().encode()
        file.seek(0)
        file.write(HEADER + digest + b"\n")

    write_atomically(path, into)


class _Rest:
    """A file as it is from so many bytes on: so no copy of what is written is held in memory."""

    def __init__(self, file: BinaryIO, start: int):
        self.file, self.start = file, start
        self.read, self.write, self.flush = file.read, file.write, file.flush
        self.seek(0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = self.start if whence == os.SEEK_SET else 0
        return self.file.seek(start + offset, whence) - self.start

    def tell(self) -> int:
        return self.file.tell() - self.start


def load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """`about` and the arrays of a checkpoint.

    Raises Damaged if it is not, to the last bit, what `write` wrote, OtherVersion if another
    version of npkd did, Unreadable if it cannot be read just now, and BadInput if it never was a
    checkpoint, though it is signed as one.
    """
    what = "a checkpoint"
    data = read_bytes(path, at_most=MOST_BYTES, what=what)
    form = FORMAT.match(data)
    if form and not HEADER.startswith(form[0]):
        raise OtherVersion(_of_other_version(path, f"is of format {form[1].decode()}"))
    header, _, _ = data[: len(HEADER) + 65].partition(b"\n")
    content = memoryview(data)[len(header) + 1 :]
    digest = hashlib.sha256(content).hexdigest().encode()
    if header != HEADER + digest:
        raise Damaged(f"{path}: cut off or altered since it was written")
    with taking(path, what):
        arrays = npz_arrays(content, at_most=MOST_BYTES)
        about = json.loads(arrays.pop("about").tobytes())
        version = about.pop("npkd", "of an earlier version")
    if version != __version__:
        raise OtherVersion(_of_other_version(path, f"was written by npkd {version}"))
    return about, arrays


def _of_other_version(path: Path, how: str) -> str:
    return (
        f"{path}: {how}, and this is npkd {__version__}; nothing is touched: go on with that "
        "version, or give another --out"
    )


def remove(folder: Path, keep: Container[Path] = ()) -> None:
    """Take away all checkpoints but these, and what a write left that was cut short."""
    for path in files_in(folder, "the folder of a run"):
        half = half_of(path)
        was_cut_short = half in RUN_FILES or NAME.fullmatch(half)
        if was_cut_short or (NAME.fullmatch(path.name) and path not in keep):
            path.unlink(missing_ok=True)
