"""CIFAR-10 in its two official layouts (Krizhevsky, Learning Multiple Layers of Features from
Tiny Images, 2009; https://www.cs.toronto.edu/~kriz/cifar.html).

Binary: a file is a row of records of 3,073 bytes, a label and then 3,072 pixels: the red, the
green and the blue plane of 32×32, each row by row.

Python: a file is the pickle of a dictionary with `data`, a uint8 array (N, 3072) of pixels in the
same order, and `labels`, a list of N whole numbers. A pickle may name any function and have it
called. The unpickler here knows only stand-ins for the few that NumPy's arrays are written with,
which keep the bytes, the shape and the type; the array is made from these without NumPy's own
unpickling, where a crafted type could reach memory that is not its own.

Pixels of either layout stay in their files (see `StoredImages`); a pickle is in memory for as long
as it takes to find them in it.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from npkd.data.augmentation import Augmentation
from npkd.data.dataset import Dataset
from npkd.data.images import Images, StoredImages, parts_of
from npkd.files import ArrayInFile, BadInput, read_bytes

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
RECORD = 1 + 3 * 32 * 32  # bytes
MOST_BYTES = 2**30  # of one pickle; an official one has 31 million
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = "test_batch"


def found(folder: Path) -> bool:
    """Whether the folder holds a file of either layout."""
    names = [f"{name}{ending}" for name in (*_TRAIN, _TEST) for ending in (".bin", "")]
    return any((folder / name).is_file() for name in names)


def read(folder: Path) -> Dataset:
    """The data set in `folder`: the training files 1 to 5 that are there, and the test file.

    A file may hold any number of records. Where both layouts are present, the binary one is read.
    The classes are those that batches.meta.txt names, or else the official ten.

    Raises BadInput for a missing part, and for a file that is empty, damaged, or cut off.
    """
    is_binary = any((folder / f"{name}.bin").is_file() for name in (*_TRAIN, _TEST))
    ending, read_file = (".bin", _read_binary) if is_binary else ("", _read_pickle)
    training = [path for name in _TRAIN if (path := folder / f"{name}{ending}").is_file()]
    test = folder / f"{_TEST}{ending}"
    if not training:
        raise BadInput(f"{folder}: has {test.name} but no training file data_batch_1{ending} … 5")
    if not test.is_file():
        raise BadInput(f"{folder}: has {training[0].name} but no test file {test.name}")

    class_names = _read_class_names(folder / "batches.meta.txt")
    parts = [read_file(path, len(class_names)) for path in training]
    test_images, test_labels = read_file(test, len(class_names))
    return Dataset(
        name=folder.resolve().name,
        train_images=StoredImages([images for images, _ in parts], folder),
        train_labels=np.concatenate([labels for _, labels in parts]),
        test_images=StoredImages([test_images], test),
        test_labels=test_labels,
        class_names=class_names,
        augmentation=Augmentation(shift=4, flip=True),
        photographs=True,
    )


def _read_class_names(path: Path) -> tuple[str, ...]:
    if not path.exists():
        return CLASS_NAMES
    text = read_bytes(path, at_most=2**16, what="a list of class names").decode(errors="replace")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) < 2:
        raise BadInput(f"{path}: names {len(names)} classes; expected two or more, one a line")
    return names


def _read_binary(path: Path, num_classes: int) -> tuple[Images, np.ndarray]:
    """Images (N, 3, 32, 32), in the file, and labels (N,)."""
    count, left_over = divmod(path.stat().st_size, RECORD)
    if left_over:
        raise BadInput(
            f"{path}: cut inside a record: after {count} whole records, {left_over} bytes of "
            f"{RECORD} are left over; fetch the file again"
        )

    def of_each_record(shape: tuple[int, ...], strides: tuple[int, ...], at: int) -> ArrayInFile:
        return ArrayInFile(
            path,
            np.uint8,
            (count, *shape),
            (RECORD, *strides),
            offset=at,
            size=count * RECORD,
            what="a CIFAR-10 batch",
        )

    _require_some(path, count)
    labels = np.concatenate(list(parts_of(of_each_record((), (), at=0))))
    _require_classes(path, labels, num_classes)
    return of_each_record((3, 32, 32), (1024, 32, 1), at=1), labels.astype(np.int64)


def _read_pickle(path: Path, num_classes: int) -> tuple[Images, np.ndarray]:
    """Images (N, 3, 32, 32), in the file if they lie there as they are, and labels (N,)."""
    data = read_bytes(path, at_most=MOST_BYTES, what="a CIFAR-10 batch")
    try:
        _require_honest_sizes(data)
        content = _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # damaged bytes may make an unpickler raise nearly anything
        raise BadInput(f"{path}: not a pickle of arrays: {error}; fetch the file again") from error
    if not isinstance(content, dict):
        raise BadInput(
            f"{path}: the pickle holds a {type(content).__name__}; expected a dictionary with "
            "data and labels"
        )
    # Python 2 wrote the keys as bytes.
    pixels = content.get(b"data", content.get("data"))
    labels = content.get(b"labels", content.get("labels"))
    if isinstance(labels, list) and all(type(label) is int for label in labels):
        labels = _Array(np.array(labels))
    if not isinstance(pixels, _Array) or not isinstance(labels, _Array):
        raise BadInput(
            f"{path}: lacks data, a uint8 array (N, 3072), or labels, a list of N whole numbers"
        )
    images = pixels.values
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != RECORD - 1:
        raise BadInput(
            f"{path}: data has shape {images.shape} of {images.dtype}; expected (N, 3072) of uint8"
        )
    _require_some(path, len(images))
    if labels.values.dtype.kind not in "iu" or labels.values.shape != (len(images),):
        raise BadInput(
            f"{path}: labels have shape {labels.values.shape} of {labels.values.dtype}; expected "
            f"whole numbers, one for each of {len(images)} images"
        )
    _require_classes(path, labels.values, num_classes)
    images = images.reshape(-1, 3, 32, 32)
    at = data.find(images.data) if images.flags.c_contiguous else -1
    if at < 0:
        return images, labels.values.astype(np.int64)
    stored = ArrayInFile(
        path,
        np.uint8,
        images.shape,
        images.strides,
        offset=at,
        size=len(data),
        what="a CIFAR-10 batch",
    )
    return stored, labels.values.astype(np.int64)


def _require_honest_sizes(data: bytes) -> None:
    """Raise ValueError if an operation of the pickle asks for more memory than it has need of.

    Unpicklers take memory by what an operation declares: the length of bytes that may not follow,
    or a place in the memo, where picklers number their places one after the other.
    """
    for number, (operation, argument, _) in enumerate(pickletools.genops(data)):
        if "PUT" in operation.name and isinstance(argument, int) and argument > number:
            raise ValueError(f"operation {number} uses place {argument} of the memo")


def _require_some(path: Path, count: int) -> None:
    if count == 0:
        raise BadInput(f"{path}: empty; expected records of a label and 3072 pixels")


def _require_classes(path: Path, labels: np.ndarray, num_classes: int) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise BadInput(
            f"{path}: record {wrong[0]}, counted from 0, has the label {labels[wrong[0]]}; "
            f"expected 0 to {num_classes - 1}"
        )


def _text(value: Any) -> Any:
    """Python 2's text arrives as bytes."""
    return value.decode() if isinstance(value, bytes) else value


