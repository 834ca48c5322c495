"""What a tensor must be, where no value can be expected."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from npkd.validate.bounds.rules import Options


@dataclass(frozen=True)
class Property:
    """What a tensor must be, where no value can be expected; and the fault if it is not.

    shape(options) is its shape; check(found) says in words what is wrong, or nothing.
    """

    shape: Callable[[Options], tuple[int, ...]]
    check: Callable[[np.ndarray], str]
    fault: str


def _distinct(found: np.ndarray) -> str:
    rows, counts = np.unique(found, axis=0, return_counts=True)
    if len(rows) == len(found):
        return ""
    return f"{int(counts.max())} of {len(found)} rows are the same, expected all to differ"


PROPERTIES = {
    "distinct": Property(lambda given: (given["workers"], 16), _distinct, "repeated worker seed")
}
