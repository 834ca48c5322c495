"""What a net is trained to minimise: a loss to the truth, losses to the teacher, or both.

    objective = Objective(0.5, terms=[Term("kl", options={"temperature": 2.0})])
    value, gradients, grads = objective(outputs, batch)

`outputs` are those of the student's layers that `objective.layers` names. `gradients` are by these
outputs; the network's backward pass takes them as they are. `grads` are by `objective.params`, what
the losses train themselves: a regressor, say.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npkd import losses
from npkd.arguments import as_float, is_integer, shown
from npkd.losses.facts import FACTS, Facts
from npkd.losses.labels import Loss as HardLoss
from npkd.nets import Network, Params

KINDS = {name: facts for name, facts in FACTS.items() if facts.weight is not None}


@dataclass(frozen=True)
class Term:
    """One loss to the teacher, as part of an objective.

    loss          its name in npkd.losses, a key of KINDS
    weight        what it is multiplied by; None: the kind's
    student       the names of the student's layers that it is on; none: the outputs (in a run what
                  `Task.with_layers` names for this kind)
    teacher       those of the teacher's
    standardized  whether both nets' logits go through `losses.standardize` first
    options       its other arguments, by name

    Raises ValueError for an unknown loss or option, and for values of another type.

    Example
        >>> print(objectives.Term("kl", weight=9, options={"temperature": 2.0}))
        9·kl(temperature=2.0)
    """

    loss: str = "l2"
    weight: float | None = None
    student: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()
    standardized: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.loss, str) or self.loss not in KINDS:
            raise ValueError(f"loss is {shown(self.loss)}, expected one of {', '.join(KINDS)}")
        if self.weight is not None and not 0 < as_float(self.weight) < math.inf:
            raise ValueError(
                f"loss {self.loss}: weight is {shown(self.weight)}, expected a number above 0"
            )
        count = 2 if self.kind.layers == "maps" else 1
        for name in ("student", "teacher"):
            layers = getattr(self, name)
            if (
                not isinstance(layers, tuple)
                or len(layers) not in (0, count)
                or not all(isinstance(one, str) for one in layers)
            ):
                raise ValueError(
                    f"loss {self.loss}: {name} is {shown(layers)}, expected a tuple of the names "
                    f"of {count} layer(s)"
                )
        if not isinstance(self.standardized, bool) or (
            self.standardized and self.kind.layers != "output"
        ):
            raise ValueError(
                f"loss {self.loss}: standardized is {shown(self.standardized)}, expected True or "
                "False, and True for losses on logits only"
            )
        defaults = self.kind.options
        for name, value in self.options.items():
            if name not in defaults:
                raise ValueError(
                    f"loss {self.loss} has no option {shown(name)}, expected one of "
                    f"{', '.join(defaults)}"
                )
            if not _of_type(value, defaults[name]):
                raise ValueError(
                    f"loss {self.loss}: {name} is {shown(value)}, expected a "
                    f"{type(defaults[name]).__name__} such as {defaults[name]}"
                )

    @property
    def kind(self) -> Facts:
        """The facts of this loss."""
        return KINDS[self.loss]

    @property
    def factor(self) -> float:
        """What the loss is multiplied by."""
        return float(self.kind.weight if self.weight is None else self.weight)  # type: ignore[arg-type]

    def __str__(self) -> str:
        options = [f"{name}={value}" for name, value in self.options.items()]
        options += ["standardized"] * self.standardized
        text = f"{self.loss}({', '.join(options)})" if options else self.loss
        return text if self.factor == 1 else f"{self.factor:g}·{text}"


def _of_type(value: object, default: object) -> bool:
    if isinstance(default, bool | str):
        return type(value) is type(default)
    return is_integer(value) if is_integer(default) else math.isfinite(as_float(value))


@dataclass(frozen=True)
class Batch:
    """Images x (B, C, H, W), what is true of them, and the teacher's outputs by layer, or None.

    labelled: the indices in the batch of the images that `truth` is of, or None if of all.
    """

    epoch: int
    x: np.ndarray
    truth: np.ndarray
    teacher: Mapping[str, np.ndarray] | None = None
    labelled: np.ndarray | None = None


class Objective:
    """The loss of a training: (a share of) one to the truth, and (the rest) losses to the teacher.

    Definition (w the share, label_weight)
        value = w · hard(y, truth) + (1 − w) · Σ_k weight_k · loss_k(student's layers, teacher's)

    Gradients: the same sum of theirs, by each layer that has any. A part whose share is 0 is not
    computed; the value is continuous there, for what is left out is 0 times a finite number.

    label_weight: the share w. hard: the loss to the truth. terms: those that name no layers are on
    the outputs. output, teacher_output: the names of the nets' last layers. params: what the terms
    train, by the names of `trained_names`, as `trained` makes it.

    Example
        >>> half = objectives.Objective(0.5)  # to the labels, half to the teacher by L2
        >>> y, teacher = {"fc2": np.ones((1, 2))}, {"fc2": np.zeros((1, 2))}
        >>> half(y, objectives.Batch(0, np.ones((1, 3)), np.array([0]), teacher))  # as losses.mix
        (np.float64(0.8465...), {'fc2': array([[0.25, 0.75]])}, {})
    """

    def __init__(
        self,
        label_weight: float,
        hard: HardLoss = losses.cross_entropy,
        terms: Iterable[Term] = (Term(),),
        output: str = "fc2",
        teacher_output: str = "fc2",
        params: Params | None = None,
    ):
        if not 0 <= as_float(label_weight) <= 1:
            raise ValueError(
                f"label_weight is {shown(label_weight)}, expected a number from 0 to 1"
            )
        self.hard, self.label_weight = hard, float(label_weight)
        self.output, self.teacher_output = output, teacher_output
        self.terms = list(terms) if label_weight < 1 else []
        self.params: Params = params or {}
        self.names = trained_names(self.terms)
        lacking = {name for names in self.names for name in names} - self.params.keys()
        if lacking:
            raise ValueError(f"params lack {sorted(lacking)}; objectives.trained makes them")

    def __str__(self) -> str:
        of_teacher = " + ".join(map(str, self.terms))
        if not 0 < self.label_weight < 1:
            return of_teacher or "truth"
        bracketed = f"({of_teacher})" if len(self.terms) > 1 else of_teacher
        return f"{self.label_weight:g}·truth + {1 - self.label_weight:g}·{bracketed}"

    @property
    def layers(self) -> list[str]:
        """Those of the student whose outputs count, each once."""
        of_truth = [self.output] * (self.label_weight > 0)
        layers = [layer for term in self.terms for layer in term.student or (self.output,)]
        return list(dict.fromkeys([*of_truth, *layers]))

    @property
    def teacher_layers(self) -> list[str]:
        """Those of the teacher."""
        layers = [layer for term in self.terms for layer in term.teacher or (self.teacher_output,)]
        return list(dict.fromkeys(layers))

    @np.errstate(under="ignore")  # rounding, as in threads.run
    def __call__(
        self, outputs: Mapping[str, np.ndarray], batch: Batch
    ) -> tuple[np.ndarray, dict[str, np.ndarray], Params]:
        """The value, the gradients by the layers' outputs, and those by `params`."""
        value: Any = 0.0
        gradients: dict[str, np.ndarray] = {}
        grads: Params = {}
        if self.label_weight > 0:
            hard, gradient = self._of_truth(outputs[self.output], batch)
            value = self.label_weight * hard
            gradients[self.output] = self.label_weight * gradient
        for term, names in zip(self.terms, self.names, strict=True):
            share = (1 - self.label_weight) * term.factor
            layers = term.student or (self.output,)
            soft, by_layer, by_param = self._of_teacher(term, names, layers, outputs, batch)
            value = value + share * soft
            for layer, gradient in zip(layers, by_layer, strict=True):
                part = share * gradient
                gradients[layer] = gradients[layer] + part if layer in gradients else part
            grads |= {name: share * g for name, g in zip(names, by_param, strict=True)}
        return value, gradients, grads

    def _of_truth(self, y: np.ndarray, batch: Batch) -> tuple[Any, np.ndarray]:
        """The loss to the truth, and its gradient by y; of images without one both are 0.

        The loss is a mean over its samples, so that of the n labelled of B images counts n/B.
        """
        if batch.labelled is None:
            return self.hard(y, batch.truth)
        gradient = np.zeros_like(y)
        share = len(batch.labelled) / len(y)
        if not share:
            return 0.0, gradient
        value, of_labelled = self.hard(y[batch.labelled], batch.truth)
        gradient[batch.labelled] = share * of_labelled
        return share * value, gradient

    def _of_teacher(
        self,
        term: Term,
        names: list[str],
        layers: Sequence[str],
        outputs: Mapping[str, np.ndarray],
        batch: Batch,
    ) -> tuple[np.ndarray, Sequence[np.ndarray], Sequence[np.ndarray]]:
        """The value of one term, its gradients by the layers, and by what it trains."""
        if batch.teacher is None:
            raise ValueError(f"the batch has no outputs of the teacher, which {term.loss} needs")
        if batch.labelled is not None and term.kind.labels:
            raise ValueError(f"{term.loss} takes labels, which some images of the batch have not")
        student = [outputs[layer] for layer in layers]
        teacher = [batch.teacher[layer] for layer in term.teacher or (self.teacher_output,)]
        labels = [batch.truth] if term.kind.labels else []
        trained = [self.params[name] for name in names]
        backward: Callable[[np.ndarray], np.ndarray] | None = None
        if term.standardized:
            student[0], backward = losses.standardize(student[0])
            teacher[0], _ = losses.standardize(teacher[0])
        function = getattr(losses, term.loss)
        value, found = function(*student, *teacher, *labels, *trained, **term.options)
        gradients = found if isinstance(found, tuple) else (found,)
        by_layer = list(gradients[: len(layers)])
        if backward is not None:
            by_layer = [backward(by_layer[0])]
        return value, by_layer, gradients[len(layers) :]

    def require_fitting(
        self,
        small: Network,
        large: Network,
        truth: np.ndarray,
        labelled: np.ndarray | None = None,
    ) -> None:
        """Raise ValueError unless this can train `small` from `large`: it is tried on two images.

        truth: of two images, or of those that are `labelled`; see `Batch`.
        """
        if self.output not in self.layers:
            raise ValueError(
                f"{', '.join(map(str, self.terms)) or 'no losses'} alone leave the layers behind "
                "them as they are; add a label_weight above 0, or a loss on the outputs such as l2"
            )
        x, x_large = (np.zeros((2, *net.image_shape), net.dtype) for net in (small, large))
        student, _ = small.features(x, self.layers)
        teacher = large.features(x_large, self.teacher_layers)[0] if self.terms else {}
        value, _, _ = self(student, Batch(0, x, truth, teacher, labelled))
        if np.ndim(value):
            raise ValueError("reduction is 'none', expected one that gives one number")


