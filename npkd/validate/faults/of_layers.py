"""Known faults of layers: padding, layouts, kinks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from npkd.validate.bounds.rounding import Arithmetic, Rounded, exact
from npkd.validate.bounds.rules import Inputs, Options
from npkd.validate.bounds.rules import Rule as RightRule
from npkd.validate.bounds.traced import gradients, leaf, sigmoid
from npkd.validate.faults.fault import (
    Context,
    Fault,
    Results,
    Rule,
    both_ways,
    moved_entries,
    options,
)


def _same_padding(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """Padding as TensorFlow's SAME has it at a stride: its odd cell below and to the right."""
    kernel, stride = x["w"].value.shape[2:], np.broadcast_to(given.get("stride", 1), 2)
    if np.all(stride == 1):
        return right(a, x, given)
    dilation = np.broadcast_to(given.get("dilation", 1), 2)
    widths = [(0, 0), (0, 0)]
    for size, k, s, d in zip(x["x"].value.shape[2:], kernel, stride, dilation, strict=True):
        total = max((math.ceil(size / s) - 1) * s + d * (k - 1) + 1 - size, 0)
        widths.append((int(total // 2), int(total - total // 2)))
    height, width = x["x"].value.shape[2:]
    (top, _), (left, _) = widths[2:]
    inner = (..., slice(top, top + height), slice(left, left + width))
    padded = {**x, "x": moved_entries(x["x"], lambda array: np.pad(array, widths))}
    results = right(a, padded, {**given, "padding": 0})
    if "dx" in results:
        results["dx"] = moved_entries(results["dx"], lambda array: array[inner])
    return results


def _weight(
    move: Callable[[np.ndarray], np.ndarray], back: Callable[[np.ndarray], np.ndarray]
) -> Rule:
    """The operation on a weight whose entries lie elsewhere; its gradient goes back the same way.

    `move` may need the shape of the weight that it gives, which is that of the one it takes.
    """

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        results = right(a, {**x, "w": moved_entries(x["w"], move)}, given)
        if "dw" in results:
            results["dw"] = moved_entries(results["dw"], back)
        return results

    return rule


def _flipped(w: np.ndarray) -> np.ndarray:
    return w[:, :, ::-1, ::-1]


def _transposed(w: np.ndarray) -> np.ndarray:
    """Rows and columns of each kernel exchanged."""
    if w.shape[2] != w.shape[3]:
        raise ValueError("only a square kernel can be transposed and still fit")
    return w.swapaxes(2, 3)


def _read_in_out(w: np.ndarray) -> np.ndarray:
    """A weight (O, I) whose numbers were read as if they were (I, O), and then transposed."""
    return w.reshape(w.shape[::-1]).T


def _read_out_in(w: np.ndarray) -> np.ndarray:
    """The inverse of that."""
    return np.ascontiguousarray(w.T).reshape(w.shape)


def _read_as_hwio(w: np.ndarray) -> np.ndarray:
    """A weight (O, C, kh, kw) whose numbers were read as if they were (kh, kw, C, O)."""
    o, c, height, width = w.shape
    return w.reshape(height, width, c, o).transpose(3, 2, 0, 1)


def _read_as_oihw(w: np.ndarray) -> np.ndarray:
    """The inverse of that."""
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(w.shape)


def _channels_last(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    return right(a, {**x, "x": moved_entries(x["x"], lambda v: v.transpose(0, 2, 3, 1))}, given)


def _channels_last_backward(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    n, c, height, width = x["x"].value.shape

    def back(dy: np.ndarray) -> np.ndarray:
        return dy.reshape(n, height, width, c).transpose(0, 3, 1, 2)

    return {"dx": moved_entries(x["dy"], back)}


def _pool_ceil(given: Options) -> dict[str, Any]:
    """The divisor of a last window that sticks out: all its taps, wherever they lie."""
    if not given.get("ceil_mode") or given.get("divisor_override"):
        return {}
    return {"divisor_override": int(np.prod(np.broadcast_to(given["kernel_size"], 2)))}


def _pool_ceil_counted(given: Options) -> dict[str, Any]:
    """The same, but where padding is not counted."""
    return _pool_ceil(given) if given.get("count_include_pad", True) else {}


def _other_padding(given: Options) -> dict[str, Any]:
    return {"count_include_pad": not given.get("count_include_pad", True)}


def _relu_at_zero(slope: float) -> Rule:
    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        results = right(a, x, given)
        dx = np.where(x["x"].value == 0, slope * x["dy"].value, results["dx"].value)
        return {"dx": replace(results["dx"], value=dx)}

    return rule


def _ties(share: str) -> Rule:
    """dy to all equal cells of a window, to the last of them, or to all in equal parts."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        results = right(a, x, given)
        dx = _at_ties(x["x"].value, x["dy"].value, given, share)
        error = a.gamma(8) * _at_ties(x["x"].value, np.abs(x["dy"].value), given, share)
        return {"dx": replace(results["dx"], value=dx, error=results["dx"].error + error)}

    return rule


def _at_ties(x: np.ndarray, dy: np.ndarray, given: Options, share: str) -> np.ndarray:
    height, width = np.broadcast_to(given["kernel_size"], 2)
    stride = given.get("stride") or (height, width)
    down, right = np.broadcast_to(stride, 2)
    top, left = np.broadcast_to(given.get("padding", 0), 2)
    step_r, step_c = np.broadcast_to(given.get("dilation", 1), 2)
    dx = np.zeros_like(x)
    for u in range(dy.shape[2]):
        for v in range(dy.shape[3]):
            rows = [u * down - top + i * step_r for i in range(height)]
            columns = [v * right - left + j * step_c for j in range(width)]
            rows = [r for r in rows if 0 <= r < x.shape[2]]
            columns = [c for c in columns if 0 <= c < x.shape[3]]
            window = x[:, :, rows][:, :, :, columns]
            flat = window.reshape(*window.shape[:2], -1)
            equal = flat == flat.max(axis=2, keepdims=True)
            if share == "last":
                last = equal.shape[2] - 1 - equal[:, :, ::-1].argmax(axis=2)
                weights = (np.arange(equal.shape[2]) == last[:, :, None]).astype(np.float64)
            elif share == "all":
                weights = equal.astype(np.float64)
            else:
                weights = equal / equal.sum(axis=2, keepdims=True)
            part = (weights * dy[:, :, u, v, None]).reshape(window.shape)
            dx[:, :, np.array(rows)[:, None], np.array(columns)] += part
    return dx


def _slope_at(kinks: Sequence[float], slope: float) -> Rule:
    """Another slope where x is one of these."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        results = right(a, x, given)
        dx = np.where(np.isin(x["x"].value, kinks), slope * x["dy"].value, results["dx"].value)
        return {"dx": replace(results["dx"], value=dx)}

    return rule


def _held_at(most: float) -> Rule:
    """min(max(x, 0), most), and its backward pass."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        value = x["x"].value
        if "dy" not in x:
            return {"y": Rounded(np.clip(value, 0, most), x["x"].total)}
        passes = (value > 0) & (value < most)
        return {"dx": Rounded(passes * x["dy"].value, x["dy"].total)}

    return rule


def _other_form(given: Options) -> dict[str, Any]:
    return {"approximate": "none" if given.get("approximate") == "tanh" else "tanh"}


def _by_sigmoid(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """x σ(1.702 x)."""
    with np.errstate(all="ignore"):
        z = leaf(a, x["x"], trained=True)
        y = z * sigmoid(z * 1.702)
        if "dy" not in x:
            return {"y": y.rounded}
        return {"dx": gradients(y * leaf(a, x["dy"]), [z])[0].rounded}


def _mask_as(scale: Callable[[np.ndarray], np.ndarray]) -> Rule:
    """Dropout by another mask."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        if "mask" not in x:
            return right(a, x, given)
        return right(a, {**x, "mask": exact(scale(x["mask"].value))}, given)

    return rule


def _the_other_way_round(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The last array first."""
    names = [name for name in x if name != "dy"]
    turned = {name: x[name] for name in reversed(names)}
    return right(a, turned | ({"dy": x["dy"]} if "dy" in x else {}), given)


def _not_divided(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The sum over images in the place of the mean."""
    cells = math.prod(x["x"].value.shape[2:])
    return {
        name: Rounded(cells * one.value, cells * np.asarray(one.error))
        for name, one in right(a, x, given).items()
    }


def _without_bias(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    return right(a, {name: one for name, one in x.items() if name != "b"}, given)


def _as_trained(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """By the batch's own statistics, whatever is given."""
    others = {name: one for name, one in x.items() if name not in ("mean", "variance")}
    return right(a, others, given)


def _other_momentum(given: Options) -> dict[str, Any]:
    return {"momentum": 1 - given.get("momentum", 0.1)}


LAYER_FAULTS = [
    Fault("bias left out", {"conv2d": _without_bias, "linear": _without_bias}),
    Fault(
        "padding SAME of the other kind at a stride: odd cell below and right",
        both_ways(_same_padding, "conv2d"),
    ),
    Fault(
        "kernel flipped: convolution for correlation",
        both_ways(_weight(_flipped, _flipped), "conv2d"),
    ),
    Fault(
        "weight layout transposed: rows and columns of kernels exchanged",
        both_ways(_weight(_transposed, _transposed), "conv2d"),
    ),
    Fault(
        "weight layout transposed: read as (kh, kw, in, out)",
        both_ways(_weight(_read_as_hwio, _read_as_oihw), "conv2d"),
    ),
    Fault(
        "weight layout transposed: read as (in, out)",
        both_ways(_weight(_read_in_out, _read_out_in), "linear"),
    ),
    Fault(
        "count_include_pad the other way round",
        both_ways(options(_other_padding), "avg_pool2d"),
    ),
    Fault("pool divisor under ceil_mode: all taps", both_ways(options(_pool_ceil), "avg_pool2d")),
    Fault(
        "pool divisor under ceil_mode: all taps, where padding is counted",
        both_ways(options(_pool_ceil_counted), "avg_pool2d"),
    ),
    Fault(
        "flattened as (N, H, W, C)",
        {"flatten": _channels_last, "flatten_backward": _channels_last_backward},
    ),
    Fault(
        "gradient at max ties: to the last cell",
        {"max_pool2d_backward": _ties("last")},
        convention="a valid subgradient",
    ),
    Fault("gradient at max ties: to all cells", {"max_pool2d_backward": _ties("all")}),
    Fault(
        "gradient at max ties: shared equally",
        {"max_pool2d_backward": _ties("equal")},
        convention="as JAX's max, MLX and tinygrad have it",
    ),
    Fault(
        "batch norm by the batch's statistics in evaluation", both_ways(_as_trained, "batch_norm")
    ),
    Fault("batch norm by the unbiased variance", both_ways(options(unbiased=True), "batch_norm")),
    Fault(
        "batch norm with epsilon outside of the root",
        both_ways(options(outside=True), "batch_norm"),
    ),
    Fault(
        "batch norm's gradient with the statistics taken for constants",
        {"batch_norm_backward": options(constant=True)},
    ),
    Fault(
        "running variance not unbiased",
        {"running_variance": options(unbiased=False)},
        convention="as Flax has it",
    ),
    Fault(
        "momentum of running statistics taken for the share of the old ones",
        dict.fromkeys(("running_mean", "running_variance"), options(_other_momentum)),
    ),
    Fault(
        "relu'(0) = 1",
        {"relu_backward": _relu_at_zero(1.0)},
        convention="a valid subgradient",
    ),
    Fault(
        "relu'(0) = ½",
        {"relu_backward": _relu_at_zero(0.5)},
        convention="as jnp.maximum(x, 0) has it",
    ),
    Fault("relu6 held at 1", both_ways(_held_at(1.0), "relu6")),
    Fault("relu6 without its upper end: relu", both_ways(_held_at(math.inf), "relu6")),
    Fault(
        "relu6' = 1 at its kinks",
        {"relu6_backward": _slope_at((0.0, 6.0), 1.0)},
        convention="as torch.clamp has it",
    ),
    Fault(
        "relu6' = ½ at its kinks",
        {"relu6_backward": _slope_at((0.0, 6.0), 0.5)},
        convention="as jnp.minimum and jnp.maximum have it",
    ),
    Fault(
        "relu6' = 1 at 6",
        {"relu6_backward": _slope_at((6.0,), 1.0)},
        convention="as relu(x) − relu(x − 6) has it",
    ),
    Fault(
        "gelu in its other form: tanh for erf, or erf for tanh",
        both_ways(options(_other_form), "gelu"),
    ),
    Fault("gelu as x σ(1.702 x)", both_ways(_by_sigmoid, "gelu")),
    Fault(
        "dropout not scaled by 1 / (1 − p)",
        both_ways(_mask_as(lambda mask: (mask != 0).astype(np.float64)), "dropout"),
    ),
    Fault("arrays joined in the opposite order", both_ways(_the_other_way_round, "concat")),
    Fault("a global pool of sums, not means", both_ways(_not_divided, "global_avg_pool2d")),
]
