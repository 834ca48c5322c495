"""A net in eight bits, made from one of floats and some images.

    quantised = Quantised.of(network, images)    # images: as the net takes them, for calibration
    y = quantised(x)                             # float32, as the net's own outputs

Convolutions and linear layers become products of integers (`ops.qlinear_conv`); a batch norm behind
one is taken into its weights, any other of images is a convolution of each channel by itself; a
ReLU is taken into the range of the output. Weights are int8, a scale for each output channel,
symmetric; outputs are uint8, a scale for each layer, by the range that they had for the images of
calibration. What only moves numbers (flatten, max-pool, concat) has one scale for what it takes and
gives, and moves integers. All else is computed from the numbers that the integers stand for, and
quantised again. For means and sums of layers scales are rounded up to few bits, so that all of that
is exact in float32 (`Scale.rounded_up`), and the same in every framework.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npkd import ops
from npkd.arguments import is_integer, shown
from npkd.nets import BatchNorm, Conv2d, Dropout, Linear, Network
from npkd.nets.layers import Params, op_of
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
FREE = 24  # bits that a scale has, as any float32
RELUS = (ops.relu, ops.relu6)
MEANS = (ops.avg_pool2d, ops.global_avg_pool2d)
SAME = (ops.flatten, ops.max_pool2d, ops.concat)  # whose outputs are some of their inputs
POSITIVE = (*RELUS, ops.sigmoid, ops.softmax)  # whose outputs are never below 0
KEEPING = (*MEANS, *SAME, ops.add, ops.upsample, ops.pixel_shuffle)  # or not, if no input is


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

    @property
    def has_weights(self) -> bool:
        """Whether it is a product of integers."""
        return self.kind in ("conv", "linear")


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

        most_weight: the largest integer that stands for a weight. What is computed in numbers is
        computed in float32. Raises ValueError for none of 1 to 127, for no images, and for a net
        whose outputs for these are not finite.
        """
        if not is_integer(most_weight) or not 1 <= most_weight <= MOST_WEIGHT:
            raise ValueError(f"most_weight is {shown(most_weight)}, expected 1 to {MOST_WEIGHT}")
        if not len(images):
            raise ValueError("there are no images for calibration, expected one or more")
        steps = steps_of(network)
        if network.dtype != np.float32 or floats(network, steps):
            network = network.astype(np.float32)  # a copy, which stays as it is
        images = np.asarray(images, np.float32)
        outputs, _ = network.features(images, [step.name for step in steps])
        scales = _scales(network, steps, {IMAGES: images, **outputs})
        return cls.by_scales(network, steps, scales, most_weight)

    @classmethod
    def by_scales(
        cls,
        network: Network,
        steps: tuple[Step, ...],
        scales: Mapping[str, Scale],
        most_weight: int,
    ) -> "Quantised":
        """That of a net by these scales of its outputs, with its weights as they are.

        Raises ValueError for weights that are not finite.
        """
        weights = {
            step.name: _weights(network, step, scales[step.takes[0]], most_weight)
            for step in steps
            if step.has_weights
        }
        return cls(network, steps, scales, weights)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The outputs for images (B, C, H, W), float32 (B, …), as the net's own."""
        return self.features(x, [self.last])[0][self.last]

    @property
    def most_weight(self) -> int:
        """The largest integer that stands for a weight."""
        return max(
            (int(np.abs(of.w.astype(int)).max(initial=1)) for of in self.weights.values()),
            default=1,
        )

    def features(self, x: np.ndarray, names: Iterable[str]) -> tuple[dict[str, np.ndarray], None]:
        """The numbers that steps give, by name, and no backward pass; see `Network.features`.

        Raises ValueError for images that the net does not take, and for names of no steps.
        """
        integers = self._integers(x, names)
        return {name: dequantize_linear(q, self.scales[name]) for name, q in integers.items()}, None

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that it computes with, by name: NAME/weight, NAME/weight_scale, NAME/bias, and of
        each output NAME/scale, NAME/zero_point.

        NAME is that of a step, the last of its layers; the images, which have scales alone, are
        "x". What is left as floats, of a layer of one's own, say, is LAYER.KEY, as in a net.
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
        self.network._require_images(x)
        names = [names] if isinstance(names, str) else list(names)
        steps = [step.name for step in self.steps]
        for name in names:
            if name not in (IMAGES, *steps):
                raise ValueError(f"asked for {shown(name)}, expected some of the steps {steps}")
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

    def prepare(self) -> None:
        """Make all products ready. Raises ValueError for weights whose sums may leave int32."""
        for step in self.steps:
            if step.has_weights:
                self._product(step)

    def _product(self, step: Step) -> Product:
        """A convolution or linear layer, prepared when it is first asked for."""
        if step.name not in self._products:
            weights = self.weights[step.name]
            x_of, y_of = self.scales[step.takes[0]], self.scales[step.name]
            options = {} if step.kind == "linear" else options_of(self.network, step)
            made = Product(x_of, weights.w, weights.scale, y_of, weights.b, **options)
            self._products[step.name] = made
        return self._products[step.name]


