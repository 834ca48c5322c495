"""Functions as they are written in JAX, each compiled once, and judged on ever new numbers."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.verdicts.programs import Arrays
from npkd.validate import Case
from npkd.validate.questions.numbers import normal
from npkd.validate.recording.jax.operations import recorded
from npkd.validate.recording.jax.run import Run
from npkd.validate.recording.jax.trace import Trace

Shape = tuple[int, ...]


def _layer_norm(x: Any, w: Any, b: Any) -> Any:
    mean = x.mean(axis=-1, keepdims=True)
    variance = jnp.square(x - mean).mean(axis=-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * w + b


def _mean_square(x: Any) -> Any:
    mean = x.mean(axis=-1, keepdims=True)
    variance = jnp.square(x).mean(axis=-1, keepdims=True) - jnp.square(mean)
    return (x - mean) / jnp.sqrt(variance + 1e-3)


def _attention(q: Any, k: Any, v: Any) -> Any:
    return jax.nn.softmax(q @ k.T / np.float32(np.sqrt(q.shape[-1])), axis=-1) @ v


def _distilled(s: Any, t: Any) -> Any:
    p = jax.nn.softmax(t / 4)
    return -16 * (p * jax.nn.log_softmax(s / 4)).sum() / len(s)


FUNCTIONS: dict[str, tuple[Callable[..., Any], list[Shape]]] = {
    "x + 0.1 y": (lambda x, y: x + 0.1 * y, [(32, 16), (32, 16)]),
    "lerp": (lambda a, b, t: a + t * (b - a), [(32, 16), (32, 16), (32, 1)]),
    "layer norm": (_layer_norm, [(16, 24), (24,), (24,)]),
    "mean square": (_mean_square, [(16, 24)]),
    "softmax": (lambda x: jax.nn.softmax(5 * x), [(16, 10)]),
    "log softmax": (lambda x: jax.nn.log_softmax(5 * x), [(16, 10)]),
    "attention": (_attention, [(8, 16), (12, 16), (12, 5)]),
    "distilled": (_distilled, [(16, 10), (16, 10)]),
    "relu layer": (lambda x, w, b: jax.nn.relu(x @ w + b), [(16, 30), (30, 7), (7,)]),
    "SGD": (lambda x, g: x * (1 - 0.1 * 0.01) - 0.1 * g, [(40, 7), (40, 7)]),
}


def runs(rng: np.random.Generator) -> Iterator[list[tuple[Case, Arrays]]]:
    """One of them on normal numbers: by operations, and as one."""
    kept: dict[str, tuple[Run, Callable[..., Any]]] = {}
    while True:
        name = list(FUNCTIONS)[rng.integers(len(FUNCTIONS))]
        function, shapes = FUNCTIONS[name]
        arrays = [normal(rng, shape) for shape in shapes]
        if name not in kept:
            kept[name] = Run(Trace.of(function, tuple(arrays))), jax.jit(function)
        run, compiled = kept[name]
        arguments = {**run.trace.arguments}
        arguments |= dict(zip(arguments, map(jnp.asarray, arrays), strict=False))
        recorder = recorded(run, arguments, lambda shape: rng.standard_normal(shape))
        case = Case(name, name, "", recorder.inputs, tuple(recorder.operations))
        given = {tensor for one in recorder.forward for tensor in one.inputs.values()}
        inputs = {tensor: x for tensor, x in recorder.inputs.items() if tensor in given}
        as_one = Case(f"{name} as one", name, "", inputs, tuple(recorder.forward))
        outputs = jax.tree_util.tree_leaves(compiled(*arrays))
        found = dict(zip(run.trace.outputs, map(np.asarray, outputs), strict=True))
        yield [(case, recorder.results), (as_one, found)]
