"""npkd's operations, as a user of JAX writes them: arguments, arrays or not, have no types."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def _pair(size):
    height, width = np.broadcast_to(size, 2).tolist()
    return height, width


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    sides = padding.upper() if isinstance(padding, str) else [(p, p) for p in _pair(padding)]
    y = jax.lax.conv_general_dilated(
        x, w, _pair(stride), sides, rhs_dilation=_pair(dilation), feature_group_count=groups
    )
    return y if b is None else y + b[:, None, None]


def linear(x, w, b=None):
    y = x @ w.T
    return y if b is None else y + b


def _sides(x, kernel, stride, padding, dilation, ceil):
    """Cells to add before and behind, for rows and columns, so that the last window fits."""
    sides = []
    sizes = (kernel, kernel if stride is None else stride, padding, dilation)
    for size, k, s, p, d in zip(x.shape[2:], *map(_pair, sizes), strict=True):
        reach = d * (k - 1) + 1
        room = size + 2 * p - reach
        last = -(-room // s) if ceil else room // s
        if ceil and last * s >= size + p:  # a window has to start on the image or before it
            last -= 1
        sides.append((p, p + max(0, last * s - room)))
    return sides


def avg_pool2d(
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    sides = _sides(x, kernel_size, stride, padding, 1, ceil_mode)
    window = (1, 1, *_pair(kernel_size))
    strides = (1, 1, *_pair(kernel_size if stride is None else stride))
    own = [(0, 0), (0, 0), *((p, p) for p in _pair(padding))]
    beyond = [(0, 0), (0, 0), *((0, after - before) for before, after in sides)]

    def sums(cells, edge=0.0):
        cells = jnp.pad(cells, own, constant_values=edge)
        return jax.lax.reduce_window(cells, 0.0, jax.lax.add, window, strides, beyond)

    if divisor_override is not None:
        return sums(x) / divisor_override
    return sums(x) / sums(jnp.ones((1, 1, *x.shape[2:]), x.dtype), float(count_include_pad))


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    sides = _sides(x, kernel_size, stride, padding, dilation, ceil_mode)
    strides = _pair(kernel_size if stride is None else stride)
    if _pair(dilation) == (1, 1):
        window, around = (1, 1, *_pair(kernel_size)), [(0, 0), (0, 0), *sides]
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, (1, 1, *strides), around)
    # JAX has no gradient of dilated windows: their taps, and the first of the largest.
    x = jnp.pad(x, [(0, 0), (0, 0), *sides], constant_values=-jnp.inf)
    (rows, columns), (down, right) = _pair(kernel_size), _pair(dilation)
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


def pixel_shuffle(x, factor):
    n, channels, height, width = x.shape
    blocks = x.reshape(n, channels // factor**2, factor, factor, height, width)
    return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(n, -1, height * factor, width * factor)


def normalise(images, mean, std):
    return (images.astype(mean.dtype) / 255 - mean[:, None, None]) / std[:, None, None]


def augment(images, shifts, flips):
    def one(image, shift, flip):
        height, width = image.shape[1:]
        rows, columns = jnp.arange(height)[:, None] - shift[0], jnp.arange(width) - shift[1]
        on_it = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        moved = jnp.where(on_it, image[:, rows, columns], jnp.zeros((), image.dtype))
        return jnp.where(flip, moved[:, :, ::-1], moved)

    return jax.vmap(one)(images, shifts, flips)


def distinct(workers):
    keys = jax.random.split(jax.random.key(0), workers)
    return jax.vmap(lambda key: jax.random.uniform(key, (16,)))(keys)


def sgd(theta, g, velocity=None, *, lr, momentum=0.0, weight_decay=0.0):
    step = g + weight_decay * theta
    if velocity is not None:
        step = momentum * velocity + step
    return {"theta": theta - lr * step, "velocity": step}


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "conv2d": conv2d,
    "linear": linear,
    "avg_pool2d": avg_pool2d,
    "max_pool2d": max_pool2d,
    "relu": jax.nn.relu,
    "flatten": lambda x: x.reshape(len(x), -1),
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "upsample": upsample,
    "pixel_shuffle": pixel_shuffle,
    "sum": lambda divisor=1, **terms: sum(terms.values()) / divisor,
    "copy": lambda x: x,
    "dropout": lambda x, p=0.5: x,
    "rows": lambda x, index, **about: x[index],
    "normalise": normalise,
    "augment": augment,
    "distinct": distinct,
    "sgd": sgd,
}
