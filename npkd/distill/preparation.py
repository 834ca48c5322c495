"""The batches of a run: images augmented, shuffled, and shown to the nets."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice

import numpy as np

from npkd.data import Augmentation, Augmented, Dataset, Images, batches
from npkd.distill.config import Config
from npkd.distill.outputs import TeacherFeatures
from npkd.distill.tasks import TASKS
from npkd.distill.tasks.task import Task
from npkd.nets import Network
from npkd.objectives import Batch

# What random numbers are drawn for: each use has a seed of its own, [seed, use, epoch or version].
LARGE_IMAGES, LARGE_ORDER, SMALL_IMAGES, SMALL_ORDER, LABELLED, DROPPING, NOISE = range(7)


class Preparation:
    """The batches of a run: images augmented, shuffled, and as the task shows them to the nets.

    Every version of the training images, and every order, can be made again from its seed.

    labelled, taught: the indices of the training images whose labels are known, and of all that
    the distilled net sees. labels: as they are said to be, of all training images. Raises
    ValueError if there are not so many.
    """

    def __init__(self, dataset: Dataset, config: Config):
        self.dataset, self.config = dataset, config
        self.task: Task = TASKS[config.task](dataset, config)
        count = len(dataset.train_labels)
        known = count if config.labelled is None else config.labelled
        if known + config.unlabelled > count:
            name = "unlabelled" if known <= count else "labelled"
            raise ValueError(
                f"{name} is {getattr(config, name)}, but {dataset.name} has {count} images to train"
                + (f", and {known} of them are labelled" if known <= count else "")
            )
        order = np.arange(count)
        if known < count:
            order = np.random.default_rng([config.seed, LABELLED]).permutation(count)
        self.labelled = np.sort(order[:known])
        self.taught = np.sort(order[: known + config.unlabelled])
        self.labels = dataset.train_labels
        if config.label_noise:
            self.labels = self._noisy(dataset.train_labels)

    def _noisy(self, labels: np.ndarray) -> np.ndarray:
        """Labels; a share of those that are known is another class, each other one as likely."""
        rng, classes = np.random.default_rng([self.config.seed, NOISE]), self.dataset.num_classes
        if classes < 2:
            raise ValueError(f"label_noise is {self.config.label_noise}, but there is one class")
        known = self.labelled
        wrong = known[rng.permutation(len(known))[: round(self.config.label_noise * len(known))]]
        noisy = labels.copy()
        noisy[wrong] = (labels[wrong] + rng.integers(1, classes, len(wrong))) % classes
        return noisy

    def version(self, use: int, number: int) -> Augmented:
        """The training images as uint8, augmented with this use's seed."""
        rng = np.random.default_rng([self.config.seed, use, number])
        return Augmented(self.dataset.train_images, self.task.augmentation, rng)

    def large_version(self, number: int) -> Images:
        """The training images that the large net sees in this pass over them."""
        if not self.config.augment:
            return self.dataset.train_images
        return self.version(LARGE_IMAGES, number)

    def small_version(self, number: int) -> Images:
        """The training images of this version, as the small nets see them."""
        return self.version(SMALL_IMAGES, number) if number else self.dataset.train_images

    @property
    def versions(self) -> int:
        """How many versions of the training images the small nets go through."""
        return self.versions_in(self.config.epochs)

    def versions_in(self, passes: int) -> int:
        """In so many passes."""
        if not self.config.augment or self.task.augmentation == Augmentation():
            return 1
        return min(self.config.versions, passes)

    def order(
        self, use: int, epoch: int, images: np.ndarray, count: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The indices of one epoch's batches: `images`, shuffled with this use's seed.

        count: how many indices there are in all; of fewer images, each comes again when all have
        been. For each index, the number of the pass that it is in, counted from the first epoch on.
        """
        rng = np.random.default_rng([self.config.seed, use, epoch])
        passes = math.ceil(count / len(images))
        permuted = np.concatenate([rng.permutation(len(images)) for _ in range(passes)])
        shuffled = images[permuted[:count]]
        numbers = epoch * passes + np.repeat(np.arange(passes), len(images))[:count]
        return ((shuffled[part], numbers[part]) for part in batches(count, self.config.batch_size))

    def dropping(self, net: str, step: int) -> np.random.Generator:
        """What one of the three nets drops at this step; the two small ones drop the same."""
        return np.random.default_rng([self.config.seed, DROPPING, net == "large", step])

    def samples(self, net: str) -> int:
        """How many images one of the three nets is shown in an epoch.

        The large one as many as there are, however few have labels; the small ones as many as the
        distilled one sees.
        """
        return len(self.labels if net == "large" else self.taught)

    def batches_of_an_epoch(self, net: str) -> int:
        """And in how many batches."""
        return math.ceil(self.samples(net) / self.config.batch_size)

    def require_batches(self, network: Network, net: str) -> None:
        """Raise ValueError unless a net can be trained on the smallest batch of an epoch.

        A batch norm of single numbers cannot, if that is of one image.
        """
        least = self.samples(net) % self.config.batch_size or self.config.batch_size
        if least == 1 and network.state:
            x = np.zeros((1, *network.image_shape), network.dtype)
            try:
                network.features(x, [network.last], training=True, rng=self.dropping(net, 0))
            except ValueError as error:
                raise ValueError(
                    f"batch_size is {self.config.batch_size}, which leaves a batch of one image, "
                    f"and the {net} net has a batch norm of single numbers ({error})"
                ) from error

    def epochs(self, net: str) -> int:
        """How many passes it gets."""
        return self.config.large_epochs if net == "large" else self.config.epochs

    def updates(self, net: str) -> int:
        """And how many updates."""
        return self.epochs(net) * self.batches_of_an_epoch(net)

    def large_batches(self, first: int = 0) -> Iterator[Batch]:
        """Step 1: a new version of the images in every pass; see Config.teacher_views.

        first: the number of the batch to begin with.
        """
        version = lru_cache(2)(self.large_version)  # drawn once for all batches of a pass
        begin, skipped = divmod(first, self.batches_of_an_epoch("large"))
        for epoch in range(begin, self.config.large_epochs):
            step = epoch * self.batches_of_an_epoch("large") + skipped
            batches = self.order(LARGE_ORDER, epoch, self.labelled, self.samples("large"))
            for indices, numbers in islice(batches, skipped, None):
                shown, labels = _each(version, indices, numbers), self.labels[indices]
                x, truth = self.task.x_training(shown, step), self.task.truth(shown, labels)
                yield Batch(epoch, x, truth)
                step += 1
            skipped = 0

    def small_batches(
        self, teacher: Sequence[TeacherFeatures] = (), first: int = 0
    ) -> Iterator[Batch]:
        """Step 5: x_small with the large net's outputs for the same version of the same images.

        teacher: its outputs by version; without them batches of labelled images, as many, which are
        gone through several times in an epoch where these are fewer, each time in the next version.
        first: the number of the batch to begin with. Raises ValueError if kept outputs are of other
        images, or if the large net has changed since.
        """
        version = lru_cache(2)(self.small_version)  # drawn once for all batches of a pass
        begin, skipped = divmod(first, self.batches_of_an_epoch("small"))
        of = self.taught if teacher else self.labelled
        all_known = len(of) == len(self.labelled)
        passes = self.config.epochs * math.ceil(self.samples("small") / len(of))
        for epoch in range(begin, self.config.epochs):
            outputs = teacher[epoch % self.versions] if teacher else None
            if outputs:
                outputs.require(version(epoch % self.versions))
            batches = self.order(SMALL_ORDER, epoch, of, self.samples("small"))
            for indices, numbers in islice(batches, skipped, None):
                shown = _each(version, indices, numbers % self.versions_in(passes))
                rows = None if all_known else np.flatnonzero(np.isin(indices, self.labelled))
                labelled = slice(None) if rows is None else rows
                labels = self.labels[indices[labelled]]
                x, truth = self.task.x_small(shown), self.task.truth(shown[labelled], labels)
                of_teacher = outputs[indices] if outputs else None
                yield Batch(epoch, x, truth, of_teacher, rows)
            skipped = 0


def _each(version: Callable[[int], Images], indices: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Images at these indices, each of the version with its number."""
    first, *others = np.unique(numbers)
    shown = version(int(first))[indices]
    for number in others:
        rows = numbers == number
        shown[rows] = version(int(number))[indices[rows]]
    return shown
