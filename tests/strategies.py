"""What tests share: random cases, the value by definition, closeness."""

import numpy as np

from npkd import definitions
from npkd.proofs.cases import Drawn
from npkd.testing import cases, seeds

__all__ = ["SEEDS", "assert_close", "cases", "define", "image"]

SEEDS = seeds


def define(case: Drawn, *values: np.ndarray) -> np.ndarray:
    """The value of the case by its definition."""
    return getattr(definitions, case.op)(*values, **case.options)


def image(rows: list) -> np.ndarray:
    """One image of one channel, (1, 1, H, W)."""
    return np.array(rows)[np.newaxis, np.newaxis]


def assert_close(a, b):
    """max|a − b| ≤ 1e-12 max|b|, shapes equal."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"{a.shape} is not {b.shape}"
    error, largest = np.max(np.abs(a - b), initial=0), np.max(np.abs(b), initial=0)
    assert error <= 1e-12 * largest, f"{a} is not close to {b}: off by {error}"
