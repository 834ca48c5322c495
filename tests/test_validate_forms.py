"""What is right and computed otherwise is no BUG: transforms, emulated products, other formulas."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS

from benchmarks.verdicts.correct import some_convolutions
from benchmarks.verdicts.forms import (
    EMULATED,
    FORMULAS,
    TRANSFORMS,
    convolution,
    integral_image,
    l2_by_norm,
    l2_by_squares,
    program,
    rounded_to,
    standardized,
    winograd,
)
from npkd import losses
from npkd.validate import BUG, CONSISTENT, UNPROVEN, Case, Operation, compare, judge
from npkd.validate.bounds.rounding import BFLOAT16, FLOAT16
from npkd.validate.questions.numbers import normal
from npkd.validate.questions.subjects import cases

F32 = np.float32
few_examples = settings(max_examples=10, deadline=None)


@few_examples
@given(seed=SEEDS, transform=st.sampled_from(sorted(TRANSFORMS)))
def test_a_transform_is_no_bug_with_probes_or_without(seed, transform):
    probes = some_convolutions(np.random.default_rng(seed))
    found = [convolution(case, TRANSFORMS[transform]) for case in probes]
    for count in (1, 2):
        report = judge(list(zip(probes, found, strict=True))[:count])
        assert report.ok
        notes = [one.note for one in report.verdicts if one.verdict == UNPROVEN]
        assert all("transform" in note for note in notes)


def test_a_transform_is_named_where_it_rounds_more_than_sums():
    probes = some_convolutions(np.random.default_rng(0), channels=1)
    report = judge([(case, convolution(case, winograd(6))) for case in probes])
    assert UNPROVEN in {one.verdict for one in report.verdicts}
    assert report.ok
    assert not report.proved


@pytest.mark.parametrize("recorded", ["everything", "the ends"])
def test_a_net_by_transforms_is_no_bug(recorded):
    probes = list(cases(np.random.default_rng(0), ["SmallCNN"]))
    found = [program(case, TRANSFORMS["F(4, 3)"]) for case in probes]
    pairs = zip(probes, found, strict=True)
    if recorded == "the ends":
        found = [{name: x[name] for name in case.needed} for case, x in pairs]
    report = judge(zip(probes, found, strict=True))
    assert (report.ok, report.proved) == (True, False)
    found[1]["fc2"] = found[1]["fc2"] + F32(1)
    assert judge(zip(probes, found, strict=True)).first.tensor == "fc2"


def without_tap(case, *, transform):
    """Of the first input channel."""
    w = case.inputs["w"].copy()
    w[:, :1, 0, 0] = 0
    return convolution(replace(case, inputs={**case.inputs, "w": w}), transform)


def flipped(case, *, transform):
    w = case.inputs["w"][..., ::-1, ::-1].copy()
    return convolution(replace(case, inputs={**case.inputs, "w": w}), transform)


def without_bias(case, *, transform):
    found = convolution(case, transform)
    return found | {"y": found["y"] - case.inputs["b"].reshape(-1, 1, 1)}


def scaled(case, *, transform):
    found = convolution(case, transform)
    return found | {"y": found["y"] * F32(1.25)}


@pytest.mark.parametrize("wrong", [without_tap, flipped, without_bias, scaled])
@pytest.mark.parametrize("transform", ["F(2, 3)", "F(4, 3)", "F(6, 3)", "Fourier"])
@pytest.mark.parametrize("channels", [3, 32])
def test_a_wrong_convolution_is_a_bug_by_a_transform_too(wrong, transform, channels):
    probes = some_convolutions(np.random.default_rng(1), channels)
    found = [wrong(case, transform=TRANSFORMS[transform]) for case in probes]
    assert judge(zip(probes, found, strict=True)).first.tensor == "y"


def test_sums_that_lack_a_term_are_a_bug_whatever_a_transform_might_hide():
    """With 128 channels the bound of F(6, 3) is larger than what one of them gives."""
    probes = some_convolutions(np.random.default_rng(2), channels=128)
    found = [convolution(case, TRANSFORMS["F(2, 3)"]) for case in probes]
    lacking = [without_tap(case, transform=TRANSFORMS["F(2, 3)"]) for case in probes]
    assert judge(zip(probes, found, strict=True)).ok
    report = judge(zip(probes, lacking, strict=True))
    assert BUG in {one.verdict for one in report.verdicts if one.exact}


@few_examples
@given(seed=SEEDS, emulation=st.sampled_from(sorted(EMULATED)))
def test_float32_by_several_lower_products_is_consistent_and_named(seed, emulation):
    rng = np.random.default_rng(seed)
    probes = some_convolutions(rng)
    found = [convolution(case, EMULATED[emulation]) for case in probes]
    report = judge(zip(probes, found, strict=True))
    assert {one.verdict for one in report.verdicts} == {CONSISTENT}
    lower = [one.precision for one in report.verdicts if one.lower]
    assert all(f"float32 by {emulation}" in name for name in lower)


def test_products_of_two_parts_in_bfloat16_are_named_within_the_bound_too():
    """Sums of 144 products."""
    probes = some_convolutions(np.random.default_rng(0), channels=16)
    found = [convolution(case, EMULATED["three bfloat16 products"]) for case in probes]
    for count, expected in ((2, {CONSISTENT}), (1, {CONSISTENT, UNPROVEN})):
        report = judge(list(zip(probes, found, strict=True))[:count])
        assert {one.verdict for one in report.verdicts} <= expected
    names = {
        o.precision for o in judge(zip(probes, found, strict=True)).verdicts if o.tensor == "y"
    }
    assert names == {"float32 by three bfloat16 products", "float32"}, "the latter of the probe"
    wrong = [arrays | {"y": arrays["y"] * F32(1 + 1e-3)} for arrays in found]
    assert not judge(zip(probes, wrong, strict=True)).ok


@pytest.mark.parametrize("precision", [BFLOAT16, FLOAT16])
@pytest.mark.parametrize("subject", ["conv2d", "linear", "relu", "max_pool2d", "avg_pool2d", "kl"])
def test_results_that_are_rounded_too_are_consistent_and_named(precision, subject):
    probes = [
        case
        for case in cases(np.random.default_rng(0), [subject])
        if not case.name.endswith("subnormal")  # of which 16 bits keep no digits
    ]
    with np.errstate(all="ignore"):
        found = [rounded_to(precision, case) for case in probes]
    report = judge(zip(probes, found, strict=True))
    assert {one.verdict for one in report.verdicts} == {CONSISTENT}
    assert all(precision.name in one.precision for one in report.verdicts if one.lower)
    assert any(one.lower for one in report.verdicts)


def test_exact_float32_among_bfloat16_and_the_other_way_round_are_consistent():
    x = normal(np.random.default_rng(0), (4, 50))
    relu = Operation("relu", "relu", {"x": "x"}, {"y": "y"})
    case = Case("relu", "relu", "", {"x": x}, (relu,))
    kept, rounded = np.maximum(x, 0), np.maximum(BFLOAT16.round(x.astype(float)), 0).astype(F32)
    for precision, y in (("bfloat16", kept), ("bfloat16", rounded), ("float32", rounded)):
        assert compare(case, {"y": y}, precision=precision).ok
        assert not compare(case, {"y": y * F32(1.02)}, precision=precision).ok


@few_examples
@given(seed=SEEDS, shape=st.sampled_from([(1, 1), (2, 3), (5, 7)]))
def test_float32_in_float64_arrays_is_consistent(seed, shape):
    s, t = np.random.default_rng(seed).standard_normal((2, *shape))
    l2 = Operation("l2", "l2", {"student": "s", "teacher": "t"}, {"value": "v", "gradient": "g"})
    value, gradient = losses.l2(s.astype(F32), t.astype(F32))
    found = {"v": np.float64(value), "g": gradient.astype(np.float64)}
    report = compare(Case("l2", "l2", "", {"s": s, "t": t}, (l2,)), found)
    assert {one.verdict for one in report.verdicts} == {CONSISTENT}


def one_operation(op, inputs, found, **options):
    """The report on an operation's results for these inputs."""
    names = {name: name for name in inputs}
    operation = Operation(op, op, names, {name: f"found {name}" for name in found}, options)
    case = Case(op, op, "", inputs, (operation,))
    return compare(case, {f"found {name}": x for name, x in found.items()})


