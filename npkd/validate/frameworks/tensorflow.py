"""TensorFlow, asked: tf.nn with channels last, GradientTape, tf.keras.optimizers."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from npkd.validate.frameworks.adapter import Adapter, NamespaceWords, NotGiven, losses_of, made_of
from npkd.validate.geometry import geometry

Tensor = Any
LACKS = {  # by what it says where it does not have something, on a CPU or compiled
    "grouped convolutions are not supported": "gradients of convolutions with groups",
    "filter_size does not have enough elements": "gradients of convolutions with groups",
    "do not yet support dilation": "gradients of convolutions with dilation",
    "XLA does not support pooling ops with explicit padding": "max-pools with padding",
    "ResizeNearestNeighborG": "gradients of nearest interpolation",
}


@contextmanager
def not_given() -> Iterator[None]:
    """What TensorFlow says it lacks is not given; all else that it raises is a fault."""
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        for told, lack in LACKS.items():
            if told in str(error):
                raise NotGiven(lack) from error
        raise


class TensorFlow(Adapter):
    """The TensorFlow that is installed, on the device of its own choice.

    dtype    of all tensors of numbers
    mode     "eager", operation by operation; "graph", as tf.function has it; "xla", compiled
    threads  how many one operation uses; None: its own choice

    Raises ValueError for threads where TensorFlow has computed something before.
    """

    name = "TensorFlow"

    def __init__(self, dtype: str = "float32", mode: str = "eager", threads: int | None = None):
        if threads is not None:
            try:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
            except RuntimeError as error:
                raise ValueError(f"threads: {error}") from error
        self.dtype, self.mode = tf.as_dtype(dtype), mode
        self.words = TensorFlowWords(self.dtype)
        self.operations = {**made_of(self.words), **OPERATIONS}
        self.losses = losses_of(self.words, **LOSSES)

    def about(self) -> dict[str, str]:
        gpus = tf.config.list_physical_devices("GPU")
        threads = tf.config.threading.get_intra_op_parallelism_threads() or "all"
        names = ("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS")
        flags = [f"{name} {os.environ[name]}" for name in names if name in os.environ]
        tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
        return {
            "framework": f"TensorFlow {tf.__version__}",
            "device": gpus[0].name if gpus else f"{platform.machine()}, {threads} thread(s)",
            "flags": ", ".join([self.mode, f"TF32 {'allowed' if tf32 else 'off'}", *flags]),
        }

    def given(self, array: np.ndarray) -> Tensor:
        return self.words.array(array)

    def found(self, x: Tensor) -> np.ndarray:
        found = np.array(x)
        return found.astype(np.float32) if self.dtype == tf.bfloat16 else found

    def computed(self, op: str, inputs: Mapping[str, Tensor], options: Mapping[str, Any]) -> Tensor:
        if self.mode == "eager" or not inputs:
            return super().computed(op, inputs, options)

        def run(inputs: Mapping[str, Tensor]) -> Tensor:
            return Adapter.computed(self, op, inputs, options)

        with not_given():
            return tf.function(run, autograph=False, jit_compile=self.mode == "xla")(dict(inputs))

    def vjp(
        self, function: Callable[..., Tensor], arrays: list[Tensor], dy: Tensor | None
    ) -> list[Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            y = function(*arrays)
        with not_given():
            return tape.gradient(y, arrays, dy, tf.UnconnectedGradients.ZERO)

    def updater(self, op: str, **memory: Tensor) -> Callable[..., Tensor]:
        """By an optimiser of Keras'. Its velocity holds the rate: v ← μ v − lr g, θ ← θ + v."""
        if memory:
            raise NotGiven("what an optimiser remembers of earlier steps")
        kept: dict[str, Any] = {}

        def update(theta: Tensor, g: Tensor, *, lr: float, **options: Any) -> Tensor:
            if not kept:
                kept.update(by=_optimizer(op, lr, **options), theta=tf.Variable(theta), lr=lr)
            if options.get("momentum") and lr != kept["lr"]:
                raise NotGiven("momentum without the rate in it, where the rate changes")
            kept["by"].learning_rate = lr
            if op == "adam":  # Keras adds ε to √v; to that of the corrected v this is the same
                bias = 1 - options["beta2"] ** options["step"]
                kept["by"].epsilon = options["epsilon"] * bias**0.5
            kept["by"].apply_gradients([(g, kept["theta"])])
            return tf.identity(kept["theta"])

        return update


