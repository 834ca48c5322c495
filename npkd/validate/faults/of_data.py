"""Known faults of data: how they are prepared, and how they reach the teacher."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from npkd.validate.bounds.rounding import Arithmetic, Rounded, exact
from npkd.validate.bounds.rules import Inputs, Options, scaled
from npkd.validate.bounds.rules import Rule as RightRule
from npkd.validate.faults.fault import Context, Fault, Results, Rule, both_ways


def _in_training_mode(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """Dropout: every entry is 0, or x / (1 − p); which of the two is chance."""
    tensor = at.operation.outputs["y"]
    kept = scaled(a, 1 / (1 - given.get("p", 0.5)), x["x"])
    dropped = np.asarray(at.found[tensor]) == 0
    value, error = np.where(dropped, 0, kept.value), np.where(dropped, 0, kept.error)
    return {"y": replace(kept, value=value, error=error)}


def _as_found(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """Whatever it has become."""
    return {"y": exact(at.found[at.operation.outputs["y"]])}


def _of_changed_teacher(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """From the second step on a teacher's layers have whatever parameters it has become."""
    step, _, rest = at.operation.name.partition("/")
    tensor = at.operation.outputs["y"]
    if step == "step1" or not rest.startswith("teacher/") or tensor not in at.found:
        return right(a, x, given)
    return {"y": exact(at.found[tensor])}


TEACHER_FAULTS = [
    Fault("teacher in training mode", {"dropout": _in_training_mode, "statistics": _as_found}),
    Fault(
        "teacher trainable",
        {"copy": _as_found} | dict.fromkeys(("conv2d", "linear"), _of_changed_teacher),
    ),
]


