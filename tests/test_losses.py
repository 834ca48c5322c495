"""Losses beside their proofs (npkd.proofs): SciPy, and the properties they promise.

PyTorch judges their values and gradients in tests/test_losses_torch.py.
"""

import numpy as np
import pytest
import scipy.spatial
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, assert_close

from npkd import losses
from npkd.losses import cross_entropy, dkd, kl, l2, mix

random_examples = settings(max_examples=15, deadline=None)
SHAPES = st.tuples(st.integers(2, 5), st.integers(1, 6))  # (B, C)
ALPHAS = st.floats(0, 1)
L2_REDUCTIONS = ["batchmean", "sum", "elementmean", "none"]
LABEL_REDUCTIONS = ["batchmean", "sum", "none"]


def batch(shape, seed, dtype=np.float64):
    """A student's outputs, a teacher's, and labels."""
    rng = np.random.default_rng(seed)
    student, teacher = (2 * rng.standard_normal((2, *shape))).astype(dtype)
    return student, teacher, rng.integers(shape[1], size=shape[0])


# All losses as functions of student, teacher and labels, one gradient each


def against_teacher(name, **fixed):
    loss = getattr(losses, name)
    return lambda y, t, k, **options: loss(y, t, **fixed, **options)


def against_labels(loss, **fixed):
    return lambda y, t, k, **options: loss(y, k, **fixed, **options)


def against_both(loss, **fixed):
    return lambda y, t, k, **options: loss(y, t, k, **fixed, **options)


def two_layers(variant):
    """fsp, with the channels of one map for two layers."""

    def loss(y, t, k, **options):
        layers = [half for f in (y, t) for half in np.array_split(f, 2, axis=1)]
        value, gradients = losses.fsp(*layers, variant=variant, **options)
        return value, np.concatenate(gradients, axis=1)

    return loss


def vid(y, t, k, **options):
    scale = np.linspace(-1, 1, y.shape[1]).astype(y.dtype)
    value, (gradient, _) = losses.vid(y, t, scale, **options)
    return value, gradient


def standardized_kl(y, t, k, **options):
    z, backward = losses.standardize(y)
    value, dz = kl(z, losses.standardize(t)[0], **options)
    return value, backward(dz)


KL_VARIANTS = ["kl reversed", "kl unlogged", "kl reversed unlogged"]
ON_LOGITS = {
    **{f"l2 {r}": against_teacher("l2", reduction=r) for r in L2_REDUCTIONS},
    "l2 probabilities": against_teacher("l2", variant="probabilities"),
    "l2 log-probabilities": against_teacher("l2", variant="log-probabilities"),
    "l1": against_teacher("l1"),
    "huber": against_teacher("huber"),
    "huber smooth": against_teacher("huber", variant="smooth", delta=0.5),
    "kl": against_teacher("kl"),
    **{name: against_teacher("kl", variant=name.removeprefix("kl ")) for name in KL_VARIANTS},
    "kl skewed": against_teacher("kl", skew=0.1),
    "kl skewed reversed": against_teacher("kl", skew=0.25, variant="reversed"),
    "js": against_teacher("js"),
    "js exchanged": against_teacher("js", beta=0.25, variant="exchanged"),
    "soft_cross_entropy": against_teacher("soft_cross_entropy"),
    "limit": against_teacher("limit"),
    "dkd": against_both(dkd),
    "dist": against_teacher("dist"),
    "standardized kl": standardized_kl,
    **{f"cross_entropy {r}": against_labels(cross_entropy, reduction=r) for r in LABEL_REDUCTIONS},
    "mix": against_both(mix, alpha=0.3),
}
ON_MAPS = {
    "hint": against_teacher("hint"),
    "attention": against_teacher("attention"),
    "attention norm": against_teacher("attention", variant="norm", reduction="batchmean"),
    "attention power 1": against_teacher("attention", power=1),
    "nst": against_teacher("nst"),
    "fsp": two_layers("squared"),
    "fsp norms": two_layers("norms"),
    "vid": vid,
    "similarity": against_teacher("similarity"),
    "similarity l1": against_teacher("similarity", variant="l1"),
    "rkd_distance": against_teacher("rkd_distance"),
    "rkd_angle": against_teacher("rkd_angle"),
    "pkt": against_teacher("pkt"),
    "pkt epsilon 0": against_teacher("pkt", epsilon=0),
    "cc": against_teacher("cc"),
    "cc bilinear": against_teacher("cc", variant="bilinear"),
    "cc norm": against_teacher("cc", variant="norm"),
    "cc consecutive": against_teacher("cc", variant="consecutive"),
}
LOSSES = ON_LOGITS | ON_MAPS
TEMPERED = [
    *["l2 batchmean", "l2 probabilities", "l2 log-probabilities"],
    *["kl", *KL_VARIANTS, "soft_cross_entropy", "dkd", "dist", "standardized kl"],
]


def shapes_for(name):
    """(B, C), or (B, C, H, W) for losses on maps."""
    classes = st.integers(3, 6)  # two probabilities always correlate
    maps = st.tuples(st.integers(2, 5), st.integers(2, 4), st.integers(1, 3), st.integers(2, 3))
    return maps if name in ON_MAPS else st.tuples(st.integers(2, 5), classes)


def some_shape(name):
    return (4, 3, 2, 3) if name in ON_MAPS else (4, 3)


def property_of(*names):
    """A test for each of the losses named, with arguments that Hypothesis draws."""

    def decorate(test):
        @pytest.mark.parametrize("name", names)
        @random_examples
        @given(data=st.data(), seed=SEEDS)
        def drawn(name, data, seed):
            test(name, *batch(data.draw(shapes_for(name)), seed), np.random.default_rng(seed + 1))

        drawn.__doc__ = test.__doc__
        return drawn

    return decorate


def assert_near(a, b):
    """max|a − b| ≤ 1e-10 max(1, max|b|)."""
    error = np.max(np.abs(np.asarray(a) - b), initial=0)
    assert error <= 1e-10 * max(1, np.max(np.abs(b), initial=0)), f"{a} is not near {b}"


def assert_same(found, expected):
    """Values and gradients."""
    for a, b in zip(found, expected, strict=True):
        assert_near(a, b)


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


@property_of("l2 batchmean")
def test_l2_by_a_temperature_is_l2_of_outputs_divided_by_it(name, y, t, k, rng):
    for temperature in (0.5, 1, 2, rng.uniform(0.1, 10)):
        value, gradient = l2(y, t, temperature=temperature)
        expected, by_divided = l2(y / temperature, t / temperature)
        assert_same((value, gradient), (expected, by_divided / temperature))


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


