"""Images in standard form, (N, C, S, S) uint8: in memory, or left in their files."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from npkd.arguments import is_integer, shown
from npkd.data.resizing import resized
from npkd.files import BadInput

IMAGES_AT_ONCE, BYTES_AT_ONCE = 1000, 2**24  # bound the memory that reading all of them takes
SMALLEST, LARGEST = 8, 512  # sides of an image, in steps of 4: the nets halve them twice
SIDES = f"a multiple of 4 from {SMALLEST} to {LARGEST}"


class Images(Protocol):
    """What an array of images and images in files have in common.

    images[part], with a slice or an array of indices, is an array; only that part has to be in
    memory.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __len__(self) -> int: ...

    def __getitem__(self, part: Any, /) -> Any: ...


class StoredImages:
    """Images in files, one file after the other, or some of them; a part is read when asked for.

    So data larger than memory can be trained on. What is read is in standard form.

    files     what is in them: `ArrayInFile`s or the like, each in one of the layouts that
              `standard_form` takes
    origin    in errors, what they come from
    chosen    indices into all of these images, in order; by default all
    size      the side that images are brought to; by default their own

    Raises BadInput if a file's images cannot be brought to standard form, or not to the same size.
    """

    def __init__(
        self,
        files: Sequence[Images],
        origin: str | Path,
        chosen: np.ndarray | None = None,
        size: int | None = None,
    ):
        first, *others = (standard_shape(file.shape, file.dtype, origin, size) for file in files)
        for other in others:
            if other != first:
                raise BadInput(
                    f"{origin}: has images of {'×'.join(map(str, first))} and of "
                    f"{'×'.join(map(str, other))}; expected one shape for all"
                )
        self.files, self.origin, self.chosen, self.size = files, origin, chosen, size
        self.image_shape = first
        self.ends = np.cumsum([len(file) for file in files])
        self.dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.image_shape)

    def __len__(self) -> int:
        return int(self.ends[-1]) if self.chosen is None else len(self.chosen)

    def __getitem__(self, part: Any) -> np.ndarray:
        """A new array (…, C, S, S) of the images at an index, a slice, or an array of indices.

        Raises TypeError for any other kind of index, IndexError for one below 0 or too high, and
        BadInput if a file has changed.
        """
        indices = np.arange(*part.indices(len(self))) if isinstance(part, slice) else part
        if not isinstance(indices, (int, np.integer, np.ndarray)) or np.asarray(part).dtype == bool:
            raise TypeError("images in files are taken by an index, a slice or an array of indices")
        indices = np.asarray(indices)
        if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"images {indices.min()} to {indices.max()} of {len(self)}")
        if self.chosen is not None:
            indices = self.chosen[indices]
        images = np.empty((indices.size, *self.image_shape), np.uint8)
        of_file = np.searchsorted(self.ends, indices.ravel(), side="right")
        for number in np.unique(of_file):
            here, file = np.flatnonzero(of_file == number), self.files[number]
            step = min(_at_once(file), _at_once(self))
            for some in np.split(here, range(step, len(here), step)):
                stored = file[indices.ravel()[some] - (self.ends[number] - len(file))]
                images[some] = standard_form(stored, self.origin, self.size)
        return images.reshape(*indices.shape, *self.image_shape)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """All of them, in memory."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def subset(self, indices: np.ndarray) -> "StoredImages":
        """The images at these indices, left in their files too."""
        chosen = indices if self.chosen is None else self.chosen[indices]
        return StoredImages(self.files, self.origin, chosen, self.size)


def subset(images: Images, indices: np.ndarray) -> Images:
    """The images at these indices, in memory if `images` are."""
    return images.subset(indices) if isinstance(images, StoredImages) else images[indices]


def digest(images: Images) -> str:
    """SHA-256 of images: the same for the same ones only, in memory, in files, or augmented."""
    if hasattr(images, "digest"):
        return str(images.digest())
    found = hashlib.sha256(f"{images.dtype.str} {images.shape}".encode())
    for part in parts_of(images):
        found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()


def parts_of(images: Images) -> Iterator[np.ndarray]:
    """All images, in arrays of at most IMAGES_AT_ONCE and, if small enough, BYTES_AT_ONCE."""
    step = _at_once(images)
    return (images[start : start + step] for start in range(0, len(images), step))


def _at_once(images: Images) -> int:
    bytes_of_one = math.prod(images.shape[1:]) * images.dtype.itemsize
    return max(1, min(IMAGES_AT_ONCE, BYTES_AT_ONCE // max(1, bytes_of_one)))


def require_images(owner: str, images: Images, expected: str) -> None:
    """Raise ValueError unless these are images (N, C, H, W) of uint8, as `expected` says."""
    if not hasattr(images, "shape") or not hasattr(images, "dtype"):
        raise ValueError(f"{owner} takes {expected}; got a {type(images).__name__}")
    if len(images.shape) != 4 or images.dtype != np.uint8:
        raise ValueError(f"{owner} takes {expected}; got shape {images.shape} of {images.dtype}")


def require_size(size: int) -> None:
    """Raise ValueError unless images can be brought to this size."""
    if not (is_integer(size) and is_side(size)):
        raise ValueError(f"size is {shown(size)}; expected {SIDES}")


def is_side(side: int) -> bool:
    """Whether images in standard form may be so wide."""
    return side % 4 == 0 and SMALLEST <= side <= LARGEST


def standard_form(images: np.ndarray, origin: str | Path, size: int | None = None) -> np.ndarray:
    """Images in any accepted layout, as a new array (N, C, S, S).

    Shapes
        images (N, H, W), (N, C, H, W) or (N, H, W, C), uint8, with C from 1 to 4; where both are
        possible it is (N, C, H, W)

    A single channel is repeated to three. With a size S, the middle square of each image is brought
    to S×S. Without one, images must be square, of a multiple of 4 from 8 to 512, and stay as they
    are; but 28×28 gets a black (0) border two cells wide.

    Raises BadInput, naming `origin`, for any other shape or type.
    """
    shape = standard_shape(images.shape, images.dtype, origin, size)
    if images.ndim == 3:
        images = images[:, None]  # (N, 1, H, W)
    elif images.shape[1] > 4:
        images = images.transpose(0, 3, 1, 2)  # (N, C, H, W)
    if size is not None:
        images = resized(images, size)
    border = (shape[1] - images.shape[2]) // 2
    if images.shape[1] == 1:
        images = images.repeat(3, axis=1)
    return np.pad(images, ((0, 0), (0, 0), (border, border), (border, border)))


def standard_shape(
    shape: tuple[int, ...], dtype: np.dtype, origin: str | Path, size: int | None = None
) -> tuple[int, int, int]:
    """(C, S, S), which `standard_form` brings each of these images to; it says what is refused."""
    given = f"{origin}: images have shape {shape} of {dtype}"
    channels, height, width = sizes_of(shape)
    if not (1 <= channels <= 4 and height and width):
        raise BadInput(
            f"{given}; expected uint8, as (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 to 4 "
            "channels C"
        )
    if dtype != np.uint8:
        raise BadInput(f"{given}; expected {BYTES}")
    if size is None and not (height == width and is_side(width)):
        raise BadInput(
            f"{given}, which is {width}×{height} pixels; expected squares of {SIDES}, or a size to "
            "bring them to: --size N, size=N in Python"
        )
    side = size if size is not None else width + 2 * border_of(height, width)
    return 3 if channels == 1 else channels, side, side


def sizes_of(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """C, H and W of images in a layout that `standard_form` takes; zeros for any other shape."""
    if len(shape) == 3:
        return 1, *shape[1:]
    if len(shape) == 4:
        return shape[1:] if shape[1] <= 4 else (shape[3], *shape[1:3])
    return 0, 0, 0


BYTES = "uint8, 0 to 255 (floats from 0 to 1: (255 * images).round().astype(np.uint8))"


def border_of(height: int, width: int, size: int | None = None) -> int:
    """How wide the black border is that images get: MNIST's, so that they are 32×32."""
    return 2 if size is None and height == width == 28 else 0
