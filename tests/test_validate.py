"""The judge's verdicts, in the order in which they are tried, and the causes that it names."""

import json
from dataclasses import replace

import numpy as np
import pytest

from npkd import losses, ops, validate
from npkd.validate import BUG, CONSISTENT, CONVENTION, UNPROVEN, Case, Operation, by_npkd
from npkd.validate.bounds.properties import PROPERTIES
from npkd.validate.bounds.rounding import ARITHMETICS, BFLOAT16, FLOAT16, TF32
from npkd.validate.bounds.rules import RULES
from npkd.validate.faults.known import FAULTS
from npkd.validate.judging.trial import Trial
from npkd.validate.judging.verdicts import as_json
from npkd.validate.questions.subjects import cases as validate_cases

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


def test_a_decision_within_its_bound_is_unproven(rng):
    case = relu_of_unrecorded(rng)
    z = case.inputs["x"] @ case.inputs["w"].T
    dz = np.where(z > 0, case.inputs["dy"], 0)
    flipped = dz.copy()
    flipped[:, 2] = case.inputs["dy"][:, 2] - dz[:, 2]
    found = {"y": np.maximum(z, 0), "dz": flipped}
    assert [one.verdict for one in validate.compare(case, found).verdicts] == [
        CONSISTENT,
        UNPROVEN,
    ]
    elsewhere = dz.copy()
    elsewhere[:, 3] = case.inputs["dy"][:, 3] - dz[:, 3]
    assert validate.compare(case, {"dz": elsewhere}).first.tensor == "dz"
    recorded = validate.compare(case, {"z": z, "dz": flipped})
    verdicts = [one.verdict for one in recorded.verdicts]
    assert verdicts == [CONSISTENT, CONVENTION], "of what is recorded there is no doubt"
    assert "relu'(0) = 1" in str(recorded.causes[0])


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


def of_linear(rng, *, exact=False):
    """A linear map of some hundred products, and its results by npkd."""
    draw = (lambda *shape: rng.integers(-2, 3, shape)) if exact else lambda *s: rng.normal(size=s)
    inputs = {"x": draw(40, 288).astype(np.float32), "w": draw(25, 288).astype(np.float32)}
    operation = Operation("fc", "linear", {"x": "x", "w": "w"}, {"y": "y"})
    case = Case(f"linear{' exact' * exact}", "linear", "", inputs, (operation,), exact)
    return case, {"y": inputs["x"] @ inputs["w"].T}


def test_one_wrong_entry_is_no_lower_precision(rng):
    """Though the root mean square of all errors may be that of bfloat16, or of TF32."""
    case, found = of_linear(rng)
    q = np.sqrt(np.square(case.inputs["x"]) @ np.square(case.inputs["w"].T))
    probe = of_linear(rng, exact=True)
    for share in (0.11, 0.015):
        wrong = found["y"].copy()
        wrong[3, 4] += share * q[3, 4]
        report = validate.judge([(case, {"y": wrong}), probe])
        assert report.first.index == (3, 4)
    silent = found["y"].astype(np.float64)
    right = case.inputs["x"].astype(np.float64) @ case.inputs["w"].T.astype(np.float64)
    right[3, 4] += 1e-5
    assert not validate.judge([(case, {"y": right}), probe]).ok
    assert validate.judge([(case, {"y": silent}), probe]).verdicts[0].precision == "float32"


def test_a_bound_that_says_nothing_proves_nothing(rng):
    softmax = Operation("softmax", "softmax", {"x": "x"}, {"y": "y"})
    x = rng.normal(size=(3, 5)).astype(np.float32)
    x[:, 1] = -np.inf  # masked
    case = Case("masked", "softmax", "", {"x": x}, (softmax,))
    y, _ = ops.softmax(x)
    assert validate.compare(case, {"y": y}).verdicts[0].verdict == CONSISTENT
    assert not validate.compare(case, {"y": np.full_like(y, 7)}).ok
    x[:, 1] = 3e38
    case = Case("large", "linear", "", {"x": x, "w": np.ones((2, 5), np.float32)}, LINEAR)
    assert verdicts(validate.compare(case, {"y": np.full((3, 2), 7.0, np.float32)})) == {BUG}
    case.inputs["w"][:] = 2
    assert verdicts(validate.compare(case, {"y": np.full((3, 2), 7.0, np.float32)})) == {UNPROVEN}


LINEAR = (Operation("fc", "linear", {"x": "x", "w": "w"}, {"y": "y"}),)