def test_cross_entropy_does_not_overflow_at_large_logits_in_float32():
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], np.float32)
    value, gradient = cross_entropy(logits, np.array([1, 2]), reduction="none")
    np.testing.assert_allclose(value, [2e4, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[1, -1, 0], [0, 0.5, -0.5]], rtol=1e-6)


def test_labels_may_be_a_list():
    y, t, labels = batch((4, 3), 0)
    assert_same(cross_entropy(y, labels.tolist()), cross_entropy(y, labels))
    assert_same(dkd(y, t, labels.tolist()), dkd(y, t, labels))


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


# Equality


ZERO_AT_EQUALITY = [
    name
    for name in LOSSES
    if not name.startswith(("cross_entropy", "mix", "soft_cross_entropy", "vid", "kl unlogged"))
    and name not in ("kl reversed unlogged", "pkt")
]


@property_of(*ZERO_AT_EQUALITY)
def test_value_and_gradient_are_zero_where_student_and_teacher_are_equal(name, y, t, k, rng):
    value, gradient = LOSSES[name](y, y.copy(), k)
    assert_near(value, 0)
    assert_near(gradient, 0)


def test_a_hint_by_the_identity_is_zero_at_equality_with_all_gradients():
    features, _, _ = batch((4, 3, 2, 5), 0)
    value, gradients = losses.hint(features, features.copy(), np.eye(3), np.zeros(3))
    assert value == 0
    assert not any(gradient.any() for gradient in gradients)


@property_of("soft_cross_entropy")
def test_soft_cross_entropy_is_the_teachers_entropy_at_equality(name, y, t, k, rng):
    value, gradient = LOSSES[name](y, y.copy(), k, temperature=3)
    entropy = scipy.stats.entropy(scipy.special.softmax(y / 3, axis=1), axis=1)
    assert_near(value, 9 * entropy.mean())
    assert not gradient.any()


@property_of("mix")
def test_mix_is_the_labels_part_at_equality(name, y, t, k, rng):
    value, gradient = mix(y, y.copy(), k, alpha=0.3)
    assert_same((value, gradient), [0.7 * part for part in cross_entropy(y, k)])


@property_of("pkt")
def test_pkts_epsilon_leaves_a_gradient_of_its_size_at_equality(name, y, t, k, rng):
    value, gradient = LOSSES[name](y, y.copy(), k, epsilon=1e-6)
    assert value == 0
    assert np.max(np.abs(gradient)) < 1e-3


# Shifts of logits

UNCHANGED_BY_A_SHIFT = [
    *["l2 probabilities", "l2 log-probabilities", "kl", *KL_VARIANTS, "soft_cross_entropy"],
    *["limit", "dkd", "dist", "standardized kl", "cross_entropy batchmean"],
]


@property_of(*UNCHANGED_BY_A_SHIFT)
def test_a_shift_of_a_row_of_logits_changes_nothing(name, y, t, k, rng):
    shift_y, shift_t = rng.uniform(-10, 10, (2, len(y), 1))
    assert_same(LOSSES[name](y + shift_y, t + shift_t, k), LOSSES[name](y, t, k))


@property_of("l2 batchmean", "l1", "huber", "mix")
def test_a_shift_of_a_row_of_logits_changes_what_compares_them_entry_by_entry(name, y, t, k, rng):
    assert LOSSES[name](y + 5, t - 5, k)[0] != pytest.approx(LOSSES[name](y, t, k)[0])


@property_of(*UNCHANGED_BY_A_SHIFT, "cross_entropy sum", "cross_entropy none")
def test_each_row_of_the_gradient_adds_up_to_zero(name, y, t, k, rng):
    assert_near(LOSSES[name](y, t, k)[1].sum(axis=1), 0)


# KL and its relatives


@property_of("kl")
def test_kl_and_soft_cross_entropy_have_one_gradient(name, y, t, k, rng):
    for reduction in L2_REDUCTIONS:
        options = {"temperature": rng.uniform(0.5, 8), "reduction": reduction}
        _, expected = kl(y, t, **options)
        assert_near(losses.soft_cross_entropy(y, t, **options)[1], expected)


@random_examples
@given(
    shape=st.tuples(st.integers(2, 5), st.integers(2, 10)),
    seed=SEEDS,
    temperature=st.floats(0.1, 1e4),
)
def test_kl_times_temperature_squared_tends_to_the_limit(shape, seed, temperature):
    """The two are within a factor of e^(R/T), R the largest range of a row of logits.

    KL is ∫ (1 − s) Var_s(Δ/T) ds over softmaxes of (teacher + sΔ)/T, and the limit is the same with
    the uniform distribution for all of them; probabilities of the two are within that factor.
    """
    y, t, _ = batch(shape, seed)
    (found, gradient), (expected, tends_to) = (
        kl(y, t, temperature=temperature, reduction="none"),
        losses.limit(y, t, reduction="none"),
    )
    distance = np.maximum(np.ptp(y, axis=1), np.ptp(t, axis=1)) / temperature
    assert np.all(np.abs(np.log(found / expected)) <= distance + 1e-7)
    if distance.max() < 0.1:
        error = np.abs(gradient - tends_to).max(axis=1)
        assert np.all(error <= (4 * distance + 1e-7) * np.abs(tends_to).max(axis=1))


def test_at_a_temperature_of_1000_kl_and_the_limit_agree_to_four_digits():
    y, t, _ = batch((100, 10), 0)
    value, of_limit = kl(y, t, temperature=1000)[0], losses.limit(y, t)[0]
    assert value == pytest.approx(of_limit, rel=3e-4)
    assert value != pytest.approx(of_limit, rel=1e-6)


