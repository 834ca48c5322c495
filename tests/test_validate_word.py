"""The judge's word: what is right and written otherwise is no BUG, what is wrong does not pass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS

from npkd import losses, ops
from npkd.validate import BUG, CONSISTENT, CONVENTION, UNPROVEN, Case, Operation, compare, judge

F32 = np.float32
few_examples = settings(max_examples=20, deadline=None)


def verdict(op, inputs, y, result="y", exact=False, **options):
    """On one operation's result for these inputs."""
    operation = Operation("o", op, {name: name for name in inputs}, {result: "found"}, options)
    case = Case("case", "subject", "", inputs, (operation,), exact)
    (one,) = compare(case, {"found": np.asarray(y)}).verdicts
    return one


@few_examples
@given(seed=SEEDS, order=st.sampled_from(["centred", "folded", "shifted"]))
def test_batch_norm_may_be_folded_in_any_order(seed, order):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((4, 3, 5, 5)).astype(F32)
    mean, b = rng.standard_normal((2, 3)).astype(F32)
    variance, w = rng.uniform(0.5, 2, (2, 3)).astype(F32)
    of = dict(zip("mvwb", (one.reshape(3, 1, 1) for one in (mean, variance, w, b)), strict=True))
    alpha = of["w"] / np.sqrt(of["v"] + F32(1e-5))
    y = {
        "centred": lambda: (x - of["m"]) * alpha + of["b"],
        "folded": lambda: (x * alpha - of["m"] * alpha) + of["b"],
        "shifted": lambda: x * alpha + (of["b"] - of["m"] * alpha),
    }[order]()
    inputs = {"x": x, "mean": mean, "variance": variance, "w": w, "b": b}
    assert verdict("batch_norm", inputs, y).verdict == CONSISTENT
    assert verdict("batch_norm", inputs, y + F32(1e-4)).verdict == BUG


@pytest.mark.parametrize("op", ["relu", "copy", "maximum"])
def test_numbers_below_the_smallest_normal_one_may_be_taken_for_0(op):
    x = np.array([1e-39, -1e-39, 3e-40, 1.0, -1.0], F32)
    inputs = {"a": x, "b": np.zeros_like(x)} if op == "maximum" else {"x": x}
    kept = x if op == "copy" else np.maximum(x, 0)
    flushed = np.where(np.abs(kept) < 1e-38, F32(0), kept)
    for y in (kept, flushed):
        assert verdict(op, inputs, y).verdict == CONSISTENT
    assert verdict(op, inputs, kept + F32(1e-30)).verdict == BUG


def test_a_product_that_is_added_may_not_have_been_rounded():
    a, b, c = np.random.default_rng(0).standard_normal((3, 500)).astype(F32)
    operations = (
        Operation("p", "multiply", {"a": "a", "b": "b"}, {"y": "p"}),
        Operation("s", "add", {"a": "p", "b": "c"}, {"y": "s"}),
    )
    case = Case("fused", "fused", "", {"a": a, "b": b, "c": c}, operations)
    fused = (a.astype(np.float64) * b + c).astype(F32)
    assert compare(case, {"p": a * b, "s": fused}).ok
    assert not compare(case, {"p": a * b, "s": fused * F32(1 + 1e-5)}).ok


@few_examples
@given(seed=SEEDS, size=st.sampled_from([1, 10, 20]))
def test_softmax_by_another_formula_is_no_bug(seed, size):
    rng = np.random.default_rng(seed)
    x = (size * rng.standard_normal((8, 10))).astype(F32)
    lse = np.log(np.exp(x).sum(axis=1, keepdims=True, dtype=F32))
    powers = np.exp2(x * F32(np.log2(np.e)) - (x * F32(np.log2(np.e))).max(axis=1, keepdims=True))
    for y in (np.exp(x - lse), powers / powers.sum(axis=1, keepdims=True)):
        assert verdict("softmax", {"x": x}, y).verdict in (CONSISTENT, UNPROVEN)
    assert verdict("softmax", {"x": x}, np.exp(x - lse) * F32(1.01)).verdict == BUG


@pytest.mark.parametrize(("offset", "expected"), [(0, CONSISTENT), (1000, UNPROVEN)])
def test_l2_by_its_squares_is_no_bug(offset, expected):
    s, t = np.random.default_rng(0).standard_normal((2, 8, 10)).astype(F32) + F32(offset)
    value = F32(0.5) * (s * s - F32(2) * s * t + t * t).sum(dtype=F32) / F32(8)
    inputs = {"student": s, "teacher": t}
    assert verdict("l2", inputs, value, "value").verdict == expected
    assert offset or verdict("l2", inputs, value * F32(1.001), "value").verdict == BUG


