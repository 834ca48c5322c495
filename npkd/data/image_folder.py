"""A folder of images by class: FOLDER/train/CLASS/* and FOLDER/test/CLASS/*, or FOLDER/CLASS/*."""

import io
import warnings
from pathlib import Path

import numpy as np

from npkd.data.augmentation import Augmentation
from npkd.data.dataset import Dataset, split
from npkd.data.images import standard_form
from npkd.files import BadInput, read_bytes

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm"}
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM")  # Pillow knows others; one runs a program
MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}  # Pillow's, of at most 8 bits a channel
MOST_BYTES = 2**24  # of one image file


def read(folder: Path) -> Dataset:
    """The data set in `folder`. Classes and, within a class, files are taken in order of name.

    With neither train/ nor test/, every fifth image of each class is for testing (see `split`).
    Files with other endings than those of `ENDINGS` are passed over, as is what is hidden.

    Raises BadInput if there are no images, a part or a class has none, the test part has a class
    that the training part lacks, an image cannot be read or is neither 28×28 nor 32×32, or Pillow
    is not installed.
    """
    if (folder / "train").is_dir() or (folder / "test").is_dir():
        train, test = _images_by_class(folder / "train"), _images_by_class(folder / "test")
        unknown = [name for name in test if name not in train]
        if unknown:
            raise BadInput(f"{folder / 'test'}: class {unknown[0]} has no folder in train/")
        class_names = tuple(train)
        train_images, train_labels = _read_images(train, class_names)
        test_images, test_labels = _read_images(test, class_names)
    else:
        everything = _images_by_class(folder)
        class_names = tuple(everything)
        images, labels = _read_images(everything, class_names)
        train_indices, test_indices = split(labels)
        train_images, train_labels = images[train_indices], labels[train_indices]
        test_images, test_labels = images[test_indices], labels[test_indices]
    return Dataset(
        name=folder.resolve().name,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=class_names,
        augmentation=Augmentation(shift=2),
    )


def _images_by_class(folder: Path) -> dict[str, list[Path]]:
    """The image files of each class folder in `folder`."""
    classes = {
        entry.name: [file for file in _visible(entry) if file.suffix.lower() in ENDINGS]
        for entry in _visible(folder)
        if entry.is_dir()
    }
    if not any(classes.values()):
        raise BadInput(
            f"{folder}: holds no data; expected a folder for each class with images in it "
            f"({', '.join(sorted(ENDINGS))}), or CIFAR-10's data_batch_1.bin … and test_batch.bin"
        )
    for name, files in classes.items():
        if not files:
            raise BadInput(f"{folder / name}: no images in it; expected those of class {name}")
    return classes


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise BadInput(f"{folder}: missing; a data set has train/ and test/, or neither of them")
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _read_images(
    classes: dict[str, list[Path]], class_names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) and labels (N,) of the files, class by class."""
    images = [_read_image(file) for files in classes.values() for file in files]
    labels = [class_names.index(name) for name, files in classes.items() for _ in files]
    return np.concatenate(images), np.array(labels, np.int64)


def _read_image(path: Path) -> np.ndarray:
    """One image as (1, 3, 32, 32). Where it is transparent it is black, as outside its border."""
    try:
        from PIL import Image
    except ImportError as error:
        raise BadInput(
            f"{path}: reading image files needs Pillow; install it with pip install 'npkd[app]'"
        ) from error
    data = read_bytes(path, at_most=MOST_BYTES, what="an image")
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd sizes: these are refused anyway
            image = Image.open(io.BytesIO(data), formats=FORMATS)  # the header, no pixels yet
            if image.mode not in MODES or image.size not in ((28, 28), (32, 32)):
                raise BadInput(
                    f"{path}: an image of {image.width}×{image.height} pixels in mode "
                    f"{image.mode}; expected 28×28 or 32×32, grey or colour, 8 bits a channel; "
                    "resize it first"
                )
            black = Image.new("RGBA", image.size, "black")
            pixels = np.asarray(Image.alpha_composite(black, image.convert("RGBA")).convert("RGB"))
    except (BadInput, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for damaged bytes
        raise BadInput(f"{path}: not an image that Pillow can read: {error}") from error
    return standard_form(pixels[None], path)  # from (1, H, W, 3)
