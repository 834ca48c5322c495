"""The judge's verdicts, in the order in which they are tried, and the causes that it names."""

import json
from dataclasses import replace

import numpy as np
import pytest

from npkd import ops, validate
from npkd.validate import AMBIGUOUS, BUG, CONSISTENT, UNPROVEN, Case, Operation
from npkd.validate.faults import FAULTS, PROPERTIES
from npkd.validate.rounding import ARITHMETICS, BFLOAT16, FLOAT16, TF32
from npkd.validate.rules import RULES
from npkd.validate.trial import Trial
from npkd.validate.verdicts import as_json

X, W, B = (5, 3, 9, 8), (4, 3, 3, 3), (4,)
LOWER = {"TF32": TF32, "bfloat16": BFLOAT16, "float16": FLOAT16}


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def convolution(rng, *, exact=False, scale=1.0, **options):
    """A case of one convolution, forward and backward."""

    def numbers(shape):
        values = rng.integers(-3, 4, shape) if exact else rng.standard_normal(shape)
        return values.astype(np.float32)

    x, w, b = numbers(X) * np.float32(scale), numbers(W), numbers(B)
    y, _ = ops.conv2d(x, w, b, **options)
    names = {name: name for name in ("x", "w", "b")}
    forward = Operation("conv", "conv2d", names, {"y": "y"}, options)
    results = {name: name for name in ("dx", "dw", "db")}
    backward = Operation("conv.backward", "conv2d_backward", names | {"dy": "dy"}, results, options)
    inputs = {"x": x, "w": w, "b": b, "dy": numbers(y.shape)}
    name = f"conv2d {'exact' if exact else 'float'} {scale:g}"
    needed = frozenset({"y", *results})
    return Case(name, "conv2d", "a convolution", inputs, (forward, backward), exact, needed)


def probes(rng, **options):
    """Ordinary floats, an exact probe, and one out of float16's range."""
    return [
        convolution(rng, **options),
        convolution(rng, exact=True, **options),
        convolution(rng, exact=True, scale=2.0**17, **options),
    ]


def computed(case, prepare=lambda name, array: array, dtype=np.float32, **other):
    """The case's results by npkd, its inputs first prepared."""
    x, w, b, dy = (prepare(name, case.inputs[name]).astype(dtype) for name in ("x", "w", "b", "dy"))
    with np.errstate(all="ignore"):
        y, backward = ops.conv2d(x, w, b, **case.operations[0].options | other)
        dx, dw, db = backward(dy)
    return {"y": y, "dx": dx, "dw": dw, "db": db}


def verdicts(report):
    return {one.verdict for one in report.verdicts}


def test_right_results_are_consistent_and_exact_probes_equal(rng):
    report = validate.judge([(case, computed(case)) for case in probes(rng, stride=2, padding=1)])
    assert report.ok
    assert verdicts(report) == {CONSISTENT}
    assert not report.causes
    assert {one.precision for one in report.verdicts} == {"float32"}
    assert all(one.ratio == 0 for one in report.verdicts if one.exact)
    assert not any(one.suspicious for one in report.verdicts)
    assert all(one.bits > 20 for one in report.verdicts)
    assert report.check() is report
    assert report.first is None


@pytest.mark.parametrize("name", LOWER)
def test_a_lower_precision_is_named(rng, name):
    def prepare(_, array):
        return LOWER[name].round(array.astype(np.float64))

    report = validate.judge([(case, computed(case, prepare)) for case in probes(rng, padding=1)])
    assert report.ok
    assert verdicts(report) == {CONSISTENT}
    assert {one.precision for one in report.verdicts if not one.exact} == {name}
    bits = LOWER[name].bits
    of_y = next(one.bits for one in report.verdicts if one.tensor == "y")
    assert abs(of_y - bits) < 0.5


def test_a_loose_bound_excuses_no_bug(rng):
    """Errors of the size of bfloat16's, from an exact probe that fails, or from none at all."""
    cases = probes(rng)
    wrong = [computed(case) for case in cases]
    for found in wrong:
        found["y"] = found["y"] * np.float32(1 + 2.0**-9)
    report = validate.judge(zip(cases, wrong, strict=True))
    assert {one.verdict for one in report.verdicts if one.tensor == "y"} == {BUG}
    case = cases[0]
    rounded = computed(case, lambda _, a: BFLOAT16.round(a.astype(np.float64)))
    assert verdicts(validate.compare(case, rounded)) == {UNPROVEN}, "no probe says it is right"


