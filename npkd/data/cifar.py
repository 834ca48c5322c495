"""CIFAR-10 and CIFAR-100 in their two official layouts (Krizhevsky, Learning Multiple Layers of
Features from Tiny Images, 2009; https://www.cs.toronto.edu/~kriz/cifar.html).

Binary: a file is a row of records, of a label, or a coarse and a fine one, a byte each, and then
3,072 pixels: the red, the green and the blue plane of 32×32, each row by row.

Python: a file is the pickle of a dictionary with `data`, a uint8 array (N, 3072) of pixels in the
same order, and `labels`, or `fine_labels` and `coarse_labels`, lists of N whole numbers; see
`npkd.data.pickled`. Those that others make hold images (N, 32, 32, 3) or (N, 3, 32, 32), too, and
arrays of labels.

Pixels of either layout stay in their files (see `StoredImages`); a pickle is in memory for as long
as it takes to find them in it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npkd.data import pickled
from npkd.data.augmentation import Augmentation
from npkd.data.dataset import Dataset
from npkd.data.images import BYTES, Images, StoredImages, parts_of
from npkd.files import ArrayInFile, BadInput, is_there, read_bytes, size_of

PIXELS = 3 * 32 * 32  # bytes
MOST_BYTES = 2**30  # of one pickle; an official one has 31 or 155 million


@dataclass(frozen=True)
class Labels:
    """Where labels of one kind, and the names of their classes, are to be found.

    at            the byte of a binary record
    key           in the dictionary of a pickle
    names_file    names, one a line, beside the binary files
    names_key     in the dictionary of the pickle that names the classes
    class_names   where neither is there
    """

    at: int
    key: str
    names_file: str
    names_key: str
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """One of the two data sets.

    train, test   its files: with .bin the binary ones, without it the pickles
    meta          the pickle that names the classes
    labels        those of each kind
    """

    name: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: dict[str, Labels]

    @property
    def head(self) -> int:
        """The bytes of a record before its pixels."""
        return len(self.labels)


KINDS = (
    Kind(
        "CIFAR-10",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        "test_batch",
        "batches.meta",
        {
            "fine": Labels(
                at=0,
                key="labels",
                names_file="batches.meta.txt",
                names_key="label_names",
                class_names=(
                    *("airplane", "automobile", "bird", "cat", "deer"),
                    *("dog", "frog", "horse", "ship", "truck"),
                ),
            )
        },
    ),
    Kind(
        "CIFAR-100",
        ("train",),
        "test",
        "meta",
        {
            name: Labels(
                at,
                key=f"{name}_labels",
                names_file=f"{name}_label_names.txt",
                names_key=f"{name}_label_names",
                class_names=tuple(map(str, range(count))),
            )
            for at, (name, count) in enumerate((("coarse", 20), ("fine", 100)))
        },
    ),
)


def found(folder: Path) -> Kind | None:
    """Which of the two has a file of either layout in the folder; "test" alone is too common."""
    for kind in KINDS:
        names = [f"{name}{ending}" for name in (*kind.train, kind.test) for ending in (".bin", "")]
        if any(_has(folder, name) for name in names if name != "test"):
            return kind
    return None


def _has(folder: Path, name: str) -> bool:
    """Whether there is such a file, or a link to nothing; a folder may be a part of another set."""
    return is_there(folder / name) and not (folder / name).is_dir()


def read(folder: Path, kind: Kind, *, size: int | None = None, labels: str = "fine") -> Dataset:
    """The data set in `folder`: the training files that are there, and the test file.

    A file may hold any number of records. Where both layouts are present, the binary one is read.
    The classes are those that the folder names, or else CIFAR-10's official ten, and CIFAR-100's
    numbers.

    size     the side that images are brought to, by default their own
    labels   "fine" or, of CIFAR-100, "coarse"

    Raises BadInput for a missing part, and for a file that is empty, damaged, or cut off.
    """
    if labels not in kind.labels:
        raise BadInput(
            f"{folder}: holds {kind.name}, which has no {labels} labels; only CIFAR-100 has"
        )
    is_binary = any(_has(folder, f"{name}.bin") for name in (*kind.train, kind.test))
    ending, read_file = (".bin", _read_binary) if is_binary else ("", _read_pickle)
    training = [folder / f"{name}{ending}" for name in kind.train if _has(folder, name + ending)]
    test = folder / f"{kind.test}{ending}"
    if not training:
        wanted = f"{kind.train[0]}{ending}" + " … 5" * (len(kind.train) > 1)
        raise BadInput(f"{folder}: has {test.name} but no training file {wanted} of {kind.name}")
    if not _has(folder, test.name):
        raise BadInput(
            f"{folder}: has {training[0].name} but no test file {test.name} of {kind.name}"
        )

    notes = []
    if len(training) < len(kind.train):
        notes.append(f"{len(training)} of {len(kind.train)} training batches are there")
    class_names = _class_names(folder, kind, kind.labels[labels])
    parts = [read_file(path, kind, kind.labels[labels], len(class_names)) for path in training]
    test_images, test_labels = read_file(test, kind, kind.labels[labels], len(class_names))
    return Dataset(
        name=folder.resolve().name,
        train_images=StoredImages([images for images, _ in parts], folder, size=size),
        train_labels=np.concatenate([labels for _, labels in parts]),
        test_images=StoredImages([test_images], test, size=size),
        test_labels=test_labels,
        class_names=class_names,
        augmentation=Augmentation(shift=4, flip=True),
        photographs=True,
        notes=tuple(notes),
    )


def _class_names(folder: Path, kind: Kind, labels: Labels) -> tuple[str, ...]:
    if is_there(path := folder / labels.names_file):
        text = _text(read_bytes(path, at_most=2**16, what="a list of class names"))
        names = [line.strip() for line in text.splitlines() if line.strip()]
    elif _has(folder, kind.meta):
        path = folder / kind.meta
        found = _value(_unpickled(path, "a list of class names")[1], labels.names_key)
        if not isinstance(found, list) or not all(isinstance(name, str | bytes) for name in found):
            raise BadInput(f"{path}: lacks {labels.names_key}, a list of text")
        names = [_text(name) if isinstance(name, bytes) else name for name in found]
    else:
        return labels.class_names
    if len(names) < 2:
        raise BadInput(f"{path}: names {len(names)} classes; expected two or more, one a line")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BadInput(
            f"{path}: names several classes {twice[0]}; expected a name of its own for each"
        )
    return tuple(names)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _read_binary(
    path: Path, kind: Kind, labels: Labels, num_classes: int
) -> tuple[Images, np.ndarray]:
    """Images (N, 3, 32, 32), in the file, and labels (N,)."""
    what, record = f"a {kind.name} batch", kind.head + PIXELS
    count, left_over = divmod(size_of(path, what), record)
    if left_over:
        raise BadInput(
            f"{path}: cut inside a record: after {count} whole records, {left_over} bytes of "
            f"{record} are left over; fetch the file again"
        )

    def of_each_record(shape: tuple[int, ...], strides: tuple[int, ...], at: int) -> ArrayInFile:
        return ArrayInFile(
            path,
            np.uint8,
            (count, *shape),
            (record, *strides),
            offset=at,
            size=count * record,
            what=what,
        )

    _require_some(path, count)
    numbers = np.concatenate(list(parts_of(of_each_record((), (), at=labels.at))))
    _require_classes(path, numbers, num_classes)
    return of_each_record((3, 32, 32), (1024, 32, 1), at=kind.head), numbers.astype(np.int64)


def _unpickled(path: Path, what: str) -> tuple[bytes, dict]:
    """The bytes of a pickle, and the dictionary that it holds."""
    data = read_bytes(path, at_most=MOST_BYTES, what=what)
    try:
        content = pickled.load(data)
    except MemoryError:
        raise
    except pickled.Unfit as error:
        raise BadInput(f"{path}: not a pickle of arrays of numbers: {error}") from error
    except Exception as error:  # damaged bytes may raise nearly anything
        raise BadInput(f"{path}: not a pickle of arrays: {error}; fetch the file again") from error
    if not isinstance(content, dict):
        raise BadInput(
            f"{path}: the pickle holds a {type(content).__name__}; expected a dictionary with "
            "data and labels"
        )
    return data, content


def _value(content: dict, key: str) -> Any:
    return content.get(key.encode(), content.get(key))  # Python 2 wrote the keys as bytes


def _read_pickle(
    path: Path, kind: Kind, labels: Labels, num_classes: int
) -> tuple[Images, np.ndarray]:
    """Images (N, 3, 32, 32) or (N, 32, 32, 3), in the file if they lie there as they are, and
    labels (N,).
    """
    what = f"a {kind.name} batch"
    data, content = _unpickled(path, what)
    pixels, numbers = _value(content, "data"), _value(content, labels.key)
    if isinstance(numbers, list | tuple) and all(type(number) is int for number in numbers):
        numbers = np.array(numbers)
    elif isinstance(numbers, pickled.Array):
        numbers = numbers.values
    if not isinstance(pixels, pickled.Array) or not isinstance(numbers, np.ndarray):
        raise BadInput(
            f"{path}: lacks data, a uint8 array (N, 3072), or {labels.key}, a list of N whole "
            "numbers"
        )
    images: np.ndarray = pixels.values
    if images.dtype.kind == "f":
        raise BadInput(f"{path}: data is an array of {images.dtype}; expected {BYTES}")
    shapes = ((PIXELS,), (3, 32, 32), (32, 32, 3))
    if images.dtype != np.uint8 or images.shape[1:] not in shapes:
        raise BadInput(
            f"{path}: data has shape {images.shape} of {images.dtype}; expected (N, 3072), "
            "(N, 3, 32, 32) or (N, 32, 32, 3) of uint8"
        )
    _require_some(path, len(images))
    if numbers.dtype.kind not in "iu" or numbers.shape not in ((len(images),), (len(images), 1)):
        raise BadInput(
            f"{path}: {labels.key} have shape {numbers.shape} of {numbers.dtype}; expected whole "
            f"numbers, one for each of {len(images)} images"
        )
    numbers = numbers.ravel()
    _require_classes(path, numbers, num_classes)
    if images.ndim == 2:
        images = images.reshape(-1, 3, 32, 32)
    at = data.find(images.data) if images.flags.c_contiguous else -1
    if at >= 0:
        stored = ArrayInFile(
            path,
            np.uint8,
            images.shape,
            images.strides,
            offset=at,
            size=len(data),
            what=what,
        )
        return stored, numbers.astype(np.int64)
    return images, numbers.astype(np.int64)


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