def test_bilinear_interpolation_as_a_lerp_is_no_bug():
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6)).astype(F32)
    y, _ = ops.upsample(x, 2, "bilinear")
    rows = np.clip((np.arange(10) + 0.5) / 2 - 0.5, 0, 4)
    low, share = np.minimum(rows.astype(int), 3), None
    share = (rows - low).astype(F32)[:, np.newaxis]
    tall = x[:, :, low] + share * (x[:, :, low + 1] - x[:, :, low])
    columns = np.clip((np.arange(12) + 0.5) / 2 - 0.5, 0, 5)
    left = np.minimum(columns.astype(int), 4)
    share = (columns - left).astype(F32)
    lerp = tall[..., left] + share * (tall[..., left + 1] - tall[..., left])
    assert np.any(lerp != y)
    inputs = {"x": x}
    found = verdict("upsample", inputs, lerp, factor=2, mode="bilinear").verdict
    assert found in (CONSISTENT, UNPROVEN)


@pytest.mark.parametrize(
    ("slope", "expected"), [(0.0, CONSISTENT), (0.5, CONVENTION), (1.0, CONVENTION), (2.0, BUG)]
)
def test_the_slope_at_a_kink_is_a_convention(slope, expected):
    x = np.array([[0.0, 1.0, -1.0, 0.0]], F32)
    dy = np.array([[3.0, 5.0, 7.0, 11.0]], F32)
    dx = np.where(x > 0, dy, np.where(x == 0, F32(slope) * dy, 0))
    one = verdict("relu_backward", {"x": x, "dy": dy}, dx, "dx")
    assert one.verdict == expected
    assert bool(one.note) == (expected == CONVENTION)


