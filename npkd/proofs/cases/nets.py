"""Random networks, updates and trainings."""

import math
from collections.abc import Callable
from typing import Any

from npkd.proofs.cases.drawn import Cases, Drawn, Integers, boolean, images, one_of, other


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


# What usually stands behind a layer, and is then run in one with it
USUAL = {"Conv2d": ("BatchNorm",) * 4, "BatchNorm": ("relu",) * 4}


def graph(integers: Integers) -> Drawn:
    """Layers that take what any before them give, or "x"; then the mean of a map, and linear.

    layers: by name the kind, a class of npkd.nets or an op; what it takes; its options. Those that
    the last one does not need are there too. training: whether it is run in a training pass.
    """
    count, *shape = images(integers)
    layers: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {}
    shapes = {"x": tuple(shape)}  # (C, H, W) of what each gives
    for number in range(integers(3, 7)):
        taken = tuple(shapes)[-1] if integers(0, 2) else one_of(integers, *shapes)
        c, *sides = shapes[taken]
        kinds = "Conv2d", "BatchNorm", "relu", "Add", "Dropout", *(["Concat"] if c < 3 else [])
        behind = layers[taken][0] if taken in layers else ""
        kind = one_of(integers, *kinds, *USUAL.get(behind, ()))
        takes: tuple[str, ...] = (taken,)
        options: dict[str, Any] = {}
        if kind == "Conv2d":
            size, stride, groups = one_of(integers, 1, 3), integers(1, 2), one_of(integers, 1, c)
            options = {"in_channels": c, "out_channels": c if groups > 1 else integers(1, 3)}
            options |= {"kernel_size": size, "stride": stride, "padding": size // 2}
            options |= {"groups": groups, "bias": boolean(integers)}
            c, sides = options["out_channels"], [(side - 1) // stride + 1 for side in sides]
        elif kind == "BatchNorm":
            options = {"channels": c, "momentum": integers(1, 9) / 10, "epsilon": 0.1}
        elif kind == "Dropout":
            options = {"p": integers(0, 3) / 4}
        elif kind in ("Add", "Concat"):  # with what is as large, perhaps itself
            counts = [c] if kind == "Add" else [1, 2]
            fit = [key for key, (of, *hw) in shapes.items() if hw == sides and of in counts]
            takes += (one_of(integers, *fit),)
            takes = takes[:: one_of(integers, 1, -1)]
            c = c if kind == "Add" else sum(shapes[key][0] for key in takes)
        name = f"{kind.lower()}{number}"
        layers[name], shapes[name] = (kind, takes, options), (c, *sides)
    last = tuple(shapes)[-1]
    layers["pool"] = "global_avg_pool2d", (last,), {}
    layers["flatten"] = "flatten", ("pool",), {}
    layers["fc"] = "Linear", ("flatten",), {"in_features": shapes[last][0], "out_features": 2}
    training = boolean(integers)
    return Drawn("graph", {"x": (count, *shape)}, {"layers": layers, "training": training})


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


NETWORKS: Cases = {"cnn": cnn, "graph": graph, "SmallCNN": small_cnn, "LargeCNN": large_cnn}


TRAININGS: Cases = {
    "SGD": sgd,
    "Adam": _adam("Adam"),
    "AdamW": _adam("AdamW"),
    "training": training,
}
