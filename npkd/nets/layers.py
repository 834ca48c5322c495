"""Layers, an op with its parameters, and networks, layers in order."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from npkd import ops
from npkd.arguments import as_float, positive_integer, shown
from npkd.ops.contract import Pair, pair
from npkd.ops.conv import conv2d_relu
from npkd.ops.norm import batch_norm_relu, conv2d_norm

Params = dict[str, np.ndarray]
Called = tuple[np.ndarray, Callable[..., Any]]


class Layer(Protocol):
    """What a network asks of a layer.

    `shapes` names the parameters and their shapes. Called with x and its parameters, a layer
    returns its value and `backward(dy, need_dx)`, which returns dx (None if not needed) and the
    gradients by its parameters, named like them. `macs` is the number of multiply-adds that one
    image's y of this shape takes; additions, divisions and comparisons count nothing.

    A layer may have more (`Wired`, `BatchNorm`, `Dropout`): `takes`, the names of the layers whose
    outputs it takes, if it is not the one before; `start`, its parameters' first values; `state`,
    what it remembers, and `train`, its call in a training pass.

    Example
        >>> layer = nets.Linear(2, 3)
        >>> print(layer.shapes, layer.macs((1, 3)))
        {'weight': (3, 2), 'bias': (3,)} 6
    """

    shapes: dict[str, tuple[int, ...]]

    def __call__(self, *inputs: Any, **options: Any) -> Called:
        """The value, and the backward pass."""

    def macs(self, y_shape: tuple[int, ...]) -> int:
        """Multiply-adds for one image."""


class Wired:
    """A layer that may name what it takes: the output of another layer, or "x", the images.

    takes: its name, or the names of several if the layer can take these; none for the one before.
    """

    most = 1  # that it can take

    def __init__(self, shapes: dict[str, tuple[int, ...]], takes: str | tuple[str, ...] = ()):
        self.shapes = shapes
        self.takes = (takes,) if isinstance(takes, str) else tuple(takes)
        if len(self.takes) > self.most or not all(isinstance(one, str) for one in self.takes):
            names = "names of layers" if self.most > 1 else "the name of one layer"
            raise ValueError(f"{type(self).__name__}: takes {shown(takes)}, expected {names}")

    def macs(self, y_shape: tuple[int, ...]) -> int:
        """None: no weights are multiplied."""
        return 0


class _WithWeight(Wired):
    """A layer with a weight (out, …), and a bias (out,) unless there is none."""

    def __init__(self, weight_shape: tuple[int, ...], bias: bool, takes: str | tuple[str, ...]):
        for size in weight_shape:
            positive_integer(type(self).__name__, f"a size in {weight_shape}", size)
        shapes = {"weight": weight_shape, "bias": weight_shape[:1]}
        super().__init__(shapes if bias else {"weight": weight_shape}, takes)

    def macs(self, y_shape: tuple[int, ...]) -> int:
        """Every output is a sum over one row of the weight."""
        return math.prod(y_shape) * math.prod(self.shapes["weight"][1:])


class Conv2d(_WithWeight):
    """`ops.conv2d` with its weight (O, C/groups, kh, kw) and bias (O,).

    Example
        >>> nets.Conv2d(3, 16, 5, padding=2).shapes
        {'weight': (16, 3, 5, 5), 'bias': (16,)}
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        *,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        takes: str | tuple[str, ...] = (),
    ):
        positive_integer("Conv2d", "groups", groups)
        positive_integer("Conv2d", "in_channels", in_channels)
        if in_channels % groups:
            raise ValueError(f"Conv2d: {in_channels} channels do not make {groups} groups")
        kernel = pair("Conv2d", "kernel_size", kernel_size, 1)
        super().__init__((out_channels, in_channels // groups, *kernel), bias, takes)
        self.options: dict[str, Any] = {
            **{"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        }

    def __call__(self, x: np.ndarray, params: Params, relu: bool = False) -> Called:
        """See `Layer`; with `ops.relu` behind it, in one."""
        op = conv2d_relu if relu else ops.conv2d
        y, backward = op(x, params["weight"], params.get("bias"), **self.options)
        return y, _with_names(backward)


class Linear(_WithWeight):
    """`ops.linear` with its weight (O, I) and bias (O,).

    Example
        >>> params = {"weight": np.array([[3.0]]), "bias": np.ones(1)}
        >>> y, backward = nets.Linear(1, 1)(np.array([[2.0]]), params)
        >>> print(y, *backward(np.array([[1.0]])))
        [[7.]] [[3.]] {'weight': array([[2.]]), 'bias': array([1.])}
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        takes: str | tuple[str, ...] = (),
    ):
        super().__init__((out_features, in_features), bias, takes)

    def __call__(self, x: np.ndarray, params: Params) -> Called:
        """See `Layer`."""
        y, backward = ops.linear(x, params["weight"], params.get("bias"))
        return y, _with_names(backward)


class BatchNorm(Wired):
    """`ops.batch_norm` with its weight and bias (C,), and statistics that it remembers.

    In evaluation mean and variance are those remembered. In a training pass they are the batch's,
    and what is remembered moves towards these:

        running_mean ← (1 − μ) running_mean + μ mean
        running_var  ← (1 − μ) running_var + μ variance · m/(m − 1)

    momentum: μ. m: the numbers of each channel, so m/(m − 1) makes the variance unbiased. Names and
    conventions are PyTorch's, also `num_batches_tracked`, which counts the training passes.

    Source: Ioffe and Szegedy 2015, "Batch Normalization", algorithm 2.

    Example
        >>> layer = nets.BatchNorm(1)
        >>> params = {"weight": np.ones(1), "bias": np.zeros(1), **layer.state}
        >>> _, _, state = layer.train(np.array([[1.0], [3.0]]), params, None)
        >>> print(state["running_mean"], state["running_var"])  # 0.1 · 2, 0.9 · 1 + 0.1 · 2
        [0.2] [1.1]
    """

    def __init__(
        self,
        channels: int,
        *,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        takes: str | tuple[str, ...] = (),
    ):
        positive_integer("BatchNorm", "channels", channels)
        if not 0 <= as_float(momentum) <= 1:
            raise ValueError(
                f"BatchNorm: momentum is {shown(momentum)}, expected a number from 0 to 1"
            )
        if not 0 <= as_float(epsilon) < math.inf:
            raise ValueError(
                f"BatchNorm: epsilon is {shown(epsilon)}, expected a number of 0 or more"
            )
        super().__init__({"weight": (channels,), "bias": (channels,)}, takes)
        self.momentum, self.epsilon = float(momentum), float(epsilon)
        self.state = {
            "running_mean": np.zeros(channels),
            "running_var": np.ones(channels),
            "num_batches_tracked": np.array(0),
        }

    def start(self, rng: np.random.Generator) -> Params:
        """As they change nothing: weight 1, bias 0."""
        return {"weight": np.ones(self.shapes["weight"]), "bias": np.zeros(self.shapes["bias"])}

    def __call__(self, x: np.ndarray, params: Params, relu: bool = False) -> Called:
        """See `Layer`; evaluation."""
        op = batch_norm_relu if relu else ops.batch_norm
        y, backward = op(x, *_by_channel(params), epsilon=self.epsilon)
        return y, _with_names(backward)

    def behind(
        self, conv: Conv2d, x: np.ndarray, of_conv: Params, params: Params, relu: bool = False
    ) -> Called:
        """A convolution and this in evaluation, in one; its gradients are those of each by name."""
        y, backward = conv2d_norm(
            x,
            of_conv["weight"],
            of_conv.get("bias"),
            _by_channel(params),
            epsilon=self.epsilon,
            with_relu=relu,
            **conv.options,
        )

        def named(dy: np.ndarray, need_dx: bool = True) -> tuple[np.ndarray | None, Params, Params]:
            (dx, dw, db), (dscale, dshift, *_) = backward(dy, need_dx)
            of_conv = {"weight": dw} if db is None else {"weight": dw, "bias": db}
            return dx, of_conv, {"weight": dscale, "bias": dshift}

        return y, named

    def train(
        self, x: np.ndarray, params: Params, rng: Any, relu: bool = False
    ) -> tuple[np.ndarray, Callable[..., Any], Params]:
        """The same in a training pass, and what is remembered after it."""
        op = batch_norm_relu if relu else ops.batch_norm
        y, backward, (mean, variance) = op(
            x, params["weight"], params["bias"], epsilon=self.epsilon
        )
        m, moved = x.size // x.shape[1], self.momentum
        fresh = {"running_mean": mean, "running_var": variance * (m / (m - 1))}
        state = {name: (1 - moved) * params[name] + moved * fresh[name] for name in fresh}
        state["num_batches_tracked"] = params["num_batches_tracked"] + 1
        return y, _with_names(backward), state


class Function(Wired):
    """An op without parameters, with its other arguments: `Function(ops.avg_pool2d, 2)`.

    Example
        >>> y, backward = nets.Function(ops.relu)(np.array([-1.0, 2.0]), {})
        >>> print(y, *backward(np.array([5.0, 5.0])))
        [0. 2.] [0. 5.] {}
    """

    most = 1000

    def __init__(
        self,
        op: Callable[..., tuple[np.ndarray, Callable[..., Any]]],
        *arguments: Any,
        takes: str | tuple[str, ...] = (),
        **options: Any,
    ):
        super().__init__({}, takes)
        self.op, self.arguments, self.options = op, arguments, options

    def __call__(self, *inputs: Any) -> Called:
        """See `Layer`."""
        *xs, _ = inputs  # the last are parameters, and there are none
        y, backward = self.op(*xs, *self.arguments, **self.options)
        return y, lambda dy, need_dx=True: (backward(dy) if need_dx else None, {})


class Add(Function):
    """`ops.add` of the outputs of two layers, or of "x", the images: a shortcut.

    Example
        >>> nets.Add("bn2", "relu1").takes
        ('bn2', 'relu1')
    """

    def __init__(self, a: str, b: str):
        super().__init__(ops.add, takes=(a, b))

    def __call__(self, *inputs: Any) -> Called:
        """See `Layer`. Both get dy itself, not copies: no backward pass writes to its argument."""
        a, b, _ = inputs
        return ops.add(a, b)[0], lambda dy, need_dx=True: ((dy, dy), {})


class Concat(Function):
    """`ops.concat` of the outputs of layers, channel behind channel.

    Example
        >>> nets.Concat("relu1", "relu2", "relu3").takes
        ('relu1', 'relu2', 'relu3')
    """

    def __init__(self, *takes: str):
        if not takes:
            raise ValueError("Concat: no layers are named, expected one or more")
        super().__init__(ops.concat, takes=takes)


def op_of(layer: Layer) -> Callable[..., Any] | None:
    """The op that a layer without parameters is, for who computes it otherwise; else None.

    None for a subclass of one's own too, which may compute something else.
    """
    if isinstance(layer, Function) and type(layer) in (Function, Add, Concat):
        return layer.op
    return None


class Dropout(Wired):
    """`ops.dropout`: in a training pass an entry is 0 with chance p, else 1/(1 − p) times as large.

    In evaluation nothing is changed.

    Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", with the factor in training (section 10).

    Example
        >>> y, _, _ = nets.Dropout(0.5).train(np.ones((1, 6)), {}, np.random.default_rng(0))
        >>> print(y)
        [[2. 0. 0. 0. 2. 2.]]
    """

    def __init__(self, p: float, *, takes: str | tuple[str, ...] = ()):
        if not 0 <= as_float(p) < 1:
            raise ValueError(f"Dropout: p is {shown(p)}, expected a chance from 0 to below 1")
        super().__init__({}, takes)
        self.p = float(p)

    def __call__(self, x: np.ndarray, params: Params) -> Called:
        """See `Layer`; evaluation."""
        return x, lambda dy, need_dx=True: (dy, {})

    def train(
        self, x: np.ndarray, params: Params, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, Callable[..., Any], Params]:
        """The same in a training pass. Raises ValueError without `rng`."""
        if rng is None:
            raise ValueError("Dropout: a training pass needs rng, a np.random.Generator")
        mask = ((rng.random(x.shape) >= self.p) / (1 - self.p)).astype(x.dtype)
        y, backward = ops.dropout(x, mask)
        return y, lambda dy, need_dx=True: (backward(dy) if need_dx else None, {}), {}


def _by_channel(params: Params) -> tuple[np.ndarray, ...]:
    return tuple(params[key] for key in ("weight", "bias", "running_mean", "running_var"))


def _with_names(backward: Callable[..., Any]) -> Callable[..., Any]:
    """An op's backward pass, its gradients by w and b by name."""

    def named(dy: np.ndarray, need_dx: bool = True) -> tuple[np.ndarray | None, Params]:
        dx, dw, db, *_ = backward(dy, need_dx=need_dx)
        return dx, {"weight": dw} if db is None else {"weight": dw, "bias": db}

    return named
