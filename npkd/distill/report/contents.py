"""What report.json holds (`distill.Finished.report`): described, written, read back and checked."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from npkd import __version__
from npkd.arguments import as_float
from npkd.distill.report.table import IN_EIGHT_BITS, NAMES
from npkd.distill.tasks import TASKS
from npkd.distill.tasks.super_resolve import UPSAMPLINGS
from npkd.distill.tasks.task import IMAGES, are_images
from npkd.files import (
    BadInput,
    OtherVersion,
    Unreadable,
    each_once,
    read_bytes,
    write_atomically,
)
from npkd.printing.text import short
from npkd.zoo import MODELS

MOST_BYTES = 1 << 24  # of report.json; in memory it may take 30 times as much
MOST_DIGITS = 4000  # of a whole number; Python reads 4,300


class Kind(NamedTuple):
    """One value: how a message calls it, and whether something is one."""

    words: str
    fits: Callable[[Any], bool]


class Many(NamedTuple):
    """A list: what each entry of it is, and how many there are."""

    each: Any
    least: int
    most: int


def number(least: float = -1e100, most: float = 1e100) -> Kind:
    """A number in this range, up to what rounding does to a mean."""
    return Kind(
        f"a number from {least:g} to {most:g}",
        lambda value: least - 1e-9 <= as_float(value) <= most + 1e-9,
    )


def whole(least: int, most: float = 10**15) -> Kind:
    """A whole number in this range."""
    words = f"a whole number from {least}" + (f" to {most:,}" if most < math.inf else "")
    return Kind(words, lambda value: type(value) is int and least <= value <= most)


def one_of(names: Iterable[str]) -> Kind:
    """One of these texts."""
    offered = list(names)
    return Kind(f"one of {offered}", lambda value: isinstance(value, str) and value in offered)


TEXT = Kind("a text", lambda value: isinstance(value, str))
COUNT, SIZE = whole(0), whole(1)
LOSS, DISTANCE, SHARE = number(), number(0), number(0, 1)
TIME, RATIO = number(1e-6), number(1e-6)  # these are drawn, or divided by
SETTING = Kind(
    "a text, a number, true, false or null",
    lambda value: value is None or isinstance(value, str | bool) or LOSS.fits(value),
)
LAYERS = Many(TEXT, 0, 2)
LEVEL, DEVIATION = number(0, 1), number(1 / 255, 0.5)  # of pixel values from 0 to 1
IMAGE_SHAPE = Kind(
    f"the shape of images, {IMAGES}",
    lambda value: (
        isinstance(value, list) and all(type(n) is int for n in value) and are_images(value)
    ),
)
READING = {  # see `commands.reading`
    "size?": Kind("a whole number or null", lambda value: value is None or SIZE.fits(value)),
    "background?": Kind("a text or null", lambda value: value is None or TEXT.fits(value)),
    "labels?": one_of(["fine", "coarse"]),
}
TERM = {
    **{"loss": TEXT, "weight": SETTING, "student": LAYERS, "teacher": LAYERS},
    **{"standardized": SETTING, "options": {"*": SETTING}},
}
FIGURES = {"accuracy": SHARE, "agreement": SHARE, "psnr": number(0, 100), "ssim": number(-1, 1)}
CALIBRATION = {"nll": DISTANCE, "brier": number(0, 2), "ece": number(-1, 1)}
MOST_NAMES = 100  # of settings, say
MOST_CLASSES = 10**6
MOST_EPOCHS = 10**5
MOVES = {"median": DISTANCE, "most": DISTANCE}
EIGHT_BITS = {  # of `npkd quantise`, beside the net's figures
    **{"most_weight": whole(1, 127), "images": SIZE, "epochs": COUNT},
    **{"moved": MOVES, "changed?": COUNT, "expected?": MOVES, "unexplained?": DISTANCE},
    "estimated?": SIZE,  # images that what is expected is of
    "steps?": Many({"step": TEXT, "moves": DISTANCE}, 0, 10**4),
    "before?": {name + "?": kind for name, kind in FIGURES.items()},
    "departure?": Many({"step": SHARE, "ratio": number()}, 0, 10),
}
SPEED = {  # of `npkd speed`
    **{"net": one_of((*NAMES, *IN_EIGHT_BITS)), "by": TEXT},
    **{"threads": SIZE, "batch": SIZE, "ms": TIME},
}


def described(task: str, given: bool = False) -> dict[str, Any]:
    """What report.json holds, by name, where a run had this task.

    given: whether its large net was, so that there is no history of it.
    A name with a ? may be missing; "*" stands for any other names, which else mean nothing.
    """
    of = TASKS[task]
    figures = {name: FIGURES[name] for name in of.figures}
    net = {
        **{"parameters": SIZE, "macs": SIZE, "bytes": SIZE},
        **figures,
        **{f"train_{name}": kind for name, kind in figures.items()},
        **{name: FIGURES[name] for name in of.same},
        "mse": DISTANCE,
        "train_seconds": DISTANCE,
        "latency_ms": {"1": TIME, "64": TIME},
    }
    large, truth = net, {of.loss_name: LOSS, **figures}
    if of.takes_high:
        large = net | {f"{name}_low": kind for name, kind in figures.items()}
        truth |= {f"{name}_high?": kind for name, kind in truth.items()}
    epoch = {"epoch": SIZE, "loss": LOSS, **figures}
    history = dict.fromkeys(NAMES, Many(epoch, 1, MOST_EPOCHS))
    held: dict[str, Any] = {
        "task": one_of(TASKS),
        "data": {
            **{"name": TEXT, "train": SIZE, "test": SIZE},
            **{"image_shape?": IMAGE_SHAPE, **READING},
            **{"mean?": Many(LEVEL, 1, 4), "std?": Many(DEVIATION, 1, 4), "border?": COUNT},
        },
        "seed": whole(0, math.inf),
        "config": {
            **{"epochs": SIZE, "large_epochs": SIZE, "label_weight": SHARE},
            **{"teacher_input": one_of(["low", "high"]), "small_input?": one_of(["low", "high"])},
            **{"large?": one_of(MODELS), "small?": one_of(MODELS)},
            **{"loss?": Many(TERM, 1, MOST_NAMES), "seed?": whole(0, math.inf), "*": SETTING},
        },
        "loss?": TEXT,
        "versions": {"*": TEXT},
        "threads": SIZE,
        "class_names": Many(TEXT, 1, MOST_CLASSES),
        "image_versions": SIZE,
        "models": {"large": large, "small": net, "small_from_labels": net},
        "compression": {
            **{"parameters": RATIO, "bytes": RATIO, "macs": RATIO},
            "latency": {"1": RATIO, "64": RATIO},
        },
        "teacher_against_truth": truth,
        "untrained": {"l2": DISTANCE},
        "history": history,
        "seconds": {"total": DISTANCE, "*": DISTANCE},
        "eight_bits?": {f"{name}?": EIGHT_BITS for name in IN_EIGHT_BITS},
        "speed?": Many(SPEED, 1, 1000),
    }
    held["models"] |= {
        f"{name}?": large if of_net == "large" else net for name, of_net in IN_EIGHT_BITS.items()
    }
    if given:
        held["teacher"] = {"file": TEXT, "sha256": TEXT}
        history["large"] = Many(epoch, 0, 0)
    if task == "super-resolve":
        held["measured_on"] = {"channel": TEXT, "crop": COUNT}
        held["upsampling"] = dict.fromkeys(UPSAMPLINGS, figures)
    return held


def checked(value: Any, kind: Any, place: str = "") -> Any:
    """A value that JSON gave, found to be of this kind, without the names that mean nothing.

    Raises ValueError that names the place where it is not.
    """

    def require(fits: bool, words: str) -> None:
        if not fits:
            raise ValueError(f"{place or 'it'} is {_as_json(value)}, expected {words}")

    if isinstance(kind, Kind):
        require(kind.fits(value), kind.words)
        return value
    if isinstance(kind, Many):
        words = f"a list of {kind.least} to {kind.most:,}"
        require(isinstance(value, list) and kind.least <= len(value) <= kind.most, words)
        return [checked(one, kind.each, f"{place}[{k}]") for k, one in enumerate(value)]
    require(isinstance(value, dict), "an object")
    require("*" not in kind or len(value) <= MOST_NAMES, f"one of {MOST_NAMES} names at most")
    within, kinds = f"{place}." if place else "", {}
    for name, of in kind.items():
        if name not in value and name[-1] not in "?*":
            raise ValueError(f"{within}{name} is missing")
        kinds[name.removesuffix("?")] = of
    return {
        name: checked(one, kinds.get(name, kinds.get("*")), f"{within}{name}")
        for name, one in value.items()
        if name in kinds or "*" in kinds
    }


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote, checked; see `described`.

    Raises BadInput for anything else, which names the place; OtherVersion if that is a report of
    another version of npkd; Unreadable if it cannot be read just now.
    """
    found, what = None, "the report of a run"
    data = read_bytes(path, at_most=MOST_BYTES, what=what)
    try:
        found = json.loads(data, object_pairs_hook=each_once, parse_int=_whole)
        task = checked(found, {"task": one_of(TASKS)})["task"]
        report = checked(found, described(task, given="teacher" in found))
        _require_epochs(report)
        _require_different(report["class_names"])
        _require_eight_bits(report)
    except MemoryError as error:
        raise Unreadable(f"{path}: not enough memory to read it as {what}") from error
    except (ValueError, RecursionError) as error:
        version = _version(found)
        if isinstance(version, str) and version != __version__:
            version = f"was written by npkd {version}, and this is npkd {__version__}"
            raise OtherVersion(f"{path}: {version}: {error}") from error
        problem = "nested too deeply" if isinstance(error, RecursionError) else error
        raise BadInput(f"{path}: {problem}" + f"; expected {what}" * (found is None)) from error
    return report