@property_of("kl")
def test_kl_is_scipys(name, y, t, k, rng):
    p, q = (scipy.special.softmax(z / 4, axis=1) for z in (t, y))
    value, _ = LOSSES[name](y, t, k, reduction="none")
    assert_near(value, 16 * scipy.special.kl_div(p, q).sum(axis=1))
    assert_near(value, 16 * scipy.special.rel_entr(p, q).sum(axis=1))
    value, _ = LOSSES[name](y, t, k, reduction="none", variant="reversed")
    assert_near(value, 16 * scipy.special.rel_entr(q, p).sum(axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [0.1, 4, 100, 1e4])
def test_kl_is_never_negative_and_near_its_limit_when_the_temperature_is_high(dtype, temperature):
    y, t, _ = batch((200, 10), 0, dtype)
    for student in (y, np.nextafter(t, y), t + dtype(1e-3) * y):
        for variant in ("paper", "reversed"):
            options = {"temperature": temperature, "variant": variant, "reduction": "none"}
            assert np.all(kl(student, t, **options)[0] >= 0)
    value, gradient = kl(y, t, temperature=temperature)
    if temperature == 1e4:
        expected, of_limit = losses.limit(y, t)
        np.testing.assert_allclose(value, expected, rtol=0.01)
        np.testing.assert_allclose(gradient, of_limit, atol=0.02 * np.abs(of_limit).max())


# DKD


@property_of("dkd")
def test_dkd_with_one_less_the_teachers_certainty_for_beta_is_kl(name, y, t, k, rng):
    temperature = rng.uniform(1, 8)
    for one in range(len(y)):
        y1, t1, k1 = y[[one]], t[[one]], k[[one]]
        certainty = scipy.special.softmax(t1 / temperature, axis=1)[0, k1[0]]
        options = {"alpha": 1, "beta": 1 - certainty, "temperature": temperature}
        assert_same(dkd(y1, t1, k1, **options), kl(y1, t1, temperature=temperature))


@property_of("dkd")
def test_dkd_of_two_classes_is_alpha_times_kl(name, y, t, k, rng):
    y, t, k, alpha = y[:, :2], t[:, :2], k % 2, rng.uniform(0, 4)
    expected = [alpha * part for part in kl(y, t)]
    assert_same(dkd(y, t, k, alpha=alpha, beta=rng.uniform(0, 9)), expected)


# A batch given twice

FACTORS = {
    **dict.fromkeys(("l2 sum", "cross_entropy sum"), 2),
    "similarity": 1 / 2,
    "similarity l1": 1 / 4,
    "pkt epsilon 0": 1 / 2,
    "cc norm": 1 / 2,
}
WITHOUT_FACTOR = ["l2 none", "cross_entropy none", "cc consecutive", "pkt"]


@property_of(*(name for name in LOSSES if name not in WITHOUT_FACTOR))
def test_a_batch_given_twice_changes_the_loss_by_a_known_factor(name, y, t, k, rng):
    """Gradients by parameters, sums over twice the samples, change by the factor of the value.

    Means over samples, pairs or triples stay as they are (factor 1), and so do correlations over
    the batch (DIST's intra part) and distances in units of their mean, where pairs at distance 0
    do not count. Rows of `similarity` become twice as long, their entries √2 times smaller and
    squares half as large: with four times the pairs, divided by (2B)², ½ remains. Divided by
    absolute values ("l1"), entries are half, squares a quarter: ¼. PKT's probabilities are half as
    large, their ratios as before: ½ (with ε, nearly). For "cc norm" the norm of four times the
    pairs is doubled, and its divisor B² quadrupled: ½.
    """
    factor = FACTORS.get(name, 1)
    value, gradient = LOSSES[name](y, t, k)
    twice = LOSSES[name](*(np.concatenate([a, a]) for a in (y, t, k)))
    expected = factor * value, factor / 2 * np.concatenate([gradient, gradient])
    assert_same(twice, expected)


# The order of samples

WITHOUT_ORDER = [name for name in LOSSES if name != "cc consecutive" and not name.endswith("none")]


@property_of(*WITHOUT_ORDER)
def test_the_order_of_samples_counts_nothing(name, y, t, k, rng):
    order = rng.permutation(len(y))
    value, gradient = LOSSES[name](y, t, k)
    assert_same(LOSSES[name](y[order], t[order], k[order]), (value, gradient[order]))


def test_consecutive_cc_depends_on_the_order_of_samples():
    y, t, k = np.array([[0.0], [1], [2]]), np.zeros((3, 1)), None
    values = [LOSSES["cc consecutive"](y[order], t, k)[0] for order in ([0, 1, 2], [1, 0, 2])]
    assert values == [(0 * 1 + 1 * 2) / 2, 0]


def test_consecutive_cc_of_two_samples_is_the_product_of_their_differences():
    y, t, k = batch((2, 3), 0)
    value, gradient = LOSSES["cc consecutive"](y, t, k)
    assert_near(value, np.prod(np.abs(y - t), axis=0).sum())
    assert_near(gradient, np.sign(y - t) * np.abs(y - t)[::-1])


@property_of("cc")
def test_cc_of_a_high_order_has_the_gaussian_kernel(name, y, t, k, rng):
    kernels = []
    for f in (y, t):
        rows = f.reshape(len(f), -1)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        kernels.append(np.exp(-0.7 * scipy.spatial.distance.cdist(rows, rows, "sqeuclidean")))
    value, _ = LOSSES[name](y, t, k, gamma=0.7, order=100)
    assert_near(value, np.mean((kernels[0] - kernels[1]) ** 2))


# Invariances of losses on features

WITHOUT_SCALE = [
    *["attention", "attention norm", "attention power 1", "nst", "similarity", "similarity l1"],
    *["rkd_distance", "rkd_angle", "pkt epsilon 0", "cc"],
]
BY_SAMPLE = ["attention", "attention norm", "attention power 1", "nst", "pkt epsilon 0", "cc"]


@property_of(*WITHOUT_SCALE)
def test_the_scale_of_the_students_features_counts_nothing(name, y, t, k, rng):
    """So the gradient is orthogonal to them, and falls as they grow."""
    value, gradient = LOSSES[name](y, t, k)
    assert_near((gradient * y).sum(), 0)
    for scale in (rng.uniform(0.1, 10), 2.0**300, 2.0**-300):
        assert_same(LOSSES[name](scale * y, t, k), (value, gradient / scale))


@property_of(*BY_SAMPLE)
def test_the_scale_of_each_samples_features_counts_nothing(name, y, t, k, rng):
    scale = rng.uniform(0.1, 10, (len(y), 1, 1, 1))
    value, gradient = LOSSES[name](y, t, k)
    assert_near((gradient * y).sum(axis=(1, 2, 3)), 0)
    assert_same(LOSSES[name](scale * y, t, k), (value, gradient / scale))


@property_of("rkd_distance", "rkd_angle")
def test_a_translation_of_the_students_features_counts_nothing(name, y, t, k, rng):
    value, gradient = LOSSES[name](y, t, k)
    assert_near(gradient.sum(axis=0), 0)
    assert_same(LOSSES[name](y + rng.standard_normal(y.shape[1:]), t, k), (value, gradient))


@property_of(
    *["similarity", "similarity l1", "rkd_distance", "rkd_angle", "pkt", "pkt epsilon 0"],
    *["cc", "cc bilinear", "cc norm"],
)
def test_a_rotation_of_the_students_features_turns_only_the_gradient(name, y, t, k, rng):
    rows = y.reshape(len(y), -1)
    rotation = scipy.stats.ortho_group.rvs(rows.shape[1], random_state=rng)
    value, gradient = LOSSES[name](rows, t, k)
    assert_same(LOSSES[name](rows @ rotation, t, k), (value, gradient @ rotation))


# The figures of shared/reference/kd-losses.md


def test_similarity_by_l1_is_some_thirty_times_smaller_after_a_relu():
    """Where all products are much alike, rows of B entries 1/√B become 1/B: nearly B times."""
    y, t = (np.maximum(f, 0) for f in batch((32, 16, 8, 8), 0)[:2])
    by_length, by_sum = (LOSSES[name](y, t, None)[0] for name in ("similarity", "similarity l1"))
    assert by_length / by_sum == pytest.approx(31, rel=0.15)


def test_the_attention_papers_norm_is_some_136_times_larger():
    """(Σ ‖Q − R‖ / B) / (Σ ‖Q − R‖² / (B·64)) = 64 / ‖Q − R‖, about; here of 16 channels, 8×8."""
    y, t, k = batch((64, 16, 8, 8), 0)
    norm, squared = (LOSSES[name](y, t, k)[0] for name in ("attention norm", "attention"))
    assert norm / squared == pytest.approx(136, rel=0.1)


@property_of("standardized kl")
def test_standardize_is_scipys_zscore(name, y, t, k, rng):
    for ddof in (0, 1):
        z, _ = losses.standardize(y, ddof=ddof, epsilon=0)
        assert_near(z, scipy.stats.zscore(y, axis=1, ddof=ddof))


@property_of("standardized kl")
def test_the_scale_of_logits_counts_nothing_once_they_are_standardized(name, y, t, k, rng):
    z, backward = losses.standardize(y, epsilon=0)
    scale = np.resize([2.0**600, 2.0**-600], (len(y), 1))
    scaled, backward_of_scaled = losses.standardize(scale * y, epsilon=0)
    assert_same((scaled, scale * backward_of_scaled(t)), (z, backward(t)))


def test_standardize_by_either_ddof_is_5_percent_apart_at_ten_classes():
    logits, _, _ = batch((4, 10), 0)
    by_c, by_less = (losses.standardize(logits, ddof=ddof, epsilon=0)[0] for ddof in (0, 1))
    assert_near(by_c, np.sqrt(10 / 9) * by_less)
    assert np.sqrt(10 / 9) - 1 == pytest.approx(0.054, abs=5e-4)


# SciPy for judge


@property_of("huber")
def test_huber_is_scipys(name, y, t, k, rng):
    delta = rng.uniform(0.1, 4)
    value, _ = LOSSES[name](y, t, k, delta=delta, reduction="none")
    assert_near(value, scipy.special.huber(delta, y - t))


@property_of("dist")
def test_dist_is_one_less_scipys_correlations(name, y, t, k, rng):
    q, p = (scipy.special.softmax(z / 2, axis=1) for z in (y, t))
    for weights, x, of_teacher in (((1, 0), q, p), ((0, 1), q.T, p.T)):
        rho = [scipy.stats.pearsonr(*pair).statistic for pair in zip(x, of_teacher, strict=True)]
        beta, gamma = weights
        value, _ = LOSSES[name](y, t, k, beta=beta, gamma=gamma, temperature=2)
        assert_near(value, 4 * (1 - np.mean(rho)))


@property_of("rkd_distance")
def test_rkd_distance_is_of_scipys_distances(name, y, t, k, rng):
    rows = (f.reshape(len(f), -1) for f in (y, t))
    d, of_teacher = (scipy.spatial.distance.cdist(f, f) for f in rows)
    difference = d / d[d > 0].mean() - of_teacher / of_teacher[of_teacher > 0].mean()
    assert_near(LOSSES[name](y, t, k)[0], scipy.special.huber(1, difference).mean())


# Stability


def extremes(shape, dtype):
    """Pairs of student and teacher at the ends of what may come."""
    y, t, _ = batch(shape, 0, dtype)
    y, t = y / np.abs(y).max(), t / np.abs(t).max()
    one = np.zeros_like(y)
    one[:, 0] = 1e4
    zero, of_one_zero, alike = np.zeros_like(y), y.copy(), np.repeat(y[:1], len(y), axis=0)
    of_one_zero[0] = 0
    return {
        "large": (dtype(1e4) * y, dtype(1e4) * t),
        "large, opposed": (dtype(1e4) * y, dtype(-1e4) * y),
        "small": (dtype(1e-4) * y, dtype(1e-4) * t),
        "one class in both": (one, one),
        "one class in one net": (one, t),
        "one class in the other": (y, one),
        "two classes": (one, np.roll(one, 1, axis=1)),
        "equal": (y, y.copy()),
        "batch of one": (y[:1], t[:1]),
        "zeros": (zero, t),
        "zeros in both": (zero, zero),
        "zeros of the teacher": (y, zero),
        "a sample of zeros": (of_one_zero, t),
        "a constant": (np.full_like(y, 3.3), t),
        "constants in both": (np.full_like(y, 3.3), np.full_like(y, -1e4)),
        "equal samples": (alike, t),
        "two equal samples": (np.concatenate([y[:1], y[:-1]]), t),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_nothing_overflows_and_nothing_is_nan(name, dtype):
    temperatures = [{"temperature": t} for t in (0.1, 4, 1e4)] if name in TEMPERED else [{}]
    for what, (y, t) in extremes((6, 10, 2, 3)[: 4 if name in ON_MAPS else 2], dtype).items():
        for options in temperatures:
            with np.errstate(all="raise", under="ignore"):
                value, gradient = LOSSES[name](y, t, np.arange(len(y)) % 2, **options)
            assert np.all(np.isfinite(value)), (what, options, value)
            assert np.all(np.isfinite(gradient)), (what, options)
            assert value.dtype == gradient.dtype == dtype
            assert gradient.shape == y.shape


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["pkt", "similarity", "cc", "rkd_distance", "rkd_angle"])
def test_opposite_samples_give_numbers(name, dtype):
    """Their cosine may be rounded to less than −1, which once gave pkt the logarithm of that."""
    for seed in range(100):
        y, t, k = batch((1, 2 + seed % 50), seed, dtype)
        y, t = np.concatenate([y, -y]), np.concatenate([t, dtype(0.3) * t])
        for student, teacher in ((y, t), (t, y)):
            with np.errstate(all="raise", under="ignore"):
                found = LOSSES[name](student, teacher, k)
            assert all(np.isfinite(part).all() for part in found)


@pytest.mark.parametrize("variant", ["paper", "fixed"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vid_takes_any_scale(dtype, variant):
    y, t, _ = batch((4, 5), 0, dtype)
    scale = np.array([-1e4, -50, 0, 50, 1e4], dtype)
    with np.errstate(all="raise", under="ignore"):
        value, (dstudent, dscale) = losses.vid(y, t, scale, variant=variant, reduction="sum")
    variance = np.array([0, 0, np.log(2), 50, 1e4]) + 1e-5
    expected = ((y - t) ** 2 / variance + np.log(variance)).sum() / 2
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(dstudent, (y - t) / variance, rtol=1e-4)
    assert np.all(np.isfinite(dscale))
    assert dscale.any() == (variant == "paper")


LIMITS = {
    "dist": ((1, 4), 1),  # inter is 0 at equality, intra 1
    "similarity": ((1, 4), 0),
    "similarity l1": ((1, 4), 0),
    "rkd_distance": ((1, 4), 0),
    "rkd_angle": ((1, 4), 0),
    "pkt": ((1, 4), 0),
    "cc": ((1, 4), 0),
    "cc consecutive": ((1, 4), 0),
}


@pytest.mark.parametrize("name", LIMITS)
def test_of_a_batch_of_one_nothing_can_be_learnt_about_relations(name):
    shape, expected = LIMITS[name]
    y, t, k = batch(shape, 0)
    value, gradient = LOSSES[name](y, y.copy() if name == "dist" else t, k)
    assert_near(value, expected)
    assert_near(gradient, 0)


def test_dist_counts_a_constant_as_without_correlation():
    y, t, k = batch((4, 3), 0)
    value, gradient = LOSSES["dist"](y * 0 + 0.1, t, k)
    assert value == 2
    assert not gradient.any()
    y[1] = 7
    inter = LOSSES["dist"](y, y.copy(), k, gamma=0)
    assert_near(inter[0], 1 / 4)
    assert_near(inter[1], 0)


@pytest.mark.parametrize(
    "name", ["attention", "attention norm", "attention power 1", "nst", "pkt", "cc"]
)
def test_a_sample_of_zeros_passes_no_gradient(name):
    y, t, k = batch((4, 3, 2, 3), 0)
    y[1] = 0
    value, gradient = LOSSES[name](y, t, k)
    assert value > 0
    assert not gradient[1].any()
    assert gradient[0].any()


@pytest.mark.parametrize("name", ["similarity", "similarity l1"])
def test_the_row_of_a_sample_of_zeros_stays_zero_and_passes_no_gradient(name):
    """The others' rows, which hold its products too, do: see the formula of the docstring."""
    y, t, k = batch((4, 5), 0)
    y[1] = 0
    p, of_teacher = y @ y.T, t @ t.T
    by_length, sign = name == "similarity", np.sign(p)
    n, m = (
        np.sqrt((a * a).sum(axis=1)) if by_length else np.abs(a).sum(axis=1)
        for a in (p, of_teacher)
    )
    n[1] = np.inf
    g = p / n[:, np.newaxis]
    delta = g - of_teacher / m[:, np.newaxis]
    dg = 2 * delta / 16
    along = (dg * g).sum(axis=1, keepdims=True)
    dp = (dg - (g if by_length else sign) * along) / n[:, np.newaxis]
    assert not dp[1].any()
    assert_same(LOSSES[name](y, t, k), ((delta**2).mean(), (dp + dp.T) @ y))


def test_equal_samples_are_at_no_distance_and_all_of_them_equal_have_no_relations():
    y, t, k = batch((4, 3), 0)
    for name in ("rkd_distance", "rkd_angle"):
        value, gradient = LOSSES[name](np.repeat(y[:1], 4, axis=0), t, k)
        assert value > 0
        assert not gradient.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_standardize_gives_zeros_for_a_row_of_equal_logits(dtype):
    z, backward = losses.standardize(np.full((2, 10), 3.3, dtype), epsilon=0.5)
    assert not z.any()
    dy = np.arange(20, dtype=dtype).reshape(2, 10)
    np.testing.assert_allclose(backward(dy), (dy - dy.mean(axis=1, keepdims=True)) / 0.5)
    assert not losses.standardize(np.ones((2, 3), dtype), epsilon=0)[1](dy[:, :3]).any()


@pytest.mark.parametrize(("dtype", "number"), [(np.float32, 2.7), (np.float64, 1.7)])
def test_equal_logits_are_standardized_to_zero_though_their_mean_is_rounded(dtype, number):
    row = np.full((1, 100), number, dtype)
    assert abs(row.mean() - row[0, 0]) > 2 * np.finfo(dtype).eps * row[0, 0]
    for scale in (1, -1, 2.0**40, 2.0**-40):
        for epsilon in (0, 0.5):
            z, _ = losses.standardize(dtype(scale) * row, epsilon=epsilon)
            np.testing.assert_array_equal(z, np.zeros_like(row))


def test_standardizes_backward_takes_a_gradient_of_its_shape_and_dtype_alone():
    _, backward = losses.standardize(batch((4, 3), 0)[0])
    for dy in (Y[:1], Y.astype(np.float32), Y.tolist()):
        with pytest.raises(ValueError, match="backward of standardize: dy is"):
            backward(dy)


# Kinks


def test_l1_has_gradient_zero_at_its_kink():
    value, gradient = losses.l1(np.array([[-2.0, 1, 3]]), np.array([[0.0, 1, 1]]), reduction="sum")
    assert value == 4
    np.testing.assert_array_equal(gradient, [[-1, 0, 1]])


@pytest.mark.parametrize(("variant", "divisor"), [("paper", 1), ("smooth", 2)])
def test_both_branches_of_huber_agree_where_they_meet(variant, divisor):
    y = np.array([[-2.0, 2, np.nextafter(2, 3), 0, 5]])
    value, gradient = losses.huber(y, np.zeros_like(y), delta=2, reduction="none", variant=variant)
    np.testing.assert_allclose(value * divisor, [[2, 2, 2, 0, 8]])
    np.testing.assert_allclose(gradient * divisor, [[-2, 2, 2, 0, 2]])


def test_attention_by_absolute_values_has_gradient_zero_at_zero():
    y = np.array([0.0, 1, -2, 1]).reshape(1, 1, 2, 2)
    t = np.array([3.0, 1, 2, 1]).reshape(1, 1, 2, 2)
    _, gradient = losses.attention(y, t, power=1)
    assert gradient[0, 0, 0, 0] == 0
    assert np.count_nonzero(gradient) == 3


# What holds for every loss

PER_SAMPLE = {
    **{
        name: LOSSES[name]
        for name in ("kl", *KL_VARIANTS, "js", "soft_cross_entropy", "limit", "dkd")
    },
    **{name: LOSSES[name] for name in ("standardized kl", "attention", "nst")},
    **{name: against_teacher(name) for name in ("l1", "l2", "huber")},
    "cross_entropy": against_labels(cross_entropy),
    "attention norm": against_teacher("attention", variant="norm"),
}


@pytest.mark.parametrize("beta", [0.5, 0.25])
def test_js_exchanges_the_nets_with_the_shares(beta):
    y, t = np.random.default_rng(0).standard_normal((2, 5, 7))
    np.testing.assert_allclose(
        losses.js(y, t, beta=beta)[0], losses.js(t, y, beta=1 - beta)[0], rtol=1e-13
    )


@pytest.mark.parametrize(("beta", "variant"), [(1e-9, "paper"), (1 - 1e-9, "reversed")])
def test_js_tends_to_the_kl_that_libraries_put_at_its_ends(beta, variant):
    y, t = np.random.default_rng(0).standard_normal((2, 5, 7))
    value, gradient = losses.js(y, t, beta=beta, temperature=2.0)
    share = min(beta, 1 - beta)
    expected, of_kl = losses.kl(y, t, temperature=2.0, variant=variant)
    np.testing.assert_allclose(value / share, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient / share, of_kl, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_reductions_are_of_the_losses_kept_apart(name):
    arguments = batch(some_shape(name), 0)
    loss = PER_SAMPLE[name]
    apart, gradient = loss(*arguments, reduction="none")
    assert apart.shape == ((4, 3) if name in ("l1", "l2", "huber") else (4,))
    for reduction, divisor in (("sum", 1), ("batchmean", 4)):
        value, reduced = loss(*arguments, reduction=reduction)
        assert_close(value, apart.sum() / divisor)
        assert_close(reduced, gradient / divisor)


SOFT = {
    "l2": l2,
    "kl": lambda y, t: kl(y, t, temperature=3),
    "dist": losses.dist,
    "soft_cross_entropy": losses.soft_cross_entropy,
}


@pytest.mark.parametrize("soft", SOFT.values(), ids=SOFT)
def test_mix_is_continuous_in_alpha_at_both_ends(soft):
    """torchdistill drops T² where α is 0; here nothing happens there."""
    y, t, k = batch((4, 3), 0)
    for end, inside in ((0, 1e-13), (1, 1 - 1e-13)):
        assert_same(*(mix(y, t, k, alpha=alpha, soft=soft) for alpha in (inside, end)))


BY_NUMPY = {
    "mix": {"alpha": np.linspace(0, 1, 5)[1]},
    "l2 batchmean": {"temperature": np.float64(2), "temperature_squared": True},
    "huber": {"delta": np.float64(2)},
    "kl": {"temperature": np.float64(2)},
    "soft_cross_entropy": {"temperature": np.int64(2)},
    "dkd": {name: np.float64(2) for name in ("alpha", "beta", "temperature")},
    "dist": {name: np.float64(2) for name in ("beta", "gamma", "temperature", "epsilon")},
    "attention": {"power": np.float64(3), "epsilon": np.float64(1e-3)},
    "nst": {"epsilon": np.float64(1e-3)},
    "vid": {"epsilon": np.float64(1e-3)},
    "rkd_distance": {"delta": np.float64(2)},
    "rkd_angle": {"delta": np.float64(2)},
    "pkt": {"epsilon": np.float64(1e-3)},
    "cc": {"gamma": np.float64(1), "order": np.int64(3)},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_dtype_is_kept_and_arguments_are_unchanged(name, dtype):
    arguments = batch(some_shape(name), 0, dtype)
    before = [a.copy() for a in arguments]
    for options in ({}, BY_NUMPY.get(name, {})):
        if name == "mix" and not options:
            continue
        loss = against_both(mix) if name == "mix" else LOSSES[name]
        value, gradient = loss(*arguments, **options)
        assert value.dtype == gradient.dtype == dtype
        assert gradient.shape == arguments[0].shape
    for a, b in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(a, b)


DEFAULTS = {
    "huber": {"delta": 1},
    "kl": {"temperature": 4, "temperature_squared": True},
    "soft_cross_entropy": {"temperature": 4, "temperature_squared": True},
    "dkd": {"alpha": 1, "beta": 8, "temperature": 4, "temperature_squared": True},
    "dist": {"beta": 1, "gamma": 1, "temperature": 1, "epsilon": 0},
    "attention": {"power": 2, "epsilon": 0},
    "nst": {"epsilon": 0},
    "vid": {"epsilon": 1e-5},
    "rkd_distance": {"delta": 1},
    "rkd_angle": {"delta": 1},
    "pkt": {"epsilon": 1e-7},
    "cc": {"gamma": 0.4, "order": 2},
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_the_numbers_of_the_papers(name):
    """One sample lies far out, so that every number counts."""
    y, t, k = batch((6, 1, 1, 2) if name in ON_MAPS else (6, 3), 0)
    y[0] *= 20
    given, by_default = LOSSES[name](y, t, k, **DEFAULTS[name]), LOSSES[name](y, t, k)
    for found, expected in zip(by_default, given, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_standardize_divides_by_all_classes_and_adds_1e_7():
    y, _, _ = batch((4, 3), 0)
    by_default, given = losses.standardize(y)[0], losses.standardize(y, ddof=0, epsilon=1e-7)[0]
    np.testing.assert_array_equal(by_default, given)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("name", [name for name in LOSSES if name != "mix"])
def test_complex_numbers_stay_complex(name, dtype):
    value, gradient = LOSSES[name](*batch(some_shape(name), 0, dtype))
    assert value.dtype == gradient.dtype == dtype


@pytest.mark.parametrize("given", [(), ("weight",), ("weight", "bias")])
def test_there_is_a_gradient_for_every_array_that_is_given_and_no_other(given):
    y, t, _ = batch((4, 3, 2, 5), 0)
    trained = {name: {"weight": np.eye(3), "bias": np.ones(3)}[name] for name in given}
    expected = [y.shape, *(a.shape for a in trained.values())]
    _, gradients = losses.hint(y, t, **trained)
    assert [g.shape for g in (gradients if given else [gradients])] == expected
    _, gradients = losses.vid(y, t, np.ones(3), **trained)
    assert [g.shape for g in gradients] == [y.shape, (3,), *expected[1:]]
    for weights in ({"weight_first": np.eye(3)}, {"weight_second": np.eye(3)}):
        _, gradients = losses.fsp(y, y, t, t, **weights)
        assert [g.shape for g in gradients] == [y.shape, y.shape, (3, 3)]


def regressions(dtype=np.float64):
    """Losses that train arrays of their own, and those."""
    y, t, _ = batch((4, 3, 2, 5), 0, dtype)
    weight, bias = np.eye(3, dtype=dtype)[::-1].copy(), np.ones(3, dtype)
    return {
        "hint": (losses.hint, (y, t, weight, bias)),
        "vid": (lambda y, t, w, b, s: losses.vid(y, t, s, w, b), (y, t, weight, bias, bias)),
        "fsp": (losses.fsp, (y, -y, t, y * t, weight, 2 * weight)),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["hint", "vid", "fsp"])
def test_gradients_by_trained_arrays_keep_their_dtype_and_take_nan_on(name, dtype):
    loss, arrays = regressions(dtype)[name]
    before = [a.copy() for a in arrays]
    value, gradients = loss(*arrays)
    assert {value.dtype, *(gradient.dtype for gradient in gradients)} == {np.dtype(dtype)}
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)
    arrays[0][...] = np.nan
    value, gradients = loss(*arrays)
    assert np.isnan(value)
    assert all(np.isnan(gradient).any() for gradient in gradients)


@pytest.mark.parametrize("name", LOSSES)
def test_nan_in_the_students_outputs_reaches_value_and_gradient(name):
    student, teacher, labels = batch(some_shape(name), 0)
    student[(1, 2, 1, 1)[: student.ndim]] = np.nan
    value, gradient = LOSSES[name](student, teacher, labels)
    assert np.isnan(value).any()
    assert np.isnan(gradient[1, 2]).any()


# Errors

Y = np.zeros((4, 3))
LABELS = np.array([0, 1, 2, 0])
MAPS = np.zeros((4, 3, 2, 5))
HALF_AS_WIDE = MAPS.astype(np.float32)
KINDS = ["l2", "l1", "huber", "kl", "js", "soft_cross_entropy", "limit"]
ON_FEATURES = ["similarity", "rkd_distance", "rkd_angle", "pkt", "cc"]


def mistake(message, name, *arguments, **options):
    """One row of MISTAKES."""
    return lambda: getattr(losses, name)(*arguments, **options), message


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
    # Temperatures and other numbers
    *[
        mistake(f"{name}: temperature is {t}, expected a number above 0", name, Y, Y, temperature=t)
        for name in ("l2", "kl", "js", "soft_cross_entropy", "dist")
        for t in (0, -1, np.nan, np.inf, True)
    ],
    *[
        mistake(
            rf"js: beta is {beta}, expected .* between 0 and 1; .* see kl", "js", Y, Y, beta=beta
        )
        for beta in (0, 1, 1.5, np.nan)
    ],
    *[
        mistake(f"kl: skew is {skew}, expected a number from 0", "kl", Y, Y, skew=skew)
        for skew in (-0.1, 1, np.nan)
    ],
    mistake("kl: skew is 0.1, .* 0 where unlogged", "kl", Y, Y, skew=0.1, variant="unlogged"),
    mistake("dkd: temperature is '4', expected", "dkd", Y, Y, LABELS, temperature="4"),
    mistake("kl: temperature is 1000", "kl", Y, Y, temperature=10**400),  # overflows a float
    mistake("dkd: alpha is nan, expected a finite", "dkd", Y, Y, LABELS, alpha=np.nan),
    mistake("dist: beta is nan, expected a finite", "dist", Y, Y, beta=np.nan),
    mistake("dkd: beta is inf, expected a finite number", "dkd", Y, Y, LABELS, beta=np.inf),
    mistake("dist: gamma is None, expected a finite number", "dist", Y, Y, gamma=None),
    *[
        mistake(f"{name}: delta is 0, expected a number above 0", name, Y, Y, delta=0)
        for name in ("huber", "rkd_distance", "rkd_angle")
    ],
    *[
        mistake(f"{name}: epsilon is {e}, expected a number of 0 or more", name, *arrays, epsilon=e)
        for e in (-1, np.inf)
        for name, arrays in {
            "dist": (Y, Y),
            "standardize": (Y,),
            "attention": (MAPS, MAPS),
            "nst": (MAPS, MAPS),
            "vid": (MAPS, MAPS, np.zeros(3)),
            "pkt": (Y, Y),
        }.items()
    ],
    mistake("attention: power is 0.5, expected 1 or more", "attention", MAPS, MAPS, power=0.5),
    mistake("attention: power is nan, expected", "attention", MAPS, MAPS, power=np.nan),
    mistake("cc: gamma is 0, expected a number above 0", "cc", Y, Y, gamma=0),
    *[
        mistake(f"cc: order is {n}, expected a whole", "cc", Y, Y, order=n)
        for n in (0, 1.5, True, 101)
    ],
    *[mistake(f"standardize: ddof is {n}", "standardize", Y, ddof=n) for n in (-1, 3, 0.5)],
    mistake("standardize: ddof is 1", "standardize", Y[:, :1], ddof=1),
    # Variants and reductions
    mistake("kl: reduction is array", "kl", Y, Y, reduction=np.array(["sum"])),
    mistake("cc: reduction is 'x'", "cc", Y, Y, reduction="x", variant="consecutive"),
    *[
        mistake(f"{name}: variant is 'x', expected one of \"", name, *arrays, variant="x")
        for name, arrays in {
            **dict.fromkeys(("l2", "huber", "kl", "js", "similarity", "cc"), (Y, Y)),
            "attention": (MAPS, MAPS),
            "fsp": (MAPS,) * 4,
            "vid": (MAPS, MAPS, np.zeros(3)),
        }.items()
    ],
    *[
        mistake(f"{name}: reduction is 'mean', expected one of \"", name, *arrays, reduction="mean")
        for name, arrays in {
            **dict.fromkeys([*KINDS, *ON_FEATURES], (Y, Y)),
            **dict.fromkeys(("hint", "attention", "nst"), (MAPS, MAPS)),
            "dkd": (Y, Y, LABELS),
            "fsp": (MAPS,) * 4,
            "vid": (MAPS, MAPS, np.zeros(3)),
        }.items()
    ],
    mistake(
        "attention: reduction is 'elementmean'",
        "attention",
        MAPS,
        MAPS,
        variant="norm",
        reduction="elementmean",
    ),
    mistake("cc: reduction is None, expected one of", "cc", Y, Y, reduction=None),
    # Shapes
    *[
        mistake(rf"{name}: student is \(4, 3\) and teacher \(4, 2\)", name, Y, Y[:, :2])
        for name in [*KINDS, "dist"]
    ],
    mistake(r"dkd: student is \(4, 3\) and teacher \(4, 2\)", "dkd", Y, Y[:, :2], LABELS),
    mistake(r"kl: logits are \(4, 0\), expected 1 classes", "kl", Y[:, :0], Y[:, :0]),
    mistake(r"cross_entropy: labels are int64 \(3,\)", "cross_entropy", Y, LABELS[:3]),
    *[
        mistake(rf"{name}: student has shape .* expected \(B, C\)", name, MAPS, MAPS)
        for name in ("kl", "js", "soft_cross_entropy", "limit", "dist")
    ],
    *[
        mistake(rf"{name}: student is \(4, 3\), teacher is \(3, 3\)", name, Y, Y[:3])
        for name in ON_FEATURES
    ],
    *[mistake(rf"{name}: student is \(3,\)", name, Y[0], Y[0]) for name in ON_FEATURES],
    mistake(r"cc: student is \(4,\), teacher is \(4, 3\)", "cc", Y[:, 0], Y),
    *[
        mistake(rf"{name}: student {message}", name, *arrays)
        for name in ("attention", "nst")
        for message, arrays in {
            r"has shape \(4, 3\), expected \(B, C, H, W\)": (Y, Y),
            r"is \(4, 3, 2, 5\), teacher is \(3, 3, 2, 5\)": (MAPS, MAPS[:3]),
            "is a list": (MAPS.tolist(), MAPS),
        }.items()
    ],
    *[
        mistake(f"{name}: .*; expected the same H and W", name, MAPS, MAPS[:, :, :1])
        for name in ("attention", "nst")
    ],
    mistake(
        r"cc: student is \(4, 3\) and teacher \(4, 2\)", "cc", Y, Y[:, :2], variant="consecutive"
    ),
    mistake(r"dkd: logits are \(4, 1\), expected 2 classes", "dkd", *[Y[:, :1]] * 2, LABELS),
    mistake("dkd: labels go from 1 to 3, expected 0 to 2", "dkd", Y, Y, LABELS + 1),
    mistake(r"dkd: labels are int64 \(3,\)", "dkd", Y, Y, LABELS[:3]),
    mistake(r"standardize: logits has shape \(3,\), expected \(B, C\)", "standardize", Y[0]),
    mistake("standardize: logits is a list", "standardize", Y.tolist()),
    # Weights
    mistake(r"hint: .* a weight \(O, C\) brings C channels to O", "hint", MAPS, MAPS[:, :2]),
    mistake(r"hint: features are .* \(O, C\)", "hint", MAPS, MAPS, np.eye(2)),
    *[
        mistake(f"{name}: features are .* and the weight", name, *arrays)
        for name, *arrays in (
            ("hint", MAPS, MAPS, np.ones(3)),
            ("hint", MAPS[:, 0], MAPS[:, 0], np.eye(2)),
            ("fsp", *(MAPS,) * 4, np.eye(2)),
            ("fsp", *(MAPS,) * 4, None, np.eye(2)),
        )
    ],
    mistake("hint: weight is a list", "hint", MAPS, MAPS, [[1.0]]),
    mistake("hint: student is float64, weight is float32", "hint", MAPS, MAPS, HALF_AS_WIDE[0, 0]),
    mistake("hint: a bias is given, but no weight", "hint", MAPS, MAPS, None, np.zeros(3)),
    mistake("vid: a bias is given", "vid", Y, Y, np.zeros(3), None, np.zeros(3)),
    mistake(r"vid: .* scale is \(2,\)", "vid", MAPS, MAPS, np.zeros(2)),
    mistake(r"fsp: .* weights \(C', C\)", "fsp", MAPS, MAPS, MAPS[:, :2], MAPS),
    mistake(r"vid: .* the teacher's are \(4, 3, 1, 5\)", "vid", MAPS, MAPS[:, :, :1], np.zeros(3)),
    mistake("fsp: .*; expected the same H and W", "fsp", MAPS, MAPS[..., :1], MAPS, MAPS),
    mistake("fsp: .*; expected the same H and W", "fsp", MAPS, MAPS, MAPS, MAPS[..., :1]),
    mistake("fsp: first is .*, teacher_first is .* one batch", "fsp", MAPS, MAPS, *(MAPS[:3],) * 2),
    # Kinds of arrays
    *[
        mistake(f"{name}: .*float32; expected one dtype", name, Y, Y.astype(np.float32))
        for name in [*KINDS[3:], "dist", "hint", *ON_FEATURES]
    ],
    mistake("fsp: .*float32; expected one dtype", "fsp", MAPS, MAPS, *(HALF_AS_WIDE,) * 2),
    *[
        mistake(f"vid: {message}", "vid", MAPS, *arrays)
        for message, arrays in {
            "scale is a list": (MAPS, [0.0] * 3),
            "student is float64, scale is float32": (MAPS, np.zeros(3, np.float32)),
            "teacher is a list": (MAPS.tolist(), np.zeros(3)),
            "student is float64, teacher is float32": (HALF_AS_WIDE, np.zeros(3)),
        }.items()
    ],
    # Empty batches
    *[
        mistake(f"{name}: an empty batch has no mean", name, *arrays, reduction="batchmean")
        for name, arrays in {"hint": (Y[:0],) * 2, "fsp": (MAPS[:0],) * 4}.items()
    ],
    mistake("cc: an empty batch has no mean", "cc", Y[:0], Y[:0], variant="consecutive"),
    *[
        mistake(f"{name}: an empty batch has no mean", name, *arrays)
        for name, arrays in {
            **dict.fromkeys([*KINDS, "dist", "hint", *ON_FEATURES], (Y[:0],) * 2),
            **dict.fromkeys(("attention", "nst"), (MAPS[:0],) * 2),
            "dkd": (Y[:0], Y[:0], LABELS[:0]),
            "fsp": (MAPS[:0],) * 4,
            "vid": (Y[:0], Y[:0], np.zeros(3)),
        }.items()
    ],
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES)
def test_a_mistake_is_one_clear_line(mistake, message):
    with pytest.raises(ValueError, match=message) as error:
        mistake()
    assert "\n" not in str(error.value)


SUMMED = {
    **{name: against_teacher(name) for name in [*KINDS, *ON_FEATURES, "hint", "attention", "nst"]},
    **{"cross_entropy": against_labels(cross_entropy), "dkd": against_both(dkd), "vid": vid},
    **{"fsp": two_layers("squared"), "fsp norms": two_layers("norms")},
}


def test_vid_of_no_channels_has_a_sum():
    none = MAPS[:, :0]
    value, (dstudent, dscale) = losses.vid(none, none, np.zeros(0), reduction="sum")
    assert value == 0
    assert (dstudent.shape, dscale.shape) == (none.shape, (0,))


@pytest.mark.parametrize("name", SUMMED)
def test_an_empty_batch_has_a_sum(name):
    empty = MAPS[:0] if name in ON_MAPS else Y[:0]
    value, gradient = SUMMED[name](empty, empty, LABELS[:0], reduction="sum")
    assert value == 0
    assert gradient.shape == empty.shape