class _Type:
    """Stands for numpy.dtype, which a pickle makes from a name and then a state."""

    def __init__(self, name: str | bytes, *_: object):
        self.dtype = np.dtype(_text(name))
        if self.dtype.kind not in "iu":
            raise pickle.UnpicklingError(f"it holds an array of {self.dtype}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(_text(state[1]))


class _Array:
    """Stands for numpy.ndarray, which a pickle makes empty and then fills from a state."""

    def __init__(self, values: np.ndarray):
        self.values = values

    @classmethod
    def empty(cls, *_: object) -> "_Array":
        return cls(np.empty(0, np.uint8))

    @classmethod
    def from_buffer(cls, data: Any, type_: _Type, shape: tuple[int, ...], order: Any) -> "_Array":
        """Protocol 5 makes the whole array at once."""
        return cls(np.frombuffer(data, type_.dtype).reshape(shape, order=order))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, type_, is_fortran, data = state
        order = "F" if is_fortran else "C"
        self.values = _Array.from_buffer(data, type_, shape, order).values


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """Stands for _codecs.encode, with which Python 3 writes bytes at protocols up to 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding}")
    return text.encode("latin1")


_STAND_INS = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _Array.empty,  # an argument of _reconstruct
    ("numpy.core.multiarray", "_reconstruct"): _Array.empty,
    ("numpy._core.multiarray", "_reconstruct"): _Array.empty,
    ("numpy.core.numeric", "_frombuffer"): _Array.from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _Array.from_buffer,
    ("_codecs", "encode"): _latin1_bytes,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Reads dictionaries, lists, numbers, text and arrays of whole numbers; refuses the rest."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return _STAND_INS[module, name]
