"""Keras 3, asked: its ops, losses and optimisers, with any of its backends."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from npkd.validate.frameworks.adapter import Adapter, NamespaceWords, NotGiven, losses_of, made_of
from npkd.validate.geometry import geometry

Tensor = Any
keras: Any = None  # imported by the first adapter, which says with what backend
ops: Any = None


class Keras(Adapter):
    """The Keras that is installed, on the device of its backend's choice.

    dtype    of all tensors of numbers
    backend  "tensorflow", "jax" or "torch"; None: what Keras is configured for

    Raises ValueError where Keras has another backend already, or that backend no such dtype.
    """

    name = "Keras"

    def __init__(self, dtype: str = "float32", backend: str | None = None):
        global keras, ops
        if backend and "keras" not in sys.modules:
            os.environ["KERAS_BACKEND"] = backend
        import keras
        from keras import ops

        self.backend = keras.backend.backend()
        if backend and self.backend != backend:
            raise ValueError(f"it has been imported with the backend {self.backend}")
        self.vjp = GRADIENTS[self.backend]  # type: ignore[method-assign]
        self.dtype, self.words = dtype, KerasWords(dtype)
        if keras.backend.standardize_dtype(self.words.array(np.zeros(1)).dtype) != dtype:
            raise ValueError(f"its backend {self.backend} computes no {dtype}")
        self.operations = {**made_of(self.words), **OPERATIONS}
        self.losses = losses_of(self.words, **LOSSES)

    def about(self) -> dict[str, str]:
        backend = sys.modules[self.backend].__version__
        names = ("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS")
        flags = [f"{name} {os.environ[name]}" for name in names if name in os.environ]
        return {
            "framework": f"Keras {keras.__version__} with {self.backend} {backend}",
            "device": f"{ops.zeros(1).device}, {platform.machine()}",
            "flags": ", ".join([f"float {keras.backend.floatx()}", *flags]),
        }

    def given(self, array: np.ndarray) -> Tensor:
        return self.words.array(array)

    def found(self, x: Tensor) -> np.ndarray:
        found = np.array(ops.convert_to_numpy(x))
        return found.astype(np.float32) if self.dtype == "bfloat16" else found

    def updater(self, op: str, **memory: Tensor) -> Callable[..., Tensor]:
        """By an optimiser. Its velocity holds the rate: v ← μ v − lr g, θ ← θ + v."""
        if memory:
            raise NotGiven("what an optimiser remembers of earlier steps")
        kept: dict[str, Any] = {}

        def update(theta: Tensor, g: Tensor, *, lr: float, **options: Any) -> Tensor:
            if not kept:
                kept.update(by=_optimizer(op, lr, **options), lr=lr)
                kept["theta"] = keras.Variable(theta, dtype=self.dtype)
            if options.get("momentum") and lr != kept["lr"]:
                raise NotGiven("momentum without the rate in it, where the rate changes")
            kept["by"].learning_rate = lr
            if op == "adam":  # Keras adds ε to √v; to that of the corrected v this is the same
                bias = 1 - options["beta2"] ** options["step"]
                kept["by"].epsilon = options["epsilon"] * bias**0.5
            kept["by"].apply([g], [kept["theta"]])
            return ops.copy(kept["theta"].value)

        return update


def _optimizer(op: str, lr: float, weight_decay: float, **options: Any) -> Any:
    if weight_decay and not options.get("decoupled"):
        raise NotGiven(f"{op} with weight decay in the gradient")
    if op == "sgd":
        return keras.optimizers.SGD(lr, options["momentum"], options["nesterov"])
    betas = {"beta_1": options["beta1"], "beta_2": options["beta2"]}
    if not weight_decay:
        return keras.optimizers.Adam(lr, **betas)
    return keras.optimizers.AdamW(lr, weight_decay=weight_decay, **betas)


def _by_tensorflow(function, arrays, dy):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(arrays)
        y = function(*arrays)
    return tape.gradient(y, arrays, dy, tf.UnconnectedGradients.ZERO)


def _by_jax(function, arrays, dy):
    import jax

    y, pullback = jax.vjp(function, *arrays)
    return list(pullback(ops.ones_like(y) if dy is None else dy))


def _by_torch(function, arrays, dy):
    import torch

    arrays = [x.detach().requires_grad_() for x in arrays]
    y, zeros = function(*arrays), {"allow_unused": True, "materialize_grads": True}
    return torch.autograd.grad(y, arrays, dy, **zeros)


GRADIENTS = {"tensorflow": _by_tensorflow, "jax": _by_jax, "torch": _by_torch}


class KerasWords(NamespaceWords):
    """The words of formulas in Keras."""

    def __init__(self, dtype: str):
        own = {"softmax": ops.softmax, "log_softmax": ops.log_softmax}
        super().__init__(ops, **own, softplus=ops.softplus)
        self.dtype = dtype

    def array(self, x: np.ndarray) -> Tensor:
        return ops.convert_to_tensor(x, self.dtype if x.dtype.kind == "f" else None)

    def floating(self, x: Tensor) -> Tensor:
        return ops.cast(x, self.dtype)

    def abs(self, x: Tensor) -> Tensor:
        """|x| with the slope 0 at 0; with JAX that of ops.abs is 1 there."""
        return x * ops.stop_gradient(ops.sign(x))

    def log_sum_exp(self, z: Tensor) -> Tensor:
        return ops.logsumexp(z, -1, keepdims=True)


# Operations, as a user of Keras writes them: arguments have no types


def last(x):
    """(N, C, H, W) as (N, H, W, C)."""
    return ops.transpose(x, (0, 2, 3, 1))


def first(x):
    """(N, H, W, C) as (N, C, H, W)."""
    return ops.transpose(x, (0, 3, 1, 2))


def padded(x, of, fill=0.0):
    """(N, C, H, W) as (N, H, W, C), with the cells that geometry adds."""
    sides = [(0, 0), *of.sides, (0, 0)]
    return ops.pad(last(x), sides, constant_values=fill) if any(map(any, sides)) else last(x)


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    of = geometry(x.shape, tuple(w.shape[2:]), stride, padding, dilation)
    if of.stride != (1, 1) and of.dilation != (1, 1):
        raise NotGiven("convolutions with strides and dilation")
    x, sides = (last(x), "same") if padding == "same" else (padded(x, of), "valid")
    w = ops.transpose(w, (2, 3, 1, 0))  # its third size says how many groups there are
    y = ops.conv(x, w, of.stride, sides, "channels_last", of.dilation)
    return first(y if b is None else ops.add(y, b))


def avg_pool2d(x, *, count_include_pad=True, divisor_override=None, **options):
    of = geometry(x.shape, **options)
    if divisor_override is not None:
        raise NotGiven("average pools with a divisor of their own")
    if of.extra != (0, 0):
        raise NotGiven("average pools with ceil_mode")
    if of.before != (0, 0) and not count_include_pad:
        raise NotGiven("average pools that do not count padding")
    y = ops.average_pool(padded(x, of), of.kernel, of.stride, "valid", "channels_last")
    return first(y)


def max_pool2d(x, **options):
    of = geometry(x.shape, **options)
    if of.dilation != (1, 1):
        raise NotGiven("max-pools with dilation")
    x = padded(x, of, -float("inf"))
    return first(ops.max_pool(x, of.kernel, of.stride, "valid", "channels_last"))


def upsample(x, factor, mode="nearest"):
    size = (x.shape[2] * factor, x.shape[3] * factor)
    return first(ops.image.resize(last(x), size, mode, data_format="channels_last"))


def batch_norm(x, w=None, b=None, mean=None, variance=None, epsilon=1e-5):
    if mean is None:
        mean, variance = ops.moments(x, [0, *range(2, len(x.shape))])
    return ops.batch_normalization(x, mean, variance, 1, b, w, epsilon)


def augment(images, shifts, flips):
    _, _, height, width = images.shape
    images = ops.pad(images, [(0, 0), (0, 0), (height, height), (width, width)])
    moved = []
    for number, (down, right) in enumerate(ops.convert_to_numpy(shifts)):
        top, left = height - int(down), width - int(right)
        image = images[number, :, top : top + height, left : left + width]
        moved.append(ops.where(flips[number], ops.flip(image, 2), image))
    return ops.stack(moved)


def running_mean(x, mean, momentum):
    batch, _ = ops.moments(x, [0, *range(2, len(x.shape))])
    return mean * (1 - momentum) + batch * momentum


def running_variance(x, variance, momentum):
    raise NotGiven("running variances over m − 1")


def distinct(workers):
    seeds = [keras.random.SeedGenerator(worker) for worker in range(workers)]
    return ops.stack([keras.random.uniform((16,), seed=seed) for seed in seeds])


OPERATIONS: Mapping[str, Callable[..., Tensor]] = {
    "conv2d": conv2d,
    "avg_pool2d": avg_pool2d,
    "max_pool2d": max_pool2d,
    "global_avg_pool2d": lambda x: ops.mean(x, (2, 3), keepdims=True),
    "relu": lambda x: ops.relu(x),
    "relu6": lambda x: ops.relu6(x),
    "sigmoid": lambda x: ops.sigmoid(x),
    "tanh": lambda x: ops.tanh(x),
    "silu": lambda x: ops.silu(x),
    "gelu": lambda x, approximate="none": ops.gelu(x, approximate == "tanh"),
    "dropout": lambda x, mask=None, p=0.5: (
        keras.layers.Dropout(p)(x, training=False) if mask is None else x * mask
    ),
    "upsample": upsample,
    "batch_norm": batch_norm,
    "running_mean": running_mean,
    "running_variance": running_variance,
    "augment": augment,
    "rows": lambda x, index, **about: ops.take(x, index, 0),
    "maximum": lambda a, b: ops.maximum(a, b),
    "distinct": distinct,
}


# Losses, where Keras has its own


def by_entry(loss, student, teacher, **options):
    """Keras takes means over the last axis; here that is one entry."""
    return loss(teacher[..., None], student[..., None], **options)


LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "l2": lambda *both: by_entry(keras.losses.mean_squared_error, *both),
    "l1": lambda *both: by_entry(keras.losses.mean_absolute_error, *both),
    "huber": lambda student, teacher, delta: by_entry(
        keras.losses.huber, student, teacher, delta=delta
    ),
    "kl": lambda s, t: keras.losses.kl_divergence(ops.softmax(t), ops.softmax(s)),
    "cross_entropy": lambda logits, labels: keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    ),
    "soft_cross_entropy": lambda logits, p: keras.losses.categorical_crossentropy(
        p, logits, from_logits=True
    ),
}
