"""What the judge asks of a framework: one small class, of which an adapter fills in the words.

An adapter needs arrays in and out, the words of formulas, the operations that are not made of
them, and a gradient, if it has one. All else has a default: losses by their formulas, SGD and Adam
by theirs. What a framework cannot do it says by `NotGiven`, with the reason.

This file, `answer` and the formulas are exported beside the cases, for environments without npkd:
they need Python 3.9 and NumPy 1.21.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from operator import attrgetter
from typing import Any

import numpy as np

from npkd.validate.bounds.formulas import known as formulas
from npkd.validate.bounds.formulas.words import Array, Words

Values = Mapping[str, Array]


class NotGiven(Exception):
    """What a framework does not have, or an adapter does not ask of it: its text says what."""


class Adapter:
    """A framework, as the judge sees it.

    Its constructor takes `dtype`: "float32", "float64", "float16" or "bfloat16".

    name        what it calls itself
    words       the words of formulas, on its arrays
    infers      whether it only infers, and gives no gradients
    operations  by name, with npkd's arguments: function(**inputs, **options), but that a single
                input comes by position. `made_of(words)` gives most; left are conv2d, avg_pool2d,
                max_pool2d, relu, relu6, sigmoid, tanh, silu, gelu, upsample, dropout(x, mask=None,
                p), which without a mask must drop nothing, and distinct(workers), 16 random numbers
                of each worker, a row for each. One that is called "conv2d_backward" or the like is
                a backward pass of its own: function(**inputs, dy=…, **options) gives gradients by
                name, {"dx": …}
    losses      its own: function(**inputs, **options); the others go by their formulas
    """

    name = ""
    words: Words
    operations: dict[str, Callable[..., Array]]
    losses: Mapping[str, Callable[..., Array]] = {}
    infers = False

    def about(self) -> dict[str, str]:
        """The framework with its version, its device, and the flags that results depend on."""
        raise NotImplementedError

    def ulp(self) -> float | None:
        """By how much its exp, log and their like are off at most, where that is known."""
        return None

    def settings(self) -> AbstractContextManager[Any]:
        """What is set while a case is computed."""
        return nullcontext()

    def given(self, array: np.ndarray) -> Array:
        """An array of NumPy's as one of its own; floats in the precision that is asked about."""
        raise NotImplementedError

    def found(self, x: Array) -> np.ndarray:
        """The same back, of memory of its own."""
        raise NotImplementedError

    def vjp(
        self, function: Callable[..., Array], arrays: list[Array], dy: Array | None
    ) -> list[Array]:
        """The gradients of Σ dy · function(*arrays) by each of the arrays; dy is 1 if None."""
        raise NotGiven("gradients")

    def loss(self, name: str, inputs: Values, options: Mapping[str, Any]) -> Array:
        """The value of a loss, by a function of its own or by the formula."""
        return formulas.value(self.words, name, inputs, options, own=self.losses)

    def computed(self, op: str, inputs: Values, options: Mapping[str, Any]) -> Array:
        """The value of a loss, or of another operation.

        options: all of them. Raises NotGiven for one that is not known.
        """
        if op in formulas.NAMES:
            return self.loss(op, inputs, options)
        if op not in self.operations:
            raise NotGiven(op)
        function, several = self.operations[op], len(inputs) > 1 or op == "concat"
        return function(**inputs, **options) if several else function(*inputs.values(), **options)

    def updater(self, op: str, **memory: Array) -> Callable[..., Array]:
        """What updates one parameter, step by step, by "sgd" or "adam", and remembers its steps.

        memory: a velocity, or m and v, from steps before. The function takes theta, g and the
        options of this step, and gives the new theta.
        """

        def update(theta: Array, g: Array, **options: Any) -> Array:
            made = getattr(self, op)(theta, g, **memory, **options)
            memory.update({name: x for name, x in made.items() if name != "theta"})
            return made["theta"]

        return update

    def sgd(
        self,
        theta: Array,
        g: Array,
        velocity: Array | None = None,
        *,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> dict[str, Array]:
        """v ← μ v + (g + λ θ), θ ← θ − lr v; `nesterov`: θ ← θ − lr (g + λ θ + μ v)."""
        g = g + weight_decay * theta
        step = v = g if velocity is None else momentum * velocity + g
        if nesterov:
            step = g + momentum * v
        return {"theta": theta - lr * step, "velocity": v}

    def adam(
        self,
        theta: Array,
        g: Array,
        m: Array | None = None,
        v: Array | None = None,
        *,
        step: int,
        lr: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> dict[str, Array]:
        """θ ← θ − lr m̂ / (√v̂ + ε); see `npkd.Adam`, and `npkd.AdamW` for `decoupled`."""
        if decoupled:
            theta = theta * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * theta
        m = (0 if m is None else beta1 * m) + (1 - beta1) * g
        v = (0 if v is None else beta2 * v) + (1 - beta2) * (g * g)
        size = self.words.sqrt(v / (1 - beta2**step)) + epsilon
        return {"theta": theta - lr * (m / (1 - beta1**step)) / size, "m": m, "v": v}


def made_of(words: Words) -> dict[str, Callable[..., Array]]:
    """Operations that are made of words, and of what every array can do."""

    def linear(x: Array, w: Array, b: Array | None = None) -> Array:
        y = words.matmul(x, words.transposed(w))
        return y if b is None else y + b

    def pixel_shuffle(x: Array, factor: int) -> Array:
        n, channels, height, width = x.shape
        blocks = words.reshape(x, (n, channels // factor**2, factor, factor, height, width))
        moved = words.permute(blocks, (0, 1, 4, 2, 5, 3))
        return words.reshape(moved, (n, channels // factor**2, height * factor, width * factor))

    def global_avg_pool2d(x: Array) -> Array:
        return words.sum(x, (2, 3), keepdims=True) / (x.shape[2] * x.shape[3])

    def normalise(images: Array, mean: Array, std: Array) -> Array:
        mean, std = (words.reshape(x, (1, -1, 1, 1)) for x in (mean, std))
        return (words.floating(images) / 255 - mean) / std

    def statistics(x: Array) -> tuple[Array, Array, int]:
        """Mean and biased variance of each channel, of so many numbers."""
        axes = (0, *range(2, len(x.shape)))
        m = math.prod(x.shape[axis] for axis in axes)
        mean = words.sum(x, axes) / m
        deviations = x - words.reshape(mean, (1, -1, *(1,) * (len(x.shape) - 2)))
        return mean, words.sum(deviations * deviations, axes) / m, m

    def batch_norm(
        x: Array,
        w: Array | None = None,
        b: Array | None = None,
        mean: Array | None = None,
        variance: Array | None = None,
        epsilon: float = 1e-5,
    ) -> Array:
        if mean is None:
            mean, variance, _ = statistics(x)
        by_channel = (1, -1, *(1,) * (len(x.shape) - 2))
        y = (x - words.reshape(mean, by_channel)) / words.sqrt(
            words.reshape(variance, by_channel) + epsilon
        )
        y = y if w is None else y * words.reshape(w, by_channel)
        return y if b is None else y + words.reshape(b, by_channel)

    def running_mean(x: Array, mean: Array, momentum: float = 0.1) -> Array:
        return (1 - momentum) * mean + momentum * statistics(x)[0]

    def running_variance(x: Array, variance: Array, momentum: float = 0.1) -> Array:
        _, batch, m = statistics(x)
        return (1 - momentum) * variance + momentum * (m / (m - 1)) * batch

    def augment(images: Array, shifts: Array, flips: Array) -> Array:
        """Cell (i, j) comes from (i − down, j − right), or from the column that mirrors j."""
        count, _, height, width = images.shape
        of_image, of_channel, i, j = (
            words.array(np.arange(size).reshape([-1 if k == axis else 1 for k in range(4)]))
            for axis, size in enumerate(images.shape)
        )
        down, right, flip = (
            words.reshape(x, (count, 1, 1, 1)) for x in (shifts[:, 0], shifts[:, 1], flips)
        )
        rows, columns = i - down, words.where(flip, width - 1 - j, j) - right
        on_it = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        from_cell = images[of_image, of_channel, rows % height, columns % width]
        return words.where(on_it, from_cell, 0)

    def move(index: Any, fill: float = 0.0, **inputs: Array) -> Array:
        parts = [words.reshape(x, (-1,)) for x in inputs.values()]
        return words.concatenate([*parts, words.array(np.full(1, fill))], 0)[np.asarray(index)]

    def standardize(logits: Array, **options: Any) -> Array:
        return formulas.value(words, "standardize", {"logits": logits}, options)

    return {
        "linear": linear,
        "flatten": lambda x: words.reshape(x, (x.shape[0], -1)),
        "softmax": words.softmax,
        "log_softmax": words.log_softmax,
        "pixel_shuffle": pixel_shuffle,
        "global_avg_pool2d": global_avg_pool2d,
        "concat": lambda axis=1, **xs: words.concatenate(list(xs.values()), axis),
        "sum": lambda divisor=1, **terms: words.added(list(terms.values())) / divisor,
        "copy": lambda x: x,
        "rows": lambda x, index, **about: x[index],
        "normalise": normalise,
        "batch_norm": batch_norm,
        "running_mean": running_mean,
        "running_variance": running_variance,
        "augment": augment,
        "move": move,
        "standardize": standardize,
        "add": lambda a, b: a + b,
        "subtract": lambda a, b: a - b,
        "multiply": lambda a, b: a * b,
        "divide": lambda a, b: a / b,
        "maximum": lambda a, b: words.where(a > b, a, b),
        "exp": words.exp,
        "log": words.log,
        "sqrt": words.sqrt,
        "softplus": words.softplus,
        "negative": lambda x: -x,
        "sum_over": lambda x, axes=None, keepdims=False, **of: words.sum(x, axes, keepdims),
    }


def losses_of(words: Words, **terms: Callable[..., Array]) -> dict[str, Callable[..., Array]]:
    """Losses by functions of a framework's own, which give what is added up in them.

    l2, l1(student, teacher)           Δ² and |Δ|, entry by entry
    huber(student, teacher, delta)     entry by entry
    kl(s, t)                           p (log p − log q) by logits, entry by entry or of each sample
    cross_entropy(logits, labels), soft_cross_entropy(logits, p)     of each sample
    """

    def total(x: Array, reduction: str, like: Array) -> Array:
        if reduction == "none":
            return x
        by = {"batchmean": x.shape[0], "elementmean": math.prod(like.shape)}
        return words.sum(x) / float(by.get(reduction, 1))

    def l2(student, teacher, half, temperature, temperature_squared, variant, reduction):
        if temperature != 1 or variant != "paper":
            return NotImplemented
        squares = terms["l2"](student, teacher)
        return (0.5 if half else 1.0) * total(squares, reduction, student)

    def l1(student, teacher, reduction):
        return total(terms["l1"](student, teacher), reduction, student)

    def huber(student, teacher, delta, variant, reduction):
        if variant != "paper":
            return NotImplemented
        return total(terms["huber"](student, teacher, delta), reduction, student)

    def kl(student, teacher, temperature, temperature_squared, variant, reduction, skew):
        if variant != "paper" or skew:
            return NotImplemented
        apart = terms["kl"](student / temperature, teacher / temperature)
        apart = words.sum(apart, 1) if len(apart.shape) == 2 else apart
        return total((temperature**2 if temperature_squared else 1.0) * apart, reduction, student)

    def cross_entropy(logits, labels, reduction):
        return total(terms["cross_entropy"](logits, labels), reduction, logits)

    def soft_cross_entropy(student, teacher, temperature, temperature_squared, reduction):
        p = words.softmax(teacher / temperature)
        apart = terms["soft_cross_entropy"](student / temperature, p)
        return total((temperature**2 if temperature_squared else 1.0) * apart, reduction, student)

    every = (l2, l1, huber, kl, cross_entropy, soft_cross_entropy)
    return {loss.__name__: loss for loss in every if loss.__name__ in terms}


class NamespaceWords(Words):
    """The words of an array namespace, by the names of NumPy, of the array API or of TensorFlow.

    words: those that it has otherwise, or has not; a class of its own may define them too.
    """

    def __init__(self, xp: Any, **words: Any):
        own = {} if type(self) is NamespaceWords else vars(type(self))
        for word, names in NAMES.items():
            for name in names.split()[::-1]:
                if hasattr(xp, name) and word not in own:
                    setattr(self, word, getattr(xp, name))
        for word, function in words.items():
            setattr(self, word, function)

    def floating(self, x: Array) -> Array:
        return x.astype(np.float32)

    def stop_gradient(self, x: Array) -> Array:
        """As it is, where a namespace has no gradients."""
        return x


NAMES = {
    "array": "asarray array",
    "exp": "exp",
    "log": "log",
    "sqrt": "sqrt",
    "abs": "abs",
    "where": "where",
    "sum": "sum reduce_sum",
    "max": "max amax reduce_max",
    "matmul": "matmul",
    "reshape": "reshape",
    "permute": "permute_dims transpose",
    "concatenate": "concat concatenate",
    "stop_gradient": "stop_gradient",
}


def set_to(owner: Any, names: Iterable[str]) -> str:
    """How each of these is set, as far as this version tells."""
    values = []
    for name in names:
        try:
            value = attrgetter(name)(owner)
        except (AttributeError, RuntimeError):  # gone, or set in a newer way
            value = "unknown"
        values.append(f"{name} {value}")
    return ", ".join(values)
