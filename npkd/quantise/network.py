"""A net in eight bits, made from one of floats and some images.

    quantised = Quantised.of(network, images)    # images: as the net takes them, for calibration
    y = quantised(x)                             # float32, as the net's own outputs

Convolutions and linear layers become products of integers (`ops.qlinear_conv`); a batch norm behind
a convolution is taken into its weights, a ReLU into the range of its output. All else is computed
from the numbers that the integers stand for, and quantised again. Weights are int8, a scale for
each output channel, symmetric; outputs are uint8, a scale for each layer, by the range that they
had for the images of calibration. Where a mean is taken the scale has eight bits, so that the
sum is exact in float32 (`Scale.summable`), and the same in every framework.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npkd import ops
from npkd.arguments import shown
from npkd.nets import BatchNorm, Conv2d, Function, Linear, Network
from npkd.nets.layers import Params
from npkd.nets.network import IMAGES
from npkd.quantise.ops import (
    TINY,
    Product,
    Scale,
    dequantize_linear,
    rounded,
)

MOST_WEIGHT = 127  # of int8; 63 where a processor holds sums of two products at 16 bits
MOST_BIAS = 2**30
RELUS = (ops.relu, ops.relu6)
MEANS = (ops.avg_pool2d, ops.global_avg_pool2d)
SAME = (ops.flatten, ops.max_pool2d)  # whose outputs are some of their inputs


@dataclass(frozen=True)
class Step:
    """What is computed at once: layers one behind the other, of which the first takes `takes`.

    kind: "conv" or "linear", of integers; "same", whose outputs are some of its inputs; "float".
    """

    layers: tuple[str, ...]
    takes: tuple[str, ...]
    kind: str

    @property
    def name(self) -> str:
        """That of its output: of the last layer."""
        return self.layers[-1]


@dataclass(frozen=True)
class Weights:
    """Of a convolution or a linear layer: int8 by output channel, their scales, int32 biases."""

    w: np.ndarray
    scale: np.ndarray
    b: np.ndarray


class Quantised:
    """A net in eight bits; see above. steps: in order. scales: of the outputs of steps, by name."""

    def __init__(
        self,
        network: Network,
        steps: tuple[Step, ...],
        scales: Mapping[str, Scale],
        weights: Mapping[str, Weights],
    ):
        self.network, self.steps = network, steps
        self.scales, self.weights = dict(scales), dict(weights)
        self._products: dict[str, Product] = {}
        self.image_shape, self.params = network.image_shape, network.params
        self.dtype, self.last, self.macs = network.dtype, network.last, network.macs

    @classmethod
    def of(
        cls, network: Network, images: np.ndarray, most_weight: int = MOST_WEIGHT
    ) -> "Quantised":
        """That of a net, by the ranges that its outputs have for these images (B, C, H, W).

        most_weight: the largest integer that stands for a weight. Raises ValueError for none of 1
        to 127, for no images, and for a net whose outputs for these are not finite.
        """
        if not 1 <= most_weight <= MOST_WEIGHT:
            raise ValueError(f"most_weight is {shown(most_weight)}, expected 1 to {MOST_WEIGHT}")
        if not len(images):
            raise ValueError("there are no images for calibration, expected one or more")
        steps = steps_of(network)
        outputs, _ = network.features(images, [step.name for step in steps])
        ranges = {IMAGES: images, **outputs}
        scales: dict[str, Scale] = {IMAGES: _scale(IMAGES, images, signed=bool(images.min() < 0))}
        for step in steps:
            signed = not _is_relu(network, step.name)
            if step.kind == "same" or _op(network, step) in MEANS:
                signed = scales[step.takes[0]].zero_point > 0
            scales[step.name] = _scale(step.name, ranges[step.name], signed)
        for step in reversed(steps):  # what a mean is taken of, through steps that keep its scale
            for taken in step.takes:
                if step.kind == "same":
                    scales[taken] = _wider(scales[taken], scales[step.name])
                elif _op(network, step) in MEANS:
                    scales[taken] = scales[taken].summable()
        for step in steps:
            if step.kind == "same":
                scales[step.name] = scales[step.takes[0]]
        weights = {
            step.name: weights_of(network, step, scales[step.takes[0]], most_weight)
            for step in steps
            if step.kind in ("conv", "linear")
        }
        return cls(network, steps, scales, weights)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The outputs for images (B, C, H, W), float32 (B, …), as the net's own."""
        return self.features(x, [self.last])[0][self.last]

    def features(self, x: np.ndarray, names: Iterable[str]) -> tuple[dict[str, np.ndarray], None]:
        """The numbers that steps give, by name, and no backward pass; see `Network.features`."""
        integers = self._integers(x, names)
        return {name: dequantize_linear(q, self.scales[name]) for name, q in integers.items()}, None

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that it computes with, by name: NAME/weight, NAME/weight_scale, NAME/bias, and of
        each output NAME/scale, NAME/zero_point.

        NAME is that of a step, the last of its layers; the images, which have scales alone, are
        "x". What is left as floats, such as a batch norm before a ReLU, is LAYER.KEY, as in a net.
        """
        found: dict[str, np.ndarray] = {}
        for name, weights in self.weights.items():
            found |= {
                f"{name}/weight": weights.w,
                f"{name}/weight_scale": weights.scale,
                f"{name}/bias": weights.b,
            }
        for name, of in self.scales.items():
            found[f"{name}/scale"] = np.array(of.scale, np.float32)
            found[f"{name}/zero_point"] = np.array(of.zero_point, np.uint8)
        arrays = self.network.state_dict()
        return found | {name: arrays[name] for name in floats(self.network, self.steps)}

    @property
    def nbytes(self) -> int:
        """The bytes of all that it computes with."""
        return sum(array.nbytes for array in self.state_dict().values())

    def integers(self, x: np.ndarray, names: Iterable[str]) -> dict[str, np.ndarray]:
        """The outputs of these steps, uint8, and of the images if IMAGES is among them."""
        known = self._integers(x, names)
        return {name: q.astype(np.uint8) for name, q in known.items()}

    def _integers(self, x: np.ndarray, names: Iterable[str]) -> dict[str, np.ndarray]:
        """The same, held as float32, with which all is computed."""
        known = {IMAGES: rounded(x, self.scales[IMAGES])}
        for step in self.steps:
            known[step.name] = self._step(step, [known[taken] for taken in step.takes])
        return {name: known[name] for name in names}

    def _step(self, step: Step, qs: list[np.ndarray]) -> np.ndarray:
        """The output of one step for the integers that it takes."""
        if step.kind == "same":
            return apply(self.network, step, qs)[0]
        if step.kind == "float":
            of = (self.scales[taken] for taken in step.takes)
            y, _ = apply(self.network, step, list(map(dequantize_linear, qs, of)))
            return rounded(y, self.scales[step.name])
        return self._product(step)(qs[0])

    def _product(self, step: Step) -> Product:
        """A convolution or linear layer, prepared when it is first asked for."""
        if step.name not in self._products:
            weights = self.weights[step.name]
            x_of, y_of = self.scales[step.takes[0]], self.scales[step.name]
            options: dict[str, Any] = {}
            if step.kind == "conv":
                layer: Any = self.network.layers[step.layers[0]]
                options = {key: layer.options[key] for key in ("stride", "padding", "groups")}
            made = Product(x_of, weights.w, weights.scale, y_of, weights.b, **options)
            self._products[step.name] = made
        return self._products[step.name]


def steps_of(network: Network) -> tuple[Step, ...]:
    """The net's layers as steps: behind a convolution its batch norm, behind these a ReLU."""
    uses = Counter(taken for takes in network.takes.values() for taken in takes)
    steps: dict[str, Step] = {}  # by what they give
    for name, layer in network.layers.items():
        taken = network.takes[name]
        before = steps.get(taken[0])
        if before is not None and uses[taken[0]] == 1 and _joins(network, before, layer):
            steps[name] = replace(steps.pop(taken[0]), layers=(*before.layers, name))
        else:
            steps[name] = Step((name,), taken, _kind(layer))
    return tuple(steps.values())


