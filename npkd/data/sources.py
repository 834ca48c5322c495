"""Finds out what a user's `--data` is, and reads it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from npkd.data import cifar10, image_folder
from npkd.data.augmentation import Augmentation
from npkd.data.dataset import Dataset, split
from npkd.data.images import Images, StoredImages, standard_form, subset
from npkd.files import ArrayInFile, BadInput, is_there, npy_in_file, read_npz, reading

BUNDLED = Path(__file__).with_name("mnist5k.npz")
MOST_BYTES = 2**30  # of one .npz file's arrays, about 350,000 images of 3×32×32
MOST_IMAGES = 10**8  # in .npy files; their labels then take 800 MB
ARRAYS = ("images", "labels", "test_images", "test_labels")


def load(
    source: str | Path,
    *,
    size: int | None = None,
    background: str | None = None,
    labels: str = "fine",
) -> Dataset:
    """The data set that `source` names.

    "mnist5k"                     5,000 handwritten digits, bundled with npkd
    FOLDER/data_batch_1.bin …     CIFAR-10, binary layout; also data_batch_1 …, python layout
    FOLDER/train/CLASS/*.png …    images by class, with FOLDER/test/CLASS/*
    FOLDER/CLASS/*.png …          images by class, every fifth one for testing (see `split`)
    FILE.npz                      arrays `images`, `labels` and perhaps `test_images`, `test_labels`
    FOLDER/images.npy …           the same as .npy files, of any size: the images stay in them

    A folder called mnist5k is loaded by "./mnist5k".

    Raises BadInput if there is nothing of the kind, or it is damaged, or it lacks a training
    part, a test part, or a second class; Unreadable if it cannot be read just now.
    """
    if (size, background, labels) != (None, None, "fine"):
        raise BadInput("size, background and labels: data are read as they are")
    if source == "mnist5k":
        return _read_arrays(BUNDLED, read_npz(BUNDLED, at_most=MOST_BYTES))
    path = Path(source)
    with reading(path, "a data set"):
        return _checked(_read(path), path)


def _read(path: Path) -> Dataset:
    if path.is_dir():
        if cifar10.found(path):
            return cifar10.read(path)
        files = {name: file for name in ARRAYS if is_there(file := path / f"{name}.npy")}
        if files:
            return _read_arrays(path, {name: npy_in_file(file) for name, file in files.items()})
        return image_folder.read(path)
    if path.suffix == ".npz" and path.exists():
        return _read_arrays(path, read_npz(path, at_most=MOST_BYTES))
    problem = "neither a folder nor an .npz file" if path.exists() else "no such file or folder"
    raise BadInput(
        f"{path}: {problem}; expected a folder of CIFAR-10, of images by class or of .npy files, "
        'an .npz file, or "mnist5k", the bundled digits'
    )


def _read_arrays(path: Path, arrays: Mapping[str, np.ndarray | ArrayInFile]) -> Dataset:
    """The data set of the arrays in an .npz file, or in .npy files of these names."""
    images, labels = _read_part(path, arrays, "images", "labels")
    if "test_images" in arrays or "test_labels" in arrays:
        test_images, test_labels = _read_part(path, arrays, "test_images", "test_labels")
    else:
        train, test = split(labels)
        test_images, test_labels = subset(images, test), labels[test]
        images, labels = subset(images, train), labels[train]

    count = len(np.unique(labels))
    if not np.array_equal(np.unique(labels), np.arange(count)):
        raise BadInput(
            f"{path}: labels of the training images run from {labels.min()} to {labels.max()} with "
            f"{count} different ones; expected every whole number from 0 to the largest"
        )
    if not np.isin(test_labels, labels).all():
        raise BadInput(
            f"{path}: labels of the test images run from {test_labels.min()} to "
            f"{test_labels.max()}; expected only labels that training images have"
        )
    return Dataset(
        name=path.resolve().stem,
        train_images=images,
        train_labels=labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=tuple(str(label) for label in range(count)),
        augmentation=Augmentation(shift=2),
    )


def _read_part(
    path: Path, arrays: Mapping[str, np.ndarray | ArrayInFile], images_name: str, labels_name: str
) -> tuple[Images, np.ndarray]:
    """Images (N, 3, 32, 32) and labels (N,) int64 from the two arrays of these names."""
    for name in (images_name, labels_name):
        if name not in arrays:
            found = ", ".join(sorted(arrays)) or "nothing"
            raise BadInput(f"{path}: no array named {name}; it holds {found}")
    stored, labels = arrays[images_name], arrays[labels_name]
    images: Images
    if len(stored.shape) and len(stored) > MOST_IMAGES:
        raise BadInput(f"{path}: {len(stored):,} images; expected {MOST_IMAGES:,} at most")
    if isinstance(stored, ArrayInFile):
        images = StoredImages([stored], stored.path)
    else:
        images = standard_form(stored, path)
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise BadInput(
            f"{path}: {labels_name} has shape {labels.shape} of {labels.dtype}; "
            f"expected whole numbers, one for each of {len(images)} images"
        )
    return images, labels[...].astype(np.int64)


def _checked(dataset: Dataset, path: Path) -> Dataset:
    """The data set itself, if there is something to learn from it and something to test with."""
    if len(dataset.train_labels) == 0:
        raise BadInput(f"{path}: holds no training images")
    if len(np.unique(dataset.train_labels)) < 2:
        raise BadInput(f"{path}: the training images are all of one class; expected two or more")
    if len(dataset.test_labels) == 0:
        raise BadInput(
            f"{path}: leaves no test images; give a test part, or five images or more of a class"
        )
    return dataset
