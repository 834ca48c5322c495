"""Random networks, updates and trainings."""

import math
from collections.abc import Callable
from typing import Any

from npkd.proofs.cases.drawn import Cases, Drawn, Integers, boolean, one_of, other


def cnn(integers: Integers) -> Drawn:
    """A net of every kind of layer, of a few channels: conv, ReLU, pool, linear, ReLU, linear."""
    channels, kernel = integers(1, 2), integers(1, 3)
    padding = integers(0, 1)
    sides = [integers(2, 3) * 2 + kernel - 1 - 2 * padding for _ in range(2)]
    options = {
        "channels": other(integers, channels, 3),
        "kernel_size": kernel,
        "padding": padding,
        "pool": ("avg_pool2d", "max_pool2d")[integers(0, 1)],
        "hidden": integers(2, 4),
        "outputs": integers(2, 3),
    }
    return Drawn("cnn", {"x": (integers(2, 3), channels, *sides)}, options)


def _document_net(integers: Integers, op: str, side: int) -> Drawn:
    options = {"in_channels": integers(1, 3), "num_classes": integers(2, 10)}
    return Drawn(op, {"x": (integers(1, 2), options["in_channels"], side, side)}, options)


def large_cnn(integers: Integers) -> Drawn:
    """The document's large net, with other channels and classes."""
    return _document_net(integers, "LargeCNN", 32)


def small_cnn(integers: Integers) -> Drawn:
    """The document's small net, with other channels and classes."""
    return _document_net(integers, "SmallCNN", 16)


def _of_steps(integers: Integers, op: str, **options: Any) -> Drawn:
    """Some steps on parameters of several shapes, at rates that change, with any λ.

    After some of them what is remembered is handed over to another optimiser.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "conv.weight": (integers(1, 3), integers(1, 3), 2, 1),
        "conv.bias": (integers(1, 3),),
        "fc.weight": (integers(1, 2), integers(1, 3)),
        "scale": (),
    }
    of_steps = {
        "lrs": [integers(0, 10) / 10 for _ in range(integers(1, 3))],
        "handed_over": integers(0, 3),
        "weight_decay": integers(0, 2) / 10,
        "decay_biases": boolean(integers),
    }
    return Drawn(op, shapes, of_steps | options)


def sgd(integers: Integers) -> Drawn:
    """Some steps of SGD, with any μ, in Nesterov's way or not."""
    momentum = integers(0, 9) / 10
    nesterov = momentum > 0 and boolean(integers)
    return _of_steps(integers, "SGD", momentum=momentum, nesterov=nesterov)


def _adam(op: str) -> Callable[[Integers], Drawn]:
    def adam(integers: Integers) -> Drawn:
        """Some steps of Adam or AdamW, with any β, and an ε that is small or counts."""
        betas = integers(0, 9) / 10, integers(0, 9) / 10
        return _of_steps(integers, op, betas=betas, epsilon=one_of(integers, 1e-8, 0.1))

    return adam


def training(integers: Integers) -> Drawn:
    """Three updates of a `cnn`, the last batch a ragged one, by labels and teacher in any share.

    The loss to the teacher is L2, with a hint on an inner layer or without.
    """
    net = cnn(integers)
    options = {
        "label_weight": integers(0, 2) / 2,
        "hint": boolean(integers),
        "lrs": [integers(1, 10) / 20 for _ in range(3)],
        "momentum": integers(0, 1) * 0.9,
        "weight_decay": integers(0, 1) * 0.1,
        "clip_norm": (math.inf, 0.5)[integers(0, 1)],
    }
    return Drawn("training", net.shapes, net.options | options)


NETWORKS: Cases = {"cnn": cnn, "SmallCNN": small_cnn, "LargeCNN": large_cnn}


TRAININGS: Cases = {
    "SGD": sgd,
    "Adam": _adam("Adam"),
    "AdamW": _adam("AdamW"),
    "training": training,
}
