"""The files of a finished run, read back: what a run could not have written is refused.

report.json says how many images and classes there were; from these follow the names, dtypes, shapes
and ranges of all arrays beside it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from npkd import zoo
from npkd.distill import checkpoint
from npkd.distill.report.contents import read_json
from npkd.distill.report.table import NAMES, image_shape
from npkd.distill.tasks.super_resolve import LargeSuperResolver, SmallSuperResolver
from npkd.distill.tasks.task import MOST_SAMPLES
from npkd.files import BadInput, is_there, read_npz, size_of
from npkd.weights import MOST_BYTES

Arrays = dict[str, np.ndarray]
LARGEST = float(np.finfo(np.float32).max)


class Array(NamedTuple):
    """What an array must be: of this kind of dtype and this shape, its values in this range."""

    dtype: DTypeLike
    shape: tuple[int, ...]
    least: float = -LARGEST
    most: float = LARGEST


def read(folder: Path) -> tuple[dict[str, Any], Arrays, dict[str, Arrays]]:
    """What report.json and samples.npz hold, and the weights of the nets by name.

    Raises BadInput if a file is missing or holds anything else, or the run is not finished,
    OtherVersion if another version of npkd wrote it, Unreadable if it cannot be read just now.
    """
    report = read_report(folder)
    samples = read_samples(folder, report)
    return report, samples, {name: read_weights(folder, report, name) for name in NAMES}


def read_report(folder: Path) -> dict[str, Any]:
    """What report.json holds. Raises as `read` does."""
    path = folder / "report.json"
    if not is_there(path) and checkpoint.found(folder):
        raise BadInput(
            f"{folder}: its run is not finished; go on with it by the command that began it, and "
            "--resume"
        )
    report = read_json(path)
    _require_preparation(path, report)
    return report


def read_samples(folder: Path, report: Mapping[str, Any]) -> Arrays:
    """What samples.npz holds. Raises as `read` does."""
    samples = _arrays(folder / "samples.npz")
    _require(folder / "samples.npz", samples, _of_samples(report, samples))
    return samples


def read_weights(folder: Path, report: Mapping[str, Any], name: str) -> Arrays:
    """The weights of one of the three nets. Raises as `read` does."""
    path = folder / f"{name}.npz"
    weights = _arrays(path)
    _require(path, weights, _of_weights(report, name))
    return weights


def _arrays(path: Path) -> Arrays:
    """The arrays of a file that a run wrote; as it compresses nothing, they are no larger."""
    return read_npz(path, at_most=min(size_of(path, "an .npz file"), MOST_BYTES))


def _of_samples(report: Mapping[str, Any], samples: Arrays) -> dict[str, Array]:
    """What `Task.samples` makes. How many images it chose, in its bounds, the arrays say."""
    images, classes = report["data"]["test"], len(report["class_names"])
    channels, size, _ = image_shape(report)
    firsts = min(max(np.size(samples.get("firsts", ())), 1), MOST_SAMPLES)
    chosen = min(max(np.size(samples.get("chosen", ())), firsts), firsts + MOST_SAMPLES)
    described = {
        "firsts": Array(np.int64, (firsts,), 0, images - 1),
        "chosen": Array(np.int64, (chosen,), 0, images - 1),
        "x_high": Array(np.uint8, (chosen, channels, size, size), 0, 255),
    }
    if report["task"] == "super-resolve":
        low = (chosen, channels, size // 2, size // 2)
        described["images/x_low"] = Array(np.uint8, low, 0, 255)
        described |= {f"images/{name}": described["x_high"] for name in (*NAMES, "bicubic")}
        return described | {f"psnr/{name}": Array(np.float64, (images,), 0, 101) for name in NAMES}
    described["labels"] = Array(np.int64, (images,), 0, classes - 1)
    logits = Array(np.float32, (images, classes))
    return described | {f"logits/{name}": logits for name in (*NAMES, "large_low")}


def _of_weights(report: Mapping[str, Any], name: str) -> dict[str, Array]:
    """The arrays of one of the nets."""
    channels, size, _ = image_shape(report)
    setting = "large" if name == "large" else "small"
    if report["task"] == "super-resolve":
        made = {"large": LargeSuperResolver, "small": SmallSuperResolver}[setting]
        params = made(0, in_channels=channels, image_size=size // 2).state_dict()
        return {key: Array(theta.dtype, theta.shape) for key, theta in params.items()}
    config, classes = report["config"], len(report["class_names"])
    if setting == "small" and config.get("small_input") != "high":
        size //= 2
    return _of_net(config.get(setting, setting), channels, classes, size)


def _of_net(name: str, channels: int, classes: int, size: int) -> dict[str, Array]:
    """The arrays of a net by its name.

    Two nets of one class, for small images, tell them: one of many classes, or for images of any
    size, may take any memory. What grows with the images takes their last maps, cell by cell.
    """
    side, options = 8, {"in_channels": channels, "num_classes": 1}
    net, wider = (zoo.make(name, 0, image_size=n, **options) for n in (side, 2 * side))
    described = {}
    for key, theta in net.state_dict().items():
        shape = theta.shape
        if shape != wider.state_dict()[key].shape:
            shape = (*shape[:-1], shape[-1] * size**2 // side**2)
        if key.startswith(f"{net.last}."):
            shape = (classes, *shape[1:])
        described[key] = Array(theta.dtype, shape)
    return described


def _require_preparation(path: Path, report: Mapping[str, Any]) -> None:
    """Raise BadInput if what images are normalised by, or their border, is that of other images."""
    about, (channels, size, _) = report["data"], image_shape(report)
    for name in ("mean", "std"):
        if name in about and len(about[name]) != channels:
            found = len(about[name])
            raise BadInput(f"{path}: data.{name} is of {found} channels, expected {channels}")
    if 2 * about.get("border", 0) >= size:
        raise BadInput(
            f"{path}: data.border is {about['border']}, expected less than half of {size}"
        )


def _require(path: Path, arrays: Arrays, described: Mapping[str, Array]) -> None:
    """Raise BadInput unless arrays have just these names, and are as described."""
    for name in sorted(described.keys() ^ arrays.keys()):
        has = "lacks" if name in described else "has an array that is no run's,"
        raise BadInput(f"{path}: {has} {name}")
    for name, (dtype, shape, least, most) in described.items():
        array = arrays[name]
        if array.dtype.kind != np.dtype(dtype).kind or array.shape != shape:
            expected = f"{np.dtype(dtype)} {shape}"
            raise BadInput(f"{path}: {name} is {array.dtype} {array.shape}, expected {expected}")
        if not least <= float(array.min()) <= float(array.max()) <= most:  # nor is NaN
            raise BadInput(f"{path}: {name} has values that are not from {least:g} to {most:g}")
