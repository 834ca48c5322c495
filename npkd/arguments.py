"""General checks of arguments, and values in one line for a message."""

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

LAYOUTS = {  # of Keras and JAX: the axes that bring one to PyTorch's, in their order
    (1, 0): "(in, out)",
    (3, 2, 0, 1): "(height, width, in, out)",
    (2, 3, 0, 1): "(height, width, channels, multiplier)",
}
KERAS = {"kernel": "weight", "gamma": "weight", "beta": "bias"}  # what is not spelled alike
PARAMETRISED = ("orig", "mask", "g", "v", "u")  # behind "weight_": of pruned or normed weights
MOST_NAMES = 6  # in a message
MOST_BEFORE = 8  # wrappers of one another
FLOATS = tuple(map(np.dtype, ("float32", "float64", "complex64", "complex128")))


def require_arrays(op: str, optional: str = "", **arrays: np.ndarray | None) -> None:
    """Raise ValueError unless all are NumPy arrays of one dtype out of FLOATS.

    optional: the names of arrays that may be None.
    """
    dtypes: dict[str, np.dtype] = {}
    for name, array in arrays.items():
        if array is None and name in optional.split():
            continue
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{op}: {name} is a {type(array).__name__}, expected a NumPy array")
        if array.dtype not in FLOATS:
            offered = ", ".join(dtype.name for dtype in FLOATS)
            raise ValueError(f"{op}: {name} is {array.dtype}, expected one of {offered}")
        dtypes[name] = array.dtype
    if len(set(dtypes.values())) > 1:
        found = ", ".join(f"{name} is {dtype}" for name, dtype in dtypes.items())
        raise ValueError(f"{op}: {found}; expected one dtype for all")


def require_axes(op: str, name: str, array: np.ndarray, axes: str) -> None:
    """Raise ValueError unless `array` has the axes named, as in "N C H W"."""
    names = axes.split()
    if array.ndim != len(names):
        expected = ", ".join(names)
        raise ValueError(f"{op}: {name} has shape {array.shape}, expected ({expected})")


def positive_integer(op: str, name: str, value: int) -> int:
    """`value` as an int, or ValueError if it is no integer of at least 1."""
    if not is_integer(value) or value < 1:
        raise ValueError(f"{op}: {name} is {shown(value)}, expected a positive integer")
    return int(value)


def shown(value: object) -> str:
    """A value that somebody gave, in one short line for a message."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # integers of thousands of digits have no text, nor need other objects
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def is_integer(value: object) -> bool:
    """Whether it is Python's or NumPy's, and no truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def as_float(value: object) -> float:
    """A number as a float; NaN, which no range holds, for anything else and what overflows."""
    if is_integer(value) or isinstance(value, float | np.floating):
        with suppress(OverflowError):
            return float(value)  # type: ignore[arg-type]
    return math.nan


# Of weights by name


class OtherNet(ValueError):
    """Weights are of another net, by their names, or by the shapes given and expected by name."""

    def __init__(self, message: str, shapes: Mapping[str, tuple[Any, Any]]):
        super().__init__(message)
        self.shapes = shapes