def _rows_of_first_epoch(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The rows for the images that the same batch had in the first epoch."""
    alike = at.alike()
    first = alike[alike.index(at.operation) % given["batches"]]
    return right(a, {**x, "index": at.tensor(first.inputs["index"])}, given)


def _rows_in_order(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The rows as they lie in the cache, batch after batch."""
    alike = at.alike()
    place = alike.index(at.operation)
    epoch = alike[place - place % given["batches"] : place]
    start = sum(len(at.tensor(one.inputs["index"]).value) for one in epoch)
    rows = np.arange(start, start + len(x["index"].value))
    return right(a, {**x, "index": Rounded(rows)}, given)


def _of_not_augmented(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The teacher's outputs for images as they were before they were augmented."""
    makers = {tensor: one for one in at.case.operations for tensor in one.outputs.values()}
    maker = makers.get(at.operation.inputs["x"])
    if maker is None or maker.op != "augment":
        return right(a, x, given)
    return right(a, {**x, "x": at.tensor(maker.inputs["images"])}, given)


def _not_augmented(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    return {"y": x["images"]}


def _normalised(order: str) -> Rule:
    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        images = x["images"].value.astype(np.float64)
        mean, std = (x[name].value.reshape(-1, 1, 1) for name in ("mean", "std"))
        if order == "before /255":
            value, size = (images - mean) / std / 255, (images + np.abs(mean)) / std / 255
        elif order == "without /255":
            value, size = (images - mean) / std, (images + np.abs(mean)) / std
        else:
            images = images[:, ::-1] / 255
            if order == "after":
                mean, std = mean[::-1], std[::-1]
            value, size = (images - mean) / std, (images + np.abs(mean)) / std
        return {"y": Rounded(value, a.gamma(6) * size, roundings=6)}

    return rule


def _with_constants(
    change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> Rule:
    """Other constants in the place of mean and std, or made of these."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        mean, std = change(*(x[name].value.astype(np.float64) for name in ("mean", "std")))
        mean, std = (np.broadcast_to(one, x["mean"].value.shape) for one in (mean, std))
        return right(a, {**x, "mean": Rounded(mean), "std": Rounded(std)}, given)

    return rule


def _resized(matrices: Callable[[int, int], np.ndarray]) -> Rule:
    """Another linear map along rows and along columns, given by the sizes before and after."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        if "dy" in x:
            return backward(a, x)
        right_y = right(a, x, given)["y"].value
        images = x["x"].value
        rows, columns = (
            matrices(before, after)
            for before, after in zip(images.shape[2:], right_y.shape[2:], strict=True)
        )
        value = rows @ images @ columns.T
        size = np.abs(rows) @ np.abs(images) @ np.abs(columns).T
        k = images.shape[2] + images.shape[3] + 16
        return {"y": Rounded(value, a.gamma(k) * size, roundings=16)}

    def backward(a: Arithmetic, x: Inputs) -> Results:
        dy = x["dy"].value
        rows, columns = (
            matrices(before, after)
            for before, after in zip(x["x"].value.shape[2:], dy.shape[2:], strict=True)
        )
        size = np.abs(rows.T) @ np.abs(dy) @ np.abs(columns)
        k = dy.shape[2] + dy.shape[3] + 16
        return {"dx": Rounded(rows.T @ dy @ columns, a.gamma(k) * size, roundings=16)}

    return rule


def _interpolation(positions: np.ndarray, before: int) -> np.ndarray:
    """Linear interpolation at these positions, the edges repeated."""
    positions = np.clip(positions, 0, before - 1)
    low = np.minimum(np.floor(positions).astype(int), max(before - 2, 0))
    weights = np.zeros((len(positions), before))
    each = np.arange(len(positions))
    weights[each, low] += 1 - (positions - low)
    weights[each, np.minimum(low + 1, before - 1)] += positions - low
    return weights


def _aligned_corners(before: int, after: int) -> np.ndarray:
    return _interpolation(np.arange(after) * ((before - 1) / max(after - 1, 1)), before)


def _no_half_pixel(before: int, after: int) -> np.ndarray:
    return _interpolation(np.arange(after) * (before / after), before)


def _half_pixel(before: int, after: int) -> np.ndarray:
    return _interpolation((np.arange(after) + 0.5) * (before / after) - 0.5, before)


def _cubic(sharpness: float) -> Callable[[int, int], np.ndarray]:
    """Cubic convolution (Keys 1981) of the four nearest cells, the edges repeated."""

    def matrix(before: int, after: int) -> np.ndarray:
        positions = (np.arange(after) + 0.5) * (before / after) - 0.5
        weights = np.zeros((after, before))
        for offset in range(-1, 3):
            cells = np.floor(positions).astype(int) + offset
            d = np.abs(positions - cells)
            near = ((sharpness + 2) * d - (sharpness + 3)) * d**2 + 1
            far = sharpness * (((d - 5) * d + 8) * d - 4)
            cell = np.clip(cells, 0, before - 1)
            weights[np.arange(after), cell] += np.where(d <= 1, near, far)
        return weights

    return matrix


def _nearest(before: int, after: int) -> np.ndarray:
    rows = (np.arange(after) * before) // after
    return np.eye(before)[rows]


def _antialiased(before: int, after: int) -> np.ndarray:
    """A triangle as wide as the reduction asks for, its weights summing to 1."""
    scale = max(before / after, 1.0)
    centres = (np.arange(after)[:, None] + 0.5) * (before / after)
    weights = np.maximum(0, 1 - np.abs(np.arange(before) + 0.5 - centres) / scale)
    return weights / weights.sum(axis=1, keepdims=True)


def _resize_faults() -> list[Fault]:
    """Of reducing and of enlarging; what antialiasing is, enlarging has no use for."""
    kinds = {
        "resized with align_corners": _aligned_corners,
        "resized without half-pixel centres": _no_half_pixel,
        "resized to the nearest cell": _nearest,
        "resized by interpolation": _half_pixel,
        "resized by bicubic interpolation": _cubic(-0.75),  # as PyTorch and OpenCV have it
    }
    both = [
        Fault(name, both_ways(_resized(kind), "avg_pool2d", "upsample"), pipeline=True)
        for name, kind in kinds.items()
    ]
    antialiased = both_ways(_resized(_antialiased), "avg_pool2d")
    return [*both, Fault("resized with antialiasing", antialiased, pipeline=True)]


def _of(mean: Sequence[float], std: Sequence[float]) -> Callable[..., Any]:
    return lambda *_: (np.array(mean), np.array(std))


CONSTANTS = {
    "mean and std exchanged": lambda mean, std: (std, mean),
    "std for the mean too": lambda mean, std: (std, std),
    "divided by the variance": lambda mean, std: (mean, std**2),
    "mean not subtracted": lambda mean, std: (np.zeros(1), std),
    "not divided by std": lambda mean, std: (mean, np.ones(1)),
    "not normalised": _of([0.0], [1.0]),
    "mean and std ½": _of([0.5], [0.5]),
    "mean and std of ImageNet": _of([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "mean and std of CIFAR-10": _of([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    "mean and std of MNIST": _of([0.1307], [0.3081]),
}  # of the data sets, as torchvision's and PyTorch's examples have them

DATA_FAULTS = [
    Fault(
        "cached teacher rows against reshuffled data: in the order of the first epoch",
        {"rows": _rows_of_first_epoch},
        pipeline=True,
    ),
    Fault(
        "cached teacher rows against reshuffled data: in the order of the cache",
        {"rows": _rows_in_order},
        pipeline=True,
    ),
    Fault(
        "cached teacher against fresh augmentation", {"flatten": _of_not_augmented}, pipeline=True
    ),
    Fault("not augmented", {"augment": _not_augmented}, pipeline=True),
    Fault("normalised before the division by 255", {"normalise": _normalised("before /255")}, True),
    Fault("no division by 255", {"normalise": _normalised("without /255")}, True),
    Fault("channel order reversed", {"normalise": _normalised("channels")}, True),
    Fault("channel order reversed, after normalising", {"normalise": _normalised("after")}, True),
    *(
        Fault(name, {"normalise": _with_constants(change)}, pipeline=True)
        for name, change in CONSTANTS.items()
    ),
    *_resize_faults(),
]