def test_a_transform_is_unproven(rng):
    """Errors within a bound for the whole image, where single entries have small ones."""
    case, exact, large = probes(rng, padding=1)
    case.inputs["x"][:, :, 4:] *= np.float32(1e-6)
    found = computed(case)
    found["y"][:, :, -1] += np.float32(2e-7)
    pairs = [(one, computed(one)) for one in (exact, large)]
    report = validate.judge([(case, found), *pairs])
    assert {one.tensor: one.verdict for one in report.verdicts if one.verdict != CONSISTENT} == {
        "y": UNPROVEN
    }
    assert report.ok
    exact_found = computed(exact)
    exact_found["y"] = exact_found["y"] + 1
    report = validate.judge([(case, found), (exact, exact_found)])
    assert report.first.case == case.name, "with a probe that fails it is a bug"


def relu_of_unrecorded(rng):
    """A linear layer and a ReLU, of which only the ReLU's results are asked for."""
    inputs = {
        "x": rng.standard_normal((4, 6)).astype(np.float32),
        "w": rng.standard_normal((5, 6)).astype(np.float32),
        "dy": rng.standard_normal((4, 5)).astype(np.float32),
    }
    inputs["w"][2] = 0  # its output is 0 but for rounding: it may be decided on either way
    inputs["w"][2, :2] = [1, -1]
    inputs["x"][:, 1] = inputs["x"][:, 0]
    operations = (
        Operation("fc", "linear", {"x": "x", "w": "w"}, {"y": "z"}),
        Operation("relu", "relu", {"x": "z"}, {"y": "y"}),
        Operation("relu.backward", "relu_backward", {"x": "z", "dy": "dy"}, {"dx": "dz"}),
    )
    return Case("relu", "relu", "", inputs, operations)


def test_a_decision_within_its_bound_is_ambiguous(rng):
    case = relu_of_unrecorded(rng)
    z = case.inputs["x"] @ case.inputs["w"].T
    dz = np.where(z > 0, case.inputs["dy"], 0)
    flipped = dz.copy()
    flipped[:, 2] = case.inputs["dy"][:, 2] - dz[:, 2]
    found = {"y": np.maximum(z, 0), "dz": flipped}
    assert [one.verdict for one in validate.compare(case, found).verdicts] == [
        CONSISTENT,
        AMBIGUOUS,
    ]
    elsewhere = dz.copy()
    elsewhere[:, 3] = case.inputs["dy"][:, 3] - dz[:, 3]
    assert validate.compare(case, {"dz": elsewhere}).first.tensor == "dz"
    recorded = validate.compare(case, {"z": z, "dz": flipped})
    assert recorded.first.tensor == "dz", "of what is recorded there is no doubt"


def test_unrecorded_tensors_are_computed_with_their_bounds(rng):
    case = relu_of_unrecorded(rng)
    z = case.inputs["x"] @ case.inputs["w"].T
    alone = validate.compare(case, {"y": np.maximum(z, 0)}).verdicts[0]
    assert alone.verdict == CONSISTENT
    assert alone.bound > 0
    recorded = validate.compare(case, {"z": z, "y": np.maximum(z, 0)}).verdicts[1]
    assert recorded.bound == 0
    assert recorded.ratio == 0


def test_the_first_operation_that_diverges_is_named_and_errors_do_not_compound(rng):
    case = relu_of_unrecorded(rng)
    z = case.inputs["x"] @ case.inputs["w"].T + np.float32(0.5)
    found = {"z": z, "y": np.maximum(z, 0), "dz": np.where(z > 0, case.inputs["dy"], 0)}
    report = validate.compare(case, found)
    assert [one.tensor for one in report.verdicts if one.verdict == BUG] == ["z"]
    assert report.first.operation == "fc"
    assert not report.causes[0].faults
    with pytest.raises(AssertionError, match="first to diverge: relu: fc"):
        report.check()


