"""JAX, asked: one compiled function for each forward and backward pass, `jax.vjp` in it."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

from npkd.files import BadInput
from npkd.validate.bounds.formulas.words import Words
from npkd.validate.bounds.measured import ulp_of
from npkd.validate.frameworks.adapter import Values, made_of, set_to
from npkd.validate.frameworks.answering import Forward, PassAdapter, answers
from npkd.validate.geometry import geometry, pair
from npkd.validate.program import Case
from npkd.validate.recording.jax.run import tap
from npkd.validate.recording.jax.trace import Value


def results(case: Case, **settings: Any) -> dict[str, np.ndarray]:
    """What JAX computes for a case, tensor by tensor. settings: `Jax`'s."""
    return answers(Jax(**settings), case)[0]


class Jax(PassAdapter):
    """The JAX that is installed, on its default device. dtype: of all arrays of numbers.

    Raises BadInput where it finds no device.
    """

    name = "JAX"

    def __init__(self, dtype: str = "float32"):
        try:
            jax.devices()
        except (RuntimeError, AssertionError) as error:
            asked = os.environ.get("JAX_PLATFORMS", "")
            raise BadInput(f"JAX finds no device (JAX_PLATFORMS is {asked!r}): {error}") from error
        self.dtype = dtype
        self.words = JaxWords(dtype)
        self.operations = made_of(self.words) | OPERATIONS

    def ulp(self) -> float | None:
        return ulp_of("jax", jax.default_backend(), self.dtype)

    def about(self) -> dict[str, str]:
        device = jax.devices()[0]
        flags = set_to(jax.config, ["jax_default_matmul_precision"])
        return {
            "framework": f"JAX {jax.__version__}",
            "device": device.device_kind if device.platform != "cpu" else platform.machine(),
            "flags": f"{flags}, XLA_FLAGS {os.environ.get('XLA_FLAGS', 'none')}",
        }

    def settings(self) -> AbstractContextManager[Any]:
        """What JAX wants to be told before it computes in float64."""
        where: Any = jax if hasattr(jax, "enable_x64") else jax.experimental
        return where.enable_x64(True) if self.dtype == "float64" else nullcontext()

    def given(self, array: np.ndarray) -> Value:
        return array.astype(self.dtype) if array.dtype.kind == "f" else np.asarray(array)

    def found(self, x: Value) -> np.ndarray:
        return np.asarray(x)

    def differentiated(
        self, forward: Forward, values: Values, upstream: Callable[[Values, Values], Values]
    ) -> dict[str, Value]:
        """A tap passes its gradient on to a probe, an array of zeros, whose gradient it is."""
        kinds: dict[str, Any] = {}

        def noted(name: str | None, x: Value) -> Value:
            if name is not None:
                kinds[name] = x
            return x

        jax.eval_shape(lambda values: forward(values, noted)[1], values)
        probes = {name: np.zeros(x.shape, x.dtype) for name, x in kinds.items()}

        @jax.jit
        def run(values: Values, probes: Values) -> dict[str, Value]:
            def tapped(name: str | None, x: Value) -> Value:
                if not jnp.issubdtype(x.dtype, jnp.floating):
                    return x
                return tap(x, jnp.zeros_like(x) if name is None else own[name])

            def with_probes(probes: Values) -> Any:
                own.update(probes)
                return forward(values, tapped)

            own: dict[str, Value] = {}
            results, pullback, made = jax.vjp(with_probes, probes, has_aux=True)
            (gradients,) = pullback(upstream(values, results))
            return {**made, **gradients}

        return run(values, probes)

    def updated(
        self, op: str, updates: Sequence[tuple[Values, Mapping[str, Any]]]
    ) -> list[dict[str, Value]]:
        """All of them in one compiled function."""
        every = jax.jit(
            lambda given: [
                getattr(self, op)(**inputs, **options)
                for inputs, (_, options) in zip(given, updates, strict=True)
            ]
        )
        return every([inputs for inputs, _ in updates])


