"""MLX, asked: its functions and layers, mx.vjp, mlx.nn.losses, mlx.optimizers."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optimizers
import numpy as np

from npkd.validate.frameworks.adapter import Adapter, NamespaceWords, NotGiven, losses_of, made_of
from npkd.validate.geometry import geometry, pair


class Mlx(Adapter):
    """The MLX that is installed, on its default device. dtype: "float32", "float16", "bfloat16"."""

    name = "MLX"

    def __init__(self, dtype: str = "float32"):
        if dtype == "float64":
            raise ValueError("its functions are not asked in float64")
        self.dtype = getattr(mx, dtype)
        self.words = NamespaceWords(
            mx,
            array=self.given,
            floating=lambda x: x.astype(self.dtype),
            softmax=lambda z, axis=-1: mx.softmax(z, axis),
            log_softmax=nn.log_softmax,
            softplus=nn.softplus,
            log_sum_exp=lambda z: mx.logsumexp(z, -1, keepdims=True),
        )
        self.operations = {**made_of(self.words), **OPERATIONS}
        self.losses = losses_of(self.words, **LOSSES)

    def about(self) -> dict[str, str]:
        return {
            "framework": f"MLX {importlib.metadata.version('mlx')}",
            "device": f"{mx.default_device()}, {platform.machine()}",
            "flags": "none",
        }

    def given(self, array: np.ndarray) -> mx.array:
        x = mx.array(array)
        return x.astype(self.dtype) if array.dtype.kind == "f" else x

    def found(self, x: mx.array) -> np.ndarray:
        return np.array(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x)

    def vjp(
        self, function: Callable[..., mx.array], arrays: list[mx.array], dy: mx.array | None
    ) -> list[mx.array]:
        def alone(*arrays: mx.array) -> list[mx.array]:
            return [function(*arrays)]

        if dy is None:
            dy = mx.ones_like(function(*arrays))
        return mx.vjp(alone, arrays, [dy])[1]

    def updater(self, op: str, **memory: mx.array) -> Callable[..., mx.array]:
        """One of MLX's optimisers; what it remembers is put into it."""
        kept: list[Any] = []

        def update(theta: mx.array, g: mx.array, **options: Any) -> mx.array:
            if not kept:
                kept.append(optimizer(op, **options))
                kept[0].init({"theta": theta})
                kept[0].state["step"] = mx.array(options.get("step", 1) - 1, mx.uint64)
                names = {"velocity": "v"} if op == "sgd" else {}
                kept[0].state["theta"].update({names.get(k, k): x for k, x in memory.items()})
            kept[0].learning_rate = options["lr"]
            return kept[0].apply_gradients({"theta": g}, {"theta": theta})["theta"]

        return update


# As a user of MLX writes them: arguments, arrays or not, have no types


def optimizer(op, *, lr, weight_decay, beta1=0, beta2=0, epsilon=0, decoupled=False, **options):
    if op == "sgd":
        return optimizers.SGD(lr, weight_decay=weight_decay, **options)
    of_adam = {"betas": [beta1, beta2], "eps": epsilon, "bias_correction": True}
    if decoupled:
        return optimizers.AdamW(lr, weight_decay=weight_decay, **of_adam)
    if weight_decay:
        raise NotGiven("Adam with a weight decay that is not decoupled")
    return optimizers.Adam(lr, **of_adam)


def channels_last(function):
    """A function of images, for which channels come last in MLX."""

    def moved(x, *others, **options):
        y = function(mx.transpose(x, (0, 2, 3, 1)), *others, **options)
        return mx.transpose(y, (0, 3, 1, 2))

    return moved


@channels_last
def conv2d(x, w, b=None, *, stride, padding, dilation, groups):
    w = mx.transpose(w, (0, 2, 3, 1))
    shape = x.shape[0], x.shape[3], x.shape[1], x.shape[2]
    of = geometry(shape, w.shape[1:3], stride, padding, dilation)
    if of.before == of.after:
        y = mx.conv2d(x, w, of.stride, of.before, of.dilation, groups)
    else:
        around = [*of.before], [*of.after]
        y = mx.conv_general(x, w, of.stride, around, kernel_dilation=of.dilation, groups=groups)
    return y if b is None else y + b


def pool(layer):
    @channels_last
    def pooled(x, kernel_size, stride, padding, ceil_mode, dilation=1, **of_average):
        if of_average.get("divisor_override") is not None:
            raise NotGiven("average pools with a divisor of their own")
        if not of_average.get("count_include_pad", True):
            raise NotGiven("average pools that leave their padding out")
        if ceil_mode:
            raise NotGiven("pools with ceil_mode")
        if pair(dilation) != (1, 1):
            raise NotGiven("max pools with dilation")
        return layer(pair(kernel_size), None if stride is None else pair(stride), pair(padding))(x)

    return pooled


@channels_last
def upsample(x, factor, mode):
    return nn.Upsample(factor, "nearest" if mode == "nearest" else "linear", align_corners=False)(x)


def normalised(x, epsilon=1e-5, momentum=0.1, training=True, **given):
    """A layer of batch norm that has been called, and what it made."""
    given = {name: value for name, value in given.items() if value is not None}
    affine = "weight" in given or "bias" in given
    layer = nn.BatchNorm(x.shape[1], epsilon, momentum, affine).train(training)
    for name, value in given.items():
        setattr(layer, name, value)
    return layer, channels_last(layer)(x) if x.ndim == 4 else layer(x)


def batch_norm(x, w=None, b=None, mean=None, variance=None, *, epsilon):
    given = {"weight": w, "bias": b, "running_mean": mean, "running_var": variance}
    return normalised(x, epsilon, training=mean is None, **given)[1]


def running(statistic):
    def updated(x, momentum, **before):
        (given,) = before.values()
        return getattr(normalised(x, momentum=momentum, **{statistic: given})[0], statistic)

    return updated


def distinct(workers):
    keys = mx.random.split(mx.random.key(0), workers)
    return mx.stack([mx.random.uniform(shape=(16,), key=key) for key in keys])


LOSSES: dict[str, Callable[..., mx.array]] = {
    "l1": lambda student, teacher: nn.losses.l1_loss(student, teacher, "none"),
    "huber": lambda student, teacher, delta: nn.losses.huber_loss(student, teacher, delta),
    "kl": lambda s, t: nn.losses.kl_div_loss(nn.log_softmax(s), nn.log_softmax(t)),
    "cross_entropy": nn.losses.cross_entropy,
    "soft_cross_entropy": nn.losses.cross_entropy,
}
OPERATIONS: dict[str, Callable[..., mx.array]] = {
    "conv2d": conv2d,
    "linear": lambda x, w, b=None: x @ w.T if b is None else mx.addmm(b, x, w.T),
    "avg_pool2d": pool(nn.AvgPool2d),
    "max_pool2d": pool(nn.MaxPool2d),
    "relu": nn.relu,
    "relu6": nn.relu6,
    "sigmoid": mx.sigmoid,
    "tanh": mx.tanh,
    "silu": nn.silu,
    "gelu": lambda x, approximate: nn.gelu_approx(x) if approximate == "tanh" else nn.gelu(x),
    "flatten": lambda x: mx.flatten(x, 1),
    "upsample": upsample,
    "batch_norm": batch_norm,
    "running_mean": running("running_mean"),
    "running_variance": running("running_var"),
    "dropout": lambda x, mask=None, p=0.5: nn.Dropout(p).eval()(x) if mask is None else x * mask,
    "distinct": distinct,
}
