"""Cases from files: which make sense, and what is said of the others."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from npkd.validate import BUG, CONSISTENT, Case, Operation, by_npkd, compare
from npkd.validate.bounds.rules import RULES
from npkd.validate.by_npkd import FUNCTIONS
from npkd.validate.questions.sense import _is_array, _parameters, require_sense
from npkd.validate.questions.subjects import cases, subjects

SMALL = [name for name in subjects() if name not in ("LargeCNN", "SmallCNN", "distillation")]

OTHERS = ["no such", b"", [], ((),), (1, 2, 3), {"a": 1}, 1j, float("nan"), 1e308, -1e-320]


def listed(results):
    return {name: (np.asarray(x).dtype.name, np.shape(x)) for name, x in results.items()}


@pytest.fixture(scope="module")
def examples():
    """For each operation a case that has it, and where in it."""
    found = {"copy": (single("copy", {"x": zeros(2)}, {"y": "y"}), 0)}
    for case in cases(np.random.default_rng(0), SMALL):
        for place, operation in enumerate(case.operations):
            found.setdefault(operation.op, (case, place))
    return found


def with_operation(case, place, **changes):
    operations = list(case.operations)
    operations[place] = replace(operations[place], **changes)
    return replace(case, operations=tuple(operations))


def single(op, inputs, outputs, **options):
    """A case of one operation, all tensors named like its arguments."""
    operation = Operation(op, op, {name: name for name in inputs}, outputs, options)
    arrays = {name: np.asarray(x) for name, x in inputs.items()}
    return Case("a case", op, "", arrays, (operation,))


def zeros(*shape):
    return np.zeros(shape, np.float32)


# Programs


@pytest.mark.parametrize("op", FUNCTIONS)
def test_an_option_of_another_kind_is_refused_by_name(op, examples):
    case, place = examples[op]
    right = listed(by_npkd.results(case))
    require_sense(case, right)
    offered = [name for name, one in _parameters(FUNCTIONS[op]).items() if not _is_array(one)]
    given = case.operations[place].options
    for name in offered:
        for value in OTHERS:
            with pytest.raises(ValueError, match=name):
                require_sense(with_operation(case, place, options={**given, name: value}), right)
    with pytest.raises(ValueError, match=f"{op} has no option 'strade'"):
        require_sense(with_operation(case, place, options={**given, "strade": 1}), right)


@pytest.mark.parametrize("op", FUNCTIONS)
def test_inputs_and_outputs_are_those_of_the_operation(op, examples):
    case, place = examples[op]
    right, operation = listed(by_npkd.results(case)), case.operations[place]
    tensor = next(iter(case.inputs), "a")
    refused = []
    takes_any = op in ("sum", "concat", "concat_backward")
    if not takes_any:
        refused.append({"inputs": {**operation.inputs, "z": tensor}})
    may_be_missing = ("b", "velocity", "mask")
    required = [n for n in operation.inputs if not takes_any and n not in may_be_missing]
    required = [n for n in required if op not in ("hint", "fsp", "vid") or "t" in n]
    if op.startswith("batch_norm"):  # with and without w, b, and statistics
        required = [n for n in required if n in ("x", "dy")]
    for name in (n for n in required if "weight" not in n):
        others = {n: t for n, t in operation.inputs.items() if n != name}
        refused += [{"inputs": others}, {"inputs": {**others, f"{name}2": tensor}}]
    refused += [{"outputs": {**operation.outputs, "z": "z"}}, {"outputs": {}}]
    for changes in refused:
        with pytest.raises(ValueError, match=op):
            require_sense(with_operation(case, place, **changes), right)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (single("concat_backward", {"x1": zeros(2, 1)}, {"dx1": "y"}), "lacks its input dy"),
        (
            single("concat", {"x1": zeros(2, 1), "x2": zeros(3, 1)}, {"y": "y"}),
            "expected the same but for axis 1",
        ),
        (
            single("concat_backward", {"x1": zeros(2), "dy": zeros(2)}, {"dx2": "y"}, axis=0),
            "concat_backward gives dx1, and not 'dx2'",
        ),
        (
            single("dropout", {"x": zeros(2), "mask": zeros(3)}, {"y": "y"}),
            "dropout: mask has shape",
        ),
        (single("conv3d", {}, {"y": "y"}), "unknown operation 'conv3d'; did you mean 'conv2d'?"),
        (single("maximum", {}, {"y": "y"}), "unknown operation 'maximum'"),
        (single("relu", {"z": zeros(2)}, {"y": "y"}), "relu takes no input 'z'"),
        (single("relu", {}, {"y": "y"}), "relu lacks its input x"),
        (single("relu", {"x": zeros(2)}, {"dx": "y"}), "relu gives y, and not 'dx'"),
        (single("relu", {"x": zeros(2)}, {}), "relu makes nothing"),
        (single("sgd", {"theta": zeros(2), "g": zeros(2)}, {"theta": "y"}), "lacks its option lr"),
        (
            single("sgd", {"theta": zeros(2), "g": zeros(2)}, {"velocity": "y"}, lr=0.1),
            "sgd gives theta, and not 'velocity'",
        ),
        (
            single("adam", {"theta": zeros(2), "g": zeros(2)}, {"theta": "y"}, lr=0.1, step=0),
            "cannot be computed: Adam: updates is -1, expected a whole number from 0",
        ),
        (
            single("adam", {"theta": zeros(2), "g": zeros(2)}, {"velocity": "y"}, lr=0.1, step=1),
            "adam gives m, theta, v, and not 'velocity'",
        ),
        (
            single("max_pool2d", {"x": zeros(2, 1, 4, 4)}, {"y": "y"}, kernel_size=2, strid=1),
            "max_pool2d has no option 'strid'; did you mean 'stride'?",
        ),
        (
            single("max_pool2d", {"x": zeros(2, 1, 4, 4)}, {"y": "y"}, kernel_size=True),
            "kernel_size is True, expected int",
        ),
        (
            single("relu", {"x": zeros(2).astype(int)}, {"y": "y"}),
            "cannot be computed: relu: x is int64",
        ),
        (
            single("flatten", {"x": zeros(2, 3, 4)}, {"y": "y"}),
            r"y comes out as float32 \(2, 12\), and is listed as float32 \(2, 3, 4\)",
        ),
        (
            single("linear", {"x": zeros(2, 3), "w": zeros(4, 3)}, {"y": "y"}),
            r"y has the shape \(2, 4\), expected \(2, 3, 4\)",
        ),
        (
            single("sum", {"a": zeros(2), "b": zeros(1)}, {"y": "y"}),
            "expected floats of one shape and dtype",
        ),
        (single("sum", {"a": zeros(2)}, {"y": "y"}, divisor=0), "over 0; expected"),
        (single("dropout", {"x": zeros(2)}, {"y": "y"}, p=1), "p is 1, expected a chance"),
        (
            single("rows", {"x": zeros(2, 3), "index": np.array([0, 2])}, {"y": "y"}),
            r"rows: index is int64 \(2,\) for x \(2, 3\)",
        ),
        (
            single("rows", {"x": zeros(2, 3), "index": zeros(2)}, {"y": "y"}),
            r"rows: index is float32 \(2,\)",
        ),
        (
            single(
                "augment",
                {
                    "images": zeros(1, 1, 2, 3),
                    "shifts": np.array([[0, 4]]),
                    "flips": np.array([True]),
                },
                {"y": "y"},
            ),
            "shifts go beyond images",
        ),
        (
            single(
                "mix",
                {"student": zeros(2, 3), "teacher": zeros(2, 3), "labels": np.array([0, 1])},
                {"value": "y"},
                alpha=0.5,
                soft="kl",
                soft_options={"temperature": "hot"},
            ),
            "temperature is 'hot', expected float",
        ),
    ],
)
def test_what_makes_no_sense_is_said(case, message):
    with pytest.raises(ValueError, match=message):
        require_sense(case, {"y": ("float32", (2, 3, 4))})


def test_what_an_operation_makes_is_never_a_label_or_an_index():
    case = single("rows", {"x": zeros(2, 3), "index": np.array([0, 1])}, {"y": "y"})
    copied = Operation("copy", "copy", {"x": "index"}, {"y": "z"})
    program = (copied, replace(case.operations[0], inputs={"x": "x", "index": "z"}))
    with pytest.raises(ValueError, match="rows uses 'z' as index, which is not to be computed"):
        require_sense(replace(case, operations=program), {})


def test_what_may_be_any_number_is_used_by_nothing():
    operations = (
        Operation("draw", "distinct", {}, {"draws": "d"}, {"workers": 2}),
        Operation("relu", "relu", {"x": "d"}, {"y": "y"}),
    )
    with pytest.raises(ValueError, match="relu uses 'd' as x"):
        require_sense(Case("a case", "", "", {}, operations), {})


# Limits


IMAGE = {"x": zeros(1, 1, 4, 4)}


@pytest.mark.parametrize(
    "case",
    [
        single(
            "conv2d", {"x": zeros(1, 1, 4, 4), "w": zeros(1, 1, 3, 3)}, {"y": "y"}, padding=10**6
        ),
        single(
            "conv2d", {"x": zeros(1, 1, 4, 4), "w": zeros(1, 1, 1, 1)}, {"y": "y"}, stride=10**9
        ),
        single("upsample", IMAGE, {"y": "y"}, factor=10**4),
        single("max_pool2d", IMAGE, {"y": "y"}, kernel_size=9999, padding=4999),
        single("avg_pool2d", IMAGE, {"y": "y"}, kernel_size=(10**9, 1)),
        single("linear", {"x": zeros(10**5, 1), "w": zeros(10**5, 1)}, {"y": "y"}),
        single("rows", {"x": zeros(1, 10**5), "index": np.zeros(10**5, np.int64)}, {"y": "y"}),
        single("distinct", {}, {"draws": "y"}, workers=10**9),
        *(
            single(op, {"student": zeros(10**5, 1), "teacher": zeros(10**5, 1)}, {"value": "y"})
            for op in ("similarity", "rkd_distance", "rkd_angle", "pkt", "cc")
        ),
        single(
            "nst", {name: zeros(1, 1, 300, 300) for name in ("student", "teacher")}, {"value": "y"}
        ),
    ],
    ids=lambda case: case.subject,
)
def test_what_would_take_too_much_is_refused_before_it_is_computed(case):
    tracemalloc.start()
    with pytest.raises(ValueError, match="too much to compute"):
        require_sense(case, {"y": ("float32", (1,))})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_an_output_of_another_size_is_refused_before_it_is_computed():
    case = single("upsample", IMAGE, {"y": "y"}, factor=1000)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"y has the shape \(1, 1, 4000, 4000\), expected \(1, 1"):
        require_sense(case, {"y": ("float32", (1, 1, 8, 8))})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


# Judging what makes sense


def test_whole_numbers_are_floats_to_what_uses_them():
    x, w = np.array([[2.0, -1.0]], np.float32), np.array([[1.0, 3.0]], np.float32)
    operations = (
        Operation("relu", "relu", {"x": "x"}, {"y": "h"}),
        Operation("linear", "linear", {"x": "h", "w": "w"}, {"y": "y"}),
    )
    case = Case("a case", "", "", {"x": x, "w": w}, operations)
    found = {name: array.astype(np.int64) for name, array in by_npkd.results(case).items()}
    assert {one.verdict for one in compare(case, found).verdicts} == {CONSISTENT}


@pytest.mark.parametrize("shape", [(), (0,), (4,), (3, 16), (16, 4)])
def test_draws_of_another_shape_are_wrong_and_not_repeated_seeds(shape):
    (case, *_) = cases(np.random.default_rng(0), ["workers"])
    report = compare(case, {"draws": np.zeros(shape)})
    assert [one.verdict for one in report.verdicts] == [BUG]
    assert report.verdicts[0].note == f"has shape {shape}, expected (4, 16)"
    assert [cause.faults for cause in report.causes] == [()]


def test_a_bound_that_cannot_be_computed_is_said(monkeypatch):
    def rule(*_):
        raise OverflowError("too large")

    monkeypatch.setitem(RULES, "relu", rule)
    case = single("relu", {"x": zeros(2)}, {"y": "y"})
    with pytest.raises(ValueError, match="a case: relu cannot be computed: too large"):
        compare(case, {"y": zeros(2)})


@pytest.mark.parametrize("divisor", [3, -3])
def test_a_pools_divisor_may_have_either_sign(divisor):
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)
    case = single("avg_pool2d", {"x": x}, {"y": "y"}, kernel_size=2, divisor_override=divisor)
    assert compare(case, by_npkd.results(case)).verdicts[0].verdict == CONSISTENT


def test_nothing_is_promised_of_sums_that_overflow_before_they_are_divided():
    x = np.full((1, 1, 2, 2), 3e38, np.float32)
    case = single("avg_pool2d", {"x": x}, {"y": "y"}, kernel_size=2)
    assert compare(case, {"y": np.full((1, 1, 1, 1), np.inf)}).ok
    theta = {"theta": zeros(2) + 1, "g": zeros(2)}
    case = single("sgd", theta, {"theta": "t"}, lr=1e30, weight_decay=1e30)
    assert compare(case, {"t": np.full(2, -np.inf, np.float32)}).ok


def test_an_infinite_gradient_leaves_the_bounds_of_interpolation():
    dy = np.random.default_rng(0).standard_normal((1, 1, 6, 8)).astype(np.float32)
    dy[0, 0, 0, 0] = np.inf
    given = {"x": zeros(1, 1, 3, 4), "dy": dy}
    case = single("upsample_backward", given, {"dx": "dx"}, factor=2, mode="bilinear")
    assert compare(case, by_npkd.results(case)).ok