def from_truth(hard: HardLoss, output: str = "fc2") -> Objective:
    """The objective of step 1: the loss to what is true, cross-entropy with labels or another."""
    return Objective(1.0, hard, (), output)


def trained_names(terms: Iterable[Term]) -> list[list[str]]:
    """What each term trains, by name: "hint.weight", and where there are several "hint2.weight"."""
    names, seen = [], dict.fromkeys(KINDS, 0)
    for term in terms:
        seen[term.loss] += 1
        number = seen[term.loss] if seen[term.loss] > 1 else ""
        names.append([f"{term.loss}{number}.{one}" for one in term.kind.own])
    return names


def trained(
    terms: Sequence[Term], small: Network, large: Network, rng: np.random.Generator
) -> Params:
    """The arrays that these terms train, as they start, for layers of these nets.

    Weights (O, C) and biases start uniform on (−1/√C, 1/√C), as a layer's; the scale of
    `losses.vid` where the variance is 5. Raises ValueError for a layer that a net has not.
    """
    params: Params = {}
    for term, names in zip(terms, trained_names(terms), strict=True):
        if not names:
            continue
        inputs, outputs = _channels(small, term.student), _channels(large, term.teacher)
        for name, argument in zip(names, term.kind.own, strict=True):
            k = 1 if argument.endswith("second") else 0
            bound = 1 / math.sqrt(inputs[k])
            if argument == "scale":
                values = np.full(outputs[k], math.log(math.expm1(5 - 1e-5)))
            else:
                shape = (outputs[k],) if argument == "bias" else (outputs[k], inputs[k])
                values = rng.uniform(-bound, bound, shape)
            params[name] = values.astype(small.dtype)
    return params


def _channels(network: Network, layers: Sequence[str]) -> list[int]:
    """How many channels, or features, layers have."""
    x = np.zeros((1, *network.image_shape), network.dtype)
    outputs, _ = network.features(x, layers)
    return [outputs[layer].shape[1] for layer in layers]
