"""What each operation of a program gives, and how far from it a right computation may be.

A rule takes an operation's inputs with their errors (`rounding.Rounded`) and gives its results with
theirs. The value is that of `npkd.ops` or `npkd.losses` in float64. The bound is derived from how
many roundings a term goes through at most, whoever computes it and in whatever order:

    conv2d      y: C/G·kh·kw products and b; dx: O/G·kh·kw; dw and db: N·Ho·Wo
    linear      y: I products and b; dx: O; dw and db: N
    avg_pool2d  y: the taps of a window, and a division, or a product with 1/D, itself rounded;
                dx: the windows on a cell, and the same
    max_pool2d  y is chosen, which rounds nothing; dx: the windows on a cell
    relu, relu6, flatten, pixel_shuffle, concat, copy, rows, augment: nothing is rounded
    dropout     x times a mask, rounded once; without one, of a net that is evaluated, x itself
    global_avg_pool2d  as avg_pool2d by one window
    upsample    "nearest" copies; dx adds up a block. "bilinear": y has 4 terms w v x with weights
                for row and column that are rounded themselves; a cell of x is in up to (2f)² of y
    sgd         λ θ: λ and the product are rounded; g + λ θ; μ v likewise; their sum; lr v; θ − lr v
    sum         its terms, and a division as above
    normalise   x / 255, − mean, / std, in whatever order: each of the two terms meets up to six
    losses: see `losses`; softmax: see `traced`

Where an input was not recorded and may itself be off by E, ReLU's and max-pool's backward passes
may decide otherwise: where |x| ≤ E the gradient may be dy or 0. That is their `jump`.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter

from npkd import losses, ops
from npkd.ops.windows import axis_of
from npkd.validate.bounds import losses as bounds_of_losses
from npkd.validate.bounds import traced, transforms, updates
from npkd.validate.bounds.elementwise import ELEMENTWISE
from npkd.validate.bounds.rounding import Arithmetic, Error, Rounded, sums_of_products
from npkd.validate.bounds.traced import Traced, leaf

Inputs = Mapping[str, Rounded]
Options = Mapping[str, Any]
Rule = Callable[[Arithmetic, Inputs, Options], dict[str, Rounded]]


# Sums of products


def conv2d(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """See `npkd.ops.conv2d`; x may be one image without a batch."""
    values = [inputs[name] for name in ("x", "w", "b") if name in inputs]
    x, w = inputs["x"].value, inputs["w"].value

    def operation(x: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
        y = ops.conv2d(_batch(x), *others, **options)[0]
        return [y.reshape(y.shape[-x.ndim :])]

    k = w[0].size + ("b" in inputs)
    (y,) = sums_of_products(arithmetic, operation, values, [k], factors=2)
    images, outputs = _batch(x), _batch(y.value)
    y.transforms = lambda: {
        name: bound.reshape(bound.shape[-x.ndim :])
        for name, bound in transforms.of_conv2d(arithmetic, images, w, outputs, options)
    }
    return {"y": _by_any(arithmetic, y)}


def _by_any(arithmetic: Arithmetic, y: Rounded) -> Rounded:
    """With the error of whatever transform, if they are allowed for."""
    if arithmetic.transforms and y.transforms is not None:
        y.error = y.error + functools.reduce(np.maximum, y.transforms().values(), np.zeros(()))
    return y


def conv2d_backward(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """See `npkd.ops.conv2d`."""
    x, w, dy = (inputs[name] for name in ("x", "w", "dy"))

    def operation(x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
        dx, dw, _ = ops.conv2d(_batch(x), w, **options)[1](_batch(dy))
        return [dx.reshape(x.shape), dw]

    outputs, windows = _outputs_and_windows(dy.value.shape, axis=-3)
    k = [outputs // options.get("groups", 1) * math.prod(w.value.shape[2:]), windows]
    dx, dw = sums_of_products(arithmetic, operation, [x, w, dy], k)
    by_transform = functools.cache(
        lambda: list(
            transforms.of_gradients(arithmetic, _batch(x.value), w.value, _batch(dy.value), options)
        )
    )
    dx.transforms = lambda: {
        name: bound.reshape(bound.shape[-x.value.ndim :]) for name, bound, _ in by_transform()
    }
    dw.transforms = lambda: {name: bound for name, _, bound in by_transform()}
    both = {"dx": _by_any(arithmetic, dx), "dw": _by_any(arithmetic, dw)}
    return both | _of_bias(arithmetic, inputs, axis=-3)


def _batch(images: np.ndarray) -> np.ndarray:
    """One image as a batch of one."""
    return images.reshape(-1, *images.shape[-3:])


def linear(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """See `npkd.ops.linear`; x may have any axes before the last."""
    values = [inputs[name] for name in ("x", "w", "b") if name in inputs]
    k = inputs["w"].value.shape[1] + ("b" in inputs)

    def operation(x: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
        y = ops.linear(_rows(x), *others)[0]
        return [y.reshape(*x.shape[:-1], y.shape[1])]

    (y,) = sums_of_products(arithmetic, operation, values, [k], factors=2)
    return {"y": y}


def linear_backward(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """See `npkd.ops.linear`."""
    x, w, dy = (inputs[name] for name in ("x", "w", "dy"))

    def operation(x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
        dx, dw, _ = ops.linear(_rows(x), w)[1](_rows(dy))
        return [dx.reshape(x.shape), dw]

    outputs, count = _outputs_and_windows(dy.value.shape, axis=-1)
    dx, dw = sums_of_products(arithmetic, operation, [x, w, dy], [outputs, count])
    return {"dx": dx, "dw": dw} | _of_bias(arithmetic, inputs, axis=-1)


def _rows(x: np.ndarray) -> np.ndarray:
    """All axes but the last as one."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _of_bias(arithmetic: Arithmetic, inputs: Inputs, axis: int) -> dict[str, Rounded]:
    """db, the sum of dy over all axes but that of the outputs, which is `axis`.

    With factors rounded, dy may have been rounded for the other two gradients already.
    """
    if "b" not in inputs:
        return {}
    dy = inputs["dy"]
    axes = tuple(k for k in range(dy.value.ndim) if k != axis % dy.value.ndim)
    _, windows = _outputs_and_windows(dy.value.shape, axis)
    (db,) = sums_of_products(
        arithmetic, lambda dy: [dy.sum(axis=axes)], [dy], [max(0, windows - 1)], factors=1
    )
    return {"db": db}