def floats(network: Network, steps: Iterable[Step]) -> list[str]:
    """The names of the net's arrays that steps of numbers compute with."""
    layers = {name for step in steps if step.kind == "float" for name in step.layers}
    return [
        key
        for key in network.state_dict()
        if key.rpartition(".")[0] in layers and not key.endswith("num_batches_tracked")
    ]


def _joins(network: Network, before: Step, layer: Any) -> bool:
    """Whether a layer can be computed with the step before it."""
    if isinstance(layer, BatchNorm):
        return before.kind == "conv" and len(before.layers) == 1
    is_relu = isinstance(layer, Function) and layer.op in RELUS
    last = network.layers[before.name]
    return is_relu and not (isinstance(last, Function) and last.op in (*RELUS, *SAME))


def _kind(layer: Any) -> str:
    if isinstance(layer, Conv2d) and layer.options["dilation"] in (1, (1, 1)):
        return "conv"
    if isinstance(layer, Linear):
        return "linear"
    return "same" if isinstance(layer, Function) and layer.op in SAME else "float"


def _op(network: Network, step: Step) -> Any:
    return getattr(network.layers[step.layers[0]], "op", None)


def apply(
    network: Network,
    step: Step,
    xs: list[np.ndarray],
    arrays: Mapping[str, np.ndarray] | None = None,
) -> tuple[np.ndarray, Callable[[np.ndarray], tuple[tuple[np.ndarray, ...], Params]]]:
    """The output of a step's layers as floats, and its backward pass.

    That gives the gradients by the inputs, and those by the parameters by name. arrays: in place of
    the net's own.
    """
    arrays, backwards = arrays or network.state_dict(), []
    for name in step.layers:
        layer: Any = network.layers[name]
        keys = (*layer.shapes, *getattr(layer, "state", ()))
        y, layer_backward = layer(*xs, {key: arrays[f"{name}.{key}"] for key in keys})
        backwards.append((name, layer_backward))
        xs = [y]

    def backward(dy: np.ndarray) -> tuple[tuple[np.ndarray, ...], Params]:
        dx: Any = dy
        grads: Params = {}
        for name, layer_backward in reversed(backwards):
            dx, of_layer = layer_backward(dx)
            grads |= {f"{name}.{key}": g for key, g in of_layer.items()}
        return dx if isinstance(dx, tuple) else (dx,), grads

    return xs[0], backward


