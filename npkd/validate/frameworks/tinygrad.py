"""tinygrad, asked: its functions, its gradient, tinygrad.nn.optim."""

from __future__ import annotations

import importlib.metadata
import inspect
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from tinygrad import Device, Tensor, helpers, nn

from npkd.validate.frameworks.adapter import (
    Adapter,
    NamespaceWords,
    NotGiven,
    losses_of,
    made_of,
    set_to,
)
from npkd.validate.geometry import geometry, pair

FLAGS = ("NOOPT", "BEAM", "WINO", "TRANSCENDENTAL", "FLOAT16", "FUSE_OPTIM", "DEFAULT_FLOAT")


class TinyGrad(Adapter):
    """The tinygrad that is installed, on its default device, in float32."""

    name = "tinygrad"

    def __init__(self, dtype: str = "float32"):
        if dtype != "float32":
            raise ValueError(f"it is asked in float32 alone, not in {dtype}")
        try:
            Device[Device.DEFAULT]
        except RuntimeError as error:
            raise ValueError(f"it finds no device; on a CPU it needs clang: {error}") from error
        self.words = NamespaceWords(
            Tensor,
            array=self.given,
            floating=Tensor.float,
            sum=lambda x, axis=None, keepdims=False: x.sum(axis, keepdim=keepdims),
            max=lambda x, axis, keepdims=False: x.max(axis, keepdim=keepdims),
            permute=Tensor.permute,
            concatenate=lambda parts, axis: parts[0].cat(*parts[1:], dim=axis),
            stop_gradient=Tensor.detach,
            softmax=Tensor.softmax,
            log_softmax=Tensor.log_softmax,
            softplus=Tensor.softplus,
            log_sum_exp=lambda z: z.logsumexp(-1, keepdim=True),
        )
        self.operations = {**made_of(self.words), **OPERATIONS}
        own = {"cross_entropy": cross_entropy, "soft_cross_entropy": cross_entropy}
        self.losses = losses_of(self.words, **own)

    def about(self) -> dict[str, str]:
        renderer = type(getattr(Device[Device.DEFAULT], "renderer", None)).__name__
        return {
            "framework": f"tinygrad {importlib.metadata.version('tinygrad')}",
            "device": f"{Device.DEFAULT}, {platform.machine()}, {renderer}",
            "flags": set_to(helpers, [f"{flag}.value" for flag in FLAGS]).replace(".value", ""),
        }

    def given(self, array: np.ndarray) -> Tensor:
        kind = array.dtype.kind
        return Tensor(np.array(array, np.float32 if kind == "f" else None, order="C"))

    def found(self, x: Tensor) -> np.ndarray:
        return x.numpy()

    def vjp(
        self, function: Callable[..., Tensor], arrays: list[Tensor], dy: Tensor | None
    ) -> list[Tensor]:
        for x in arrays:
            x.requires_grad = True  # that which is older asks for it
        y = function(*arrays)
        dy = Tensor.ones(*y.shape) if dy is None else dy
        if hasattr(y, "gradient"):
            return y.gradient(*arrays, gradient=dy)
        (y * dy).sum().backward()
        return [x.grad for x in arrays]

    def updater(self, op: str, **memory: Tensor) -> Callable[..., Tensor]:
        """One of tinygrad's optimisers, which keeps the parameter; what it remembers is put in."""
        kept: list[Any] = []

        def update(theta: Tensor, g: Tensor, **options: Any) -> Tensor:
            if not kept:
                theta.requires_grad = True
                kept.append(optimizer(op, [theta], memory, **options))
            (optimiser,) = kept
            (parameter,) = optimiser.params
            optimiser.lr.assign(Tensor([options["lr"]])).realize()
            parameter.grad = g
            with training():
                optimiser.step()
            return parameter

        return update


def training() -> AbstractContextManager[Any]:
    """In which layers and optimisers are in training."""
    if hasattr(helpers, "TRAINING"):
        return helpers.Context(TRAINING=1)
    return Tensor.train()


# As a user of tinygrad writes them: arguments, arrays or not, have no types