def _outputs_and_windows(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    """The outputs O along an axis of dy, and how many entries there are of each."""
    return shape[axis], math.prod(shape) // max(1, shape[axis])


# Pools


def avg_pool2d(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """See `npkd.ops.avg_pool2d`."""
    taps = math.prod(np.broadcast_to(options["kernel_size"], 2))
    (y,) = sums_of_products(
        arithmetic,
        lambda x: [ops.avg_pool2d(x, **options)[0]],
        [inputs["x"]],
        [int(taps) + 2],
        factors=0,
        divisor=options.get("divisor_override") or int(taps),
    )
    image = inputs["x"].most.sum(axis=(2, 3), keepdims=True)
    y.jump = _of_corners(arithmetic, inputs["x"]) * _weights(inputs["x"], options) * image
    return {"y": y}


def _of_corners(arithmetic: Arithmetic, x: Rounded) -> Error:
    """How much of an image's sum windows may be off as four sums from the corner (integral image).

    Such a sum is of up to all of an image, by H + W additions in a row.
    """
    return 4 * arithmetic.gamma_of_sum(sum(x.value.shape[2:]) + 8)


def _weights(x: Rounded, options: Options) -> np.ndarray:
    """1/D of each window."""
    ones = np.ones((1, 1, *x.value.shape[2:]))
    inside, _ = ops.avg_pool2d(ones, **{**options, "divisor_override": 1})
    return np.abs(ops.avg_pool2d(ones, **options)[0]) / np.maximum(inside, 1)


def avg_pool2d_backward(
    arithmetic: Arithmetic, inputs: Inputs, options: Options
) -> dict[str, Rounded]:
    """See `npkd.ops.avg_pool2d`."""
    _, backward = ops.avg_pool2d(inputs["x"].value, **options)
    k = windows_on_a_cell(**options) + 2
    (dx,) = sums_of_products(arithmetic, lambda dy: [backward(dy)], [inputs["dy"]], [k], factors=0)
    shares = _weights(inputs["x"], options) * inputs["dy"].most
    image = shares.sum(axis=(2, 3), keepdims=True)
    dx.jump = _of_corners(arithmetic, inputs["x"]) * np.broadcast_to(image, dx.value.shape)
    return {"dx": dx}


def _of_whole_images(rule: Rule) -> Rule:
    """The rule of a pool, its window the image."""

    def of_image(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
        return rule(arithmetic, inputs, {"kernel_size": inputs["x"].value.shape[2:]})

    return of_image


def max_pool2d(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """See `npkd.ops.max_pool2d`. The largest of numbers moves by no more than they do."""
    x = inputs["x"]
    y, _ = ops.max_pool2d(x.value, **options)
    if not np.any(x.total):
        return {"y": Rounded(y)}
    error = np.broadcast_to(x.total, x.value.shape).astype(np.float64)
    return {"y": Rounded(y, ops.max_pool2d(error, **options)[0])}


def max_pool2d_backward(
    arithmetic: Arithmetic, inputs: Inputs, options: Options
) -> dict[str, Rounded]:
    """See `npkd.ops.max_pool2d`."""
    x, dy = inputs["x"], inputs["dy"]
    _, backward = ops.max_pool2d(x.value, **options)
    k = windows_on_a_cell(**options) - 1
    (dx,) = sums_of_products(arithmetic, lambda dy: [backward(dy)], [dy], [k], factors=0)
    if np.any(x.total):
        dx.jump = _reachable(x, dy, options)
    return {"dx": dx}


def _reachable(x: Rounded, dy: Rounded, options: Options) -> np.ndarray:
    """How much of |dy| may go to each cell, or away from it, where windows are undecided.

    A cell may be chosen if it may be as large as the window's largest is at least; a window is
    undecided if that is so of two cells.
    """
    kernel = np.broadcast_to(options["kernel_size"], 2).tolist()
    padding = np.broadcast_to(options.get("padding", 0), 2).tolist()
    stride = np.broadcast_to(options.get("stride") or kernel, 2).tolist()
    dilation = np.broadcast_to(options.get("dilation", 1), 2).tolist()
    rows, columns = (
        axis_of(size, k, s, p, p, d, bool(options.get("ceil_mode", False)))
        for size, k, s, p, d in zip(
            x.value.shape[2:], kernel, stride, padding, dilation, strict=True
        )
    )
    error = np.broadcast_to(x.total, x.value.shape)
    least, _ = ops.max_pool2d(x.value - error, **options)
    most = x.value + error
    taps = [
        ((..., row_windows, column_windows), (..., row_cells, column_cells))
        for row_windows, row_cells in rows.taps
        for column_windows, column_cells in columns.taps
    ]
    candidates = np.zeros(least.shape, np.int64)
    for windows, cells in taps:
        candidates[windows] += most[cells] >= least[windows]
    reachable = np.zeros(x.value.shape)
    for windows, cells in taps:
        may_be = (candidates[windows] > 1) & (most[cells] >= least[windows])
        reachable[cells] += np.where(may_be, dy.most[windows], 0.0)
    return reachable


def windows_on_a_cell(
    *,
    kernel_size: Any,
    stride: Any = None,
    dilation: Any = 1,
    **others: Any,
) -> int:
    """How many windows one cell may be in, at most.

    Along an axis tap i of window o lies on cell o·stride + i·dilation − padding. The taps that lie
    on one cell are thus stride / gcd(stride, dilation) apart, and each is in another window.
    """
    stride = stride or kernel_size  # not given, or PyTorch's ()
    axes = zip(
        *(np.broadcast_to(size, 2).tolist() for size in (kernel_size, stride, dilation)),
        strict=True,
    )
    return math.prod(math.ceil(k / (s // math.gcd(s, d))) for k, s, d in axes)


# Decisions and moves


def relu(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """max(0, x), which moves by no more than x does."""
    x = inputs["x"]
    return {"y": Rounded(ops.relu(x.value)[0], x.total)}


def relu_backward(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """See `npkd.ops.relu`; relu'(0) = 0."""
    x, dy = inputs["x"], inputs["dy"]
    dx = ops.relu(x.value)[1](dy.value)
    undecided = (np.abs(x.value) <= x.total) & np.asarray(np.asarray(x.total) > 0)
    return {"dx": Rounded(dx, dy.total, jump=np.where(undecided, dy.most, 0.0))}


def relu6(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """min(max(x, 0), 6), which moves by no more than x does."""
    x = inputs["x"]
    return {"y": Rounded(ops.relu6(x.value)[0], x.total)}


def relu6_backward(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """See `npkd.ops.relu6`; its slope is 0 at 0 and at 6."""
    x, dy = inputs["x"], inputs["dy"]
    dx = ops.relu6(x.value)[1](dy.value)
    from_kink = np.minimum(np.abs(x.value), np.abs(x.value - 6))
    undecided = (from_kink <= x.total) & np.asarray(np.asarray(x.total) > 0)
    return {"dx": Rounded(dx, dy.total, jump=np.where(undecided, dy.most, 0.0))}


def dropout(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """See `npkd.ops.dropout`; without a mask it is that of a net that is evaluated, x itself."""
    x = inputs["x"]
    if "mask" not in inputs:
        return {"y": Rounded(x.value, x.total)}
    return ELEMENTWISE["multiply"](arithmetic, {"a": x, "b": inputs["mask"]}, {})


def dropout_backward(
    arithmetic: Arithmetic, inputs: Inputs, options: Options
) -> dict[str, Rounded]:
    """The same to dy."""
    return {"dx": dropout(arithmetic, {**inputs, "x": inputs["dy"]}, options)["y"]}


def concat(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """See `npkd.ops.concat`."""
    values = [x.value for x in inputs.values()]
    errors = [np.broadcast_to(x.total, x.value.shape) for x in inputs.values()]
    y, error = (np.concatenate(parts, options.get("axis", 1)) for parts in (values, errors))
    return {"y": Rounded(y, error)}


def concat_backward(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """The pieces of dy."""
    axis, dy = options.get("axis", 1), inputs["dy"]
    several = {f"d{name}": x.value.shape[axis] for name, x in inputs.items() if name != "dy"}
    ends = np.cumsum([*several.values()])[:-1]
    error = np.broadcast_to(dy.total, dy.value.shape)
    values, errors = (np.split(of_dy, ends, axis) for of_dy in (dy.value, error))
    pieces = zip(several, values, errors, strict=True)
    return {name: Rounded(value, error) for name, value, error in pieces}


def _moved(
    move: Callable[[np.ndarray, Options], np.ndarray], source: str = "x", result: str = "y"
) -> Rule:
    """The rule of what moves entries and changes none."""

    def rule(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
        x = inputs[source]
        value = move(x.value, options)
        error = x.total
        if np.ndim(error):
            error = move(np.broadcast_to(error, x.value.shape), options)
        return {result: Rounded(value, error)}

    return rule


def _moved_back(name: str) -> Rule:
    """The rule of an op's backward pass that moves dy and changes nothing."""

    def rule(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
        _, backward = getattr(ops, name)(inputs["x"].value, **options)
        dy = inputs["dy"]
        error = dy.total
        if np.ndim(error):
            error = backward(np.broadcast_to(error, dy.value.shape).astype(np.float64))
        return {"dx": Rounded(backward(dy.value), error)}

    return rule


def rows(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """x[index], rows by their numbers."""
    index = inputs["index"].value
    return _moved(lambda x, _: x[index])(arithmetic, inputs, options)


def augment(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """Images moved down and right by their shifts, zeros coming in, and then flipped."""
    shifts, flips = inputs["shifts"].value, inputs["flips"].value
    return _moved(lambda images, _: augmented(images, shifts, flips), "images")(
        arithmetic, inputs, options
    )


def augmented(images: np.ndarray, shifts: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W), moved by (N, 2) whole cells and flipped left to right by (N,)."""
    moved = np.zeros_like(images)
    height, width = images.shape[2:]
    for n, (down, right) in enumerate(shifts.tolist()):
        to_rows = slice(max(down, 0), height + min(down, 0))
        to_columns = slice(max(right, 0), width + min(right, 0))
        from_rows = slice(max(-down, 0), height - max(down, 0))
        from_columns = slice(max(-right, 0), width - max(right, 0))
        moved[n, :, to_rows, to_columns] = images[n, :, from_rows, from_columns]
        if flips[n]:
            moved[n] = moved[n, :, :, ::-1]
    return moved


# Resizing


def upsample(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """See `npkd.ops.upsample`."""
    x = inputs["x"]
    if options.get("mode", "nearest") == "nearest":
        return _moved(lambda x, options: ops.upsample(x, **options)[0])(arithmetic, inputs, options)
    (y,) = sums_of_products(
        arithmetic, lambda x: [ops.upsample(x, **options)[0]], [x], [4 + 3], factors=0
    )
    largest = x.most.max(axis=(2, 3), keepdims=True)
    y.error = y.error + arithmetic.gamma(2 * _of_positions(x, options["factor"])) * largest
    if not np.all(np.isfinite(x.value)):  # 0 · ∞ may have been left out, or not
        y.error = np.full(y.value.shape, np.inf)
    # a + λ (b − a) rounds b − a, whatever the weights
    near = maximum_filter(x.most, (1, 1, 3, 3), mode="nearest")
    y.jump = arithmetic.gamma(8) * ops.upsample(near, options["factor"], "nearest")[0]
    return {"y": y}


def upsample_backward(
    arithmetic: Arithmetic, inputs: Inputs, options: Options
) -> dict[str, Rounded]:
    """See `npkd.ops.upsample`."""
    x, dy = inputs["x"], inputs["dy"]
    _, backward = ops.upsample(x.value, **options)
    nearest = options.get("mode", "nearest") == "nearest"
    k = options["factor"] ** 2 if nearest else (2 * options["factor"]) ** 2 + 3
    (dx,) = sums_of_products(arithmetic, lambda dy: [backward(dy)], [dy], [k], factors=0)
    positions = 0 if nearest else _of_positions(x, options["factor"])
    if positions:
        around = dy.most.sum(axis=(2, 3), keepdims=True)
        dx.error = dx.error + arithmetic.gamma(positions) * around
    if not nearest and not np.all(np.isfinite(dy.value)):  # as in `upsample`
        dx.error = np.full(dx.value.shape, np.inf)
    return {"dx": dx}


def _of_positions(x: Rounded, factor: int) -> int:
    """How many roundings weights of interpolation owe to positions that are rounded.

    Row i of y lies at t = (i + ½) · (1/f) − ½ in the rows of x, 0 < t + ½ < H: three roundings of
    up to H u each, and of up to W u for columns, but none if f is a power of two.
    """
    return 0 if factor & (factor - 1) == 0 else 3 * sum(x.value.shape[2:])


# The update, and preparation


def sgd(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """v ← μ v + (g + λ θ), θ ← θ − lr v; see `npkd.SGD`. With `nesterov`, lr (g + λ θ + μ v)."""
    theta, step = inputs["theta"], inputs["g"]
    if options.get("weight_decay"):
        decay = scaled(arithmetic, options["weight_decay"], theta)
        step = added(arithmetic, step, decay)
    if options.get("momentum"):
        gradient = step
        if "velocity" in inputs:
            step = added(
                arithmetic, scaled(arithmetic, options["momentum"], inputs["velocity"]), step
            )
        velocity = {"velocity": step}
        if options.get("nesterov"):
            step = added(arithmetic, gradient, scaled(arithmetic, options["momentum"], step))
    else:
        velocity = {}
    update = scaled(arithmetic, -options["lr"], step)
    updated = added(arithmetic, theta, update)
    # θ (1 − lr λ) − lr g rounds the factor of θ
    updated.jump = arithmetic.gamma(3) * theta.most if options.get("weight_decay") else 0.0
    return {"theta": updated} | velocity


def scaled(arithmetic: Arithmetic, factor: float, x: Rounded) -> Rounded:
    """A constant times x: the constant is rounded, and the product."""
    value, most = factor * x.value, abs(factor) * x.most
    error = abs(factor) * np.asarray(x.total) + arithmetic.gamma(2) * most
    error = error + arithmetic.stored.smallest
    return Rounded(value, _promised(arithmetic, value, error), roundings=x.roundings + 2)


def added(arithmetic: Arithmetic, x: Rounded, y: Rounded) -> Rounded:
    """x + y."""
    value, error = x.value + y.value, np.asarray(x.total) + y.total
    error = error + arithmetic.gamma(1) * (np.abs(value) + error) + arithmetic.stored.smallest
    error = _promised(arithmetic, value, error)
    return Rounded(value, error, roundings=max(x.roundings, y.roundings) + 1)


def _promised(arithmetic: Arithmetic, value: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The error, but that nothing is promised where a result may be beyond the largest number."""
    return np.where(np.abs(value) + error > arithmetic.stored.largest, np.inf, error)


def sum_of(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """The sum of all inputs, divided by `divisor`."""
    divisor = options.get("divisor", 1)
    (y,) = sums_of_products(
        arithmetic,
        lambda *terms: [sum(terms[1:], start=terms[0]) / divisor],
        list(inputs.values()),
        [len(inputs) - 1 + 2 * (divisor != 1)],
        factors=0,
        divisor=divisor,
    )
    return {"y": y}


def normalise(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
    """(images / 255 − mean) / std, mean and std of each channel."""
    images = inputs["images"].value / 255.0
    mean, std = (inputs[name].value.reshape(-1, 1, 1) for name in ("mean", "std"))
    error = arithmetic.gamma(6) * (images + np.abs(mean)) / std
    return {"y": Rounded((images - mean) / std, error, roundings=6)}


# Losses and softmax


def _loss(name: str) -> Rule:
    def rule(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
        return bounds_of_losses.loss(arithmetic, name, inputs, options)

    return rule


def _softmax(of: Callable[[Traced, int], Traced]) -> Rule:
    """The rule of `traced.softmax`, or of its logarithm.

    Other formulas, exp(x − log Σ exp x) or 2^(x log₂ e), round exponents of the size of x itself,
    some four times; a share of that size becomes relative by exp.
    """

    def rule(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
        with np.errstate(all="ignore"):
            x, axis = leaf(arithmetic, inputs["x"]), options.get("axis", -1)
            y = of(x, axis).rounded
            finite = np.where(np.isfinite(x.most), x.most, 0)
            exponents = arithmetic.gamma(4 * (1 + np.max(finite, axis=axis, keepdims=True)))
            relative = of is traced.softmax
            y.jump = np.abs(y.value) * np.expm1(exponents) if relative else exponents
            return {"y": y}

    return rule


def _softmax_backward(
    of: Callable[[Traced, int], Traced], back: Callable[[Traced, Traced, int], Traced]
) -> Rule:
    """The rule of its backward pass: y is what the forward pass gave."""

    def rule(arithmetic: Arithmetic, inputs: Inputs, options: Options) -> dict[str, Rounded]:
        axis = options.get("axis", -1)
        with np.errstate(all="ignore"):
            x, dy = leaf(arithmetic, inputs["x"]), leaf(arithmetic, inputs["dy"])
            return {"dx": back(of(x, axis), dy, axis).rounded}

    return rule


_unchanged = _moved(lambda x, _: x)

RULES: dict[str, Rule] = {
    "conv2d": conv2d,
    "conv2d_backward": conv2d_backward,
    "linear": linear,
    "linear_backward": linear_backward,
    "avg_pool2d": avg_pool2d,
    "avg_pool2d_backward": avg_pool2d_backward,
    "max_pool2d": max_pool2d,
    "max_pool2d_backward": max_pool2d_backward,
    "relu": relu,
    "relu_backward": relu_backward,
    "flatten": _moved(lambda x, _: ops.flatten(x)[0]),
    "flatten_backward": _moved_back("flatten"),
    "pixel_shuffle": _moved(lambda x, options: ops.pixel_shuffle(x, **options)[0]),
    "pixel_shuffle_backward": _moved_back("pixel_shuffle"),
    "upsample": upsample,
    "upsample_backward": upsample_backward,
    "softmax": _softmax(traced.softmax),
    "softmax_backward": _softmax_backward(traced.softmax, traced.softmax_backward),
    "log_softmax": _softmax(traced.log_softmax),
    "log_softmax_backward": _softmax_backward(traced.log_softmax, traced.log_softmax_backward),
    "dropout": dropout,
    "dropout_backward": dropout_backward,
    "relu6": relu6,
    "relu6_backward": relu6_backward,
    "concat": concat,
    "concat_backward": concat_backward,
    "global_avg_pool2d": _of_whole_images(avg_pool2d),
    "global_avg_pool2d_backward": _of_whole_images(avg_pool2d_backward),
    "copy": _unchanged,
    "rows": rows,
    "augment": augment,
    "normalise": normalise,
    "sum": sum_of,
    "sgd": sgd,
    "adam": updates.adam,
    "clip": updates.clip,
    "unscale": sum_of,
    "statistics": _unchanged,
}
RULES |= {f"set_{name}": updates.setting for name in updates.SETTINGS}
RULES |= {name: _loss(name) for name in losses.__all__ if name != "conventions"}
RULES |= ELEMENTWISE
RULES["standardize_backward"] = RULES["standardize"]  # which takes a dy, and gives dx then


def uses_exp(op: str) -> bool:
    """Whether its bound rests on how exact exp, log and their like are."""
    pointwise = ("exp", "log", "sigmoid", "tanh", "silu", "gelu")
    return op.removesuffix("_backward") in (
        *pointwise,
        *("softmax", "log_softmax"),
        *losses.__all__,
    )


def is_sum_of_products(op: str) -> bool:
    """Whether its inputs are multiplied with each other: what TF32 and its like are about."""
    return op.removesuffix("_backward") in ("conv2d", "linear")
