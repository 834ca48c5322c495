"""A folder of images by class: FOLDER/train/CLASS/* and FOLDER/test/CLASS/*, or FOLDER/CLASS/*."""

import io
import logging
import os
import re
import sys
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npkd.arguments import shown
from npkd.data import recognised
from npkd.data.augmentation import Augmentation
from npkd.data.dataset import Dataset, split
from npkd.data.images import border_of, is_side, require_size
from npkd.data.recognised import counted, few
from npkd.data.resizing import CELLS_AT_ONCE
from npkd.files import BadInput, reading, size_of

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WebP", "BMP", "TIFF", "GIF", "PPM")  # one of Pillow's runs a program
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}  # Pillow's, of at most 8 bits a channel
DEEP = {"I;16", "I;16L", "I;16B"}  # of grey of 16 bits
TURNS = {  # by EXIF's orientation: what brings the image as it is stored to how it is shown
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
ORIENTATION = 0x0112  # EXIF's and TIFF's numbers
BITS_PER_SAMPLE = 0x0102
PHOTOMETRIC_INTERPRETATION = 0x0106
MOST_BYTES = 2**28  # of one image file
MOST_PIXELS = 2**26  # of one image, which takes 9 bytes a pixel while it is read, turned 12
MOST_PIXELS_OF_JPEG = 15 * 10**7  # which is decoded at a part of its size
SIZE = 32  # of images whose own sizes differ
TEST_PARTS = ("test", "val", "valid", "validation")
PARTS = (
    f"a data set has train/ and test/ (or {', '.join(TEST_PARTS[1:])}), or neither of them; a "
    "class that is called so needs another name"
)
NO_CLASS = "__MACOSX"  # what macOS adds to an archive
BACKGROUND = "black"  # as outside of an image that is shifted

# Without a handler, Python prints what Pillow has to say of a damaged file.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def found(folder: Path) -> bool:
    """Whether there are images by class in the folder, or parts for training and testing."""
    return bool(_parts(folder)) or _has_classes(folder)


def _parts(folder: Path) -> list[Path]:
    """The folders for training and testing, if there is either."""
    if not ((folder / "train").is_dir() or (folder / "test").is_dir()):
        return []
    there = [part for name in TEST_PARTS if os.path.lexists(part := folder / name)]
    labelled = [part for part in there if not part.exists() or _has_classes(part)]
    return [folder / "train", *(labelled or there or [folder / "test"])[:1]]


def _has_classes(folder: Path) -> bool:
    return folder.is_dir() and any(
        _is_image(file) for entry in visible(folder) if entry.is_dir() for file in visible(entry)
    )


def visible(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, in order of name."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: missing; {PARTS}")
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in recognised.IMAGE_ENDINGS


def read(folder: Path, *, size: int | None = None, background: str | None = None) -> Dataset:
    """The data set in `folder`. Classes and, within a class, files are taken in order of name.

    With neither train/ nor test/, every fifth image of each class is for testing (see `split`);
    beside train/, val/ does for test/ where that has no classes. Files with other endings than
    those of images are left out, as is what is hidden, and the notes of the data set count them.
    What format a file has is told by its content. A class is known by its name in Unicode's form
    NFC.

    size         the side that all images are brought to, see `read_image`; by default their own,
                 where all are squares of one size that is a multiple of 4, else 32. 28×28 gets a
                 border and is 32×32.
    background   as `read_image` takes it

    Raises BadInput if there are no images, a part or a class has none, the test part has a class
    that the training part lacks, an image cannot be read, or Pillow is not installed.
    """
    left_out: Counter[str] = Counter()
    notes = []
    test: dict[str, list[Path]] = {}
    training: slice | np.ndarray
    testing: slice | np.ndarray
    if parts := _parts(folder):
        train, test = (_images_by_class(part, left_out) for part in parts)
        unknown = [name for name in test if name not in train]
        if unknown:
            raise BadInput(f"{parts[1]}: class {unknown[0]} has no folder in train/")
        notes += [f"tested with the images in {parts[1].name}/"] * (parts[1].name != "test")
        others = [entry.name for entry in visible(folder) if entry not in parts]
        if others:
            notes.append(f"left out beside these two parts: {few(others)}")
    else:
        train = _images_by_class(folder, left_out)
    class_names = tuple(train)
    by_class = [
        (class_names.index(name), files) for part in (train, test) for name, files in part.items()
    ]
    labels = np.array([label for label, files in by_class for _ in files], np.int64)
    images, border, said = _read_all(
        [file for _, files in by_class for file in files], size, background
    )
    if parts:
        count = sum(map(len, train.values()))
        training, testing = slice(count), slice(count, None)
    else:
        training, testing = split(labels)
    if left_out:
        notes.append(in_words(left_out))
    return Dataset(
        name=folder.resolve().name,
        train_images=images[training],
        train_labels=labels[training],
        test_images=images[testing],
        test_labels=labels[testing],
        class_names=class_names,
        augmentation=Augmentation(shift=2),
        border=border,
        notes=(*notes, *said),
    )


def images_in(folder: Path, left_out: Counter[str], inner: str = "folder") -> list[Path]:
    """The image files of a folder, in order of name; counts what is beside them.

    inner: what folders in it are counted as.
    """
    entries = visible(folder)
    left_out["hidden"] += sum(1 for _ in folder.iterdir()) - len(entries)
    for entry in entries:
        if entry.is_dir():
            left_out[inner] += 1
        elif not _is_image(entry):
            left_out[_by_ending(entry)] += 1
    return [entry for entry in entries if _is_image(entry) and not entry.is_dir()]


def in_words(left_out: Counter[str]) -> str:
    """What was left out; it is some."""
    what = ", ".join(f"{count} {kind}" for kind, count in left_out.most_common())
    return f"{counted(left_out.total(), 'file')} left out: {what}"


def _by_ending(path: Path) -> str:
    return f"of {path.suffix.lower()}" if path.suffix else "without ending"


def _images_by_class(folder: Path, left_out: Counter[str]) -> dict[str, list[Path]]:
    """The image files of each class folder in `folder`; counts what is beside them."""
    beside: Counter[str] = Counter()
    beside.update(map(_by_ending, images_in(folder, beside)))
    del beside["folder"]
    left_out.update(beside)
    classes: dict[str, list[Path]] = {}
    for home in visible(folder):
        if home.is_symlink() and not home.exists():
            raise BadInput(f"{home}: a link to nothing; expected a class, or no such link")
        if home.name == NO_CLASS:
            left_out[f"folder {NO_CLASS}"] += 1
        elif home.is_dir():  # the same letters may be stored as one or as several
            files = classes.setdefault(unicodedata.normalize("NFC", home.name), [])
            files += images_in(home, left_out, "folder in a class")
    classes = dict(sorted(classes.items()))
    left_out -= Counter()  # drops zeros
    if not any(classes.values()):
        raise BadInput(
            f"{folder}: holds no data; expected a folder for each class with images in it "
            f"({', '.join(recognised.IMAGE_ENDINGS)})"
            + f"; {PARTS}"
            * bool(images_in(folder, beside))
        )
    for name, files in classes.items():
        if not files:
            raise BadInput(f"{folder / name}: no images in it; expected those of class {name}")
    return classes


def _read_all(
    files: list[Path], size: int | None, background: str | None
) -> tuple[np.ndarray, int, list[str]]:
    """Images (N, 3, S, S), the border that all have got, and notes.

    All headers are read first: what cannot be taken is said before the others are waited for.
    """
    sizes = []
    for file in files:
        with _opened(file) as (image, _):
            sizes.append(image.size)
    several = sorted(set(sizes), key=lambda one: (one[0] * one[1], one))
    (width, height), *others = several
    border, side = 0, size or SIZE
    if size is None and not others and width == height and is_side(width):
        border = border_of(height, width)
        side = width + 2 * border
    seen: Counter[str] = Counter()
    images = np.empty((len(files), 3, side, side), np.uint8)
    for number, file in enumerate(files):
        images[number] = _read(file, side, background or BACKGROUND, border, seen)

    notes = []
    if several != [(side - 2 * border,) * 2]:
        low, high = (f"{width}×{height}" for width, height in (several[0], several[-1]))
        found = f"of {low} pixels" if low == high else f"of {low} to {high} pixels"
        notes.append(
            f"images {found} brought to {side}×{side}: resized, and cropped to their middle"
            + " (--size N for another size)" * (size is None)
        )
    if seen["transparent"]:
        notes.append(
            f"{counted(seen['transparent'], 'image')} with transparent places put on "
            + (background or f"{BACKGROUND} (--background COLOUR for another)")
        )
    if seen["turned"]:
        notes.append(f"{counted(seen['turned'], 'image')} turned as EXIF says")
    if seen["deep"]:
        notes.append(
            f"{counted(seen['deep'], 'image')} of 16 bits, or nearly, brought to 8; the largest "
            f"value is {seen['largest']:,} of 65,535"
        )
    return images, border, notes


def read_image(
    source: str | Path | bytes,
    *,
    size: int,
    background: str = BACKGROUND,
    border: int = 0,
) -> np.ndarray:
    """One image, from its file or from the bytes of one, as a data set of images holds it.

    Shapes
        (3, S, S) uint8, S = size, the channels red, green and blue

    PNG, JPEG, WebP, BMP, TIFF, GIF or PPM, told by content; of several frames or pages the first.
    It is turned as its EXIF data say, resized so that its shorter side is S, weighted as in
    `npkd.data.resizing`, and cropped to its middle. Grey is repeated to three channels. 16-bit grey
    becomes round(v/257). A JPEG much larger than S is decoded at a part of its size first.

    size         from 8 to 512, a multiple of 4
    background   shown where the image is transparent: the name of a colour, "#rrggbb" or "#rgb"
    border       that much of S on each side is black: `Dataset.border`; an image of S×S pixels is
                 taken to have it, and stays as it is

    Raises BadInput for anything that is no such image, ValueError for other options.
    """
    require_size(size)
    require_colour(background)
    if not isinstance(source, str | os.PathLike | bytes):
        raise ValueError(f"read_image: source is {shown(source)}; expected a path or bytes")
    return _read(source, size, background, border, Counter())


def require_colour(colour: str) -> None:
    """Raise ValueError unless this is a background."""
    try:
        from PIL import ImageColor
    except ImportError as error:
        raise BadInput(NO_PILLOW) from error
    if not isinstance(colour, str) or not (
        re.fullmatch("#([0-9a-fA-F]{3}){1,2}", colour) or colour.lower() in ImageColor.colormap
    ):
        raise ValueError(
            f"background is {shown(colour)}; expected the name of a colour, such as white, or "
            "#rrggbb"
        )


NO_PILLOW = "reading image files needs Pillow; install it with pip install 'npkd[app]'"


@contextmanager
def _opened(source: str | Path | bytes) -> Iterator[tuple["Image", str]]:
    """An image that can be taken, its header read but no pixels yet; and what to call it."""
    name = "the image" if isinstance(source, bytes) else str(source)
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise BadInput(f"{name}: {NO_PILLOW}") from error
    with reading(name, "an image"):
        if isinstance(source, bytes):
            file = io.BytesIO(source)
        elif size_of(source, "an image") > MOST_BYTES:
            raise BadInput(f"{name}: expected an image of {MOST_BYTES:,} bytes at most")
        else:
            file = open(source, "rb")  # type: ignore[assignment]  # noqa: SIM115
        with file, warnings.catch_warnings(action="ignore"):  # of odd sizes and tags
            try:
                image = Image.open(file, formats=[one.upper() for one in FORMATS])
                _require_taken(image, name)
                yield image, name
            except (BadInput, MemoryError):
                raise
            except UnidentifiedImageError as error:
                file.seek(0)
                what = recognised.content(file.read(300)) or "of no format that is known here"
                known = any(one in what for one in FORMATS)
                raise BadInput(
                    f"{name}: not an image that Pillow can read: it "
                    + (f"begins as {what} does, and is damaged" if known else f"is {what}")
                    + f"; expected {', '.join(FORMATS)}"
                ) from error
            except Exception as error:  # Pillow's decoders raise many kinds for damaged bytes
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # that of the disk
                raise BadInput(f"{name}: not an image that Pillow can read: {error}") from error


def _require_taken(image: "Image", name: str) -> None:
    """Raise BadInput for an image of too many pixels, or of colours that are none of these."""
    size = f"{name}: an image of {image.width}×{image.height} pixels"
    most = MOST_PIXELS_OF_JPEG if image.format in ("JPEG", "MPO") else MOST_PIXELS
    if image.width * image.height > most:
        raise BadInput(f"{size}; expected {most:,} at most; make it smaller first")
    if image.mode == "CMYK":
        raise BadInput(
            f"{size} in CMYK, the colours of print, which look different in each of them; convert "
            "it to RGB first"
        )
    if image.mode not in MODES and not _is_deep(image):
        raise BadInput(
            f"{size} in mode {image.mode}; expected grey or colour of 8 bits a channel, or grey of "
            "16; convert it first"
        )
    if _bits(image) > 8 and not _is_deep(image):
        raise BadInput(
            f"{size} of {_bits(image)} bits a channel in colour; convert it to 8 bits a channel "
            "first"
        )


def _is_deep(image: "Image") -> bool:
    """Whether it is grey of 16 bits, which Pillow may hold in 32, but of TIFF only if it is 32."""
    return image.mode in DEEP or (image.mode == "I" and image.format in ("PNG", "PPM"))


def _bits(image: Any) -> int:
    """Of a channel, in the file; Pillow cuts those of colours to 8 without a word.

    Known until the pixels are read.
    """
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))))
    if image.mode[0] == "I":
        return 16
    if image.format not in ("PNG", "PPM"):
        return 8
    stored = image.tile[0][3]  # "RGB;16B" or, of PPM, perhaps ("RGB", the largest value)
    if isinstance(stored, tuple):
        return 16 if stored[1] > 255 else 8
    found = re.search("(^|;)([0-9]+)", stored)
    return int(found[2]) if found else 8


