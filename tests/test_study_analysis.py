"""Intervals over seeds and images, p-values of many settings, calibration."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import coverage
from npkd.distill import calibration
from npkd.study.analysis import Interval, holm, over_seeds, over_seeds_and_images

numbers = st.floats(-100, 100)


@given(st.lists(numbers, min_size=3, max_size=9))
def test_the_interval_over_seeds_is_students(values):
    interval = over_seeds(values)
    error = scipy.stats.sem(values)
    assert interval.mean == pytest.approx(np.mean(values), abs=1e-12)
    if error > 1e-9:
        low, high = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        assert interval.mean - interval.half == pytest.approx(low, abs=1e-9)
        assert interval.mean + interval.half == pytest.approx(high, abs=1e-9)
        assert interval.p == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, abs=1e-9)


def test_the_interval_of_a_worked_example():
    """Of 1, 2, 3, 4, 5: mean 3, s = √2.5, t₀.₉₇₅(4) = 2.776445 by any table."""
    interval = over_seeds([1, 2, 3, 4, 5])
    assert interval.mean == 3
    assert interval.half == pytest.approx(2.776445 * math.sqrt(2.5 / 5), rel=1e-6)


@pytest.mark.parametrize("values", [[7], [7, 9]])
def test_two_seeds_are_too_few_for_an_interval(values):
    images = np.tile(np.array(values)[:, None], 5)
    for interval in (over_seeds(values), over_seeds_and_images(images)):
        assert interval == Interval(np.mean(values))
        assert (interval.half, interval.p, interval.smallest) == (None, None, None)


def test_a_difference_without_any_spread_is_no_verdict():
    for interval in (over_seeds([1, 1, 1]), over_seeds_and_images(np.ones((3, 5)))):
        assert (interval.mean, interval.half, interval.p) == (1, 0, 1)
        assert interval.smallest is None


def literal(y):
    """The docstring's formulas, term by term."""
    seeds, images = y.shape
    mean = sum(y[s, i] for s in range(seeds) for i in range(images)) / (seeds * images)
    of_seed = [sum(y[s]) / images for s in range(seeds)]
    of_image = [sum(y[:, i]) / seeds for i in range(images)]
    m_s = images * sum((x - mean) ** 2 for x in of_seed) / (seeds - 1) * seeds / (seeds - 1)
    m_i = seeds * sum((x - mean) ** 2 for x in of_image) / (images - 1)
    m_e = sum(
        (y[s, i] - of_seed[s] - of_image[i] + mean) ** 2
        for s in range(seeds)
        for i in range(images)
    ) / ((seeds - 1) * (images - 1))
    f_s, f_i, f_e = seeds - 1, images - 1, (seeds - 1) * (images - 1)
    variance = m_s + m_i - m_e
    freedom = variance**2 / (m_s**2 / f_s + m_i**2 / f_i + m_e**2 / f_e)
    if variance < max(m_s, m_i):
        variance, freedom = max((m_s, f_s), (m_i, f_i))
    return mean, math.sqrt(variance / (seeds * images)), freedom