def optimizer(op, parameters, memory, *, lr, weight_decay, step=1, decoupled=False, **options):
    if op == "sgd":
        made = nn.optim.SGD(parameters, lr, weight_decay=weight_decay, **options)
        held = [(made.b[0], memory["velocity"])] if memory and made.momentum else []
    else:
        if weight_decay and not decoupled:
            raise NotGiven("Adam with a weight decay that is not decoupled")
        betas = options["beta1"], options["beta2"]
        made = nn.optim.AdamW(parameters, lr, *betas, options["epsilon"], weight_decay)
        powers = [Tensor([beta ** (step - 1)]) for beta in betas]
        held = [(made.b1_t, powers[0]), (made.b2_t, powers[1])]
        held += [(made.m[0], memory["m"]), (made.v[0], memory["v"])] if memory else []
    for state, x in held:
        state.assign(x.cast(state.dtype).contiguous()).realize()
    return made


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    (top, bottom), (left, right) = geometry(x.shape, w.shape[2:], 1, padding, dilation).sides
    return x.conv2d(w, b, groups, pair(stride), pair(dilation), (left, right, top, bottom))


def avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
    if divisor_override is not None:
        raise NotGiven("average pools with a divisor of their own")
    asked = {"ceil_mode": True} if ceil_mode else {}  # that which is older has no such options
    asked.update({} if count_include_pad else {"count_include_pad": False})
    stride = kernel_size if stride is None else stride
    return x.avg_pool2d(pair(kernel_size), pair(stride), padding=pair(padding), **asked)


def max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode):
    asked = {"ceil_mode": True} if ceil_mode else {}
    stride = kernel_size if stride is None else stride
    return x.max_pool2d(pair(kernel_size), pair(stride), pair(dilation), pair(padding), **asked)


def upsample(x, factor, mode):
    size = x.shape[2] * factor, x.shape[3] * factor
    return x.interpolate(size, mode="linear" if mode == "bilinear" else mode)


def normalised(x, epsilon=1e-5, momentum=0.1, **given):
    """A layer of batch norm that has been called, and what it made."""
    layer = nn.BatchNorm(x.shape[1], epsilon, momentum=momentum)
    for name, value in given.items():
        setattr(layer, name, value)
    return layer, layer(x)


def batch_norm(x, w=None, b=None, mean=None, variance=None, *, epsilon):
    affine = {"weight": w, "bias": b}
    if mean is not None:
        return normalised(x, epsilon, running_mean=mean, running_var=variance, **affine)[1]
    with training():
        return normalised(x, epsilon, **affine)[1]


def running(statistic):
    def updated(x, momentum, **before):
        with training():
            (given,) = before.values()
            layer, _ = normalised(x, momentum=momentum, **{statistic: given.contiguous()})
        return getattr(layer, statistic)

    return updated


def gelu(x, approximate="none"):
    if "approximate" in inspect.signature(Tensor.gelu).parameters:
        return x.gelu(approximate)
    if approximate != "tanh":
        raise NotGiven("gelu but by tanh")
    return x.gelu()


def distinct(workers):
    def first(worker):
        Tensor.manual_seed(worker)
        return Tensor.rand(1, 16).realize()

    return Tensor.cat(*map(first, range(workers)))


def cross_entropy(logits, target):
    return logits.cross_entropy(target, "none")


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "conv2d": conv2d,
    "linear": lambda x, w, b=None: x.linear(w.transpose(), b),
    "avg_pool2d": avg_pool2d,
    "max_pool2d": max_pool2d,
    "relu": Tensor.relu,
    "relu6": Tensor.relu6,
    "sigmoid": Tensor.sigmoid,
    "tanh": Tensor.tanh,
    "silu": Tensor.silu,
    "gelu": gelu,
    "upsample": upsample,
    "batch_norm": batch_norm,
    "running_mean": running("running_mean"),
    "running_variance": running("running_var"),
    "dropout": lambda x, mask=None, p=0.5: x.dropout(p) if mask is None else x * mask,
    "distinct": distinct,
}
