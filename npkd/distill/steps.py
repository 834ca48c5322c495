"""The six steps of a run, in order, as events."""

import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from npkd import __version__
from npkd.arguments import shown
from npkd.data import Dataset, load
from npkd.distill import evaluate
from npkd.distill.config import Config
from npkd.distill.config import preset as presets
from npkd.distill.events import Event, Finished, Note, Stage
from npkd.distill.outputs import Kept, Outputs, TeacherFeatures
from npkd.distill.preparation import Preparation
from npkd.distill.state import Progress, State
from npkd.distill.tasks.classify import Classify
from npkd.distill.teacher import Teacher
from npkd.distill.trainer import Trainer, objective_of
from npkd.engine import threads
from npkd.nets import Network
from npkd.training import Diverged

STEPS = {
    1: Classify.first_step,  # super-resolving, another
    2: "run the large net on low-resolution images",
    3: "compare its outputs with the truth",
    4: "run the small net on the low-resolution images",
    5: "train the small net towards the large net's outputs",
    6: "predict unseen low-resolution images, and evaluate",
}
TRAININGS = (1, 5)  # the steps that train nets; in the others a run's state stays as it is


def run(dataset: Dataset, config: Config) -> Iterator[Event]:
    """The six steps, from a data set to a `Finished` event.

    Raises Diverged if a training does.
    """
    return Run(dataset, config).steps()


def distil(
    large: Network,
    small: Network,
    data: Dataset | str | Path,
    *,
    preset: str = "default",
    show: Callable[[Event], object] = lambda event: None,
    **settings: Any,
) -> Finished:
    """Any two networks, the large one trained and distilled into the small one, by the six steps.

    large: for images of the data's size, 3×32×32, say. small: of half that size, or of the same.
    Both, of float32, are trained as they stand, and the large one is frozen then; one that is
    frozen already teaches as it is. data: a data set, or what `npkd.data.load` takes. preset,
    settings: of the run, by their names in `Config`. show: called with each event.

    Raises ValueError if anything does not fit, Diverged if a training does.

    Example
        >>> from npkd import distill
        >>> large, small = zoo.resnet8(rng=0), npkd.SmallCNN(rng=1)
        >>> few = {"labelled": 64, "epochs": 1, "large_epochs": 1}
        >>> finished = distill.distil(large, small, "mnist5k", **few)
        >>> sorted(finished.networks)
        ['large', 'small', 'small_from_labels']
    """
    dataset = data if isinstance(data, Dataset) else load(data)
    for name, network in (("large", large), ("small", small)):
        if not isinstance(network, Network):
            raise ValueError(f"{name} is {shown(network)}, expected a Network; zoo.make makes some")
    unknown = settings.keys() - {field.name for field in fields(Config)}
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: no setting of distil; see Config")
    theirs = [id(array) for array in large.state_dict().values()]
    if small.is_frozen or any(id(array) in theirs for array in small.state_dict().values()):
        raise ValueError("small is frozen, or has arrays of the large net, and is to be trained")
    config = presets(preset, dataset, settings.get("task", Config.task))
    if config.task == "classify":
        seen = "high" if small.image_shape == large.image_shape else "low"
        settings = {"small_input": seen} | settings
    config = replace(config, **settings)
    for event in Run(dataset, config, networks=(large, small)).steps():
        show(event)
    assert isinstance(event, Finished)
    return event


