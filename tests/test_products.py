"""npkd.engine.products: matrix products in pieces are those of NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS

from npkd.engine import products


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(*[st.sampled_from([1, 2, 5, 12, 64, 96])] * 3),
    before=st.sampled_from([(), (3,), (2, 2)]),
    quickest=st.sampled_from([100, 5000, 10**6]),
    seed=SEEDS,
)
def test_a_product_is_the_same_whole_or_in_pieces(shape, before, quickest, seed):
    (m, k, n), rng = shape, np.random.default_rng(seed)
    a, b = rng.integers(-9, 10, (*before, k, m)).astype(float), rng.integers(-9, 10, (k, n))
    out = np.full((m, *before, n), np.nan)  # and strides of any kind
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(products, "QUICKEST", quickest)
        patched.setattr(products, "ROWS", 4)
        products.multiply(a.swapaxes(-1, -2), b.astype(float), np.moveaxis(out, 0, -2))
    np.testing.assert_array_equal(np.moveaxis(out, 0, -2), a.swapaxes(-1, -2) @ b)