def fitted(
    owner: str, values: Mapping[str, Any], own: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Weights with the names, shapes and dtypes of a net's `own`, as `Network.load` takes them.

    Raises ValueError for what it does not take, OtherNet where that is another net's.
    """
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise ValueError(f"{owner}: weights are {shown(values)}, expected a dict of arrays by name")
    counts = {name: np.array(0) for name in own if name.endswith("num_batches_tracked")}
    given = {name: _array(owner, name, value) for name, value in values.items()}
    given = counts | unwrapped(given, own)
    _require_names(owner, given, own)
    _require_shapes(owner, given, own)
    return {name: _of_dtype(owner, name, given[name], theta.dtype) for name, theta in own.items()}


def _array(owner: str, name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except Exception as error:  # PyTorch's, of tensors that need gradients or are bfloat16
        why = " ".join(str(error).split())
        raise ValueError(f"{owner}: {shown(name)} cannot become a NumPy array: {why}") from error
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{owner}: {shown(name)} is a masked array, expected one without a mask")
    return array


def _of_dtype(owner: str, name: str, value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    kind = value.dtype
    no_floats = kind.kind in "biuOSUMm" or kind.type is np.void
    if no_floats and dtype.kind in "fc":
        raise ValueError(
            f"{owner}: {name} is {kind}, expected {dtype}; quantised weights, or bfloat16 as "
            "bytes, have to be made floats first"
        )
    if np.iscomplexobj(value) and dtype.kind != "c":
        raise ValueError(f"{owner}: {name} is complex, expected {dtype}")
    with np.errstate(over="ignore"):
        taken = np.asarray(value, dtype)
    if not np.isfinite(taken).all():
        raise ValueError(f"{owner}: {name} holds values that are not finite {dtype}")
    if name.endswith("running_var") and (taken.real < 0).any():
        raise ValueError(f"{owner}: {name} holds negative values, expected variances")
    return taken


def unwrapped(arrays: Mapping[str, np.ndarray], expected: Collection[str]) -> dict[str, np.ndarray]:
    """Arrays by name, without what wrappers put before every name, once or several times.

    So do DataParallel ("module."), torch.compile ("_orig_mod.") and Lightning ("model."). Counts
    beside them, as AveragedModel's n_averaged, are left out. expected: the names of the net; all
    stays as it is where one of those stands among them, or none behind what they share.
    """
    named = {name: w for name, w in arrays.items() if "." in name or w.ndim or w.dtype.kind != "i"}
    parts = next(iter(named), "").split(".", MOST_BEFORE)
    befores = [".".join([*parts[:k], ""]) for k in range(len(parts))]
    shared = [one for one in befores if all(name.startswith(one) for name in named)]
    found = {one: sum(name.removeprefix(one) in expected for name in named) for one in shared}
    before = max(shared, key=lambda one: found[one])
    if found[before] == 0 or found[""]:
        return dict(arrays)
    return {name.removeprefix(before): array for name, array in named.items()}


def _require_names(
    owner: str, given: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray]
) -> None:
    """Raise ValueError unless weights have just the names expected.

    It says what stands before the names, if that is all, or which are missing and which are too
    many; of these, which one may be meant.
    """
    missing, surplus = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    if not missing and not surplus:
        return
    for name in surplus:
        base, _, ending = name.rpartition("_")
        if "parametrizations." in name or (ending in PARAMETRISED and base in own):
            raise ValueError(
                f"{owner}: {shown(name)} is part of a weight that is pruned or normed; remove that "
                "before it is saved: torch.nn.utils.prune.remove, remove_weight_norm, or "
                "parametrize.remove_parametrizations"
            )
    before = _before(surplus, set(missing))
    if before:
        raise ValueError(
            f"{owner}: its names are there with {before} before them; take that off: "
            f"{{k.removeprefix({before}): w for k, w in weights.items() if k.startswith({before})}}"
        )
    near = {
        name: [one for one in missing if _are_near(name, one, given[name].shape, own[one].shape)]
        for name in surplus[:MOST_NAMES]
    }
    hints = [f"; {name[:80]}: is {ones[0]} meant?" for name, ones in near.items() if ones]
    message = (
        f"{owner}: weights lack {_listed(missing)}, and have {_listed(surplus)} that are not its"
        + "".join(hints)
    )
    raise ValueError(message) if hints else OtherNet(message, {})


def _before(surplus: Collection[str], missing: set[str]) -> str:
    """What stands before most of the names that are missing."""
    longest = max((name.count(".") + 1 for name in missing), default=0)
    counts: Counter[str] = Counter()
    for name in surplus:
        parts = name.rsplit(".", longest)
        ends = (".".join(parts[k:]) for k in range(1, len(parts)))
        counts.update(name.removesuffix(end) for end in ends if end in missing)
    return "".join(shown(one) for one, count in counts.most_common(1) if 2 * count > len(missing))


def _are_near(name: str, other: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether one name may be meant by another: nearly alike part by part, in all their numbers,
    and, but for the order of their axes, in shape.
    """
    from difflib import SequenceMatcher  # rarely needed

    parts, others = name[:200].split("."), other.split(".")
    if len(parts) != len(others) or sorted(shape) != sorted(expected):
        return False
    return re.findall(r"\d+", name[:200]) == re.findall(r"\d+", other) and all(
        SequenceMatcher(None, KERAS.get(one, one), two).ratio() > 0.8
        for one, two in zip(parts, others, strict=True)
    )


def _listed(names: Collection[str]) -> str:
    """The first few names of many."""
    few = ", ".join(shown(name) for name in list(names)[:MOST_NAMES])
    more = len(names) - MOST_NAMES
    return f"[{few}, and {more:,} more]" if more > 0 else f"[{few}]"


def _require_shapes(
    owner: str, given: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray]
) -> None:
    """Raise ValueError unless weights have the shapes expected; see `LAYOUTS`."""
    shapes = {name: (given[name].shape, theta.shape) for name, theta in own.items()}
    wrong = {name: both for name, both in shapes.items() if both[0] != both[1]}
    for name, (shape, expected) in wrong.items():
        advice = _transposition(shape, expected)
        message = f"{owner}: {name} has shape {shape}, expected {expected}{advice}"
        raise ValueError(message) if advice else OtherNet(message, wrong)


def _transposition(shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What to say of an array that another framework's axes would make fit; "" if none would."""
    for axes, layout in LAYOUTS.items():
        if len(axes) == len(shape) and tuple(shape[axis] for axis in axes) == tuple(expected):
            advice = f"; in the layout {layout} of Keras and JAX? Give w.transpose{axes}"
            if len(axes) == 2:  # the net there may have flattened (height, width, channels)
                advice += (
                    ", or behind the flattening of H×W×C maps w.reshape(H, W, C, -1)"
                    f".transpose(3, 2, 0, 1).reshape{expected}"
                )
            return advice
    return ""
