"""Hypothesis strategies for those who check operations of their own (needs hypothesis).

    from hypothesis import given
    from npkd import gradcheck, testing

    @given(x=testing.arrays(testing.images()), rng=testing.generators())
    def test_my_op(x, rng):
        gradcheck.check(my_op, x, rng=rng)

Shapes and arguments are drawn by the functions of npkd.proofs.cases, from which `npkd gradcheck`
draws without Hypothesis; failing examples shrink to the smallest. Values are normal numbers from a
seed: what a backward pass gets wrong depends on shapes, and hardly on values.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError("npkd.testing needs hypothesis (pip install 'npkd[test]')") from error

from npkd.proofs.cases import CASES, Drawn, Integers, normal
from npkd.proofs.cases import images as _images
from npkd.proofs.cases import rows as _rows

Value = TypeVar("Value")
Shape = tuple[int, ...]

seeds = st.integers(0, 2**32 - 1)


def drawn(make: Callable[[Integers], Value]) -> st.SearchStrategy[Value]:
    """What make(integers) builds of integers(low, high), both ends included.

    `drawn(cases.conv2d)` draws the shapes and options of a convolution.

    Example
        >>> from hypothesis import find
        >>> find(testing.drawn(lambda integers: (integers(2, 4), 3)), lambda _: True)
        (2, 3)
    """

    @st.composite
    def strategy(draw: st.DrawFn) -> Value:
        return make(lambda low, high: draw(st.integers(low, high)))

    return strategy()


def cases(name: str) -> st.SearchStrategy[Drawn]:
    """The cases of one of npkd's own ops, losses or networks, by its name in cases.CASES.

    Example
        >>> from hypothesis import find
        >>> find(testing.cases("linear"), lambda _: True)  # the smallest
        Drawn(op='linear', shapes={'x': (2, 1), 'w': (2, 1)}, options={})
    """
    return drawn(CASES[name])


def rows() -> st.SearchStrategy[Shape]:
    """Shapes (N, C), N at least 2.

    Example
        >>> from hypothesis import find
        >>> find(testing.rows(), lambda _: True)  # the smallest
        (2, 1)
    """
    return drawn(_rows)


def images() -> st.SearchStrategy[Shape]:
    """Shapes (N, C, H, W), N at least 2, height and width drawn one by one.

    Example
        >>> from hypothesis import find
        >>> find(testing.images(), lambda _: True)  # the smallest
        (2, 1, 1, 1)
    """
    return drawn(_images)


def generators() -> st.SearchStrategy[np.random.Generator]:
    """A `np.random.Generator`, of any seed.

    Example
        >>> from hypothesis import find
        >>> find(testing.generators(), lambda _: True).random() < 1
        True
    """
    return seeds.map(np.random.default_rng)


def arrays(
    shapes: Shape | st.SearchStrategy[Shape],
    dtype: DTypeLike = np.float64,
    *,
    ties: bool = False,
) -> st.SearchStrategy[np.ndarray]:
    """Standard normal arrays of a shape, or of the shapes of a strategy.

    ties: about half of the entries are rounded to multiples of ½, so that zeros and equal entries
    occur, for what decides, such as ReLU and max-pool.

    Example
        >>> from hypothesis import find
        >>> find(testing.arrays(testing.images()), lambda x: x.shape[3] > 2).shape
        (2, 1, 1, 3)
    """
    of = st.just(shapes) if isinstance(shapes, tuple) else shapes
    return st.builds(lambda shape, rng: normal(shape, rng, dtype, ties=ties), of, generators())
