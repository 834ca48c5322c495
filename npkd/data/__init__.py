"""From files to batches: data sets, augmentation, normalisation, low resolution.

One batch on its way to the nets:

    dataset = load("mnist5k")
    normalise = Normalisation.of(dataset.train_images)
    for indices in batches(len(dataset.train_images), 64, rng):
        images = dataset.augmentation(dataset.train_images[indices], rng)     # uint8
        x_high = normalise(images)                                           # (B, 3, 32, 32)
        x_low = low_resolution(x_high)                                       # (B, 3, 16, 16)
"""

from npkd.data.augmentation import Augmentation, Augmented
from npkd.data.dataset import Dataset, split
from npkd.data.images import Images, digest
from npkd.data.preparation import Normalisation, batches, low_resolution
from npkd.data.sources import load

__all__ = [
    "Augmentation",
    "Augmented",
    "Dataset",
    "Images",
    "Normalisation",
    "batches",
    "digest",
    "load",
    "low_resolution",
    "split",
]
