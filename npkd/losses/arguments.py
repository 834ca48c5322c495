"""What the losses ask of their arguments, under one vocabulary.

reduction            how losses of single samples or entries become one number
temperature          T: logits are divided by it
temperature_squared  whether the loss is multiplied by T², which keeps the size of gradients
half                 whether squares are halved
variant              another loss under the same name
epsilon              what is added to a denominator
"""

import math

import numpy as np

from npkd.arguments import as_float, require_arrays, require_axes, shown

# Of every loss: what is too small to be represented is 0, what is too large ±∞, and no news
in_range = np.errstate(under="ignore", over="ignore")


def choice(loss: str, name: str, value: str, *offered: str) -> str:
    """`value`, or ValueError if it is not one of those offered."""
    if not isinstance(value, str) or value not in offered:
        names = ", ".join(f'"{one}"' for one in offered)
        hint = " (of samples, or of all entries?)" if shown(value) == "'mean'" else ""
        raise ValueError(f"{loss}: {name} is {shown(value)}, expected one of {names}{hint}")
    return value


def number(loss: str, name: str, value: float, *, above: float = -math.inf) -> float:
    """A finite number as a float, which takes on the arrays' dtype as NumPy's would not.

    Raises ValueError if it is none, or not above `above`.
    """
    found = as_float(value)
    if not above < found < math.inf:
        expected = f"a number above {above:g}" if above > -math.inf else "a finite number"
        raise ValueError(f"{loss}: {name} is {shown(value)}, expected {expected}")
    return found


def positive(loss: str, name: str, value: float) -> float:
    """A finite number above 0, as a float."""
    return number(loss, name, value, above=0.0)


def not_negative(loss: str, name: str, value: float) -> float:
    """A finite number of 0 or more, as a float."""
    if not 0 <= as_float(value) < math.inf:
        raise ValueError(f"{loss}: {name} is {shown(value)}, expected a number of 0 or more")
    return float(value)


def temperatures(loss: str, temperature: float, squared: bool) -> tuple[float, float]:
    """T, and what the loss is multiplied by: T² or 1."""
    t = positive(loss, "temperature", temperature)
    return t, t * t if squared else 1.0


def require_same(loss: str, student: np.ndarray, teacher: np.ndarray) -> None:
    """Raise ValueError unless both are arrays of one shape (B, …) and one dtype."""
    require_arrays(loss, student=student, teacher=teacher)
    if student.shape != teacher.shape or student.ndim == 0:
        raise ValueError(
            f"{loss}: student is {student.shape} and teacher {teacher.shape}, "
            "expected the same (B, …)"
        )


def require_logits(loss: str, student: np.ndarray, teacher: np.ndarray, least: int = 1) -> None:
    """Raise ValueError unless both are logits (B, C) of one shape and dtype, C at least `least`."""
    require_same(loss, student, teacher)
    require_axes(loss, "student", student, "B C")
    if student.shape[1] < least:
        raise ValueError(f"{loss}: logits are {student.shape}, expected {least} classes or more")


def require_labels(loss: str, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The labels as an array; ValueError unless they are integers (B,) from 0 to C − 1."""
    labels = np.asarray(labels)
    if labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{loss}: labels are {labels.dtype} {labels.shape}, expected integers "
            f"({len(logits)},) as logits are {logits.shape}"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(
            f"{loss}: labels go from {labels.min()} to {labels.max()}, expected "
            f"0 to {logits.shape[1] - 1}"
        )
    return labels


def require_one_batch(loss: str, **features: np.ndarray) -> int:
    """The number B of samples; ValueError unless all are arrays (B, …), two axes or more."""
    require_arrays(loss, "", **features)
    shapes = {name: array.shape for name, array in features.items()}
    if len({shape[:1] for shape in shapes.values()}) > 1 or any(
        len(shape) < 2 for shape in shapes.values()
    ):
        found = ", ".join(f"{name} is {shape}" for name, shape in shapes.items())
        raise ValueError(f"{loss}: {found}; expected (B, …) of one batch")
    return len(next(iter(features.values())))


def require_maps(loss: str, **maps: np.ndarray) -> None:
    """Raise ValueError unless all are maps (B, C, H, W) of one B, H and W, C at least 1."""
    require_one_batch(loss, **maps)
    for name, array in maps.items():
        require_axes(loss, name, array, "B C H W")
        if not array.shape[1]:
            raise ValueError(f"{loss}: {name} is {array.shape}, expected a channel or more")
    if len({array.shape[2:] for array in maps.values()}) > 1:
        found = ", ".join(f"{name} is {array.shape}" for name, array in maps.items())
        raise ValueError(f"{loss}: {found}; expected the same H and W (ops.avg_pool2d)")
