"""float32 is right to within rounding: a bound that is derived, entry by entry, and no tolerance.

The bounds are those of `npkd.validate.bounds`: whoever computes in float32 stays within them, in
whatever order sums are added up. So they judge npkd as they judge PyTorch. Those of losses are
tested in test_validate_formulas.py.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, cases
from test_definitions import by_pytorch, costly_same
from test_ops import apply, every_op, gradients, upstream

from npkd.proofs.cases import Drawn, arrays
from npkd.validate.bounds.rounding import (
    ARITHMETICS,
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    TF32,
    Rounded,
    exact,
)
from npkd.validate.bounds.rules import RULES

FLOAT = ARITHMETICS["float32"]
PRECISIONS = (FLOAT64, FLOAT32, TF32, FLOAT16, BFLOAT16)

random_examples = settings(max_examples=25, deadline=None)
few_examples = settings(max_examples=10, deadline=None)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def by_rules(case, inputs, dy) -> list[Rounded]:
    """The value and gradients of an op in float64, with their bounds."""
    options = dict(case.options)
    if "mask" in options:  # which the judge takes for an input
        inputs["mask"] = exact(options.pop("mask").astype(np.float32))
    results = RULES[case.op](FLOAT, inputs, options)
    results |= RULES[f"{case.op}_backward"](FLOAT, inputs | {"dy": dy}, options)
    return list(results.values())


def judged(case, values, dy) -> list[Rounded]:
    """The same of numbers that are given."""
    inputs = {name: exact(x) for name, x in zip(case.shapes, values, strict=True)}
    return by_rules(case, inputs, exact(dy))


def share_of_bound(found, expected: Rounded) -> float:
    """The largest |float32 − float64| / bound; where the bound is 0, both must be equal."""
    found = np.asarray(found)
    assert (found.dtype, expected.value.dtype) == (np.float32, np.float64)
    assert found.shape == expected.value.shape
    error = np.abs(found - expected.value)
    bound = np.broadcast_to(expected.error, error.shape)
    shares = np.divide(error, bound, out=np.where(error > 0, np.inf, 0), where=bound > 0)
    return np.max(shares, initial=0)


def assert_within(found, expected):
    shares = [share_of_bound(*one) for one in zip(found, expected, strict=True)]
    assert max(shares) <= 1, f"value and gradients are off by {shares} of their bounds"


@every_op
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_value_and_gradients_of_an_op_are_right_to_within_rounding(op, data, seed):
    case, rng = data.draw(cases(op)), np.random.default_rng(seed)
    values = arrays(case, rng, np.float32).values()
    y, backward = apply(case, *values)
    dy = upstream(y, rng)
    assert_within([y, *gradients(backward, dy)], judged(case, values, dy))


@costly_same
@every_op
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_pytorchs_value_and_gradients_of_an_op_are_within_the_same_bounds(torch, op, data, seed):
    case, rng = data.draw(cases(op)), np.random.default_rng(seed)
    values = arrays(case, rng, np.float32).values()
    tensors = [torch.tensor(value, requires_grad=True) for value in values]
    y = by_pytorch(torch, case)(*tensors)
    dy = upstream(y.detach().numpy(), rng)
    y.backward(torch.from_numpy(dy))
    found = [y.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors)]
    assert_within(found, judged(case, values, dy))


@pytest.mark.parametrize("precision", [BFLOAT16, TF32], ids=["bfloat16", "TF32"])
@pytest.mark.parametrize("op", ["conv2d", "linear"])
@few_examples
@given(seed=SEEDS)
def test_products_of_numbers_of_fewer_bits_are_out_of_bounds(op, precision, seed):
    """So a GPU that computes float32 products with fewer bits does not pass for float32."""
    options = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}
    case = {
        "conv2d": Drawn("conv2d", {"x": (2, 3, 8, 7), "w": (4, 3, 3, 3)}, options),
        "linear": Drawn("linear", {"x": (8, 30), "w": (20, 30)}, {}),
    }[op]
    rng = np.random.default_rng(seed)

    def rounded(x):
        return precision.round(x.astype(np.float64)).astype(np.float32)

    values = list(arrays(case, rng, np.float32).values())
    y, backward = apply(case, *map(rounded, values))
    dy = upstream(y, rng)
    expected = judged(case, values, dy)
    for found, of_float32 in zip([y, *gradients(backward, rounded(dy))], expected, strict=True):
        assert share_of_bound(found, of_float32) > 1


@every_op
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_inputs_within_their_errors_give_results_within_theirs(op, data, seed):
    """Where an input was not recorded, the bound holds for all that it may have been."""
    case, rng = data.draw(cases(op)), np.random.default_rng(seed)
    values = list(arrays(case, rng).values())
    errors = [np.abs(rng.standard_normal(x.shape)) * 1e-2 for x in values]
    moved = [x + e * rng.uniform(-1, 1, x.shape) for x, e in zip(values, errors, strict=True)]
    y, backward = apply(case, *moved)
    dy, of_dy = upstream(y, rng), np.abs(upstream(y, rng)) * 1e-2
    inputs = {name: Rounded(x, e) for name, x, e in zip(case.shapes, values, errors, strict=True)}
    results = by_rules(case, inputs, Rounded(dy, of_dy))
    moved_dy = dy + of_dy * rng.uniform(-1, 1, dy.shape)
    for found, expected in zip([y, *gradients(backward, moved_dy)], results, strict=True):
        assert np.all(np.abs(found - expected.value) <= np.asarray(expected.total) * (1 + 1e-12))


@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda p: p.name)
@given(seed=SEEDS)
@few_examples
def test_a_precision_rounds_to_nearest_within_its_range(precision, seed):
    x = np.random.default_rng(seed).standard_normal(50)
    size = np.maximum(np.abs(x), precision.smallest)  # below which bits are lost
    assert np.all(np.abs(precision.round(x) - x) <= precision.u * size)
    np.testing.assert_array_equal(precision.round(precision.round(x)), precision.round(x))
    assert precision.round(np.array(precision.largest)) == precision.largest
    if precision is not FLOAT64:
        assert precision.round(np.array(-2 * precision.largest)) == -np.inf
    assert precision.round(np.array(precision.smallest)) == precision.smallest
    if precision is FLOAT16:  # NumPy has one of these formats, beside its own
        np.testing.assert_array_equal(precision.round(x), x.astype(np.float16))


def test_gamma_grows_with_the_roundings_and_ends():
    gammas = [FLOAT.gamma(k) for k in range(5)]
    assert gammas[0] == 0
    assert all(np.diff(gammas) >= 2.0**-24)
    assert np.isinf(ARITHMETICS["bfloat16"].gamma(256))
    assert 0 < FLOAT.band(1000) < FLOAT.band(100) <= 1