class Run:
    """A run: its images, its three nets, what trains them, and how far that is.

    state: where an earlier run on this data set with these settings stood, to go on from there.
    networks: a large and a small net, which are trained; by default those that `config` names.
    teacher: the weights of the large net, if it is trained already; step 1 is left out then.
    Raises ValueError if the settings do not fit the data set or the nets, and what
    `state.require_fitting` does.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: Config,
        state: State | None = None,
        networks: tuple[Network, Network] | None = None,
        teacher: Teacher | None = None,
    ):
        self.dataset, self.config, self.teacher = dataset, config, teacher
        if teacher and config.alternating:
            raise ValueError(
                f"preset is {config.preset}, which trains the large net; expected another with a "
                "large net that is trained already"
            )
        self.prepare = Preparation(dataset, config)
        self.task = self.prepare.task
        large_rng, small_rng, loss_rng = np.random.default_rng(config.seed).spawn(3)
        self.large, self.small = networks or self.task.networks(
            dataset.num_classes, large_rng, small_rng
        )
        if teacher:
            teacher.teach(self.large, config.task)
        self.of_file = f", with the weights of {teacher.path.name}" if teacher else ""
        self.is_given_frozen = self.large.is_frozen
        self.task.require_fitting(self.large, self.small)
        if not self.is_given_frozen:
            self.prepare.require_batches(self.large, "large")
        self.prepare.require_batches(self.small, "small")
        self.names: dict[str, str] = {}  # of nets that `config` does not name
        if networks:
            for network in networks:
                network.macs()  # that layers of one's own say theirs
            self.names = {"large": type(self.large).__name__, "small": type(self.small).__name__}
        self.objective = objective_of(self.prepare, self.large, self.small, loss_rng)
        self.small_from_labels = self.small.astype(self.small.dtype)  # a copy: the same start
        self.networks = {
            "large": self.large,
            "small": self.small,
            "small_from_labels": self.small_from_labels,
        }
        self.trainer = Trainer(self.prepare, self.networks, self.objective)
        trained = {name: net for name, net in self.networks.items() if not net.is_frozen}
        self.progress = Progress(self.prepare, trained, self.objective, state)

    def state(self) -> State:
        """Where the run stands, at any event that `steps` has yielded."""
        return self.progress.state()

    def steps(self) -> Iterator[Event]:
        """The six steps in order. Raises ValueError for `bits`, which are a study's."""
        if self.config.bits != Config.bits:
            raise ValueError(
                f"bits is {self.config.bits}, expected {Config.bits} in a run; npkd quantise makes "
                "its nets such ones"
            )
        config, prepare, task = self.config, self.prepare, self.task
        train, progress, large = self.trainer.train, self.progress, self.large
        images, labels = self.dataset.test_images, self.dataset.test_labels

        if self.is_given_frozen:
            frozen = "left out: the large net is frozen, and teaches as it is"
            yield Stage(1, frozen + self.of_file)
            differences = self.teacher.differences(self._made_for()) if self.teacher else ""
            if differences:
                yield Note(f"note: {differences}")
        elif config.alternating:
            yield Stage(1, task.first_step)
            yield Note("and, in turn with it, step 5: an epoch of each net")
            yield from self._alternating()
        else:
            yield Stage(1, task.first_step)
            yield from train("large", progress)
        large.freeze()  # from here on

        yield Stage(2, self._title(2))
        clock = time.perf_counter()
        versions = 1 if config.alternating else prepare.versions
        teacher = [self.teacher_outputs(version) for version in range(versions)]
        outputs = {"large": Outputs(large, images, task.x_large)}
        if task.takes_high:
            outputs["large_low"] = Outputs(large, images, task.x_back)
        low = outputs.get("large_low", outputs["large"])
        target = outputs["large"] if config.teacher_input == "high" else low
        seconds = progress.seconds["teacher_outputs"] = time.perf_counter() - clock
        kept = f"{seconds:.1f} s"
        if teacher[0].kept is None:
            kept = "outputs made again for each batch, as they are large"
        count = len(self.dataset.train_labels)
        yield Note(f"{count:,} training images in {versions} version(s), {kept}")

        yield Stage(3, STEPS[3])
        try:
            truth = evaluate.against_truth(task, low, labels)
            text = evaluate.in_words(truth)
            if task.takes_high:
                high = evaluate.against_truth(task, outputs["large"], labels)
                text += f" (on high resolution {evaluate.in_words(high)})"
                truth |= {f"{name}_high": value for name, value in high.items()}
        except Diverged as error:
            raise Diverged(f"large{self.of_file}: {error}") from error
        yield Note(text)

        yield Stage(4, self._title(4))
        first = Outputs(self.small_from_labels, images, task.x_small)  # as the other was
        untrained = evaluate.means(evaluate.measured(task, first, labels, target))
        distance = untrained["mse"] * math.prod(target[:1].shape[1:]) / 2
        yield Note(
            f"untrained: ½‖y_large − y_small‖² = {distance:.3f}, {evaluate.in_words(untrained)}"
        )

        yield Stage(5, STEPS[5])
        if config.loss != Config.loss or config.label_weight:
            yield Note(f"loss: {self.objective}")
        yield from train("small", progress, teacher)
        yield Note(f"for comparison, the same small net from {task.truth_name} alone")
        yield from train("small_from_labels", progress)

        yield Stage(6, self._title(6))
        for name in ("small", "small_from_labels"):
            outputs[name] = Outputs(self.networks[name], images, task.x_small)
        tested = {name: evaluate.measured(task, y, labels, target) for name, y in outputs.items()}
        seconds_of = dict.fromkeys(self.networks, 0.0) | progress.seconds
        models = evaluate.models(task, self.networks, tested, seconds_of)
        whose = {**models, "the teacher": truth, "the untrained net": {"l2": distance}}
        evaluate.require_finite(whose)
        found = {
            "models": models,
            "compression": evaluate.compression(models["large"], models["small"]),
            "teacher_against_truth": truth,
            "untrained": {"l2": distance},
            **task.more(images),
        }
        samples = task.samples(images, labels, outputs, tested)
        yield Finished(self._report(found), self.networks, samples)

    def _title(self, number: int) -> str:
        """Of a step, with the resolution that its net is shown."""
        sees = {self.config.small_input, self.config.teacher_input if number == 2 else "high"}
        title = STEPS[number]
        return title if "low" in sees else title.replace("low-resolution", "high-resolution")

    def _alternating(self) -> Iterator[Event]:
        """An epoch of the large net and one of the small net in turn, to the end of both."""
        for epoch in range(self.config.epochs):
            yield from self.trainer.train("large", self.progress, epochs=epoch + 1)
            versions, teacher = self.prepare.versions, []
            to_do = (epoch + 1) * self.prepare.batches_of_an_epoch("small")
            if self.progress.updates.get("small", 0) < to_do:
                teacher = [self.teacher_outputs(epoch % versions)] * versions
            yield from self.trainer.train("small", self.progress, teacher, epoch + 1)

    def teacher_outputs(self, version: int, kept: Kept | None = None) -> TeacherFeatures:
        """What the large net's layers that teach make of a version of the training images.

        kept: if it has been made before.
        """
        images, layers = self.prepare.small_version(version), self.objective.teacher_layers
        layers = layers or [self.large.last]
        return TeacherFeatures(self.large, images, self.task.x_teaching, layers, kept)

    def _made_for(self) -> dict[str, Any]:
        """What a teacher has to agree with: the classes, and how images are normalised."""
        normalise = self.task.normalise
        mean, std = normalise.mean.tolist(), normalise.std.tolist()
        return {"class_names": list(self.dataset.class_names), "mean": mean, "std": std}

    def _report(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """What report.json holds: of what, how it was made, and what was found."""
        dataset, config, made_for = self.dataset, self.config, self._made_for()
        return {
            "task": config.task,
            "data": {
                "name": dataset.name,
                "train": len(dataset.train_labels),
                "test": len(dataset.test_labels),
                "image_shape": list(dataset.image_shape),
                "mean": made_for["mean"],
                "std": made_for["std"],
                "border": dataset.border,
            },
            "seed": config.seed,
            "config": asdict(config) | self.names,
            **({"teacher": self.teacher.about} if self.teacher else {}),
            "loss": str(self.objective),
            "versions": {
                "python": platform.python_version(),
                "numpy": np.__version__,
                "scipy": scipy.__version__,
                "npkd": __version__,
            },
            "threads": threads.get_num_threads(),
            "class_names": made_for["class_names"],
            "image_versions": self.prepare.versions,
            **found,
            "history": {name: self.progress.history.get(name, []) for name in self.networks},
            "seconds": self.progress.timed(),
        }
