"""What every source of images is brought to: a training part, a test part, class names."""

import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np

from npkd.arguments import is_integer, shown
from npkd.data.augmentation import Augmentation
from npkd.data.images import Images, parts_of, subset


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, as stored: uint8, before augmentation and normalisation.

    train_images, test_images   (N, C, S, S) uint8, C from 1 to 4, three being red, green, blue;
                                arrays, or images that are left in their files
    train_labels, test_labels   (N,) int64, indices into class_names
    augmentation                what suits these images; digits, for one, must not be flipped
    photographs                 whether they are harder than digits and take longer to learn
    border                      how wide a black border all images have got on each side; S holds it
    notes                       what was left out, resized, or decided: a sentence each
    """

    name: str
    train_images: Images
    train_labels: np.ndarray
    test_images: Images
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    augmentation: Augmentation
    photographs: bool = False
    border: int = 0
    notes: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, S, S)"""
        return self.train_images.shape[1:]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def digest(self) -> str:
        """SHA-256 of all images, labels and class names: the same for the same data only."""
        found = hashlib.sha256(json.dumps(self.class_names).encode())
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            found.update(f"{array.dtype.str} {array.shape}".encode())
            for part in parts_of(array):
                found.update(part.tobytes())
        return found.hexdigest()

    def hold_out(self, every: int = 5) -> "Dataset":
        """Training images alone, split anew: every fifth of each class becomes the test part.

        Settings are tuned on this, so that the real test images stay unseen.
        """
        kept, held_out = split(self.train_labels, every)
        return replace(
            self,
            train_images=subset(self.train_images, kept),
            train_labels=self.train_labels[kept],
            test_images=subset(self.train_images, held_out),
            test_labels=self.train_labels[held_out],
        )


def split(labels: np.ndarray, every: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Indices (train, test), both sorted: of each class, every fifth image is for testing.

    Counted within the class from 0, in the order of `labels`, these are positions 4, 9, 14, …

    Raises ValueError if labels are no array of integers, or if `every` is below 2, which would
    leave nothing to train on.
    """
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError("split: expected labels as an array (N,) of integers")
    if not is_integer(every) or every < 2:
        raise ValueError(f"split: every is {shown(every)}; expected a whole number from 2")
    is_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        is_test[members[every - 1 :: every]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
