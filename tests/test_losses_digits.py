"""The losses keep their digits: against the same formulas in mpmath (benchmarks/digits.py).

By default on a part of the grid; `--digits` takes all of it, for some minutes.
"""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import SEEDS

from npkd import losses
from npkd.losses.facts import FACTS

pytest.importorskip("mpmath")

from benchmarks import digits

DTYPES = [np.float32, np.float64]
CASES = list(digits.cases())
PART = 48  # of the cases, one in so many by default
few_examples = settings(max_examples=12, deadline=None)


def require(case, dtype, x=None):
    """Within the tolerance, whatever the case's inputs are."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = digits.errors(case, dtype, x)
    for what, error in found.items():
        assert error.in_tolerances <= 1, (
            f"{what} of {case} in {np.dtype(dtype)} is off by {error.relative:.3g} of the largest, "
            f"{error.in_tolerances:.3g} times what is allowed"
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", digits.FORMULAS)
def test_values_and_gradients_have_their_digits(loss, dtype, request):
    part = 1 if request.config.getoption("--digits") else PART
    of_loss = [case for case in CASES if case.loss == loss]
    for case in of_loss[0 if dtype is np.float32 else part // 2 :: part]:
        if not digits.excused(case, dtype):
            require(case, dtype)


# Random inputs

TEMPERED = [name for name, facts in FACTS.items() if facts.options.get("temperature_squared")]
VARIANTS = ["paper", "reversed", "unlogged", "reversed unlogged"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", [*TEMPERED, "cross_entropy", "limit"])
@few_examples
@given(seed=SEEDS, data=st.data())
def test_random_logits_of_any_size_temperature_and_likeness(loss, dtype, seed, data):
    rng = np.random.default_rng(seed)
    batch, classes = data.draw(st.integers(1, 4)), data.draw(st.integers(3, 12))
    size, likeness = 10 ** rng.uniform(-2, 3), 10 ** rng.uniform(-6, 0)
    teacher, noise = rng.standard_normal((2, batch, classes)) * size
    student = teacher + likeness * noise + rng.choice([0, 100]) * rng.standard_normal((batch, 1))
    options = {"temperature": float(10 ** rng.uniform(-1, 8))} if loss in TEMPERED else {}
    if loss == "kl":
        options["variant"] = data.draw(st.sampled_from(VARIANTS))
        if "unlogged" not in options["variant"]:
            options["skew"] = data.draw(st.sampled_from([0.0, 0.1, 0.5]))
    if loss == "js":
        options["beta"] = data.draw(st.sampled_from([1e-12, 0.1, 0.5, 0.9]))
    if loss not in ("limit", "dist") and data.draw(st.booleans()):
        masked = rng.random((batch, classes)) < 0.3
        masked[:, 0] = False
        teacher[masked] = -np.inf
        student[masked] = -np.inf
    labels = np.zeros(batch, int)
    x = digits.Input(student.astype(dtype), teacher.astype(dtype), labels)
    case = digits.Case(loss, options, "random")
    # The sign of a difference of two 1 − e^−x is that of the e^−x, if the dtype has them
    assume(loss != "dist" or digits.gap_of(case, x) < -np.log(np.finfo(dtype).smallest_normal))
    require(case, dtype, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "loss", ["attention", "nst", "similarity", "rkd_distance", "rkd_angle", "pkt", "cc"]
)
@few_examples
@given(seed=SEEDS)
def test_random_features_of_any_size_and_likeness(loss, dtype, seed):
    rng = np.random.default_rng(seed)
    teacher, noise = rng.standard_normal((2, 4, 3, 2, 2))
    student = teacher + 10 ** rng.uniform(-6, 0) * noise
    size = 10 ** rng.uniform(-20, 20)
    options = {"epsilon": 0.0} if loss == "pkt" else {}
    x = digits.Input(
        (size * student).astype(dtype), (size * teacher).astype(dtype), np.zeros(4, int)
    )
    require(digits.Case(loss, options, "features random"), dtype, x)


# Where one form of KL goes over into the other


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", ["paper", "reversed"])
def test_both_forms_of_kl_agree_where_they_meet(dtype, variant):
    """Classes are near or far (|f| ≤ 1), rows alike or not, φ by its series or not (|u| ≤ 1)."""
    case = digits.Case("kl", {"temperature": 1.0, "variant": variant}, "seam")
    one = dtype(1)
    for f in (np.nextafter(one, 0), one, np.nextafter(one, dtype(2)), -one, dtype(1.3), dtype(-3)):
        for gap in (0, 0.5, 1, 2, 5, 17):  # of the class that moves, in the teacher
            teacher = np.array([[gap, 0.25, 0, -gap]], dtype)
            student = teacher + np.array([[0, f, 0, f]], dtype)
            require(case, dtype, digits.Input(student, teacher, np.zeros(1, int)))
    for share in np.linspace(-3, 3, 41):  # far classes make up half of both rows on the way
        teacher = np.array([[0, share, share]], dtype)
        student = teacher + np.array([[0, 1.01, -1.5]], dtype)
        require(case, dtype, digits.Input(student, teacher, np.zeros(1, int)))


def test_a_seam_is_no_step():
    """From one number to the next the value changes by no more than its slope."""
    for start in (0.999999, 1.0, 2.0):
        x = start + np.arange(-40, 40) * np.finfo(np.float64).eps * 4
        student = np.stack([x, 0 * x, 0 * x, 0 * x], axis=1)
        value, gradient = losses.kl(student, 0 * student, temperature=1.0, reduction="none")
        np.testing.assert_allclose(np.ptp(value - gradient[:, 0] * (x - start)), 0, atol=2e-15)
        assert np.all(np.abs(np.diff(gradient[:, 0])) < 1e-15)


# Zeros, infinities, warnings

LOGITS = np.random.default_rng(0).standard_normal((2, 5, 8))
MAPS = np.random.default_rng(1).standard_normal((2, 4, 4, 2, 3))
LABELS = np.arange(5) % 8


def of(name, s, t, **options):
    return digits.by_npkd(name, s, t, LABELS[: len(s)], **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_zero_is_exactly_zero(dtype):
    t, f = LOGITS[1].astype(dtype), MAPS[1].astype(dtype)
    quarter = np.round(4 * t) / 4  # to which constants can be added without rounding
    for name, s, teacher, options in [
        *((name, t, t, {}) for name in ("l2", "l1", "huber", "kl", "js", "dkd", "limit")),
        *(("kl", t, t, {"variant": v, "temperature": 1e8}) for v in ("paper", "reversed")),
        *(("dist", t, t, {"temperature": a}) for a in (0.1, 1.0, 1e6)),
        *((name, quarter + 2, quarter, {}) for name in ("kl", "js", "dkd", "limit", "dist")),
        *((name, f, f, {}) for name in digits.FORMULAS if name in (
            "hint", "attention", "nst", "fsp", "similarity", "rkd_distance", "rkd_angle", "cc")),
        *((name, 3 * f[:1], MAPS[0, :1].astype(dtype), {}) for name in (
            "similarity", "rkd_distance", "rkd_angle", "pkt", "cc")),
        ("rkd_angle", f[:2], MAPS[0, :2].astype(dtype), {}),
        ("attention", f[..., :1, :1], 2 * MAPS[0, ..., :1, :1].astype(dtype), {}),
        ("nst", f[..., :1, :1], 2 * MAPS[0, ..., :1, :1].astype(dtype), {}),
        ("dist", t[:1, :2], 7 * t[:1, :2], {"gamma": 0.0}),
    ]:  # fmt: skip
        value, gradient = of(name, s, teacher, **options)
        assert value == 0, (name, options, value)
        assert not gradient.any(), (name, options)


MASKS = {
    "both": (LOGITS[0], LOGITS[1], [3], [3]),
    "teacher": (LOGITS[0], LOGITS[1], [], [3]),
    "student": (LOGITS[0], LOGITS[1], [3], []),
    "each another": (LOGITS[0], LOGITS[1], [3, 4], [3, 5]),
    "all but one": (LOGITS[0], LOGITS[1], [], [0, 1, 2, 3, 4, 5, 6]),
    "all but the label": (LOGITS[0], LOGITS[1], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("l2", {"variant": v}) for v in ("paper", "probabilities", "log-probabilities")),
        *(("kl", {"variant": v}) for v in VARIANTS),
        *(("kl", {"variant": v, "skew": 0.1}) for v in VARIANTS[:2]),
        *(
            (name, {})
            for name in ("l1", "huber", "soft_cross_entropy", "js", "limit", "dist", "dkd")
        ),
        ("cross_entropy", {}),
    ],
)
def test_classes_ruled_out_give_numbers_and_no_warning(name, options, mask, dtype):
    s, t, of_student, of_teacher = MASKS[mask]
    s, t = s.astype(dtype), t.astype(dtype)
    s[:, of_student] = -np.inf
    t[:, of_teacher] = -np.inf
    labels = np.zeros(5, int)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value, gradient = digits.by_npkd(name, s, t, labels, **options)
    assert not np.isnan(value)
    assert not np.isnan(gradient).any()
    assert value.dtype == gradient.dtype == dtype
    never = name in ("soft_cross_entropy", "dist", "l1", "dkd") or "unlogged" in str(options)
    if mask in ("teacher", "all but one") and name == "kl" and options["variant"] == "paper":
        assert np.isfinite(value)
    if mask == "student" and name in ("kl", "soft_cross_entropy", "dkd") and not options:
        assert value == np.inf
    assert never or value >= 0


def test_a_class_the_teacher_rules_out_adds_what_the_student_gives_it():
    """0 · log 0 is 0, and so KL is −log of what the student gives to the one class that is left."""
    student, teacher = np.array([[1.0, 2.0, 0.5]]), np.array([[0.0, -np.inf, -np.inf]])
    value, gradient = losses.kl(student, teacher, temperature=1.0)
    q = np.exp(student) / np.exp(student).sum()
    np.testing.assert_allclose(value, -np.log(q[0, 0]), rtol=1e-15)
    np.testing.assert_allclose(gradient, q - [[1, 0, 0]], rtol=1e-15)
    of_labels, by_labels = losses.cross_entropy(student, np.array([0]))
    np.testing.assert_allclose((value, *gradient[0]), (of_labels, *by_labels[0]), rtol=1e-15)
    of_dkd, by_dkd = losses.dkd(student, teacher, np.array([0]), temperature=1.0)  # β has no rest
    np.testing.assert_allclose((of_dkd, *by_dkd[0]), (of_labels, *by_labels[0]), rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", digits.FORMULAS)
def test_ordinary_inputs_raise_nothing(name, dtype):
    maps = name in {case.loss for case in CASES if case.inputs.startswith("features ")} - {"l2"}
    s, t = (MAPS if maps else 40 * LOGITS).astype(dtype)
    options = {"alpha": 0.5} if name == "mix" else {}
    with np.errstate(all="raise"):
        digits.by_npkd(name, s, t, LABELS[: len(s)] % s.shape[1], **options)
        if not maps:
            logits, backward = losses.standardize(s)
            backward(logits)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_cannot_be_represented_is_infinite_and_never_nan(dtype):
    huge = dtype(np.finfo(dtype).max) / dtype(8)
    for name, options in digits.ON_FEATURES:
        if name in ("vid", "pkt", "attention", "nst", "similarity", "rkd_distance", "rkd_angle"):
            continue
        s, t = (MAPS / 4).astype(dtype) * huge
        if name == "cc" and options.get("variant", "paper") == "paper":
            continue
        value, gradient = of(name, s, t, **options)
        assert value == np.inf or options.get("reduction") == "none", (name, options)
        assert not np.isnan(gradient).any(), (name, options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_standardize_has_its_digits_whatever_logits_have_in_common(dtype):
    import mpmath as mp

    u = np.finfo(dtype).eps / 2
    rng = np.random.default_rng(0)
    for size, offset in ((1, 0), (1, 1000), (1e-3, 100), (1e20, 0), (1e-20, 0), (1, 1e4)):
        x, dy = (size * rng.standard_normal((3, 7)) + offset).astype(dtype), np.ones((3, 7), dtype)
        dy[:, 2:] = rng.standard_normal((3, 5))
        y, backward = losses.standardize(x, epsilon=0.0)
        dx = backward(dy)
        with mp.workdps(60):
            for row, d, found, by in zip(x, dy, y, dx, strict=True):
                row, d = [mp.mpf(float(v)) for v in row], [mp.mpf(float(v)) for v in d]
                c = [v - mp.fsum(row) / 7 for v in row]
                s = mp.sqrt(mp.fsum(v * v for v in c) / 7)
                e = [v / s for v in c]
                along = mp.fsum(a * b for a, b in zip(d, e, strict=True)) / 7
                exact = [(v - mp.fsum(d) / 7 - w * along) / s for v, w in zip(d, e, strict=True)]
                for a, b in ((found, e), (by, exact)):
                    off = max(abs(mp.mpf(float(v)) - w) for v, w in zip(a, b, strict=True))
                    assert off <= 8 * u * max(abs(w) for w in b)