def test_another_fault_beside_it_does_not_hide_a_cause(rng):
    cases = probes(rng, padding=1)
    found = [
        computed(case, lambda name, a: a[:, :, ::-1, ::-1] if name == "w" else a) for case in cases
    ]
    for one in found:
        one["dw"] = one["dw"][:, :, ::-1, ::-1]
    report = validate.judge(zip(cases, found, strict=True))
    assert [cause.faults for cause in report.causes] == [
        ("kernel flipped: convolution for correlation",)
    ]
    for one in found:
        one["db"] = one["db"] + 1
    causes = {c.op: c.faults for c in validate.judge(zip(cases, found, strict=True)).causes}
    assert causes["conv2d"] == ("kernel flipped: convolution for correlation",)
    assert causes["conv2d_backward"] == ()


def test_what_is_given_is_checked(rng):
    case = convolution(rng)
    found = computed(case)
    del found["dw"]
    report = validate.compare(case, found)
    assert report.missing == (f"{case.name}/dw",)
    assert not report.ok
    found = computed(case)
    found["y"] = found["y"][:, :1]
    report = validate.compare(case, found)
    assert "has shape" in report.first.note
    assert "expected (5, 4, 7, 6)" in str(report)
    with pytest.raises(ValueError, match="has no tensor 'z'"):
        validate.compare(case, {"z": found["dx"]})
    with pytest.raises(ValueError, match="precision is 'half'"):
        validate.compare(case, {}, precision="half")


def test_nan_and_infinity_are_equal_to_themselves_only(rng):
    case = convolution(rng)
    case.inputs["x"][0, 0, 0, 0] = np.nan
    assert validate.compare(case, computed(case)).ok
    found = computed(case)
    found["y"] = np.nan_to_num(found["y"])
    assert not validate.compare(case, found).ok
    case = convolution(rng)
    found = computed(case)
    found["y"][1, 2, 3, 4] = np.nan
    assert validate.compare(case, found).first.index == (1, 2, 3, 4)


def test_float64_is_judged_in_float64_and_a_silent_float32_named(rng):
    cases = probes(rng)
    right = [(case, computed(case, dtype=np.float64)) for case in cases]
    assert {one.precision for one in validate.judge(right).verdicts} == {"float64"}
    silent = [
        (case, {k: v.astype(np.float64) for k, v in computed(case).items()}) for case in cases
    ]
    report = validate.judge(silent)
    assert report.ok
    assert {one.precision for one in report.verdicts if not one.exact} == {"float32"}


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_a_declared_lower_precision_is_no_fault(rng, name):
    precision = LOWER[name]
    case = convolution(rng, padding=1)
    rounded = replace(
        case, inputs={k: precision.round(v.astype(np.float64)) for k, v in case.inputs.items()}
    )
    found = {
        key: precision.round(value.astype(np.float64)).astype(np.float32)
        for key, value in computed(rounded).items()
    }
    report = validate.compare(rounded, found, precision=name)
    assert verdicts(report) == {CONSISTENT}
    assert {one.precision for one in report.verdicts} == {name}
    assert UNPROVEN in verdicts(validate.compare(rounded, found)), "if float32 was declared"


def test_the_report_is_text_and_json(rng):
    case = convolution(rng)
    found = computed(case)
    found["y"][0, 0, 0, 0] += 1
    report = validate.judge([(case, found)], about={"title": "mine", "precision": "float32"})
    assert "BUG" in str(report)
    assert "mine" in str(report)
    made = json.loads(json.dumps(as_json(report), allow_nan=False))
    assert made["ok"] is False
    assert made["first"].endswith("y")
    assert len(made["verdicts"]) == 4


def test_every_fault_alters_operations_that_there_are():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    for fault in FAULTS:
        assert fault.rules.keys() <= RULES.keys(), fault.name
    assert not PROPERTIES.keys() & RULES.keys()


def test_a_trial_computes_in_the_declared_arithmetic(rng):
    case = convolution(rng)
    assert Trial(case, computed(case)).arithmetic is ARITHMETICS["float32"]
    assert Trial(case, computed(case, dtype=np.float64)).arithmetic is ARITHMETICS["float64"]
