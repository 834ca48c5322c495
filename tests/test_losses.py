"""Losses beside their proofs (npkd.proofs): SciPy, and the properties they promise."""

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, assert_close

from npkd.losses import cross_entropy, l2, mix

random_examples = settings(max_examples=25, deadline=None)
SHAPES = st.tuples(st.integers(2, 5), st.integers(1, 6))  # (B, C)
ALPHAS = st.floats(0, 1)
L2_REDUCTIONS = ["batchmean", "sum", "elementmean", "none"]
LABEL_REDUCTIONS = ["batchmean", "sum", "none"]


def batch(shape, seed, dtype=np.float64):
    """A student's outputs, a teacher's, and labels."""
    rng = np.random.default_rng(seed)
    student, teacher = (2 * rng.standard_normal((2, *shape))).astype(dtype)
    return student, teacher, rng.integers(shape[1], size=shape[0])


# l2


@random_examples
@given(shape=SHAPES, seed=SEEDS)
def test_l2_sum_is_half_the_squared_distance_and_its_gradient_student_minus_teacher(shape, seed):
    student, teacher, _ = batch(shape, seed)
    value, gradient = l2(student, teacher, reduction="sum")
    assert_close(value, 0.5 * np.linalg.norm(teacher - student) ** 2)
    np.testing.assert_array_equal(gradient, student - teacher)


def test_a_step_along_the_documents_printed_gradient_raises_the_loss():
    """It prints y_large − y_small, which is the gradient by the teacher's outputs."""
    student, teacher, _ = batch((4, 10), 0)
    value, gradient = l2(student, teacher, reduction="sum")
    assert l2(student - 0.1 * (teacher - student), teacher, reduction="sum")[0] > value
    assert l2(student - 0.1 * gradient, teacher, reduction="sum")[0] < value


@random_examples
@given(shape=SHAPES, seed=SEEDS)
def test_l2_batchmean_is_half_the_outputs_times_the_mean_squared_error(shape, seed):
    student, teacher, _ = batch(shape, seed)
    value, _ = l2(student, teacher)
    assert_close(value, shape[1] / 2 * np.mean((student - teacher) ** 2))


@pytest.mark.parametrize("reduction", L2_REDUCTIONS)
def test_l2_and_its_gradient_are_zero_where_student_and_teacher_are_equal(reduction):
    student, _, _ = batch((4, 3), 0)
    value, gradient = l2(student, student.copy(), reduction=reduction)
    assert not np.any(value)
    assert not np.any(gradient)


# Cross-entropy


@random_examples
@given(shape=SHAPES, seed=SEEDS)
def test_cross_entropy_is_log_sum_exp_less_the_labels_logit(shape, seed):
    logits, _, labels = batch(shape, seed)
    value, gradient = cross_entropy(logits, labels, reduction="none")
    of_label = logits[np.arange(len(labels)), labels]
    expected = scipy.special.logsumexp(logits, axis=1) - of_label
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)
    one_hot = np.eye(shape[1])[labels]
    expected = scipy.special.softmax(logits, axis=1) - one_hot
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)


@random_examples
@given(shape=SHAPES, seed=SEEDS)
def test_each_row_of_the_gradient_of_cross_entropy_adds_up_to_zero(shape, seed):
    logits, _, labels = batch(shape, seed)
    _, gradient = cross_entropy(logits, labels, reduction="sum")
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-14)


@random_examples
@given(shape=SHAPES, seed=SEEDS)
def test_a_shift_of_a_row_of_logits_leaves_cross_entropy_as_it_is(shape, seed):
    logits, _, labels = batch(shape, seed)
    shift = np.random.default_rng(seed).uniform(-10, 10, (shape[0], 1))
    shifted = cross_entropy(logits + shift, labels, reduction="none")
    for a, b in zip(shifted, cross_entropy(logits, labels, reduction="none"), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-13)


