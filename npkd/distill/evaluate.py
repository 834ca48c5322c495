"""Figures of networks: outputs, predictions, size, speed."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from npkd.data import Images, digest
from npkd.nets import Network, Params

BATCH = 64
FEW = 1024  # numbers that an output has at most if it is kept
WARM_UP_RUNS, LATENCY_RUNS = 3, 30


class Features:
    """The outputs of some of a network's layers for stored images, by slices and indices.

    Few numbers, such as logits, are kept by the image's index; maps and images are made again
    whenever they are asked for, since together they would take more memory than the data set.

    view(images) is what the network is shown of stored images. layers: the names of the layers.
    kept: outputs that were kept before; they are not made again.
    """

    def __init__(
        self,
        network: Network,
        images: Images,
        view: Callable[[np.ndarray], np.ndarray],
        layers: Sequence[str],
        kept: dict[str, np.ndarray] | None = None,
    ):
        self.network, self.images, self.view, self.layers = network, images, view, list(layers)
        self.kept = kept
        if kept is not None:
            return
        one = self._made(slice(0, 1))
        if sum(math.prod(y.shape[1:]) for y in one.values()) <= FEW:
            parts = [self._made(part) for part in batches_of(len(images))]
            self.kept = {name: np.concatenate([part[name] for part in parts]) for name in one}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice | np.ndarray) -> dict[str, np.ndarray]:
        if self.kept is None:
            return self._made(part)
        return {name: y[part] for name, y in self.kept.items()}

    def _made(self, part: slice | np.ndarray) -> dict[str, np.ndarray]:
        return self.network.features(self.view(self.images[part]), self.layers)[0]


@dataclass(frozen=True)
class Kept:
    """Outputs by layer, and the digests of the network and of the images that they are of."""

    outputs: dict[str, np.ndarray]
    of: tuple[str, str]


class TeacherFeatures(Features):
    """`Features` that know, where they are kept, of which network and images they are.

    kept: what `to_keep` gave, perhaps in another process.
    """

    def __init__(
        self,
        network: Network,
        images: Images,
        view: Callable[[np.ndarray], np.ndarray],
        layers: Sequence[str],
        kept: Kept | None = None,
    ):
        if kept is not None and kept.outputs.keys() == set(layers):
            super().__init__(network, images, view, layers, kept.outputs)
            self.of = kept.of
            return
        super().__init__(network, images, view, layers)
        if self.kept is not None:
            self.of = digest_of(network.params), digest(images)

    def to_keep(self) -> Kept | None:
        """What another process needs so as not to make them again; None if they are not kept."""
        return None if self.kept is None else Kept(self.kept, self.of)

    def require(self, images: Images) -> None:
        """Raise ValueError if outputs are kept that are not the network's for these very images.

        So it is where the images are of another data set, or augmented otherwise, for instance
        anew in each epoch, and where the network's weights have changed.
        """
        if self.kept is None:
            return
        if self.of[1] != digest(images):
            raise ValueError(
                "the teacher's outputs are kept for other images, of another data set or augmented "
                "otherwise; images that are augmented anew need outputs that are made anew"
            )
        if self.of[0] != digest_of(self.network.params):
            raise ValueError("the teacher has changed since its outputs were kept")


def digest_of(params: Params) -> str:
    """SHA-256 of a network's weights."""
    found = hashlib.sha256()
    for name, theta in params.items():
        found.update(f"{name} {theta.dtype.str} {theta.shape}".encode())
        found.update(np.ascontiguousarray(theta).data)
    return found.hexdigest()


class Outputs:
    """`Features` of a network's last layer, as arrays."""

    def __init__(self, network: Network, images: Images, view: Callable[[np.ndarray], np.ndarray]):
        self.last = network.last
        self.features = Features(network, images, view, [self.last])

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        return self.features[part][self.last]


def batches_of(count: int) -> Iterator[slice]:
    """Slices of BATCH images that cover 0 … count − 1."""
    return (slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH))


# How figures are called and written
WORDS = {
    "cross_entropy": ("cross-entropy", "{:.3f}"),
    "l2": ("½‖y − x_high‖²", "{:.3f}"),
    "accuracy": ("accuracy", "{:.2%}"),
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
}


def in_words(figures: Mapping[str, float]) -> str:
    """Figures as text, those that have a name here: "accuracy 97.60%"."""
    named = [(*WORDS[name], value) for name, value in figures.items() if name in WORDS]
    return ", ".join(f"{name} {form.format(value)}" for name, form, value in named)


def means(figures: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Over the images."""
    return {name: float(np.mean(values)) for name, values in figures.items()}


def predictions(logits: np.ndarray) -> np.ndarray:
    """The class of the largest logit, the first of equal ones: (B, C) → (B,)."""
    return logits.argmax(axis=1)


def size(network: Network) -> dict[str, int]:
    """Parameters, their bytes, and the multiply-adds that one image takes."""
    return {
        "parameters": sum(theta.size for theta in network.params.values()),
        "macs": network.macs(),
        "bytes": sum(theta.nbytes for theta in network.params.values()),
    }


def latency_ms(network: Network, batch_size: int) -> float:
    """Milliseconds of one forward pass of a batch: the median of 30, after a few to warm up.

    The time does not depend on what the images show, so they are all zeros.
    """
    x = np.zeros((batch_size, *network.image_shape), network.dtype)
    for _ in range(WARM_UP_RUNS):
        network(x)
    seconds = []
    for _ in range(LATENCY_RUNS):
        start = time.perf_counter()
        network(x)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) * 1e3
