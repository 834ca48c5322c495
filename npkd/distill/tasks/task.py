"""A task: what it has to say, and what all tasks have in common.

A task says which nets there are, how they see stored images, what the truth is, and what counts.
"Truth" is what somebody knew before any net did: an image's label, or the image itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from npkd import ops
from npkd.data import Dataset, Images, Normalisation, low_resolution
from npkd.distill.config import Config
from npkd.distill.outputs import Outputs
from npkd.nets import Network
from npkd.objectives import Term

Figures = dict[str, np.ndarray]  # by name, of each image
MOST_SAMPLES = 12  # of a kind, for pictures
IMAGES = "C×N×N, C from 1 to 4, N a multiple of 4 from 8"


def are_images(shape: Sequence[int]) -> bool:
    """Whether a run can be on images of this shape; see IMAGES."""
    channels, height, width = shape if len(shape) == 3 else (0, 0, 0)
    return 1 <= channels <= 4 and 8 <= height == width and height % 4 == 0


def written(shape: Sequence[int]) -> str:
    """A shape as text: "3×32×32"."""
    return "×".join(map(str, shape))


def brought_back(x_low: np.ndarray) -> np.ndarray:
    """x_low at the large net's size, each cell repeated: (B, C, N/2, N/2) → (B, C, N, N)."""
    return ops.upsample(x_low, 2)[0]


