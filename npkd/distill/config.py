"""What a run does: its settings, and the presets."""

import math
from dataclasses import dataclass, fields, replace

from npkd import optim
from npkd.arguments import as_float, shown
from npkd.data import Dataset
from npkd.objectives import Term
from npkd.zoo import MODELS

MOST = 10**9  # epochs, versions and images in a batch: far above any use, far below overflow


PRESET_NAMES = ("default", "document", "document-alternating", "few-labels", "resnet20-resnet8")
TASK_NAMES = ("classify", "super-resolve")  # see `tasks`
RATES = {  # the settings that hold the nets' learning rates
    "large": "large_learning_rate",
    "small": "learning_rate",
    "small_from_labels": "labels_learning_rate",
}


@dataclass(frozen=True)
class Config:
    """What a run does. The defaults are the preset "default" for digits; see `preset`.

    task               "classify" or "super-resolve"; see `npkd.distill.tasks`
    large, small       the nets, by their names in `npkd.zoo.MODELS`; the document's are "large" and
                       "small"
    small_input        what the small nets are shown: "low", x_low, or "high", x_high
    teacher_input      what the large net is shown when it teaches: "low", x_low brought back to its
                       size, or "high", x_high. A net that super-resolves takes x_low as it is
    teacher_views      what it is trained on in step 1: "high", x_high, or "both", batches of x_high
                       and of x_low brought back to its size in turn. Super-resolving, always x_low
    loss               the losses to the large net in step 5, a tuple of `objectives.Term`
    label_weight       share of the loss to the truth, labels or true images, in step 5, 0 to 1; the
                       rest are the losses to the large net
    label_smoothing    share of each label, as the distilled net learns it, that is spread evenly
                       over all classes (Szegedy et al. 2016)
    labelled           how many training images, chosen at random, have labels that are known: the
                       large net and the small one from labels see no others; None: all of them
    unlabelled         how many of the others the distilled net sees too, with the large net's
                       outputs alone; the one from labels gets as many updates
    label_noise        share of the labels that are wrong: so many images, chosen at random, are
                       given another class by chance
    alternating        whether the large and the small net are trained in turn, an epoch each, as
                       in the document's code; else the large one to the end, as in its text
    large_epochs       passes over the training images in step 1. Where few of them have labels, the
                       large net goes through these several times in one, to see as many
    epochs             passes of each small net, likewise
    versions           augmented versions of the training images that the small nets go through,
                       pass after pass, the first one unaltered; the large net's logits for each
                       are computed once, its images again for each batch
    augment            whether images are augmented, as their data set has it by default
    batch_size         images for one update; the last batch of a pass may be smaller
    …_learning_rate    the highest rate of the large net, the distilled small net (learning_rate)
                       and the small net that learns from labels
    weight_decay       of the small nets; large_weight_decay of the large one
    decay_biases       whether biases decay too, and all other arrays of fewer than two axes
    optimiser          "sgd", "adam" or "adamw". The presets' rates are SGD's
    nesterov           whether momentum is Nesterov's
    bits               what the small nets of a study are tested with: 32, floats, or 8, integers
                       that are made of them (`npkd.quantise`)
    momentum (of Adam β₁), clip_norm (None: gradients are not clipped), schedule ("constant" or
                       "cosine"), warmup (share of the updates): of all three trainings

    Raises ValueError for a value out of its range.
    """

    preset: str = "default"
    task: str = "classify"
    large: str = "large"
    small: str = "small"
    small_input: str = "low"
    teacher_input: str = "low"
    teacher_views: str = "both"
    loss: tuple[Term, ...] = (Term(),)
    label_weight: float = 0.0
    label_smoothing: float = 0.0
    labelled: int | None = None
    unlabelled: int = 0
    label_noise: float = 0.0
    alternating: bool = False
    large_epochs: int = 5
    epochs: int = 8
    versions: int = 2
    augment: bool = True
    batch_size: int = 32
    large_learning_rate: float = 0.03
    learning_rate: float = 0.015
    labels_learning_rate: float = 0.03
    optimiser: str = "sgd"
    nesterov: bool = False
    momentum: float = 0.9
    large_weight_decay: float = 5e-4
    weight_decay: float = 5e-4
    decay_biases: bool = True
    clip_norm: float | None = 5.0
    schedule: str = "cosine"
    warmup: float = 0.1
    bits: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name, offered in (
            ("preset", PRESET_NAMES),
            ("task", TASK_NAMES),
            ("large", tuple(MODELS)),
            ("small", tuple(MODELS)),
            ("small_input", ("low", "high")),
            ("teacher_input", ("low", "high")),
            ("teacher_views", ("high", "both")),
            ("optimiser", ("sgd", "adam", "adamw")),
            ("schedule", ("constant", "cosine")),
            ("bits", (32, 8)),
        ):
            value = getattr(self, name)
            if type(value) is not type(offered[0]) or value not in offered:
                raise ValueError(f"{name} is {shown(value)}, expected one of {offered}")
        for name in ("large", "small", "small_input", "teacher_input"):
            value, only = getattr(self, name), getattr(Config, name)
            if self.task == "super-resolve" and value != only:
                raise ValueError(f"{name} is {shown(value)}, expected {only!r} to super-resolve")
        if (
            not isinstance(self.loss, tuple)
            or not self.loss
            or not all(isinstance(term, Term) for term in self.loss)
        ):
            raise ValueError(f"loss is {shown(self.loss)}, expected a tuple of objectives.Term")
        for name in ("augment", "alternating", "nesterov", "decay_biases"):
            if not isinstance(getattr(self, name), bool):
                value = shown(getattr(self, name))
                raise ValueError(f"{name} is {value}, expected True or False")
        for name, least, most in (
            *[("labelled", 1, MOST)] * (self.labelled is not None),
            ("unlabelled", 0, MOST),
            ("large_epochs", 1, MOST),
            ("epochs", 1, MOST),
            ("versions", 1, MOST),
            ("batch_size", 1, MOST),
            ("seed", 0, math.inf),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(
                    f"{name} is {shown(value)}, expected a whole number from {least}"
                    + (f" to {most:,}" if most < math.inf else "")
                )
        for name, most in (
            ("momentum", 1.0),
            ("large_weight_decay", math.inf),
            ("weight_decay", math.inf),
            ("warmup", 1.0),
        ):
            if not 0 <= self._number(name) < most:
                raise ValueError(
                    f"{name} is {shown(getattr(self, name))}, expected 0 or more, below {most}"
                )
        if self.alternating and self.large_epochs != self.epochs:
            raise ValueError(
                f"epochs is {self.epochs}, expected the large net's {self.large_epochs}: they are "
                "trained in turn"
            )
        if self.nesterov and (self.optimiser != "sgd" or not self.momentum):
            raise ValueError(
                f"nesterov is True, expected False for {self.optimiser} at momentum {self.momentum}"
            )
        for field in fields(self):
            if field.name.endswith("learning_rate") and not 0 < self._number(field.name) < math.inf:
                value = getattr(self, field.name)
                raise ValueError(f"{field.name} is {shown(value)}, expected a number above 0")
        for name in ("label_weight", "label_smoothing", "label_noise"):
            if not 0 <= self._number(name) <= 1:
                value = shown(getattr(self, name))
                raise ValueError(f"{name} is {value}, expected a share from 0 to 1")
        for name in ("label_smoothing", "label_noise"):
            value = getattr(self, name)
            if value and self.task != "classify":
                raise ValueError(f"{name} is {value}, expected 0 to {self.task}")
        if self.clip_norm is not None and not 0 < self._number("clip_norm") < math.inf:
            raise ValueError(
                f"clip_norm is {shown(self.clip_norm)}, expected a number above 0, or None"
            )

    def _number(self, name: str) -> float:
        """The value of a setting as a float, which it then is; NaN if it is no number."""
        number = as_float(getattr(self, name))
        if not math.isnan(number):
            object.__setattr__(self, name, number)  # frozen, but not yet out of its making
        return number


def optimiser_of(config: Config, net: str) -> optim.Optimiser:
    """What trains this net, at its highest rate."""
    rate, biases = getattr(config, RATES[net]), config.decay_biases
    decay = config.large_weight_decay if net == "large" else config.weight_decay
    if config.optimiser == "sgd":
        return optim.SGD(rate, config.momentum, decay, config.nesterov, decay_biases=biases)
    adam = optim.Adam if config.optimiser == "adam" else optim.AdamW
    return adam(rate, (config.momentum, 0.999), weight_decay=decay, decay_biases=biases)


PHOTOGRAPHS = Config(
    teacher_input="high",
    teacher_views="high",
    large_epochs=16,
    epochs=20,
    versions=8,
    labels_learning_rate=0.05,
    large_weight_decay=2e-3,
)


SUPER_RESOLUTION = Config(
    task="super-resolve",
    teacher_views="high",
    large_epochs=12,
    epochs=12,
    versions=4,
    large_learning_rate=2e-3,
    learning_rate=1e-3,
    labels_learning_rate=1e-3,
    large_weight_decay=0.0,
    weight_decay=0.0,
    clip_norm=50.0,
)


PRESETS = {
    "default": Config(),
    "document": Config(
        preset="document",
        teacher_views="high",
        batch_size=64,
        large_epochs=10,
        epochs=10,
        versions=10,
        augment=False,
        large_learning_rate=0.01,
        learning_rate=0.01,
        labels_learning_rate=0.01,
        momentum=0.0,
        large_weight_decay=0.0,
        weight_decay=0.0,
        clip_norm=None,
        schedule="constant",
        warmup=0.0,
    ),
}
PRESETS["document-alternating"] = replace(
    PRESETS["document"], preset="document-alternating", alternating=True
)
PRESETS["few-labels"] = Config(preset="few-labels", labelled=100)  # chosen on held-out digits
PRESETS["resnet20-resnet8"] = Config(  # rates and weight chosen on held-out images of CIFAR-10
    preset="resnet20-resnet8",
    large="resnet20",
    small="resnet8",
    small_input="high",
    teacher_input="high",
    teacher_views="high",
    label_weight=0.909,  # labels + ⅒ L2
    batch_size=64,
    large_epochs=15,
    epochs=15,
    versions=8,
    large_learning_rate=0.1,
    learning_rate=0.2,
    labels_learning_rate=0.1,
)


def preset(name: str, dataset: Dataset, task: str = "classify") -> Config:
    """The settings of a preset for a data set and a task.

    The default one trains longer on photographs, and to super-resolve at rates for a loss that sums
    over all cells of an image. Where few images have labels, the distilled net sees all the others
    too. Raises ValueError for a preset that is none, and for another than
    the default one to super-resolve.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"preset is {shown(name)}, expected one of {', '.join(PRESETS)}")
    if task == "super-resolve":
        if name != "default":
            raise ValueError(
                f"preset is {name}, expected default to super-resolve: the document's rate of 0.01 "
                "diverges with a loss that sums over the cells of images"
            )
        return SUPER_RESOLUTION
    if name != "default":
        found = PRESETS[name]
        others = len(dataset.train_labels) - (found.labelled or len(dataset.train_labels))
        return replace(found, unlabelled=max(0, others))
    return PHOTOGRAPHS if dataset.photographs else PRESETS[name]
