"""A data set of arrays: images and labels, of an .npz file, of .npy files, or of idx files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from npkd.data.augmentation import Augmentation
from npkd.data.dataset import Dataset, split
from npkd.data.images import (
    Images,
    StoredImages,
    border_of,
    parts_of,
    sizes_of,
    standard_form,
    subset,
)
from npkd.data.recognised import counted, few
from npkd.files import ArrayInFile, BadInput

NAMES = ("images", "labels", "test_images", "test_labels")
KERAS_NAMES = ("x_train", "y_train", "x_test", "y_test")  # for the same
MOST_IMAGES = 10**8  # in .npy files; their labels then take 800 MB
LONGEST_NAME = 1024  # bytes of the name of a class

Stored = np.ndarray | ArrayInFile


def read(
    path: Path,
    arrays: Mapping[str, Stored],
    *,
    size: int | None = None,
    first_label: int | None = 0,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """The data set of arrays of these names, or KERAS_NAMES; others are left out, and noted.

    Without a test part, `split` makes one.

    images   as `standard_form` takes them, with this size
    labels   whole numbers, or names of classes, which are then numbered in sorted order, (N,) or
             (N, 1); or of each image a row of zeros with a one at its class, (N, K)

    Whole numbers run from `first_label` without a gap; None is any. Classes are called by them.

    Raises BadInput for anything else.
    """
    if not arrays.keys() & set(NAMES):
        ours = dict(zip(KERAS_NAMES, NAMES, strict=True))
        arrays = {ours.get(name, name): array for name, array in arrays.items()}
    others = sorted(arrays.keys() - set(NAMES))
    if others:
        notes += (f"{counted(len(others), 'array')} left out: {few(others)}",)
    images, labels = _read_part(path, arrays, "images", "labels", size)
    if not len(images):
        raise BadInput(f"{path}: holds no training images")
    if "test_images" in arrays or "test_labels" in arrays:
        test_images, test_labels = _read_part(path, arrays, "test_images", "test_labels", size)
    else:
        numbers = labels if labels.dtype.kind == "i" else np.unique(labels, return_inverse=True)[1]
        train, test = split(numbers)
        test_images, test_labels = subset(images, test), labels[test]
        images, labels = subset(images, train), labels[train]
    stored = [arrays[name] for name in ("images", "test_images") if name in arrays]
    borders = {border_of(*sizes_of(one.shape)[1:], size) for one in stored}
    if images.shape[1:] != test_images.shape[1:] or len(borders) > 1:
        raise BadInput(
            f"{path}: training images have shape {stored[0].shape}, test images "
            f"{stored[-1].shape}; expected one size for all, or --size N"
        )
    if labels.dtype.kind != test_labels.dtype.kind:
        raise BadInput(f"{path}: labels and test_labels are not both numbers, or both names")

    names = np.unique(labels)
    if labels.dtype.kind == "i":
        first = names[0] if first_label is None else first_label
        if not np.array_equal(names, first + np.arange(len(names))):
            raise BadInput(
                f"{path}: labels of the training images run from {names[0]} to {names[-1]} with "
                f"{len(names)} different ones; expected every whole number from {first} to the "
                "largest, or names, in an .npz file: labels.astype(str)"
            )
    unknown = ~np.isin(test_labels, names)
    if unknown.any():
        low, high = np.unique(test_labels)[[0, -1]]
        raise BadInput(
            f"{path}: labels of the test images run from {low} to {high}; expected only labels "
            f"that training images have, which {test_labels[unknown.argmax()]} is not"
        )
    return Dataset(
        name=path.resolve().stem,
        train_images=images,
        train_labels=np.searchsorted(names, labels).astype(np.int64),
        test_images=test_images,
        test_labels=np.searchsorted(names, test_labels).astype(np.int64),
        class_names=tuple(str(name) for name in names),
        augmentation=Augmentation(shift=2),
        border=borders.pop(),
        notes=notes,
    )


def _read_part(
    path: Path,
    arrays: Mapping[str, Stored],
    images_name: str,
    labels_name: str,
    size: int | None,
) -> tuple[Images, np.ndarray]:
    """Images (N, C, S, S), and labels (N,) of int64 or text, from the two arrays of these names."""
    for name in (images_name, labels_name):
        if name not in arrays:
            found = ", ".join(sorted(arrays)) or "nothing"
            raise BadInput(f"{path}: no array named {name}; it holds {found}")
    stored = arrays[images_name]
    images: Images
    if len(stored.shape) and len(stored) > MOST_IMAGES:
        raise BadInput(f"{path}: {len(stored):,} images; expected {MOST_IMAGES:,} at most")
    if isinstance(stored, ArrayInFile):
        images = StoredImages([stored], stored.path, size=size)
    else:
        images = standard_form(stored, path, size)
    return images, _labels(path, labels_name, arrays[labels_name], len(images))


def _labels(path: Path, name: str, stored: Stored, count: int) -> np.ndarray:
    """(N,) of int64 or text."""
    shape, dtype = stored.shape, stored.dtype
    if shape in ((count,), (count, 1)):
        if dtype.kind in "iu":
            return stored[...].astype(np.int64).reshape(count)
        if dtype.kind in "US" and dtype.itemsize <= LONGEST_NAME:
            text = stored[...].reshape(count)
            try:
                np.unique(text).tolist()
                return np.strings.decode(text, "utf-8") if dtype.kind == "S" else text
            except (ValueError, SystemError) as error:  # no UTF-8, or letters beyond Unicode
                raise BadInput(
                    f"{path}: {name} has what is no text: {error}; of bytes in Latin-1, store "
                    'np.char.decode(names, "latin-1")'
                ) from error
    if len(shape) == 2 and shape[0] == count > 0 and shape[1] > 1 and dtype.kind in "biuf":
        return np.concatenate([_places_of_ones(path, name, part) for part in parts_of(stored)])
    raise BadInput(
        f"{path}: {name} has shape {shape} of {dtype}; expected whole numbers, or names of "
        f"classes, one for each of {count} images, or rows of zeros with a one (N, K)"
    )


def _places_of_ones(path: Path, name: str, rows: np.ndarray) -> np.ndarray:
    if not (np.isin(rows, (0, 1)).all() and (np.count_nonzero(rows, axis=1) == 1).all()):
        raise BadInput(
            f"{path}: {name} has rows of {rows.shape[1]} {rows.dtype} that are not zeros with a "
            "single one, at the image's class; expected that, or whole numbers (N,), as one "
            "column of several may be: labels[:, 0]"
        )
    return rows.argmax(axis=1)
