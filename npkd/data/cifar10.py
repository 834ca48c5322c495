"""CIFAR-10 in its two official layouts (Krizhevsky, Learning Multiple Layers of Features from
Tiny Images, 2009; https://www.cs.toronto.edu/~kriz/cifar.html).

Binary: a file is a row of records of 3,073 bytes, a label and then 3,072 pixels: the red, the
green and the blue plane of 32×32, each row by row.

Python: a file is the pickle of a dictionary with `data`, a uint8 array (N, 3072) of pixels in the
same order, and `labels`, a list of N whole numbers; see `npkd.data.pickled`.

Pixels of either layout stay in their files (see `StoredImages`); a pickle is in memory for as long
as it takes to find them in it.
"""

from pathlib import Path

import numpy as np

from npkd.data import pickled
from npkd.data.augmentation import Augmentation
from npkd.data.dataset import Dataset
from npkd.data.images import Images, StoredImages, parts_of
from npkd.files import ArrayInFile, BadInput, is_there, read_bytes, size_of

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
    """Whether the folder has a file of either layout."""
    names = [f"{name}{ending}" for name in (*_TRAIN, _TEST) for ending in (".bin", "")]
    return any(is_there(folder / name) for name in names)


def read(folder: Path) -> Dataset:
    """The data set in `folder`: the training files 1 to 5 that are there, and the test file.

    A file may hold any number of records. Where both layouts are present, the binary one is read.
    The classes are those that batches.meta.txt names, or else the official ten.

    Raises BadInput for a missing part, and for a file that is empty, damaged, or cut off.
    """
    is_binary = any(is_there(folder / f"{name}.bin") for name in (*_TRAIN, _TEST))
    ending, read_file = (".bin", _read_binary) if is_binary else ("", _read_pickle)
    training = [path for name in _TRAIN if is_there(path := folder / f"{name}{ending}")]
    test = folder / f"{_TEST}{ending}"
    if not training:
        raise BadInput(f"{folder}: has {test.name} but no training file data_batch_1{ending} … 5")
    if not is_there(test):
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
    if not is_there(path):
        return CLASS_NAMES
    text = read_bytes(path, at_most=2**16, what="a list of class names").decode(errors="replace")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) < 2:
        raise BadInput(f"{path}: names {len(names)} classes; expected two or more, one a line")
    return names


def _read_binary(path: Path, num_classes: int) -> tuple[Images, np.ndarray]:
    """Images (N, 3, 32, 32), in the file, and labels (N,)."""
    count, left_over = divmod(size_of(path, "a CIFAR-10 batch"), RECORD)
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
        content = pickled.load(data)
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes may raise nearly anything
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
        labels = np.array(labels)
    elif isinstance(labels, pickled.Array):
        labels = labels.values
    if not isinstance(pixels, pickled.Array) or not isinstance(labels, np.ndarray):
        raise BadInput(
            f"{path}: lacks data, a uint8 array (N, 3072), or labels, a list of N whole numbers"
        )
    images: np.ndarray = pixels.values
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != RECORD - 1:
        raise BadInput(
            f"{path}: data has shape {images.shape} of {images.dtype}; expected (N, 3072) of uint8"
        )
    _require_some(path, len(images))
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise BadInput(
            f"{path}: labels have shape {labels.shape} of {labels.dtype}; expected whole numbers, "
            f"one for each of {len(images)} images"
        )
    _require_classes(path, labels, num_classes)
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
            what="a CIFAR-10 batch",
        )
        return stored, labels.astype(np.int64)
    return images, labels.astype(np.int64)


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
