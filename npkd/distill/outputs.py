"""Outputs of networks for stored images: kept where they are few numbers, else made again."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from npkd.data import Images, digest
from npkd.nets import Network, Params

BATCH = 64
FEW = 1024  # numbers that an output has at most if it is kept
View = Callable[[np.ndarray], np.ndarray]  # what a net is shown of stored images


class Net(Protocol):
    """What has outputs for images: a `Network`, or one in eight bits (`quantise.Quantised`)."""

    image_shape: tuple[int, ...]
    params: Params

    @property
    def dtype(self) -> np.dtype:
        """That of the images that it takes."""

    @property
    def last(self) -> str:
        """The name of what it gives in the end."""

    @property
    def nbytes(self) -> int:
        """The bytes of what it computes with."""

    def features(self, x: np.ndarray, names: Sequence[str]) -> tuple[Any, ...]:
        """The outputs of layers by name, and what else there is."""

    def macs(self) -> int:
        """Multiply-adds for one image."""

    def state_dict(self) -> Params:
        """All arrays by name."""


class Features:
    """The outputs of some of a network's layers for stored images, by slices and indices.

    Few numbers, such as logits, are kept by the image's index; maps and images are made again
    whenever they are asked for, since together they would take more memory than the data set.

    view(images) is what the network is shown of stored images. layers: the names of the layers.
    kept: outputs that were kept before; they are not made again.
    """

    def __init__(
        self,
        network: Net,
        images: Images,
        view: View,
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
        view: View,
        layers: Sequence[str],
        kept: Kept | None = None,
    ):
        if kept is not None and kept.outputs.keys() == set(layers):
            super().__init__(network, images, view, layers, kept.outputs)
            self.of = kept.of
            return
        super().__init__(network, images, view, layers)
        if self.kept is not None:
            self.of = digest_of(network.state_dict()), digest(images)

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
        if self.of[0] != digest_of(self.network.state_dict()):
            raise ValueError("the teacher has changed since its outputs were kept")


def digest_of(params: Params) -> str:
    """SHA-256 of a network's weights and state."""
    found = hashlib.sha256()
    for name, theta in params.items():
        found.update(f"{name} {theta.dtype.str} {theta.shape}".encode())
        found.update(np.ascontiguousarray(theta).data)
    return found.hexdigest()


class Outputs:
    """`Features` of a network's last layer, as arrays. images: what it is shown."""

    def __init__(self, network: Net, images: Images, view: View):
        self.images, self.last = images, network.last
        self.features = Features(network, images, view, [self.last])

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        return self.features[part][self.last]


def batches_of(count: int) -> Iterator[slice]:
    """Slices of BATCH images that cover 0 … count − 1."""
    return (slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH))


def predictions(logits: np.ndarray) -> np.ndarray:
    """The class of the largest logit, the first of equal ones: (B, C) → (B,)."""
    return logits.argmax(axis=1)
