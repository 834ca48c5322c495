"""npkd.testing: strategies draw what they say, and find what is wrong with an op."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from npkd import gradcheck, testing
from npkd.proofs.cases import CASES

few = settings(max_examples=30, deadline=None)


@few
@given(x=testing.arrays(testing.images()), rng=testing.generators())
def test_a_right_op_of_a_users_own_is_accepted(x, rng):
    gradcheck.check(lambda x: (np.sin(x), lambda dy: dy * np.cos(x)), x, rng=rng)


def test_an_op_that_is_wrong_only_where_height_and_width_differ_is_rejected():
    def swapped(x):
        square = x.shape[2] == x.shape[3]
        return 2 * x, lambda dy: 2 * dy if square else 2 * dy[..., ::-1]

    @settings(max_examples=100, deadline=None, database=None, phases=[Phase.generate])
    @given(x=testing.arrays(testing.images()), rng=testing.generators())
    def is_right(x, rng):
        gradcheck.check(swapped, x, rng=rng)

    with pytest.raises(AssertionError, match="gradient is wrong"):
        is_right()


@few
@given(shape=testing.rows(), images=testing.images(), drawn=testing.drawn(lambda i: (i(2, 4), 7)))
def test_shapes_have_more_than_one_row_or_image(shape, images, drawn):
    assert len(shape) == 2
    assert len(images) == 4
    assert shape[0] >= 2
    assert images[0] >= 2
    assert 2 <= drawn[0] <= 4
    assert drawn[1] == 7


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@few
@given(data=st.data())
def test_arrays_have_the_shape_and_dtype_asked_for(dtype, data):
    x = data.draw(testing.arrays((2, 3), dtype))
    assert (x.shape, x.dtype) == ((2, 3), dtype)
    assert data.draw(testing.arrays((), dtype)).shape == ()


@few
@given(x=testing.arrays((40, 40), ties=True))
def test_ties_are_planted(x):
    assert 500 < np.sum(2 * x == np.round(2 * x)) < 1100
    assert np.any(x == 0)


@pytest.mark.parametrize("name", CASES)
@few
@given(data=st.data())
def test_cases_are_those_of_npkds_own_ops(name, data):
    case = data.draw(testing.cases(name))
    assert case.op == name
    assert case.shapes