@given(
    seeds=st.integers(3, 6),
    images=st.integers(2, 9),
    scales=st.tuples(*[st.sampled_from([0.0, 0.1, 1.0, 10.0])] * 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_analysis_is_as_its_formulas_say(seeds, images, scales, seed):
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal(shape) for shape in ((seeds, 1), (1, images), (seeds, images))]
    y = 0.3 + sum(scale * part for scale, part in zip(scales, parts, strict=True))
    y = np.broadcast_to(y, (seeds, images))
    mean, error, freedom = literal(y) if any(scales) else (0.3, 0.0, None)
    found = over_seeds_and_images(y)
    assert found.mean == pytest.approx(mean, abs=1e-12)
    assert found.error == pytest.approx(error, rel=1e-6, abs=1e-12)
    if freedom is not None and sum(map(bool, scales)) > 1:
        assert found.freedom == pytest.approx(freedom, rel=1e-6)
    assert over_seeds_and_images(y[rng.permutation(seeds)]).half == pytest.approx(found.half)
    assert over_seeds_and_images(y - 7).half == pytest.approx(found.half, abs=1e-9)


def test_where_images_make_no_difference_it_is_students_a_little_widened():
    values = np.array([0.1, 0.4, 0.3, 0.9])
    found, students = over_seeds_and_images(np.tile(values[:, None], 50)), over_seeds(values)
    assert found.freedom == pytest.approx(3)
    assert found.half == pytest.approx(students.half * math.sqrt(4 / 3))


@given(mean=numbers, error=st.floats(1e-3, 10), freedom=st.floats(1, 1000))
def test_a_mean_differs_from_0_just_where_its_interval_does_not_hold_0(mean, error, freedom):
    interval = Interval(mean, error, freedom)
    if not math.isclose(abs(mean), interval.half, rel_tol=1e-6):
        assert (interval.p < 0.05) == (abs(mean) > interval.half)
    assert interval.smallest > interval.half


def test_the_smallest_difference_is_found_in_80_studies_of_100():
    rng = np.random.default_rng(0)
    smallest = Interval(0.0, 1.0, 8).smallest
    errors = np.sqrt(rng.chisquare(8, 20000) / 8)
    means = smallest + rng.standard_normal(20000)
    found = np.mean(np.abs(means) > errors * scipy.special.stdtrit(8, 0.975))
    assert found == pytest.approx(0.8, abs=0.03)  # t₀.₈ is close to it, not exact


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holms_p_values_reject_what_his_steps_reject(p):
    adjusted = holm(p)
    assert [0 <= one <= after <= 1 for one, after in zip(p, adjusted, strict=True)]
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for step, k in enumerate(sorted(range(len(p)), key=lambda k: p[k])):
            if p[k] * (len(p) - step) >= level:
                break
            rejected.add(k)
        assert rejected == {k for k, after in enumerate(adjusted) if after < level}


@pytest.mark.parametrize("of_images", coverage.OF_IMAGES.values())
@pytest.mark.parametrize("of_seeds", coverage.OF_SEEDS.values())
def test_intervals_hold_the_truth(of_images, of_seeds):
    """Of 300 simulated studies; benchmarks/results/coverage.md has 10,000."""
    both, _ = coverage.coverage(300, 3, of_seeds, of_images)
    assert 0.91 <= both <= 1


# Calibration


def softmax(logits):
    return scipy.special.softmax(logits.astype(np.float64), axis=1)


@given(seed=st.integers(0, 2**32 - 1), images=st.integers(1, 80), classes=st.integers(1, 5))
def test_calibration_is_as_its_definitions_say(seed, images, classes):
    rng = np.random.default_rng(seed)
    logits = (3 * rng.standard_normal((images, classes))).astype(np.float32)
    labels = rng.integers(0, classes, images)
    p, one_hot = softmax(logits), np.eye(classes)[labels]
    assert calibration.nll(logits, labels) == pytest.approx(
        -np.mean(np.log(p[np.arange(images), labels])), abs=1e-9
    )
    assert calibration.brier(logits, labels) == pytest.approx(((p - one_hot) ** 2).sum() / images)
    # Few bins: the mean of a folded normal by SciPy, bin by bin
    total = 0.0
    order = np.argsort(p.max(axis=1), kind="stable")
    for part in np.array_split(order, min(3, images)):
        confidence, right = p.max(axis=1)[part].mean(), (p.argmax(axis=1) == labels)[part].mean()
        gap, deviation = abs(confidence - right), math.sqrt(right * (1 - right) / len(part))
        expected = scipy.stats.foldnorm.mean(gap / deviation, scale=deviation) if deviation else gap
        total += len(part) / images * (2 * gap - expected)
    assert calibration.ece(logits, labels, bins=3) == pytest.approx(total, abs=1e-9)


def test_the_error_of_a_net_that_is_calibrated_is_less_biased_than_the_plain_one():
    rng = np.random.default_rng(0)
    plain, debiased = [], []
    for _ in range(100):
        logits = 2 * rng.standard_normal((1000, 10))
        p = softmax(logits)
        labels = (p.cumsum(axis=1) > rng.random((1000, 1))).argmax(axis=1)
        debiased.append(calibration.ece(logits, labels))
        right = p.argmax(axis=1) == labels
        parts = np.array_split(np.argsort(p.max(axis=1)), calibration.BINS)
        gaps = [len(part) * abs(p.max(axis=1)[part].mean() - right[part].mean()) for part in parts]
        plain.append(sum(gaps) / 1000)
    assert 0 < np.mean(debiased) < 0.8 * np.mean(plain)
    sure = np.where(np.eye(10)[np.arange(1000) % 10] > 0, 1000.0, 0.0)
    assert calibration.ece(sure, (np.arange(1000) % 10 + 1) % 10) == pytest.approx(1)
    assert calibration.ece(sure, np.arange(1000) % 10) == pytest.approx(0)