@few_examples
@given(seed=SEEDS, size=st.integers(1, 5), stride=st.integers(1, 3), offset=st.sampled_from([0, 9]))
def test_average_pooling_by_an_integral_image_is_no_bug(seed, size, stride, offset):
    rng = np.random.default_rng(seed)
    x = normal(rng, (2, 3, *rng.integers(5, 30, 2))) + F32(offset)
    y, options = integral_image(x, size, stride), {"kernel_size": size, "stride": stride}
    assert one_operation("avg_pool2d", {"x": x}, {"y": y}, **options).ok
    y[0, 0, 0, 0] += F32(4 if offset else 0.2)  # more than four sums of 900 numbers may be off by
    assert not one_operation("avg_pool2d", {"x": x}, {"y": y}, **options).ok


@few_examples
@given(seed=SEEDS, offset=st.sampled_from([0, 1, 30]))
def test_a_variance_as_the_mean_square_less_the_squared_mean_is_no_bug(seed, offset):
    x = normal(np.random.default_rng(seed), (6, 10)) + F32(offset)
    y, options = standardized(x), {"ddof": 1, "epsilon": 1e-7}
    assert one_operation("standardize", {"logits": x}, {"y": y}, **options).ok
    assert not one_operation("standardize", {"logits": x}, {"y": y * F32(1.02)}, **options).ok


@few_examples
@given(seed=SEEDS, by=st.sampled_from([l2_by_norm, l2_by_squares]))
def test_l2_by_another_formula_is_no_bug(seed, by):
    student, teacher = normal(np.random.default_rng(seed), (2, 8, 10))
    inputs = {"student": student, "teacher": teacher}
    found = by(student, teacher)
    assert one_operation("l2", inputs, found).ok
    for name in found:
        assert not one_operation("l2", inputs, found | {name: found[name] * F32(1.01)}).ok


@few_examples
@given(seed=SEEDS, form=st.sampled_from([form for form in FORMULAS if "x" in form]))
def test_activations_by_another_formula_are_no_bug(seed, form):
    report = judge([FORMULAS[form](np.random.default_rng(seed))])
    assert report.ok, str(report)


def test_sigmoid_by_tanh_is_told_from_what_keeps_its_digits():
    x = np.linspace(-20, -10, 50, dtype=F32)
    operation = Operation("sigmoid", "sigmoid", {"x": "x"}, {"y": "y"})
    case = Case("far out", "sigmoid", "", {"x": x}, (operation,))
    by_tanh, by_exp = F32(0.5) + F32(0.5) * np.tanh(x / 2), F32(1) / (F32(1) + np.exp(-x))
    verdicts = [
        judge([(case, {"y": y})]).verdicts[0] for y in (by_tanh, by_exp, by_exp + F32(1e-5))
    ]
    assert [one.verdict for one in verdicts] == [UNPROVEN, CONSISTENT, BUG]
    assert "tanh" in verdicts[0].note
