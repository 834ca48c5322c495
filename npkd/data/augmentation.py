"""Data augmentation: each time an image is shown, a slightly different version of it."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from npkd.arguments import is_integer, shown
from npkd.data.images import Images, digest, require_images


@dataclass(frozen=True)
class Augmentation:
    """A random shift of each image, and a random left-right flip.

    shift   up to this many pixels, both down or up and right or left, every pair of whole steps
            equally likely; cells that come in from outside are black (0). The same thing as a
            random crop of the image padded by `shift`.
    flip    whether to mirror an image left to right, with probability 1/2. Not for digits.

    Raises ValueError if shift is no whole number from 0.
    """

    shift: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        if not is_integer(self.shift) or self.shift < 0:
            raise ValueError(
                f"Augmentation: shift is {shown(self.shift)}; expected 0 or more pixels"
            )

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A new array of altered images; `images` stays as it is. See `Augmented`.

        Shapes
            images (N, C, H, W) uint8  →  (N, C, H, W) uint8

        Raises ValueError for anything but a 4-D uint8 array.
        """
        return Augmented(images, self, rng)[:]


class Augmented:
    """Images, each in an altered version that is drawn here, and made whenever it is asked for.

    Definition, with s = shift, cells outside the image 0, and for each n
    r[n], c[n] uniform in 0..2s (drawn in this order, then the flips)
        y[n,k,i,j] = images[n, k, i + r[n] − s, j + c[n] − s]
        y[n,k,i,j] ← y[n, k, i, W − 1 − j]    where n is flipped

    Raises ValueError for anything but 4-D images of uint8.
    """

    def __init__(self, images: Images, augmentation: Augmentation, rng: np.random.Generator):
        expected = "(N, C, H, W) images of uint8, before normalisation"
        require_images("Augmentation", images, expected)
        self.images, self.shape, self.dtype = images, images.shape, images.dtype
        self.shift = augmentation.shift
        self.rows = rng.integers(0, 2 * self.shift + 1, len(images))
        self.columns = rng.integers(0, 2 * self.shift + 1, len(images))
        self.flipped = np.zeros(len(images), bool)
        if augmentation.flip:
            self.flipped = rng.random(len(images)) < 0.5

    def digest(self) -> str:
        """SHA-256 of the images and of what is done to each."""
        found = hashlib.sha256(f"{digest(self.images)} {self.shift}".encode())
        for drawn in (self.rows, self.columns, self.flipped):
            found.update(drawn.data)
        return found.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        """A new array of the altered images in a slice, or at indices."""
        images, flipped = self.images[part], self.flipped[part]
        around = (self.shift, self.shift)
        padded = np.pad(images, ((0, 0), (0, 0), around, around))
        crops = sliding_window_view(padded, images.shape[2:], (2, 3))  # (B, C, 2s+1, 2s+1, H, W)
        each = np.arange(len(images))
        shifted = crops[each, :, self.rows[part], self.columns[part]]  # (B, C, H, W), a copy
        shifted[flipped] = shifted[flipped, :, :, ::-1]
        return shifted