class JaxWords(Words):
    """The words of formulas in JAX."""

    def __init__(self, dtype: str):
        self.dtype = dtype
        self.exp, self.log, self.sqrt, self.where = jnp.exp, jnp.log, jnp.sqrt, jnp.where
        self.sum, self.max, self.matmul = jnp.sum, jnp.max, jnp.matmul
        self.reshape, self.permute, self.concatenate = jnp.reshape, jnp.transpose, jnp.concatenate
        self.stop_gradient = jax.lax.stop_gradient

    def array(self, x: np.ndarray) -> Value:
        return x.astype(self.dtype) if x.dtype.kind == "f" else x

    def floating(self, x: Value) -> Value:
        return x.astype(self.dtype)

    def abs(self, x: Value) -> Value:
        """|x| with the slope 0 at 0; that of jnp.abs is 1 there."""
        return x * jax.lax.stop_gradient(jnp.sign(x))

    def softmax(self, z: Value, axis: int = -1) -> Value:
        return jax.nn.softmax(z, axis)

    def log_softmax(self, z: Value, axis: int = -1) -> Value:
        return jax.nn.log_softmax(z, axis)

    def softplus(self, x: Value) -> Value:
        return jax.nn.softplus(x)

    def log_sum_exp(self, z: Value) -> Value:
        return jax.nn.logsumexp(z, axis=-1, keepdims=True)


# Operations, as a user of JAX writes them: arguments, arrays or not, have no types


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    sides = padding.upper() if isinstance(padding, str) else [(p, p) for p in pair(padding)]
    y = jax.lax.conv_general_dilated(
        x, w, pair(stride), sides, rhs_dilation=pair(dilation), feature_group_count=groups
    )
    return y if b is None else y + b[:, None, None]


def avg_pool2d(
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    of = geometry(x.shape, kernel_size, stride, padding, 1, ceil_mode)
    window, strides = (1, 1, *of.kernel), (1, 1, *of.stride)
    own = [(0, 0), (0, 0), *zip(of.before, of.after, strict=True)]
    beyond = [(0, 0), (0, 0), *((0, extra) for extra in of.extra)]

    def sums(cells, edge=0.0):
        cells = jnp.pad(cells, own, constant_values=edge)
        return jax.lax.reduce_window(cells, 0.0, jax.lax.add, window, strides, beyond)

    if divisor_override is not None:
        return sums(x) / divisor_override
    return sums(x) / sums(jnp.ones((1, 1, *x.shape[2:]), x.dtype), float(count_include_pad))


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    of = geometry(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    strides = of.stride
    if of.dilation == (1, 1):
        window, around = (1, 1, *of.kernel), [(0, 0), (0, 0), *of.sides]
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, (1, 1, *strides), around)
    # JAX has no gradient of dilated windows: their taps, and the first of the largest.
    x = jnp.pad(x, [(0, 0), (0, 0), *of.sides], constant_values=-jnp.inf)
    (rows, columns), (down, right) = of.kernel, of.dilation
    height, width = x.shape[2] - down * (rows - 1), x.shape[3] - right * (columns - 1)
    taps = jnp.stack(
        [
            x[:, :, i * down :, j * right :][:, :, : height : strides[0], : width : strides[1]]
            for i in range(rows)
            for j in range(columns)
        ]
    )
    return jnp.take_along_axis(taps, taps.argmax(axis=0)[None], axis=0)[0]


def upsample(x, factor, mode="nearest"):
    if mode == "nearest":
        return x.repeat(factor, axis=2).repeat(factor, axis=3)
    shape = (*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor)
    return jax.image.resize(x, shape, mode)


def distinct(workers):
    keys = jax.random.split(jax.random.key(0), workers)
    return jax.vmap(lambda key: jax.random.uniform(key, (16,)))(keys)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "conv2d": conv2d,
    "avg_pool2d": avg_pool2d,
    "max_pool2d": max_pool2d,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "gelu": lambda x, approximate="none": jax.nn.gelu(x, approximate == "tanh"),
    "dropout": lambda x, mask=None, p=0.5: x if mask is None else x * mask,
    "upsample": upsample,
    "distinct": distinct,
}
