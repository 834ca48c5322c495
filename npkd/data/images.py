"""Images in standard form, (N, 3, 32, 32) uint8: in memory, or left in their files."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from npkd.files import BadInput

IMAGES_AT_ONCE = 1000  # bounds the memory that reading all of them takes


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

    files     what is in them: `ArrayInFile`s or the like, all in one of the layouts that
              `standard_form` takes
    origin    in errors, what they come from
    chosen    indices into all of these images, in order; by default all

    Raises BadInput if a file's images cannot be brought to standard form.
    """

    def __init__(
        self, files: Sequence[Images], origin: str | Path, chosen: np.ndarray | None = None
    ):
        for file in files:
            _require_known_layout(file.shape, file.dtype, origin)
        self.files, self.origin, self.chosen = files, origin, chosen
        self.ends = np.cumsum([len(file) for file in files])
        self.dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), 3, 32, 32)

    def __len__(self) -> int:
        return int(self.ends[-1]) if self.chosen is None else len(self.chosen)

    def __getitem__(self, part: Any) -> np.ndarray:
        """A new array (…, 3, 32, 32) of the images at an index, a slice, or an array of indices.

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
        images = np.empty((indices.size, *self.files[0].shape[1:]), np.uint8)
        of_file = np.searchsorted(self.ends, indices.ravel(), side="right")
        for number in np.unique(of_file):
            here, file = of_file == number, self.files[number]
            images[here] = file[indices.ravel()[here] - (self.ends[number] - len(file))]
        return standard_form(images, self.origin).reshape(*indices.shape, 3, 32, 32)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """All of them, in memory."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def subset(self, indices: np.ndarray) -> "StoredImages":
        """The images at these indices, left in their files too."""
        chosen = indices if self.chosen is None else self.chosen[indices]
        return StoredImages(self.files, self.origin, chosen)


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
    """All images, in arrays of at most IMAGES_AT_ONCE."""
    return (
        images[start : start + IMAGES_AT_ONCE] for start in range(0, len(images), IMAGES_AT_ONCE)
    )


def require_images(owner: str, images: Images, expected: str) -> None:
    """Raise ValueError unless these are images (N, C, H, W) of uint8, as `expected` says."""
    if not hasattr(images, "shape") or not hasattr(images, "dtype"):
        raise ValueError(f"{owner} takes {expected}; got a {type(images).__name__}")
    if len(images.shape) != 4 or images.dtype != np.uint8:
        raise ValueError(f"{owner} takes {expected}; got shape {images.shape} of {images.dtype}")


def standard_form(images: np.ndarray, origin: str | Path) -> np.ndarray:
    """Images in any accepted layout, as a new array (N, 3, 32, 32).

    Shapes
        images (N, H, W), (N, 1, H, W), (N, 3, H, W) or (N, H, W, 3), uint8, with H = W = 28 or 32

    A single channel is repeated to three; 28×28 gets a black (0) border two cells wide.

    Raises BadInput, naming `origin`, for any other shape or type.
    """
    _require_known_layout(images.shape, images.dtype, origin)
    if images.ndim == 3:
        images = images[:, None]  # (N, 1, H, W)
    elif images.shape[3] == 3:
        images = images.transpose(0, 3, 1, 2)  # (N, 3, H, W)
    border = (32 - images.shape[2]) // 2
    if images.shape[1] == 1:
        images = images.repeat(3, axis=1)
    return np.pad(images, ((0, 0), (0, 0), (border, border), (border, border)))


def _require_known_layout(shape: tuple[int, ...], dtype: np.dtype, origin: str | Path) -> None:
    accepted = [
        layout
        for size in (28, 32)
        for layout in ((size, size), (1, size, size), (3, size, size), (size, size, 3))
    ]
    if dtype != np.uint8 or shape[1:] not in accepted:
        raise BadInput(
            f"{origin}: images have shape {shape} of {dtype}; expected uint8 of 28×28 or 32×32 "
            "pixels, as (N, H, W), (N, 1, H, W), (N, 3, H, W) or (N, H, W, 3)"
        )
