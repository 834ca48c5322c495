"""General checks of arguments, and values in one line for a message."""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

WRAPPERS = ("module.", "_orig_mod.")  # before names: of DataParallel's, and of torch.compile's nets
LAYOUTS = {  # of Keras and JAX: the axes that bring one to PyTorch's, in their order
    (1, 0): "(in, out)",
    (3, 2, 0, 1): "(height, width, in, out)",
    (2, 3, 0, 1): "(height, width, channels, multiplier)",
}
MOST_NAMES = 6  # in a message
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


def unwrapped(values: Mapping[str, Any], expected: Collection[str]) -> dict[str, Any]:
    """Values by name, without what PyTorch's wrappers put before every name, once or several times.

    expected: the names of the net; where it has one of those given, they stay as they are.
    """
    values = dict(values)
    while values and not values.keys() & set(expected):
        before = [one for one in WRAPPERS if all(str(name).startswith(one) for name in values)]
        if not before:
            break
        values = {name.removeprefix(before[0]): value for name, value in values.items()}
    return values


def require_names(owner: str, given: Collection[str], expected: Collection[str]) -> None:
    """Raise ValueError unless weights have just the names expected.

    It says what stands before the names, if that is all, or which are missing and which are too
    many; of these, which one may be meant.
    """
    missing = sorted(set(expected) - set(given))
    surplus = sorted(set(given) - set(expected), key=str)
    if not missing and not surplus:
        return
    before = _before(surplus, set(missing))
    if before:
        raise ValueError(
            f"{owner}: its names are there with {before} before them; take that off: "
            f"{{k.removeprefix({before}): w for k, w in weights.items() if k.startswith({before})}}"
        )
    from difflib import get_close_matches  # rarely needed

    few, hints = [str(name)[:80] for name in surplus[:MOST_NAMES]], ""
    for name in few:
        for near in get_close_matches(name.replace("kernel", "weight"), missing, 1, 0.8):  # Keras's
            hints += f"; {name}: is {near} meant?"
    raise ValueError(
        f"{owner}: weights lack {_listed(missing)}, and have {_listed(surplus)} that are not its"
        + hints
    )


def _before(surplus: Collection[str], missing: set[str]) -> str:
    """What stands before most of the names that are missing, or before all that there are."""
    longest = max((name.count(".") + 1 for name in missing), default=0)
    counts: Counter[str] = Counter()
    for name in map(str, surplus):
        parts = name.rsplit(".", longest)
        ends = (".".join(parts[k:]) for k in range(1, len(parts)))
        counts.update(name.removesuffix(end) for end in ends if end in missing)
    for before, count in counts.most_common(1):
        if 2 * count > len(missing) or all(str(name).startswith(before) for name in surplus):
            return shown(before)
    return ""


def _listed(names: Collection[str]) -> str:
    """The first few names of many."""
    few = ", ".join(shown(name) for name in list(names)[:MOST_NAMES])
    more = len(names) - MOST_NAMES
    return f"[{few}, and {more:,} more]" if more > 0 else f"[{few}]"


def transposition(shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
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
