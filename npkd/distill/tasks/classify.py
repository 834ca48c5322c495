"""To classify: to say of which class an image is."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from npkd import losses, zoo
from npkd.data import Images
from npkd.distill import calibration
from npkd.distill.outputs import Outputs, predictions
from npkd.distill.tasks.task import MOST_SAMPLES, Figures, Task, brought_back, spread
from npkd.nets import Network


class Classify(Task):
    """Say of which class an image is. The truth is its label.

    The document's code, with its two nets or others. The large net takes images in full resolution;
    those in low resolution are brought back to its size.
    """

    figures = ("accuracy",)
    loss_name = "cross_entropy"
    takes_high = True
    truth_name = "the labels"
    first_step = "train the large net on high-resolution images, with their labels"
    same = MappingProxyType({"agreement": 1.0})
    calibrated = ("nll", "brier", "ece")

    def network(self, setting: str, classes: int, rng: Any) -> Network:
        """That which the settings name, by default the document's."""
        name, (channels, size, _) = getattr(self.config, setting), self.image_shape
        if setting == "small" and self.config.small_input != "high":
            size //= 2
        try:
            return zoo.make(name, rng, in_channels=channels, num_classes=classes, image_size=size)
        except ValueError as error:
            raise ValueError(
                f"{setting} is {name}, which is not for images of {channels}×{size}×{size}: {error}"
            ) from error

    def x_large(self, images: np.ndarray) -> np.ndarray:
        """In full resolution."""
        return self.x_high(images)

    def x_back(self, images: np.ndarray) -> np.ndarray:
        """Brought back to their size."""
        return brought_back(self.x_low(images))

    def x_training(self, images: np.ndarray, step: int) -> np.ndarray:
        """In full resolution; with teacher_views "both", every second batch in low resolution."""
        low = self.config.teacher_views == "both" and step % 2
        return self.x_back(images) if low else self.x_high(images)

    def x_teaching(self, images: np.ndarray) -> np.ndarray:
        """In low resolution, or with teacher_input "high" in full."""
        return self.x_high(images) if self.config.teacher_input == "high" else self.x_back(images)

    @property
    def truth_shape(self) -> tuple[int, ...]:
        """A number for each class."""
        return (self.dataset.num_classes,)

    def truth(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The labels."""
        return labels

    def loss(self, y: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cross-entropy."""
        return losses.cross_entropy(y, truth)

    def loss_in_distilling(self, y: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cross-entropy, to labels that are smoothed: (1 − ε) of each and ε / C of all classes."""
        share = self.config.label_smoothing
        if not share:
            return self.loss(y, truth)
        p = np.full(y.shape, share / y.shape[1], y.dtype)
        p[np.arange(len(y)), truth] += 1 - share
        return losses.soft_cross_entropy(y, np.log(p), temperature=1.0)

    def measure(self, y: np.ndarray, truth: np.ndarray) -> Figures:
        """Whether the class is the right one."""
        return {"accuracy": predictions(y) == truth}

    def calibration(self, y: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        """Negative log-likelihood, Brier score, expected calibration error."""
        return {name: getattr(calibration, name)(y, truth) for name in self.calibrated}

    def compare(self, y: np.ndarray, teacher: np.ndarray) -> Figures:
        """Also whether the class is the teacher's."""
        same = predictions(y) == predictions(teacher)
        return super().compare(y, teacher) | {"agreement": same}

    def samples(
        self,
        images: Images,
        labels: np.ndarray,
        outputs: Mapping[str, Outputs],
        measured: Mapping[str, Figures],
    ) -> dict[str, np.ndarray]:
        """An image of each class, or of some of many; some whose class both nets see otherwise.

        Both nets are shown the small one's resolution. labels, logits/NET: of all test images (N,),
        (N, C).
        """
        logits = {name: y[:] for name, y in outputs.items()}
        classes = np.unique(labels)
        shown = classes[spread(len(classes), MOST_SAMPLES)]
        firsts = np.array([np.flatnonzero(labels == label)[0] for label in shown])
        large = logits["large" if self.config.small_input == "high" else "large_low"]
        differ = np.flatnonzero(predictions(large) != predictions(logits["small"]))
        differ = differ[~np.isin(differ, firsts)]
        chosen = np.concatenate([firsts, differ[spread(len(differ), MOST_SAMPLES)]])
        return {
            "chosen": chosen,
            "firsts": firsts,
            "x_high": images[chosen],
            "labels": labels,
            **{f"logits/{name}": y for name, y in logits.items()},
        }
