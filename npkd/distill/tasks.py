"""What a run learns: to classify, or to super-resolve. All that differs between the two is here.

A task says which nets there are, how they see stored images, what the truth is, and what counts.
"Truth" is what somebody knew before any net did: an image's label, or the image itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from npkd import losses, ops
from npkd.data import Dataset, Images, Normalisation, low_resolution
from npkd.distill import evaluate, quality
from npkd.distill.evaluate import Outputs
from npkd.nets import Network
from npkd.nets.models import LargeCNN, LargeSuperResolver, SmallCNN, SmallSuperResolver
from npkd.objectives import Term

Figures = dict[str, np.ndarray]  # by name, of each image
Layers = tuple[tuple[str, ...], tuple[str, ...]]  # of the small net, and of the large one
MOST_SAMPLES = 12  # of a kind, for pictures


def brought_back(x_low: np.ndarray) -> np.ndarray:
    """x_low at the large net's size, each cell repeated: (B, C, 16, 16) → (B, C, 32, 32)."""
    return ops.upsample(x_low, 2)[0]


class Task(ABC):
    """What both tasks have in common: the views of stored images, uint8 (B, 3, 32, 32).

    figures     the names of what counts, the first one first; higher is better
    layers      which layers of the small and of the large net a kind of loss is on, by
                `objectives.Kind.layers`, beside the outputs; maps that are compared are of one
                height and width
    loss_name   of the loss to the truth
    truth_name  what the truth is called
    first_step  the title of step 1
    same        what `compare` says of the teacher itself, beside a mean squared error of 0
    takes_high  whether the large net takes images in full resolution; it is then tested on these
    """

    figures: tuple[str, ...]
    layers: Mapping[str, Layers]
    loss_name: str
    takes_high: bool
    truth_name: str
    first_step: str
    same: Mapping[str, float] = MappingProxyType({})

    def __init__(self, dataset: Dataset, teacher_input: str, teacher_views: str):
        self.dataset = dataset
        self.teacher_input, self.teacher_views = teacher_input, teacher_views
        self.normalise = Normalisation.of(dataset.train_images)
        self.augmentation = dataset.augmentation

    def x_high(self, images: np.ndarray) -> np.ndarray:
        """Images in full resolution, (B, 3, 32, 32)."""
        return self.normalise(images)

    def x_low(self, images: np.ndarray) -> np.ndarray:
        """Images in half the resolution, (B, 3, 16, 16), as the small nets see them."""
        return low_resolution(self.normalise(images))

    def with_layers(self, term: Term) -> Term:
        """The term with its layers named, by default this task's for its kind of loss.

        None are named for the outputs.
        """
        student, teacher = self.layers.get(term.kind.layers, ((), ()))
        return replace(term, student=term.student or student, teacher=term.teacher or teacher)

    @staticmethod
    @abstractmethod
    def networks(classes: int, large_rng: Any, small_rng: Any) -> tuple[Network, Network]:
        """A large and a small net for images of so many classes, with their first weights."""

    def x_large(self, images: np.ndarray) -> np.ndarray:
        """What the large net is shown when it is tested as it was trained."""
        return self.x_low(images)

    def x_back(self, images: np.ndarray) -> np.ndarray:
        """What the large net is shown of images in low resolution."""
        return self.x_low(images)

    def x_training(self, images: np.ndarray, step: int) -> np.ndarray:
        """What the large net is shown at this step of its training."""
        return self.x_large(images)

    def x_teaching(self, images: np.ndarray) -> np.ndarray:
        """What the large net is shown when it teaches."""
        return self.x_back(images)

    @abstractmethod
    def truth(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """What the nets' outputs should be."""

    @abstractmethod
    def loss(self, y: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The loss to the truth, and its gradient by y."""

    @abstractmethod
    def measure(self, y: np.ndarray, truth: np.ndarray) -> Figures:
        """How good outputs are, image by image: `figures`."""

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
        and small net differ. firsts: of the former alone. x_high: as stored (M, 3, 32, 32).
        """

    def compare(self, y: np.ndarray, teacher: np.ndarray) -> Figures:
        """How near outputs are to the teacher's, image by image: the mean squared error, …"""
        difference = (y.astype(np.float64) - teacher).reshape(len(y), -1)
        return {"mse": (difference**2).mean(axis=1)}


class Classify(Task):
    """Say of which class an image is. The truth is its label.

    The document's code, and its two nets. The large net takes images in full resolution; those in
    low resolution are brought back to its size.
    """

    figures = ("accuracy",)
    layers = MappingProxyType(
        {
            "map": (("relu2",), ("pool",)),  # both 16×16
            "maps": (("relu1", "relu2"), ("relu1", "relu2")),
            "vector": (("relu3",), ("relu3",)),
        }
    )
    loss_name = "cross_entropy"
    takes_high = True
    truth_name = "the labels"
    first_step = "train the large net on high-resolution images, with their labels"
    same = MappingProxyType({"agreement": 1.0})

    @staticmethod
    def networks(classes: int, large_rng: Any, small_rng: Any) -> tuple[Network, Network]:
        """The document's."""
        return LargeCNN(large_rng, num_classes=classes), SmallCNN(small_rng, num_classes=classes)

    def x_large(self, images: np.ndarray) -> np.ndarray:
        """In full resolution."""
        return self.x_high(images)

    def x_back(self, images: np.ndarray) -> np.ndarray:
        """Brought back to 32×32."""
        return brought_back(self.x_low(images))

    def x_training(self, images: np.ndarray, step: int) -> np.ndarray:
        """In full resolution; with teacher_views "both", every second batch in low resolution."""
        low = self.teacher_views == "both" and step % 2
        return self.x_back(images) if low else self.x_high(images)

    def x_teaching(self, images: np.ndarray) -> np.ndarray:
        """In low resolution, or with teacher_input "high" in full."""
        return self.x_high(images) if self.teacher_input == "high" else self.x_back(images)

    def truth(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The labels."""
        return labels

    def loss(self, y: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cross-entropy."""
        return losses.cross_entropy(y, truth)

    def measure(self, y: np.ndarray, truth: np.ndarray) -> Figures:
        """Whether the class is the right one."""
        return {"accuracy": evaluate.predictions(y) == truth}

    def compare(self, y: np.ndarray, teacher: np.ndarray) -> Figures:
        """Also whether the class is the teacher's."""
        same = evaluate.predictions(y) == evaluate.predictions(teacher)
        return super().compare(y, teacher) | {"agreement": same}

    def samples(
        self,
        images: Images,
        labels: np.ndarray,
        outputs: Mapping[str, Outputs],
        measured: Mapping[str, Figures],
    ) -> dict[str, np.ndarray]:
        """An image of each class, or of some of many; some whose class both nets see otherwise.

        Both nets are shown low resolution. labels, logits/NET: of all test images (N,), (N, C).
        """
        logits = {name: y[:] for name, y in outputs.items()}
        classes = np.unique(labels)
        shown = classes[_spread(len(classes), MOST_SAMPLES)]
        firsts = np.array([np.flatnonzero(labels == label)[0] for label in shown])
        seen = {name: evaluate.predictions(logits[name]) for name in ("large_low", "small")}
        differ = np.flatnonzero(seen["large_low"] != seen["small"])
        differ = differ[~np.isin(differ, firsts)]
        chosen = np.concatenate([firsts, differ[_spread(len(differ), MOST_SAMPLES)]])
        return {
            "chosen": chosen,
            "firsts": firsts,
            "x_high": images[chosen],
            "labels": labels,
            **{f"logits/{name}": y for name, y in logits.items()},
        }


class SuperResolve(Task):
    """Make an image in full resolution of one in low resolution. The truth is the image itself.

    The document's text: "generates high-resolution images from low-resolution ones". Both nets take
    x_low; outputs and truth are normalised as x_high is. Images are flipped as their data set has
    it, and not shifted: the black that comes in at the edges is sharper than anything else, and
    would be most of the loss.
    """

    figures = ("psnr", "ssim")
    layers = MappingProxyType(
        {
            "map": (("relu2",), ("relu2",)),
            "maps": (("relu1", "relu2"), ("relu1", "relu2")),
            "vector": (("relu2",), ("relu2",)),
        }
    )
    loss_name = "l2"
    takes_high = False
    truth_name = "the true images"
    first_step = "train the large net to make high-resolution images of low-resolution ones"

    def __init__(self, dataset: Dataset, teacher_input: str, teacher_views: str):
        super().__init__(dataset, teacher_input, teacher_views)
        self.augmentation = replace(dataset.augmentation, shift=0)

    @staticmethod
    def networks(classes: int, large_rng: Any, small_rng: Any) -> tuple[Network, Network]:
        """A pair of the same shape, the large one of eight times the parameters."""
        return LargeSuperResolver(large_rng), SmallSuperResolver(small_rng)

    def truth(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The images in full resolution."""
        return self.x_high(images)

    def loss(self, y: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """½‖y − x_high‖²."""
        return losses.l2(y, truth)

    def measure(self, y: np.ndarray, truth: np.ndarray) -> Figures:
        """PSNR and SSIM of the pictures."""
        images, true = self.pictures(y), self.pictures(truth)
        return {"psnr": quality.psnr(images, true), "ssim": quality.ssim(images, true)}

    def pictures(self, y: np.ndarray) -> np.ndarray:
        """Outputs as images from 0 to 1, as far as these can show them."""
        std, mean = self.normalise.std[:, None, None], self.normalise.mean[:, None, None]
        return (y * std + mean).clip(0, 1)

    def more(self, images: Images) -> dict[str, Any]:
        """What the figures are of, and those of upsampling that nobody had to learn."""
        found: dict[str, list[Figures]] = {name: [] for name in UPSAMPLINGS}
        for part in evaluate.batches_of(len(images)):
            truth, x_low = self.x_high(images[part]), self.x_low(images[part])
            for name, upsample in UPSAMPLINGS.items():
                found[name].append(self.measure(upsample(x_low), truth))
        upsampling = {
            name: {
                figure: float(np.mean(np.concatenate([of[figure] for of in parts])))
                for figure in self.figures
            }
            for name, parts in found.items()
        }
        measured_on = {"channel": quality.CHANNEL, "crop": quality.CROP}
        return {"measured_on": measured_on, "upsampling": upsampling}

    def samples(
        self,
        images: Images,
        labels: np.ndarray,
        outputs: Mapping[str, Outputs],
        measured: Mapping[str, Figures],
    ) -> dict[str, np.ndarray]:
        """Images from the small net's worst to its best, and those where the nets differ most.

        images/NAME: what the nets make of the chosen images, and bicubic upsampling, (M, 3, 32, 32)
        as stored images are; images/x_low (M, 3, 16, 16). psnr/NET: of all test images (N,).
        """
        order = np.argsort(measured["small"]["psnr"], kind="stable")
        firsts = order[_spread(len(order), MOST_SAMPLES)]
        by_how_much = np.abs(measured["large"]["psnr"] - measured["small"]["psnr"])
        by_how_much[firsts] = 0
        differ = np.argsort(-by_how_much, kind="stable")[: len(order) - len(firsts)][:MOST_SAMPLES]
        chosen = np.concatenate([firsts, differ])
        x_low = self.x_low(images[chosen])
        made = {name: y[chosen] for name, y in outputs.items()}
        made |= {"x_low": x_low, "bicubic": quality.bicubic(x_low)}
        return {
            "chosen": chosen,
            "firsts": firsts,
            "x_high": images[chosen],
            **{
                f"images/{name}": (255 * self.pictures(y)).round().astype(np.uint8)
                for name, y in made.items()
            },
            **{f"psnr/{name}": figures["psnr"] for name, figures in measured.items()},
        }


def _spread(count: int, most: int) -> np.ndarray:
    """At most so many of the indices 0 … count − 1, evenly spread, both ends among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


UPSAMPLINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nearest": brought_back,
    "bilinear": lambda x_low: ops.upsample(x_low, 2, "bilinear")[0],
    "bicubic": quality.bicubic,
}
TASKS: dict[str, type[Task]] = {"classify": Classify, "super-resolve": SuperResolve}