def steps_of(network: Network) -> tuple[Step, ...]:
    """The net's layers as steps: behind a convolution its batch norm, behind these a ReLU."""
    uses = Counter(taken for takes in network.takes.values() for taken in takes)
    kinds = _kinds(network)
    steps: dict[str, Step] = {}  # by what they give
    for name, layer in network.layers.items():
        taken = network.takes[name]
        before = steps.get(taken[0])
        if before is not None and uses[taken[0]] == 1 and _joins(network, before, layer):
            steps[name] = replace(steps.pop(taken[0]), layers=(*before.layers, name))
        else:
            steps[name] = Step((name,), taken, kinds[name])
    return tuple(steps.values())


def floats(network: Network, steps: Iterable[Step]) -> list[str]:
    """The names of the net's arrays that steps of numbers compute with."""
    layers = {name for step in steps if step.kind == "float" for name in step.layers}
    return [
        key
        for key in network.state_dict()
        if key.rpartition(".")[0] in layers and not key.endswith("num_batches_tracked")
    ]


def options_of(network: Network, step: Step) -> dict[str, Any]:
    """The options of a step's convolution; those of a batch norm, as one of each channel."""
    layer: Any = network.layers[step.layers[0]]
    if isinstance(layer, Conv2d):
        return dict(layer.options)
    return {"stride": 1, "padding": 0, "dilation": 1, "groups": layer.shapes["weight"][0]}


def _joins(network: Network, before: Step, layer: Any) -> bool:
    """Whether a layer can be computed with the step before it."""
    if type(layer) is Dropout:  # which in evaluation does nothing
        return True
    if type(layer) is BatchNorm:
        is_product = type(network.layers[before.layers[0]]) in (Conv2d, Linear)
        return is_product and len(before.layers) == 1
    if op_of(layer) not in RELUS:
        return False
    return before.kind != "same" and _last_op(network, before) not in RELUS


def _kinds(network: Network) -> dict[str, str]:
    """Of each layer that begins a step, its kind."""
    x = np.zeros((1, *network.image_shape), network.dtype)
    outputs, _ = network.features(x, network.layers)
    found = {}
    for name, layer in network.layers.items():
        kind = "float"
        if type(layer) is Conv2d or (type(layer) is BatchNorm and outputs[name].ndim == 4):
            kind = "conv"
        elif type(layer) is Linear:
            kind = "linear"
        elif type(layer) is Dropout or op_of(layer) in SAME:
            kind = "same"
        found[name] = kind
    return found


def _op(network: Network, step: Step) -> Any:
    return op_of(network.layers[step.layers[0]])


def _last_op(network: Network, step: Step) -> Any:
    """The op of its last layer that does something."""
    layers = [network.layers[name] for name in step.layers]
    acting = [layer for layer in layers if type(layer) is not Dropout]
    return op_of(acting[-1]) if acting else None


