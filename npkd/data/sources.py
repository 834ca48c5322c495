"""Finds out what a user's `--data` is, and reads it."""

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from npkd.arguments import shown
from npkd.data import arrays, cifar, idx, image_folder, recognised
from npkd.data.dataset import Dataset
from npkd.data.images import require_size
from npkd.data.recognised import few
from npkd.files import BadInput, is_there, npy_in_file, read_npz, reading

BUNDLED = Path(__file__).with_name("mnist5k.npz")
MOST_BYTES = 2**30  # of one .npz file's arrays, about 350,000 images of 3×32×32


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
    FOLDER/train.bin, test.bin    CIFAR-100, binary layout; also train and test, python layout
    FOLDER/train-images-idx3-ubyte …  MNIST and the like, packed (.gz) or not
    FOLDER/train/CLASS/*.png …    images by class, with FOLDER/test/CLASS/* (or val)
    FOLDER/CLASS/*.png …          images by class, every fifth one for testing (see `split`)
    FILE.npz                      arrays `images`, `labels` and perhaps `test_images`, `test_labels`
                                  (or Keras's `x_train`, `y_train`, `x_test`, `y_test`)
    FOLDER/images.npy …           the same as .npy files, of any size: the images stay in them

    A folder called mnist5k is loaded by "./mnist5k".

    size         the side S that images are brought to: each is resized until its shorter side is
                 S, and cropped to its middle. By default their own, where all are squares of one
                 size, a multiple of 4 (28×28 gets a border and is 32×32); otherwise 32 for folders
                 of images, while arrays are refused.
    background   what images in folders show where they are transparent: the name of a colour, or
                 "#rrggbb"; by default black
    labels       "fine" or "coarse", of CIFAR-100

    Raises BadInput if there is nothing of the kind, or it is damaged, or it lacks a training
    part, a test part, or a second class; Unreadable if it cannot be read just now; ValueError for
    an option that is none, or that this source does not have.
    """
    require_options(size, background, labels)
    if not isinstance(source, str | os.PathLike) or not isinstance(os.fspath(source), str):
        raise ValueError(f"source is {shown(source)}; expected a path or {DIGITS}")
    if not os.fspath(source):
        raise BadInput(f"the path is empty; {EXPECTED}")
    path = BUNDLED if source == "mnist5k" else Path(source)
    size = None if size is None else int(size)
    with reading(path, "a data set"):
        return _checked(_read(path, size, background, labels), path)


def require_options(size: int | None, background: str | None, labels: str) -> None:
    """Raise ValueError unless `load` may take these, whatever the source."""
    if size is not None:
        require_size(size)
    if labels not in ("fine", "coarse"):
        raise ValueError(f'labels is {shown(labels)}; expected "fine" or "coarse"')
    if background is not None:
        image_folder.require_colour(background)


def _read(path: Path, size: int | None, background: str | None, labels: str) -> Dataset:
    is_folder = path.is_dir()
    kind = cifar.found(path) if is_folder else None
    if kind:
        _refuse(path, f"images of {kind.name}", background=background)
        return cifar.read(path, kind, size=size, labels=labels)
    if is_folder and (sets := idx.found(path)):
        _refuse(path, "idx files", labels, background)
        return idx.read(path, sets, size=size)
    if is_folder and (files := _npy_files(path)):
        _refuse(path, "arrays", labels, background)
        stored = {name: npy_in_file(file) for name, file in files.items()}
        return arrays.read(path, stored, size=size)
    if is_folder and image_folder.found(path):
        _refuse(path, "images", labels)
        return image_folder.read(path, size=size, background=background)
    if path.suffix.lower() == ".npz" and path.is_file():
        _refuse(path, "arrays", labels, background)
        return arrays.read(path, read_npz(path, at_most=MOST_BYTES), size=size)
    raise BadInput(f"{path}: {_what_it_is(path)}; {EXPECTED}")


PART = re.compile("(train|test)(ing)?|val(id|idation)?|dev|eval", re.IGNORECASE)
DIGITS = '"mnist5k", the bundled digits'
EXPECTED = (
    "expected a folder for each class with images in it, CIFAR-10's data_batch_1.bin … and "
    "test_batch.bin, CIFAR-100's train.bin and test.bin, MNIST's idx files, images.npy and "
    f"labels.npy, an .npz file, or {DIGITS}"
)


def _refuse(path: Path, what: str, labels: str = "fine", background: str | None = None) -> None:
    """Raise BadInput for an option that goes with another kind of source."""
    if labels != "fine":
        raise BadInput(f"{path}: holds {what}, which have no {labels} labels; only CIFAR-100 has")
    if background is not None:
        raise BadInput(
            f"{path}: holds {what}, which are nowhere transparent; background is for folders of "
            "images"
        )


def _npy_files(folder: Path) -> dict[str, Path]:
    names = (*arrays.NAMES, *arrays.KERAS_NAMES)
    return {name: file for name in names if is_there(file := folder / f"{name}.npy")}


def _what_it_is(path: Path) -> str:
    """What is no data set, and what to do with it."""
    if not path.exists():
        return "no such file or folder"
    if not path.is_dir():
        if not path.is_file():
            return "neither a folder nor a file"
        with open(path, "rb") as file:
            what = recognised.file(path, file.read(1000))
        return what or "neither a folder nor an .npz file"
    entries = image_folder.visible(path)
    folders = [entry for entry in entries if entry.is_dir()]
    parts = [folder.name for folder in folders if PART.fullmatch(folder.name)]
    for folder in folders:
        is_found = cifar.found(folder) or idx.found(folder) or _npy_files(folder)
        if is_found or (not parts and image_folder.found(folder)):
            return f"the data set is in a folder of it; give {folder}"
    if parts:
        return f"no data set has parts called {few(parts)}; call them train and test"
    return f"{recognised.folder(entries)}: it holds no data"


def _checked(dataset: Dataset, path: Path) -> Dataset:
    """The data set itself, if there is something to learn from it and something to test with."""
    if len(np.unique(dataset.train_labels)) < 2:
        raise BadInput(f"{path}: the training images are all of one class; expected two or more")
    if len(dataset.test_labels) == 0:
        raise BadInput(
            f"{path}: leaves no test images; give a test part, or five images or more of a class"
        )
    tested = set(dataset.test_labels.tolist())
    untested = [name for label, name in enumerate(dataset.class_names) if label not in tested]
    if untested:
        found = f"{len(untested)} of {dataset.num_classes} classes"
        note = f"{found} have no test images: {few(untested)}"
        return replace(dataset, notes=(*dataset.notes, note))
    return dataset