def _read(
    source: str | Path | bytes, size: int, background: str, border: int, seen: Counter[str]
) -> np.ndarray:
    """See `read_image`; counts what was done."""
    from PIL import Image

    with _opened(source) as (image, name):
        if image.size == (size, size):
            border = 0  # more than it has
        inner = size - 2 * border
        image.draft(None, (2 * inner, 2 * inner))  # a JPEG may be decoded at a part of its size
        bits = _bits(image)
        is_tiff = image.format == "TIFF"
        stored = _orientation(image) if is_tiff else 1  # which Pillow obeys itself, as it loads
        with _without_words_of_libtiff() if is_tiff and sys.__stderr__ else nullcontext():
            image.load()  # before a PNG is asked for EXIF data, which loads it, damaged or not
        orientation = _orientation(image)
        if _is_deep(image):
            image, largest = _eight_bits(image, bits, name)
            seen["deep"] += 1
            seen["largest"] = max(seen["largest"], largest)
        elif image.mode in ("1", "L") and "transparency" in image.info:
            clear = image.info["transparency"] * (255 // (2**bits - 1))  # as Pillow has the pixels
            image.info["transparency"] = min(clear, 255)  # of one bit it may have done so already
        if image.mode == "PA" or "transparency" in image.info:
            image = image.convert("RGBA")
        elif image.mode in ("1", "P"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        seen["turned"] += stored in TURNS or orientation in TURNS
        if orientation in TURNS:
            image = image.transpose(Image.Transpose[TURNS[orientation]])
        left, top = ((length - min(image.size)) / 2 for length in image.size)
        middle = (left, top, image.width - left, image.height - top)
        image = image.resize((inner, inner), Image.Resampling.BILINEAR, middle)
        if "A" in image.getbands():
            image = image.convert("RGBA")  # it is small now
            seen["transparent"] += int(np.asarray(image)[..., 3].min() < 255)
            image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
        pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    return np.pad(pixels, ((0, 0), (border, border), (border, border)))


@contextmanager
def _without_words_of_libtiff() -> Iterator[None]:
    """It writes what it thinks of a damaged file to the process's standard error, line by line."""
    before = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _orientation(image: "Image") -> int:
    """EXIF's, of which 1 is upright."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF data: viewers show the image as it is stored
        return 1


def _eight_bits(image: Any, bits: int, name: str) -> tuple["Image", int]:
    """Grey of 9 to 16 bits, with the transparency it has, in 8, and the largest value, of 65,535.

    With m = 2^bits − 1, each value v becomes round(255 v/m); of 16 bits that is round(v/257).

    Values that all lie below 256 are most likely of 8 bits, in a file of 16; or the image is all
    but black. Which it is only its owner knows, and in either case there would be nothing to see.
    """
    from PIL import Image

    most = 2**bits - 1
    white_is_zero = image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION, 0) == 0
    clear = image.info.get("transparency")
    eight = Image.new("L" if clear is None else "LA", image.size)
    largest, step = 0, max(1, CELLS_AT_ONCE // image.width)
    for top in range(0, image.height, step):
        rows = image.crop((0, top, image.width, min(top + step, image.height)))
        values = np.asarray(rows).astype(np.uint32)
        largest = max(largest, int(values.max()))
        shown = most - values if white_is_zero else values
        part = ((255 * shown + most // 2) // most).astype(np.uint8)
        if clear is not None:
            part = np.dstack([part, np.where(values == clear, 0, 255).astype(np.uint8)])
        eight.paste(Image.fromarray(part), (0, top))
    if 0 < largest < 256:
        raise BadInput(
            f"{name}: an image of {bits} bits, but with no value above {largest} of {most}; if "
            "these are values of 8 bits, convert it to 8 bits first"
        )
    return eight, largest * 65535 // most