def _optimizer(op: str, lr: float, weight_decay: float, **options: Any) -> Any:
    if weight_decay and not options.get("decoupled"):
        raise NotGiven(f"{op} with weight decay in the gradient")
    if op == "sgd":
        return tf.keras.optimizers.SGD(lr, options["momentum"], options["nesterov"])
    betas = {"beta_1": options["beta1"], "beta_2": options["beta2"]}
    if not weight_decay:
        return tf.keras.optimizers.Adam(lr, **betas)
    if not hasattr(tf.keras.optimizers, "AdamW"):
        raise NotGiven("adam with decoupled weight decay")
    return tf.keras.optimizers.AdamW(lr, weight_decay=weight_decay, **betas)


class TensorFlowWords(NamespaceWords):
    """The words of formulas in TensorFlow."""

    def __init__(self, dtype: Any):
        own = {"log": tf.math.log, "softplus": tf.math.softplus}
        super().__init__(tf, **own, softmax=tf.nn.softmax, log_softmax=tf.nn.log_softmax)
        self.dtype = dtype

    def array(self, x: np.ndarray) -> Tensor:
        return tf.constant(x, self.dtype if x.dtype.kind == "f" else None)

    def floating(self, x: Tensor) -> Tensor:
        return tf.cast(x, self.dtype)

    def log_sum_exp(self, z: Tensor) -> Tensor:
        return tf.reduce_logsumexp(z, -1, keepdims=True)


# Operations, as a user of TensorFlow writes them: arguments have no types


def last(x):
    """(N, C, H, W) as (N, H, W, C)."""
    return tf.transpose(x, (0, 2, 3, 1))


def first(x):
    """(N, H, W, C) as (N, C, H, W)."""
    return tf.transpose(x, (0, 3, 1, 2))


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    of = geometry(x.shape, tuple(w.shape[2:]), stride, padding, dilation)
    sides = "SAME" if padding == "same" else [(0, 0), *of.sides, (0, 0)]
    w = tf.transpose(w, (2, 3, 1, 0))  # its second size says how many groups there are
    y = tf.nn.conv2d(last(x), w, (1, *of.stride, 1), sides, dilations=(1, *of.dilation, 1))
    return first(y if b is None else tf.nn.bias_add(y, b))


def avg_pool2d(x, *, count_include_pad=True, divisor_override=None, **options):
    of = geometry(x.shape, **options)
    if divisor_override is not None:
        raise NotGiven("average pools with a divisor of their own")
    if of.extra != (0, 0):
        raise NotGiven("average pools with ceil_mode")
    if of.before != (0, 0) and not count_include_pad:
        raise NotGiven("average pools that do not count padding")
    x = tf.pad(last(x), [(0, 0), *of.sides, (0, 0)])
    return first(tf.nn.avg_pool2d(x, of.kernel, of.stride, "VALID"))


def max_pool2d(x, **options):
    of = geometry(x.shape, **options)
    sides = [(0, 0), *of.sides, (0, 0)]
    if of.dilation == (1, 1):
        around = sides if any(map(any, sides)) else "VALID"
        return first(tf.nn.max_pool2d(last(x), of.kernel, of.stride, around))
    if of.stride != (1, 1):
        raise NotGiven("max-pools with strides and dilation")
    x = tf.pad(last(x), sides, constant_values=x.dtype.min)
    return first(tf.nn.pool(x, of.kernel, "MAX", dilations=of.dilation))


