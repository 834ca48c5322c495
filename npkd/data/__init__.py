"""From files to batches: data sets, augmentation, normalisation, low resolution.

One batch on its way to the nets:

    dataset = load("mnist5k")
    normalise = Normalisation.of(dataset.train_images)
    for indices in batches(len(dataset.train_images), 64, rng):
        images = dataset.augmentation(dataset.train_images[indices], rng)     # uint8
        x_high = normalise(images)                                           # (B, C, S, S)
        x_low = low_resolution(x_high)                                       # (B, C, S/2, S/2)
"""

from npkd.data.augmentation import Augmentation, Augmented
from npkd.data.dataset import Dataset, split
from npkd.data.image_folder import read_image
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
    "read_image",
    "split",
]
