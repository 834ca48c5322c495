"""Where the entries of one tensor stand in another, by their numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Layout:
    """How npkd has a tensor: the numbers of its entries, in their places; −1 for `fill`."""

    index: np.ndarray
    fill: float = 0.0

    @property
    def options(self) -> dict[str, Any]:
        """Those of a move to it."""
        return {"index": self.index, "fill": self.fill}

    def of(self, array: np.ndarray) -> np.ndarray:
        """The entries of an array in this layout."""
        return np.append(array, np.asarray(self.fill, array.dtype))[self.index]

    def is_in_order(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape has this layout already."""
        return self.index.shape == shape and np.array_equal(self.index, numbered(shape))

    def back(self, shape: tuple[int, ...]) -> "Layout":
        """The layout of that shape of which every entry stands once in this one."""
        back = np.empty(self.index.size, np.int32)
        back[self.index.ravel()] = np.arange(self.index.size)
        return Layout(back.reshape(shape))


def numbered(shape: Sequence[int], start: int = 0) -> np.ndarray:
    """The entries' own numbers."""
    size = math.prod(shape)
    return np.arange(start, start + size, dtype=np.int32).reshape(shape)


def padded(
    index: np.ndarray, padding: Sequence[tuple[int, int, int]], fill: int = -1
) -> np.ndarray:
    """Each axis with `fill` before, behind and between its entries; negative numbers cut off."""
    for axis, (before, behind, between) in enumerate(padding):
        index = np.moveaxis(index, axis, 0)
        if between and len(index):
            size = (len(index) - 1) * (between + 1) + 1
            spread = np.full((size, *index.shape[1:]), fill, np.int32)
            spread[:: between + 1] = index
            index = spread
        index = index[max(0, -before) : len(index) - max(0, -behind)]
        sides = [(max(0, before), max(0, behind))] + [(0, 0)] * (index.ndim - 1)
        index = np.moveaxis(np.pad(index, sides, constant_values=fill), 0, axis)
    return index