def upsample(x, factor, mode="nearest"):
    if mode != "nearest" and x.dtype == tf.float64:
        raise NotGiven("bilinear interpolation in float64")
    size = (x.shape[2] * factor, x.shape[3] * factor)
    return first(tf.image.resize(last(x), size, mode))


def pixel_shuffle(x, factor):
    """depth_to_space has the channels of a cell in the order (i, j, c), not (c, i, j)."""
    n, channels, height, width = x.shape
    x = tf.reshape(x, (n, channels // factor**2, factor**2, height, width))
    x = tf.reshape(tf.transpose(x, (0, 3, 4, 2, 1)), (n, height, width, channels))
    return first(tf.nn.depth_to_space(x, factor))


def batch_norm(x, w=None, b=None, mean=None, variance=None, epsilon=1e-5):
    x = tf.transpose(x, (0, *range(2, len(x.shape)), 1))
    if mean is None:
        mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
    y = tf.nn.batch_normalization(x, mean, variance, b, w, epsilon)
    return tf.transpose(y, (0, len(x.shape) - 1, *range(1, len(x.shape) - 1)))


def running(x, mean, variance, momentum):
    """Running statistics after a batch of images, or of rows as images of one cell."""
    x = last(x) if len(x.shape) == 4 else x[:, None, None, :]
    ones = tf.ones_like(mean)
    return tf.compat.v1.nn.fused_batch_norm(
        x, ones, ones, mean, variance, is_training=True, exponential_avg_factor=momentum
    )[1:]


def augment(images, shifts, flips):
    _, channels, height, width = images.shape
    around = [(0, 0), (0, 0), (height, height), (width, width)]
    moved = []
    for image, shift, flip in zip(*map(tf.unstack, (tf.pad(images, around), shifts, flips))):
        start = tf.concat([tf.zeros(1, shift.dtype), (height, width) - shift], 0)
        image = tf.slice(image, start, (channels, height, width))
        moved.append(tf.where(flip, tf.reverse(image, [2]), image))
    return tf.stack(moved)


def distinct(workers):
    generators = tf.random.Generator.from_seed(0).split(workers)
    return tf.stack([one.uniform((16,)) for one in generators])


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "conv2d": conv2d,
    "linear": lambda x, w, b=None: (
        tf.matmul(x, w, transpose_b=True)
        if b is None
        else tf.nn.bias_add(tf.matmul(x, w, transpose_b=True), b)
    ),
    "avg_pool2d": avg_pool2d,
    "max_pool2d": max_pool2d,
    "global_avg_pool2d": lambda x: tf.reduce_mean(x, (2, 3), keepdims=True),
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "sigmoid": tf.sigmoid,
    "tanh": tf.tanh,
    "silu": tf.nn.silu,
    "gelu": lambda x, approximate="none": tf.nn.gelu(x, approximate == "tanh"),
    "dropout": lambda x, mask=None, p=0.5: (
        tf.keras.layers.Dropout(p, dtype=x.dtype)(x, training=False) if mask is None else x * mask
    ),
    "upsample": upsample,
    "pixel_shuffle": pixel_shuffle,
    "batch_norm": batch_norm,
    "running_mean": lambda x, mean, momentum: running(x, mean, mean, momentum)[0],
    "running_variance": lambda x, variance, momentum: running(x, variance, variance, momentum)[1],
    "augment": augment,
    "rows": lambda x, index, **about: tf.gather(x, index),
    "maximum": tf.maximum,
    "distinct": distinct,
}


# Losses, where TensorFlow has its own


LOSSES: dict[str, Callable[..., Tensor]] = {
    "l2": lambda student, teacher: tf.math.squared_difference(student, teacher),
    "cross_entropy": lambda logits, labels: tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels, logits
    ),
    "soft_cross_entropy": lambda logits, p: tf.nn.softmax_cross_entropy_with_logits(p, logits),
}