def test_cross_entropy_does_not_overflow_at_large_logits_in_float32():
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], np.float32)
    value, gradient = cross_entropy(logits, np.array([1, 2]), reduction="none")
    np.testing.assert_allclose(value, [2e4, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[1, -1, 0], [0, 0.5, -0.5]], rtol=1e-6)


# The mixture


def test_mix_at_zero_is_cross_entropy_and_at_one_is_l2():
    student, teacher, labels = batch((4, 3), 0)
    for alpha, alone in ((0, cross_entropy(student, labels)), (1, l2(student, teacher))):
        for a, b in zip(mix(student, teacher, labels, alpha=alpha), alone, strict=True):
            np.testing.assert_array_equal(a, b)


@random_examples
@given(shape=SHAPES, seed=SEEDS, alpha=ALPHAS)
def test_mix_lies_on_the_line_between_its_ends(shape, seed, alpha):
    student, teacher, labels = batch(shape, seed)
    at_0, at_1, between = (mix(student, teacher, labels, alpha=a) for a in (0, 1, alpha))
    for a, b, c in zip(at_0, at_1, between, strict=True):
        np.testing.assert_allclose(c, a + alpha * (b - a), atol=1e-12)


def test_mix_takes_any_loss_against_the_teacher():
    student, teacher, labels = batch((4, 3), 0)

    def soft(y, t):
        return l2(y, t, reduction="elementmean")

    value, gradient = mix(student, teacher, labels, alpha=0.25, soft=soft)
    (hard_value, hard_gradient), (soft_value, soft_gradient) = (
        cross_entropy(student, labels),
        soft(student, teacher),
    )
    assert_close(value, 0.75 * hard_value + 0.25 * soft_value)
    assert_close(gradient, 0.75 * hard_gradient + 0.25 * soft_gradient)


# What holds for every loss


@pytest.mark.parametrize(
    "loss",
    [
        lambda y, t, k, r: l2(y, t, reduction=r),
        lambda y, t, k, r: cross_entropy(y, k, reduction=r),
    ],
    ids=["l2", "cross_entropy"],
)
def test_reductions_are_of_the_losses_kept_apart(loss):
    arguments = batch((4, 3), 0)
    apart, gradient = loss(*arguments, "none")
    assert len(apart) == 4
    for reduction, divisor in (("sum", 1), ("batchmean", 4)):
        value, reduced = loss(*arguments, reduction)
        assert_close(value, apart.sum() / divisor)
        assert_close(reduced, gradient / divisor)


LOSSES = {
    **{
        f"l2 {reduction}": lambda y, t, k, r=reduction: l2(y, t, reduction=r)
        for reduction in L2_REDUCTIONS
    },
    **{
        f"cross_entropy {reduction}": lambda y, t, k, r=reduction: cross_entropy(y, k, reduction=r)
        for reduction in LABEL_REDUCTIONS
    },
    "mix": lambda y, t, k: mix(y, t, k, alpha=0.3),
    "mix, alpha by NumPy": lambda y, t, k: mix(y, t, k, alpha=np.linspace(0, 1, 5)[1]),
}
MEANS = ["l2 batchmean", "l2 elementmean", "cross_entropy batchmean", "mix"]