def _whole(digits: str) -> float:
    """A whole number of JSON, of any length."""
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)


def _version(found: Any) -> Any:
    try:
        return found["versions"]["npkd"]
    except (TypeError, LookupError):
        return None


def _as_json(value: Any) -> str:
    """A value in a message, as it stands in the file."""
    return "an object" if isinstance(value, dict) else short(json.dumps(value), 40)


def _require_epochs(report: dict[str, Any]) -> None:
    """Raise ValueError unless each net has an entry for each of its epochs, in their order."""
    for net, history in report["history"].items():
        count = report["config"]["large_epochs" if net == "large" else "epochs"]
        if net == "large" and "teacher" in report:
            count = 0  # it was trained before
        if [entry["epoch"] for entry in history] != list(range(1, len(history) + 1)):
            raise ValueError(f"history.{net} has epochs that are not numbered from 1 on")
        if len(history) != count:
            raise ValueError(f"history.{net} has {len(history):,} epochs, expected {count:,}")


def _require_different(class_names: list[str]) -> None:
    """Raise ValueError if two classes have one name."""
    for name, count in Counter(class_names).items():
        if count > 1:
            raise ValueError(f"class_names has {_as_json(name)} {count:,} times, expected once")


def _require_eight_bits(report: dict[str, Any]) -> None:
    """Raise ValueError unless of each net in eight bits there is how it was made."""
    made = report.get("eight_bits", {})
    for name in report["models"].keys() & IN_EIGHT_BITS.keys() ^ made.keys():
        place = "models" if name in made else "eight_bits"
        raise ValueError(f"{place}.{name} is missing")
    for name, of in made.items():
        lacking = {"expected", "unexplained"} - of.keys()
        if len(lacking) == 1:
            raise ValueError(f"eight_bits.{name}.{lacking.pop()} is missing")
        if of["epochs"] and "before" not in of:
            raise ValueError(f"eight_bits.{name}.before is missing")
        if ("changed" in of) > (of.get("changed", 0) <= report["data"]["test"]):
            raise ValueError(f"eight_bits: changed is {of['changed']:,}, more than there are")


def write_json(path: str | Path, report: dict[str, Any]) -> None:
    """Write report.json."""
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