def test_gradients_that_only_a_loose_bound_holds_are_unproven(rng):
    """Of a whole net nothing but the ends is recorded."""
    case = next(iter(validate_cases(rng, ["LargeCNN"])))
    found = {name: x for name, x in by_npkd.results(case).items() if name in case.needed}
    found["conv1.weight.grad"] = -found["conv1.weight.grad"]
    report = validate.compare(case, found)
    assert {o.verdict for o in report.verdicts if o.tensor == "conv1.weight.grad"} == {UNPROVEN}


def test_a_choice_may_jump_only_where_windows_are_undecided(rng):
    """Max-pool behind a convolution of which nothing was recorded."""
    case = convolution(rng)
    pool = {"kernel_size": 2}
    operations = (
        case.operations[0],
        Operation(
            "pool.backward", "max_pool2d_backward", {"x": "y", "dy": "dz"}, {"dx": "dy"}, pool
        ),
    )
    inputs = {name: case.inputs[name] for name in ("x", "w", "b")}
    inputs["dz"] = rng.normal(size=(5, 4, 3, 3)).astype(np.float32)
    case = Case("pooled", "pooled", "", inputs, operations)
    y, _ = ops.conv2d(*(inputs[name] for name in ("x", "w", "b")))
    dy = ops.max_pool2d(y, 2)[1](inputs["dz"])
    assert validate.compare(case, {"dy": dy}).verdicts[0].verdict == CONSISTENT
    assert not validate.compare(case, {"dy": np.zeros_like(dy)}).ok


def test_a_loss_given_as_a_python_number_is_of_its_own_precision(rng):
    """Its double holds no more than a float32 does."""
    student = rng.normal(size=(8, 10)).astype(np.float32)
    teacher = student + rng.normal(size=(8, 10)).astype(np.float32) / 1000
    operation = Operation(
        "kl", "kl", {"student": "s", "teacher": "t"}, {"value": "value", "gradient": "gradient"}
    )
    case = Case("kl", "kl", "", {"s": student, "t": teacher}, (operation,))
    value, gradient = losses.kl(student, teacher)
    report = validate.compare(case, {"value": float(value), "gradient": gradient})
    assert report.ok
    assert {one.precision for one in report.verdicts} <= {"float32", "float64"}


def test_a_result_stored_in_float16_is_named_its_subnormal_numbers_too(rng):
    student, teacher = rng.normal(size=(2, 64, 100)).astype(np.float32)
    operation = Operation("kl", "kl", {"student": "s", "teacher": "t"}, {"gradient": "gradient"})
    case = Case("kl", "kl", "", {"s": student, "t": teacher}, (operation,))
    gradient = np.float32(np.float16(losses.kl(student, teacher)[1]))
    assert np.any(np.abs(gradient) < 2.0**-14)
    assert validate.compare(case, {"gradient": gradient}).verdicts[0].precision == "float16"


@pytest.mark.parametrize("offset", [30, 300, 3000])
def test_a_log_softmax_without_a_shift_is_right_too(rng, offset):
    x = (offset + rng.normal(size=(6, 7))).astype(np.float32)
    far = x.max(axis=1, keepdims=True)
    y = x - (far + np.log(np.exp(x - far).sum(axis=1, keepdims=True)))
    operation = Operation("log_softmax", "log_softmax", {"x": "x"}, {"y": "y"})
    case = Case("log_softmax", "log_softmax", "", {"x": x}, (operation,))
    assert validate.compare(case, {"y": y}).ok


def test_zero_times_infinity_may_have_been_left_out(rng):
    """In the padding, where there is nothing to be multiplied."""
    case = convolution(rng, padding=1)
    case.inputs["w"][1, 1, 0, 0] = np.nan
    right = computed(case)
    assert validate.compare(case, right).ok
    y, _ = ops.conv2d(
        *(np.nan_to_num(case.inputs[name], nan=0.5) for name in ("x", "w", "b")), padding=1
    )
    found = right["y"].copy()
    found[:, 1, 0, 0] = y[:, 1, 0, 0]  # that tap lies outside of the image there
    assert validate.compare(case, {"y": found}).first is None
    found[:, 1, 3, 3] = y[:, 1, 3, 3]
    assert validate.compare(case, {"y": found}).first.index[1:] == (1, 3, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": "many"}, "y is of <U4, expected real numbers"),
        ({"y": None}, "y is of object, expected real numbers"),
        ({"y": [[1], [1, 2]]}, "y is no array"),
        ({"y": np.ones((5, 4), complex)}, "y is of complex128"),
        ([1, 2], "results are a list, expected arrays by tensor"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(rng, given, message):
    with pytest.raises(ValueError, match=message):
        validate.compare(convolution(rng), given)


def test_whole_numbers_are_judged_too(rng):
    case, found = of_linear(rng, exact=True)
    assert validate.compare(case, {"y": found["y"].astype(int)}).ok
    assert not validate.compare(case, {"y": found["y"].astype(int) + 1}).ok