class Task(ABC):
    """What both tasks have in common: the views of stored images, uint8 (B, C, N, N).

    normalise: by default that of the training images; with another the data set may have none.
    Raises ValueError for a data set of others, see IMAGES, or whose test images are others.

    figures     the names of what counts, the first one first; higher is better
    loss_name   of the loss to the truth
    truth_name  what the truth is called
    first_step  the title of step 1
    same        what `compare` says of the teacher itself, beside a mean squared error of 0
    calibrated  the names of what `calibration` says
    takes_high  whether the large net takes images in full resolution; it is then tested on these
    """

    figures: tuple[str, ...]
    loss_name: str
    takes_high: bool
    truth_name: str
    first_step: str
    same: Mapping[str, float] = MappingProxyType({})
    calibrated: tuple[str, ...] = ()

    def __init__(self, dataset: Dataset, config: Config, normalise: Normalisation | None = None):
        self.dataset, self.config = dataset, config
        self.image_shape = dataset.image_shape
        if not are_images(self.image_shape):
            raise ValueError(f"data has images of {written(self.image_shape)}, expected {IMAGES}")
        if dataset.test_images.shape[1:] != self.image_shape:
            tested = written(dataset.test_images.shape[1:])
            raise ValueError(
                f"data has test images of {tested}, expected {written(self.image_shape)} as in "
                "training"
            )
        self.normalise = normalise or Normalisation.of(dataset.train_images)
        self.augmentation = dataset.augmentation

    def x_high(self, images: np.ndarray) -> np.ndarray:
        """Images in full resolution, (B, C, N, N)."""
        return self.normalise(images)

    def x_low(self, images: np.ndarray) -> np.ndarray:
        """Images in half the resolution, (B, C, N/2, N/2)."""
        return low_resolution(self.normalise(images))

    def x_small(self, images: np.ndarray) -> np.ndarray:
        """What the small nets are shown."""
        return self.x_high(images) if self.config.small_input == "high" else self.x_low(images)

    @abstractmethod
    def network(self, setting: str, classes: int, rng: Any) -> Network:
        """The "large" or the "small" net for images of so many classes, with its first weights."""

    def networks(self, classes: int, large_rng: Any, small_rng: Any) -> tuple[Network, Network]:
        """Both."""
        return self.network("large", classes, large_rng), self.network("small", classes, small_rng)

    def require_fitting(self, large: Network, small: Network) -> None:
        """Raise ValueError unless the nets take what they are shown, and say what they have to."""
        one = self.dataset.train_images[:1]
        for name, network, view in (
            ("large", large, self.x_large),
            ("small", small, self.x_small),
        ):
            takes, shown = written(network.image_shape), written(view(one).shape[1:])
            if takes != shown:
                raise ValueError(
                    f"{name} is a {type(network).__name__} for images of {takes}, but it is shown "
                    f"{shown}"
                )
            if network.dtype != np.float32:
                raise ValueError(f"{name} is of {network.dtype}, expected float32")
            given, expected = network(view(one))[0].shape[1:], self.truth_shape
            if given != expected:
                raise ValueError(
                    f"{name} is a {type(network).__name__} that gives {given} for an image, "
                    f"expected {expected}"
                )

    def x_large(self, images: np.ndarray) -> np.ndarray:
        """What the large net is shown when it is tested as it was trained."""
        return self.x_low(images)

    def x_back(self, images: np.ndarray) -> np.ndarray:
        """What the large net is shown of images in low resolution."""
        return self.x_low(images)

    def view(self, net: str) -> Callable[[np.ndarray], np.ndarray]:
        """What one of the three nets is shown of images when it is tested as it was trained."""
        return self.x_large if net == "large" else self.x_small

    def x_training(self, images: np.ndarray, step: int) -> np.ndarray:
        """What the large net is shown at this step of its training."""
        return self.x_large(images)

    def x_teaching(self, images: np.ndarray) -> np.ndarray:
        """What the large net is shown when it teaches."""
        return self.x_back(images)

    @property
    @abstractmethod
    def truth_shape(self) -> tuple[int, ...]:
        """Of what a net has to give for an image."""

    @abstractmethod
    def truth(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """What the nets' outputs should be."""

    @abstractmethod
    def loss(self, y: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The loss to the truth, and its gradient by y."""

    def loss_in_distilling(self, y: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same, as the distilled net learns it beside its losses to the large one."""
        return self.loss(y, truth)

    @abstractmethod
    def measure(self, y: np.ndarray, truth: np.ndarray) -> Figures:
        """How good outputs are, image by image: `figures`."""

    def calibration(self, y: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        """How far what a net says of its own sureness is true, over all images: `calibrated`."""
        return {}

    def more(self, images: Images) -> dict[str, Any]:
        """What else belongs into the report."""
        return {}

    @abstractmethod
    def samples(
        self,
        images: Images,
        labels: np.ndarray,
        outputs: Mapping[str, Outputs],
        measured: Mapping[str, Figures],
    ) -> dict[str, np.ndarray]:
        """What the pictures are drawn from: some test images, and figures of all.

        chosen: the indices (M,) of those images, first some of all kinds, then such on which large
        and small net differ. firsts: of the former alone. x_high: as stored (M, C, N, N).
        """

    def compare(self, y: np.ndarray, teacher: np.ndarray) -> Figures:
        """How near outputs are to the teacher's, image by image: the mean squared error, …"""
        difference = (y.astype(np.float64) - teacher).reshape(len(y), -1)
        return {"mse": (difference**2).mean(axis=1)}


def with_layers(term: Term, small: Network, large: Network) -> Term:
    """The term with its layers named, where it does not name them itself; none for the outputs.

    Maps are of one height and width: of the nets' `stages` the narrowest that have one in common,
    or, for a loss on two maps of each, the narrowest two that have. A vector is the nets' `vector`.
    Raises ValueError for nets that do not say what theirs are.
    """
    kind = term.kind.layers
    student: tuple[str, ...]
    teacher: tuple[str, ...]
    if kind == "output" or (term.student and term.teacher):
        return term
    if kind == "vector":
        student, teacher = ((net.vector,) if net.vector else () for net in (small, large))
    elif kind == "maps":
        student, teacher = map(_two_alike, (small, large))
    else:
        pairs = [
            ((of_small,), (of_large,))
            for of_small, size in reversed(_sizes(small).items())
            for of_large, other in reversed(_sizes(large).items())
            if size == other
        ]
        student, teacher = pairs[0] if pairs else ((), ())
    student, teacher = term.student or student, term.teacher or teacher
    if not student or not teacher:
        nets = f"{type(small).__name__} and {type(large).__name__}"
        raise ValueError(
            f"{term.loss} is on inner layers, and {nets} do not say which of theirs go together; "
            "name them: student=LAYER, teacher=LAYER"
        )
    return replace(term, student=student, teacher=teacher)


def _sizes(network: Network) -> dict[str, tuple[int, ...]]:
    """Height and width of the maps of a net's stages."""
    if not network.stages:
        return {}
    x = np.zeros((1, *network.image_shape), network.dtype)
    outputs, _ = network.features(x, network.stages)
    return {name: y.shape[2:] for name, y in outputs.items()}


def _two_alike(network: Network) -> tuple[str, ...]:
    """The narrowest two stages in a row that have one height and width."""
    sizes = list(_sizes(network).items())
    alike = [(a, b) for (a, size), (b, other) in pairwise(sizes) if size == other]
    return alike[-1] if alike else ()


def spread(count: int, most: int) -> np.ndarray:
    """At most so many of the indices 0 … count − 1, evenly spread, both ends among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)