@pytest.mark.parametrize("rows", [4608, 16384])
def test_a_long_sum_passes_only_with_the_bits_that_such_sums_keep(rows):
    """Without its bias, or as zeros, it lies within the bound of the worst case."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, rows)).astype(F32)
    w, b = (rng.uniform(-1, 1, shape).astype(F32) / F32(rows**0.5) for shape in ((16, rows), 16))
    inputs = {"x": x, "w": w, "b": b}
    assert verdict("linear", inputs, x @ w.T + b).verdict == CONSISTENT
    assert verdict("linear", inputs, x @ w.T).verdict in (UNPROVEN, BUG)
    assert verdict("linear", inputs, np.zeros((8, 16), F32)).verdict in (UNPROVEN, BUG)
    in_order = np.zeros((8, 16), F32)
    for k in range(rows):
        in_order += x[:, k : k + 1] * w[:, k]
    assert verdict("linear", inputs, in_order + b).verdict == CONSISTENT


def test_where_nothing_is_judged_nothing_passes():
    operation = Operation("o", "unknown", {"x1": "x"}, {"y1": "y"}, {"function": "mine"})
    case = Case("case", "subject", "", {"x": np.ones(3)}, (operation,))
    report = compare(case, {"y": np.ones(3)})
    assert not report.ok
    with pytest.raises(AssertionError, match="nothing to judge"):
        report.check()


def test_what_is_unproven_is_not_proved():
    x = np.array([[1.0, 2.0]], F32)
    report = compare(
        Case("c", "s", "", {"x": x}, (Operation("o", "softmax", {"x": "x"}, {"y": "y"}),)),
        {"y": ops.softmax(x)[0] * F32(1 + 1.5e-6)},
    )
    assert report.verdicts[0].verdict == UNPROVEN
    assert "exp" in report.verdicts[0].note
    assert (report.ok, report.proved) == (True, False)


def test_a_backward_pass_of_ones_own_does_not_pass_unjudged():
    own = {"function": "Mine", "own": True}
    operations = (
        Operation("relu", "relu", {"x": "x"}, {"y": "h"}),
        Operation("mine", "unknown", {"x1": "h"}, {"y1": "y"}, own),
    )
    x = np.array([1.0, 2.0])
    report = compare(Case("case", "subject", "", {"x": x}, operations), {"h": x, "y": 2 * x})
    assert [one.verdict for one in report.verdicts] == [CONSISTENT]
    with pytest.raises(AssertionError, match="mine: a backward pass of your own"):
        report.check()


@few_examples
@given(seed=SEEDS, rows=st.sampled_from([9, 300, 4608, 16384, 2**17]))
def test_a_fault_larger_than_the_smallest_seen_does_not_pass(seed, rows):
    """As each verdict says what its own numbers would have shown; and what is smaller passes."""
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((2, 3, rows)).astype(F32)
    y = x @ w.T
    right = verdict("linear", {"x": x, "w": w}, y)
    assert right.verdict == CONSISTENT
    assert 0 < right.smallest < 0.2
    for fault in (right.smallest, -right.smallest):
        y64 = y.astype(np.float64)
        found = verdict("linear", {"x": x, "w": w}, (y64 * (1 + 1.1 * fault)).astype(F32))
        assert found.verdict in (UNPROVEN, BUG)
    passing = verdict("linear", {"x": x, "w": w}, (y * (1 + 0.1 * right.smallest)).astype(F32))
    assert passing.verdict == CONSISTENT


def test_an_exact_probe_of_the_same_shapes_excuses_few_bits_and_is_said():
    rng = np.random.default_rng(0)
    shapes = {"x": (4, 16384), "w": (3, 16384)}
    floats = {name: rng.standard_normal(shape).astype(F32) for name, shape in shapes.items()}
    wholes = {name: rng.integers(-2, 3, shape).astype(F32) for name, shape in shapes.items()}
    operation = Operation("o", "linear", {"x": "x", "w": "w"}, {"y": "y"})
    cases = [
        Case("floats", "s", "", floats, (operation,)),
        Case("wholes", "s", "", wholes, (operation,), exact=True),
    ]

    def found(inputs, dropped):
        x, w = (inputs[name].astype(np.float64).copy() for name in ("x", "w"))
        x[:, :dropped] = 0
        return {"y": (x @ w.T).astype(F32)}

    few = found(floats, 2)  # of 6 bits
    by_probes = judge(list(zip(cases, [few, found(wholes, 0)], strict=True)))
    assert by_probes.verdicts[0].by_probes
    assert by_probes.proved
    assert "exact probe of the same shapes passes" in by_probes.verdicts[0].note
    assert "exact probes of the same shapes pass" in str(by_probes)
    wrong = judge(list(zip(cases, [few, found(wholes, 2)], strict=True)))
    assert [one.verdict for one in wrong.verdicts] == [UNPROVEN, BUG]


@pytest.mark.parametrize("temperature", [4.0, 1e4])
def test_a_loss_that_is_a_fifth_off_does_not_pass_however_wide_its_bound(temperature):
    s, t = np.random.default_rng(0).standard_normal((2, 8, 10)).astype(F32)
    value, gradient = losses.kl(s, t, temperature=temperature)
    inputs, options = {"student": s, "teacher": t}, {"temperature": temperature}
    assert verdict("kl", inputs, value, "value", **options).verdict == CONSISTENT
    assert verdict("kl", inputs, gradient, "gradient", **options).verdict == CONSISTENT
    for factor in (1.2, 10):
        for result, right in (("value", value), ("gradient", gradient)):
            found = verdict("kl", inputs, right * F32(factor), result, **options)
            assert found.verdict in (UNPROVEN, BUG)


def test_a_sum_that_cancels_has_the_bits_of_its_terms():
    x = np.random.default_rng(0).standard_normal((4, 1000)).astype(F32)
    x -= x.mean(axis=1, keepdims=True)
    y = x.sum(axis=1)
    assert verdict("sum_over", {"x": x}, y, axes=(1,)).verdict == CONSISTENT
    assert verdict("sum_over", {"x": x}, y + F32(0.1), axes=(1,)).verdict in (UNPROVEN, BUG)


@few_examples
@given(seed=SEEDS, op=st.sampled_from(["exp", "log"]))
def test_what_rests_on_how_exact_exp_is_assumed_to_be_is_no_bug(seed, op):
    x = np.random.default_rng(seed).uniform(2, 3, (4, 6)).astype(F32)
    operation = Operation("o", op, {"x": "x"}, {"y": "y"})
    case = Case("case", "subject", "", {"x": x}, (operation,))

    def of(ulp, off):
        y = getattr(np, op)(x) * F32(1 + off * 2.0**-23)
        (one,) = judge([(case, {"y": y})], ulp=ulp).verdicts
        return one

    assert [of(ulp, 0).verdict for ulp in (None, 2, 50)] == [CONSISTENT] * 3
    assert [of(ulp, 20).verdict for ulp in (None, 2, 50)] == [UNPROVEN, BUG, CONSISTENT]
    assert "measured" in of(None, 20).note
    assert [of(ulp, 1000).verdict for ulp in (None, 2, 50)] == [BUG] * 3
