"""PaddlePaddle, asked: paddle.nn.functional, paddle.grad, paddle.optimizer."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import paddle
from paddle.nn import functional

from npkd.validate.frameworks.adapter import Adapter, NamespaceWords, NotGiven, losses_of, made_of
from npkd.validate.geometry import pair

Tensor = Any
FLAGS = ("FLAGS_use_mkldnn", "FLAGS_use_onednn", "FLAGS_cudnn_deterministic")


class Paddle(Adapter):
    """The PaddlePaddle that is installed.

    dtype   "float32" or "float64"; on a GPU also "float16" and "bfloat16"
    device  "cpu" or "gpu"

    Raises ValueError where it has no such device, or no such dtype there.
    """

    name = "PaddlePaddle"

    def __init__(self, dtype: str = "float32", device: str = "cpu"):
        if device == "gpu" and not paddle.is_compiled_with_cuda():
            raise ValueError("this build computes on a CPU alone")
        if device == "cpu" and dtype not in ("float32", "float64"):
            raise ValueError(f"it has no {dtype} on a CPU")
        paddle.set_device(device)
        self.dtype, self.device = dtype, device
        self.words = PaddleWords(dtype)
        self.operations = {**made_of(self.words), **OPERATIONS}
        self.losses = losses_of(self.words, **LOSSES)

    def about(self) -> dict[str, str]:
        threads = f"OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}"
        on_cpu = f"{platform.machine()}, {threads}"
        return {
            "framework": f"PaddlePaddle {paddle.__version__}",
            "device": on_cpu if self.device == "cpu" else paddle.device.cuda.get_device_name(),
            "flags": ", ".join(f"{name} {value}" for name, value in _flags().items()),
        }

    def given(self, array: np.ndarray) -> Tensor:
        return self.words.array(array)

    def found(self, x: Tensor) -> np.ndarray:
        return np.array(x.astype("float32") if self.dtype == "bfloat16" else x)

    def vjp(
        self, function: Callable[..., Tensor], arrays: list[Tensor], dy: Tensor | None
    ) -> list[Tensor]:
        arrays = [x.detach() for x in arrays]
        for x in arrays:
            x.stop_gradient = False
        found = paddle.grad([function(*arrays)], arrays, [dy], allow_unused=True)
        return [paddle.zeros_like(x) if g is None else g for g, x in zip(found, arrays)]

    def updater(self, op: str, **memory: Tensor) -> Callable[..., Tensor]:
        if memory:
            raise NotGiven("what an optimiser remembers of earlier steps")
        kept: dict[str, Any] = {}

        def update(theta: Tensor, g: Tensor, *, lr: float, **options: Any) -> Tensor:
            if not kept:
                kept["theta"] = paddle.create_parameter(theta.shape, self.dtype)
                kept["theta"].set_value(theta)
                kept["by"] = _optimizer(op, lr, kept["theta"], **options)
            kept["by"].set_lr(lr)
            kept["theta"].grad = g
            kept["by"].step()
            return kept["theta"].detach().clone()

        return update


def _flags() -> dict[str, Any]:
    """Those of its flags that results depend on, as far as this version has them."""
    found = {}
    for name in FLAGS:
        try:
            found.update(paddle.get_flags([name]))
        except ValueError:
            continue
    return found


def _optimizer(op: str, lr: float, theta: Tensor, weight_decay: float, **options: Any) -> Any:
    of_all = {"parameters": [theta], "weight_decay": weight_decay or None}
    if op == "sgd":
        if not options["momentum"]:
            return paddle.optimizer.SGD(lr, **of_all)
        nesterov = options["nesterov"]
        return paddle.optimizer.Momentum(lr, options["momentum"], use_nesterov=nesterov, **of_all)
    by = paddle.optimizer.AdamW if options["decoupled"] else paddle.optimizer.Adam
    of_all["weight_decay"] = weight_decay if options["decoupled"] else weight_decay or None
    return by(lr, options["beta1"], options["beta2"], options["epsilon"], **of_all)


class PaddleWords(NamespaceWords):
    """The words of formulas in PaddlePaddle."""

    def __init__(self, dtype: str):
        own = {"concatenate": paddle.concat, "stop_gradient": lambda x: x.detach()}
        super().__init__(paddle, **own, softplus=functional.softplus)
        self.dtype = dtype

    def array(self, x: np.ndarray) -> Tensor:
        return paddle.to_tensor(x, self.dtype if x.dtype.kind == "f" else None)

    def floating(self, x: Tensor) -> Tensor:
        return x.astype(self.dtype)

    def where(self, condition: Tensor, x: Any, y: Any) -> Tensor:
        """Its own promotes no number to the type of an array."""
        kind = next((one.dtype for one in (x, y) if paddle.is_tensor(one)), self.dtype)
        if kind == paddle.uint8:
            raise NotGiven("where, of uint8")
        full = (one if paddle.is_tensor(one) else paddle.full([], one, kind) for one in (x, y))
        return paddle.where(condition, *full)

    def sum(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        return paddle.sum(x, axis=axis, keepdim=keepdims)

    def max(self, x: Tensor, axis: int, keepdims: bool = False) -> Tensor:
        return paddle.max(x, axis=axis, keepdim=keepdims)

    def softmax(self, z: Tensor, axis: int = -1) -> Tensor:
        return functional.softmax(z, axis)

    def log_softmax(self, z: Tensor, axis: int = -1) -> Tensor:
        return functional.log_softmax(z, axis)

    def log_sum_exp(self, z: Tensor) -> Tensor:
        return paddle.logsumexp(z, -1, keepdim=True)


# Operations, as a user of PaddlePaddle writes them: arguments have no types


def conv2d(x, w, b=None, *, stride, padding, dilation, groups):
    stride, dilation = list(pair(stride)), list(pair(dilation))
    padding = "SAME" if padding == "same" else list(pair(padding))
    return functional.conv2d(x, w, b, stride, padding, dilation, groups)


def avg_pool2d(
    x, kernel_size, stride, padding, ceil_mode, count_include_pad=True, divisor_override=None
):
    sizes = [list(pair(size)) for size in (kernel_size, stride or kernel_size, padding)]
    return functional.avg_pool2d(x, *sizes, ceil_mode, not count_include_pad, divisor_override)


def max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode):
    if pair(dilation) != (1, 1):
        raise NotGiven("max-pools with dilation")
    sizes = [list(pair(size)) for size in (kernel_size, stride or kernel_size, padding)]
    return functional.max_pool2d(x, *sizes, ceil_mode=ceil_mode)


def batch_norm(x, w=None, b=None, mean=None, variance=None, epsilon=1e-5):
    training = mean is None
    if training:
        mean, variance = paddle.zeros([x.shape[1]], x.dtype), paddle.ones([x.shape[1]], x.dtype)
    return functional.batch_norm(x, mean, variance, w, b, training, epsilon=epsilon)


def running_mean(x, mean, momentum):
    """PaddlePaddle writes it into the one before, and calls 1 − momentum the momentum."""
    mean = mean.clone()
    functional.batch_norm(x, mean, paddle.ones_like(mean), None, None, True, momentum=1 - momentum)
    return mean


def running_variance(x, variance, momentum):
    raise NotGiven("running variances over m − 1")


def distinct(workers):
    draws = []
    for worker in range(workers):
        paddle.seed(worker)
        draws.append(paddle.rand([16]))
    return paddle.stack(draws)


OPERATIONS: Mapping[str, Callable[..., Tensor]] = {
    "conv2d": conv2d,
    "linear": lambda x, w, b=None: functional.linear(x, paddle.transpose(w, [1, 0]), b),
    "avg_pool2d": avg_pool2d,
    "max_pool2d": max_pool2d,
    "global_avg_pool2d": lambda x: functional.adaptive_avg_pool2d(x, 1),
    "relu": functional.relu,
    "relu6": functional.relu6,
    "sigmoid": functional.sigmoid,
    "tanh": paddle.tanh,
    "silu": functional.silu,
    "gelu": lambda x, approximate="none": functional.gelu(x, approximate == "tanh"),
    "flatten": lambda x: paddle.flatten(x, 1),
    "dropout": lambda x, mask=None, p=0.5: (
        functional.dropout(x, p, training=False) if mask is None else x * mask
    ),
    "upsample": lambda x, factor, mode="nearest": functional.interpolate(
        x, scale_factor=factor, mode=mode
    ),
    "pixel_shuffle": lambda x, factor: functional.pixel_shuffle(x, factor),
    "batch_norm": batch_norm,
    "running_mean": running_mean,
    "running_variance": running_variance,
    "maximum": paddle.maximum,
    "distinct": distinct,
}


# Losses, where PaddlePaddle has its own


LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "l2": lambda student, teacher: functional.mse_loss(student, teacher, reduction="none"),
    "l1": lambda student, teacher: functional.l1_loss(student, teacher, reduction="none"),
    "huber": lambda student, teacher, delta: functional.smooth_l1_loss(
        student, teacher, reduction="none", delta=delta
    ),
    "kl": lambda s, t: functional.kl_div(
        functional.log_softmax(s), functional.softmax(t), reduction="none"
    ),
    "cross_entropy": lambda logits, labels: paddle.reshape(
        functional.cross_entropy(logits, labels, reduction="none"), [-1]
    ),
    "soft_cross_entropy": lambda logits, p: paddle.reshape(
        functional.cross_entropy(logits, p, reduction="none", soft_label=True), [-1]
    ),
}
