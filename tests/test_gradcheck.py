"""npkd.gradcheck: right backward passes are accepted, wrong ones rejected with a useful message."""

import numpy as np
import pytest

from npkd import gradcheck


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def bilinear(change=lambda dx, dw: (dx, dw)):
    """y = tanh(x) wᵀ with its backward pass, what that gives passed through `change`."""

    def function(x, w):
        def backward(dy):
            return change(dy @ w * (1 - np.tanh(x) ** 2), dy.T @ np.tanh(x))

        return np.tanh(x) @ w.T, backward

    return function


def half_squares(factor=1.0):
    """The loss ½ Σ x² with its gradient, `factor` times what is right."""
    return lambda x: (np.sum(x * x) / 2, factor * x)


def one_entry_off(by):
    def change(dx, dw):
        dx = dx.copy()
        dx[1, 2] *= 1 + by
        return dx, dw

    return change


def operands(rng):
    """x (3, 4) and a square w, whose gradient's transpose has the right shape."""
    return rng.standard_normal((3, 4)), rng.standard_normal((4, 4))


WRONG = {
    "dropped term": lambda dx, dw: (dx, 0 * dw),
    "doubled term": lambda dx, dw: (dx, 2 * dw),
    "averaged over the batch": lambda dx, dw: (dx, dw / 3),
    "wrong sign": lambda dx, dw: (-dx, dw),
    "swapped axes": lambda dx, dw: (dx, dw.T),
    "flipped": lambda dx, dw: (dx[:, ::-1], dw),
    "rounded to single precision": lambda dx, dw: (dx.astype(np.float32), dw),
    "one entry off by 1e-8": one_entry_off(1e-8),
    "one NaN": one_entry_off(np.nan),
    "one infinite entry": one_entry_off(np.inf),
    "swapped axes of unequal length": lambda dx, dw: (dx.T, dw),
    "one axis too many": lambda dx, dw: (dx[np.newaxis], dw),
    "gradients in the wrong order": lambda dx, dw: (dw, dx),
    "a gradient missing": lambda dx, dw: dx,
}


@pytest.mark.parametrize("entrywise", [False, True])
def test_a_right_backward_pass_is_accepted(rng, entrywise):
    gradcheck.check(bilinear(), *operands(rng), rng=rng, entrywise=entrywise)


@pytest.mark.parametrize("entrywise", [False, True])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_backward_pass_is_rejected(rng, wrong, entrywise):
    with pytest.raises(AssertionError):
        gradcheck.check(bilinear(WRONG[wrong]), *operands(rng), rng=rng, entrywise=entrywise)


@pytest.mark.parametrize("entrywise", [False, True])
def test_losses_are_taken_with_their_gradient(rng, entrywise):
    x = rng.standard_normal((3, 4))
    gradcheck.check(half_squares(), x, rng=rng, entrywise=entrywise)
    with pytest.raises(AssertionError):
        gradcheck.check(half_squares(1 + 1e-8), x, rng=rng, entrywise=entrywise)


def test_a_single_gradient_needs_no_tuple(rng):
    gradcheck.check(lambda x: (np.sin(x), lambda dy: dy * np.cos(x)), np.ones((2, 3)), rng=rng)


def test_kinks_are_not_stepped_across(rng):
    def relu(x):
        return np.where(x.real > 0, x, 0), lambda dy: dy * (x > 0)

    x = np.array([-1e-12, 0.0, 1e-12, 1.0])
    gradcheck.check(relu, x, rng=rng, entrywise=True)


def test_conditioning_allows_for_gradients_that_are_small_differences(rng):
    """The gradient of Σ (x − x) is 0, which rounding may miss by 1e-16 of its terms."""

    def loss(error):
        return lambda x: (np.sum(x - x), np.full(x.shape, error))

    with pytest.raises(AssertionError):
        gradcheck.check(loss(1e-16), np.ones(5), rng=rng)
    gradcheck.check(loss(1e-16), np.ones(5), rng=rng, conditioning=1.0)
    with pytest.raises(AssertionError):
        gradcheck.check(loss(1e-12), np.ones(5), rng=rng, conditioning=1.0)


def test_a_function_that_is_not_analytic_is_rejected(rng):
    with pytest.raises(AssertionError):
        gradcheck.check(lambda x: (x.real * 2, lambda dy: dy * 2), np.ones(5), rng=rng)


def test_arguments_are_unchanged(rng):
    x, w = operands(rng)
    before = x.copy(), w.copy()
    gradcheck.check(bilinear(), x, w, rng=rng, entrywise=True)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(w, before[1])


def test_the_message_says_where_and_by_how_much(rng):
    gradient = np.array([[3.0, 3.0], [3.0, 4.0]])
    with pytest.raises(AssertionError) as caught:
        gradcheck.check(
            lambda x: (3 * np.sum(x), gradient), np.ones((2, 2)), rng=rng, entrywise=True
        )
    message = str(caught.value)
    for part in ("argument 0 at (1, 1)", "gives 4,", "step 3;", "differ by 1,", "allowed is"):
        assert part in message
    assert "\n" not in message
