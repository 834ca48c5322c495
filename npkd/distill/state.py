"""Where a run stands between two updates, and whether it may go on from there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from npkd.arguments import as_float


@dataclass(frozen=True)
class State:
    """Where a run stands between two updates.

    updates: how many each net has had. Images, their order and the schedule follow from the
    settings' seed and these numbers. loss, samples: their sum in the epoch that is under way.
    history, seconds: of the report. arrays: "NET/PARAMETER" of each net that has had an update, and
    "velocity/PARAMETER" of the net that is being trained; "loss/PARAMETER" of what the distilled
    net's losses train, while it is being trained. The arrays themselves, not copies.
    """

    updates: dict[str, int]
    loss: float
    samples: int
    history: dict[str, list[dict[str, float]]]
    seconds: dict[str, float]
    arrays: dict[str, np.ndarray]


def require_history(
    name: str, history: list[dict[str, float]], epochs: int, figures: Sequence[str]
) -> None:
    """Raise ValueError unless a net's history, read from a file, is one of so many epochs."""
    values = [list(map(as_float, entry.values())) for entry in history]
    if (
        [list(entry) for entry in history] != [["epoch", "loss", *figures]] * epochs
        or [entry[0] for entry in values] != list(range(1, epochs + 1))
        or not np.isfinite(values).all()
    ):
        raise ValueError(f"its history of {name} is not one of {epochs} epochs")


def require_alike(arrays: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Raise ValueError unless arrays, read from a file, are finite and otherwise as expected."""
    if expected.keys() != arrays.keys():
        differ = sorted(expected.keys() ^ arrays.keys())
        raise ValueError(f"it lacks arrays, or has some that are not its: {differ}")
    for key, theta in expected.items():
        array = arrays[key]
        if (array.shape, array.dtype) != (theta.shape, theta.dtype):
            raise ValueError(
                f"its {key} is {array.dtype} {array.shape}, expected {theta.dtype} {theta.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"its {key} holds values that are not finite")