def _scales(
    network: Network, steps: Iterable[Step], values: Mapping[str, np.ndarray]
) -> dict[str, Scale]:
    """Those of all outputs, and of the images, by the values that they have.

    What a step only moves shares one scale. Of what is added, and of the sum, it is a power of two;
    of what a mean is taken of it has so few bits that the sum is exact.
    """
    of = {name: {name} for name in values}  # those that share a scale
    bits = dict.fromkeys(values, FREE)
    signed = {IMAGES: bool(values[IMAGES].min() < 0)}
    for step in steps:
        op, last = _op(network, step), _last_op(network, step)
        keeps = step.kind == "same" or op in KEEPING
        some = any(signed[taken] for taken in step.takes)
        signed[step.name] = last not in POSITIVE and (not keeps or some)
        if step.kind == "same":
            joined = set.union(of[step.name], *(of[taken] for taken in step.takes))
            of |= dict.fromkeys(joined, joined)
        elif op is ops.add:
            bits |= dict.fromkeys((step.name, *step.takes), 1)
        elif op in MEANS:
            taken = step.takes[0]
            cells = math.prod(values[taken].shape[2:])
            bits[taken] = min(bits[taken], 8, max(1, 16 - math.ceil(math.log2(cells))))
    ends = {name: (float(y.min()), float(y.max())) for name, y in values.items()}
    found = {}
    for name, shared in of.items():
        if not np.isfinite(ends[name]).all():
            raise ValueError(f"the outputs of {shown(name)} are not finite for the images given")
        most = max(max(-ends[one][0], ends[one][1], 0.0) for one in shared)
        has_sign = any(signed[one] for one in shared)
        scale = Scale.of(-most if has_sign else 0.0, most)
        few = min(bits[one] for one in shared)
        found[name] = scale if few == FREE else scale.rounded_up(few)
    return found


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


def back(
    steps: Iterable[Step],
    backwards: Mapping[str, Callable[[np.ndarray], tuple[tuple[np.ndarray, ...], Params]]],
    dys: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], Params]:
    """All gradients by outputs of steps, and by the images, from these; and by the parameters.

    backwards: by step, as `apply` gives them.
    """
    dys = dict(dys)
    grads: Params = {}
    for step in reversed(tuple(steps)):
        if step.name not in dys:  # of a branch that nobody takes
            continue
        gradients, of_step = backwards[step.name](dys[step.name])
        grads |= of_step
        for name, gradient in zip(step.takes, gradients, strict=True):
            dys[name] = dys[name] + gradient if name in dys else gradient
    return dys, grads


def _weights(network: Network, step: Step, x_of: Scale, most: int) -> Weights:
    """The weights of a step, with those of its batch norm, as integers."""
    arrays, first = network.state_dict(), step.layers[0]
    factor, shift = norm_of(network, step)
    if isinstance(network.layers[first], BatchNorm):
        w, b = factor.reshape(-1, 1, 1, 1), shift
    else:
        w = arrays[f"{first}.weight"].astype(np.float64)
        b = arrays.get(f"{first}.bias", np.zeros(len(w))).astype(np.float64)
        w, b = w * by_row(factor, w.ndim), b * factor + shift
    if not (np.isfinite(w).all() and np.isfinite(b).all()):
        raise ValueError(f"the weights of {shown(step.name)} are not finite")
    largest = np.abs(w).reshape(len(w), -1).max(axis=1)
    s = np.maximum(np.maximum(largest / most, np.abs(b) / (float(x_of.scale) * MOST_BIAS)), TINY)
    s = s.astype(np.float32)
    integers = np.clip(np.rint(w / by_row(s, w.ndim)), -most, most)
    biases = np.rint(b / (float(x_of.scale) * s.astype(np.float64)))
    return Weights(integers.astype(np.int8), s, biases.astype(np.int32))


def norm_of(network: Network, step: Step) -> tuple[np.ndarray, np.ndarray]:
    """What a step's batch norm makes of a number of each channel, factor · y + shift; or 1 and 0.

    It is its first layer, or the one behind a convolution or linear layer.

    factor = γ / √(σ² + ε), shift = β − μ · factor
    """
    arrays = network.state_dict()
    for name in step.layers:
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