def _is_relu(network: Network, name: str) -> bool:
    return getattr(network.layers[name], "op", None) in RELUS


def _scale(name: str, y: np.ndarray, signed: bool) -> Scale:
    """That of an output with these values; signed: whether other images may give it any sign."""
    least, most = float(y.min()), float(y.max())
    if not np.isfinite([least, most]).all():
        raise ValueError(f"the outputs of {shown(name)} are not finite for the images given")
    return Scale.of(-max(abs(least), abs(most)) if signed else 0.0, most)


def _wider(a: Scale, b: Scale) -> Scale:
    return a if a.scale >= b.scale else b


def weights_of(network: Network, step: Step, x_of: Scale, most: int) -> Weights:
    """The weights of a step, with those of its batch norm, as integers."""
    arrays, first = network.state_dict(), step.layers[0]
    w = arrays[f"{first}.weight"].astype(np.float64)
    b = arrays.get(f"{first}.bias", np.zeros(len(w))).astype(np.float64)
    factor, shift = norm_of(network, step)
    w, b = w * by_row(factor, w.ndim), b * factor + shift
    largest = np.abs(w).reshape(len(w), -1).max(axis=1)
    s = np.maximum(np.maximum(largest / most, np.abs(b) / (float(x_of.scale) * MOST_BIAS)), TINY)
    s = s.astype(np.float32)
    integers = np.clip(np.rint(w / by_row(s, w.ndim)), -most, most)
    biases = np.rint(b / (float(x_of.scale) * s.astype(np.float64)))
    return Weights(integers.astype(np.int8), s, biases.astype(np.int32))


def norm_of(network: Network, step: Step) -> tuple[np.ndarray, np.ndarray]:
    """What a step's batch norm makes of a number of each channel, factor · y + shift; or 1 and 0.

    factor = γ / √(σ² + ε), shift = β − μ · factor
    """
    arrays = network.state_dict()
    for name in step.layers[1:]:
        layer = network.layers[name]
        if isinstance(layer, BatchNorm):
            scale, shift, mean, variance = (
                arrays[f"{name}.{key}"].astype(np.float64)
                for key in ("weight", "bias", "running_mean", "running_var")
            )
            factor = scale / np.sqrt(variance + layer.epsilon)
            return factor, shift - mean * factor
    channels = len(arrays[f"{step.layers[0]}.weight"])
    return np.ones(channels), np.zeros(channels)


def by_row(values: np.ndarray, ndim: int) -> np.ndarray:
    """(O,) as (O, 1, …), with so many axes."""
    return values.reshape(-1, *[1] * (ndim - 1))