@pytest.mark.parametrize("loss", MEANS)
@random_examples
@given(shape=SHAPES, seed=SEEDS)
def test_a_batch_given_twice_has_the_same_mean_and_half_the_gradient(loss, shape, seed):
    arguments = batch(shape, seed)
    twice = [np.concatenate([a, a]) for a in arguments]
    value, gradient = LOSSES[loss](*arguments)
    value_of_twice, gradient_of_twice = LOSSES[loss](*twice)
    np.testing.assert_allclose(value_of_twice, value, rtol=1e-12)
    np.testing.assert_allclose(
        gradient_of_twice, np.concatenate([gradient, gradient]) / 2, atol=1e-14
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", LOSSES)
def test_dtype_is_kept_and_arguments_are_unchanged(loss, dtype):
    arguments = batch((4, 3), 0, dtype)
    before = [a.copy() for a in arguments]
    value, gradient = LOSSES[loss](*arguments)
    assert value.dtype == gradient.dtype == dtype
    assert gradient.shape == arguments[0].shape
    for a, b in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("loss", LOSSES)
def test_nan_in_the_students_outputs_reaches_value_and_gradient(loss):
    student, teacher, labels = batch((4, 3), 0)
    student[1, 2] = np.nan
    value, gradient = LOSSES[loss](student, teacher, labels)
    assert np.isnan(value).any()
    assert np.isnan(gradient[1, 2])


# Errors

Y = np.zeros((4, 3))
LABELS = np.array([0, 1, 2, 0])
MISTAKES = [
    (lambda: l2(Y, Y[:1]), r"l2: student is \(4, 3\) and teacher \(1, 3\)"),
    (lambda: l2(Y[:1], Y), r"l2: student is \(1, 3\) and teacher \(4, 3\)"),
    (lambda: l2(Y[0, 0, ...], Y[0, 0, ...]), r"l2: student is \(\) .* expected the same \(B, …\)"),
    (lambda: l2(Y, Y.astype(np.float32)), "l2: student is float64, teacher is float32"),
    (lambda: l2(Y, Y.tolist()), "l2: teacher is a list"),
    (
        lambda: l2(Y, Y, reduction="mean"),
        'l2: reduction is \'mean\', expected one of "batchmean", "sum", "elementmean", "none"',
    ),
    (lambda: l2(Y[:0], Y[:0]), "l2: an empty batch has no mean"),
    (lambda: l2(Y[:0], Y[:0], reduction="elementmean"), "l2: an empty batch has no mean"),
    (lambda: cross_entropy(Y, LABELS[:3]), r"labels are int64 \(3,\), expected integers \(4,\)"),
    (lambda: cross_entropy(Y, np.append(LABELS, 0)), r"labels are int64 \(5,\), expected"),
    (lambda: cross_entropy(Y, LABELS[:, np.newaxis]), r"labels are int64 \(4, 1\), expected"),
    (lambda: cross_entropy(Y, LABELS.astype(float)), "labels are float64 .* expected integers"),
    (lambda: cross_entropy(Y, np.eye(3)[LABELS]), "labels are float64 .* expected integers"),
    (lambda: cross_entropy(Y, LABELS + 1), "labels go from 1 to 3, expected 0 to 2"),
    (lambda: cross_entropy(Y, LABELS + 5), "labels go from 5 to 7, expected 0 to 2"),
    (lambda: cross_entropy(Y, LABELS - 1), "labels go from -1 to 1, expected 0 to 2"),
    (lambda: cross_entropy(Y, LABELS, reduction="elementmean"), "reduction is 'elementmean'"),
    (lambda: cross_entropy(Y[:0], LABELS[:0]), "cross_entropy: an empty batch has no mean"),
    (
        lambda: cross_entropy(Y[0], LABELS),
        r"cross_entropy: logits has shape \(3,\), expected \(B, C\)",
    ),
    (lambda: mix(Y, Y, LABELS, alpha=-0.1), "mix: alpha is -0.1, expected a number from 0 to 1"),
    (lambda: mix(Y, Y, LABELS, alpha=1.1), "mix: alpha is 1.1"),
    (lambda: mix(Y, Y, LABELS, alpha=np.nan), "mix: alpha is nan"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES)
def test_a_mistake_is_one_clear_line(mistake, message):
    with pytest.raises(ValueError, match=message) as error:
        mistake()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_an_empty_batch_has_a_sum(reduction):
    for _, gradient in (
        l2(Y[:0], Y[:0], reduction=reduction),
        cross_entropy(Y[:0], LABELS[:0], reduction=reduction),
    ):
        assert gradient.shape == (0, 3)
