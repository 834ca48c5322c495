"""Frameworks as the judge asks them: the words of formulas, and every op and loss by an adapter."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, assert_close

from npkd import losses
from npkd.files import BadInput
from npkd.losses.facts import FACTS
from npkd.proofs.cases import LOSSES, OPS
from npkd.validate import by_npkd, frameworks, judge
from npkd.validate.bounds.formulas import known as formulas
from npkd.validate.bounds.formulas.words import Words
from npkd.validate.frameworks import FRAMEWORKS, adapter, missing
from npkd.validate.frameworks.adapter import NotGiven, made_of
from npkd.validate.frameworks.answering import PassAdapter, answers
from npkd.validate.program import Case, Operation
from npkd.validate.questions import exchange
from npkd.validate.questions.at_random import random_case
from npkd.validate.questions.subjects import cases

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{told}")
    for told in (
        "Using padding='same' with even kernel",  # PyTorch
        "The recursion limit will not be reset",  # which tinygrad sets
        "No ccache found",  # PaddlePaddle
    )
]
VALUED = [name for name in LOSSES if name != "standardize"]
ONCE = settings(max_examples=1, deadline=None)  # each is compiled


class OfNumPy(Words):
    """The words that an array namespace must have, and no others."""

    def __init__(self):
        self.exp, self.log, self.sqrt, self.abs, self.where = (
            np.exp,
            np.log,
            np.sqrt,
            np.abs,
            np.where,
        )
        self.array, self.floating = np.asarray, np.float64
        self.where, self.sum, self.max, self.matmul = np.where, np.sum, np.max, np.matmul
        self.reshape, self.permute, self.concatenate = np.reshape, np.transpose, np.concatenate
        self.stop_gradient = np.array


def in_float64(case):
    inputs = {
        name: x.astype(np.float64) if x.dtype.kind == "f" else x for name, x in case.inputs.items()
    }
    return Case(case.name, case.subject, case.about, inputs, case.operations)


@pytest.mark.parametrize("name", VALUED)
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_formulas_in_the_fewest_words_have_npkds_values(name, seed):
    case = in_float64(random_case(name, np.random.default_rng(seed)))
    (operation,) = case.operations
    inputs = {argument: case.inputs[tensor] for argument, tensor in operation.inputs.items()}
    options = by_npkd.resolved(name, operation.options)
    value = formulas.value(OfNumPy(), name, inputs, options)
    expected = by_npkd.results(case)["value"]
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("op", ["linear", "flatten", "softmax", "log_softmax", "pixel_shuffle"])
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_operations_made_of_words_are_npkds(op, seed):
    case = in_float64(random_case(op, np.random.default_rng(seed)))
    operation = case.operations[0]
    inputs = [case.inputs[tensor] for tensor in operation.inputs.values()]
    y = made_of(OfNumPy())[op](*inputs, **operation.options)
    assert_close(y, by_npkd.results(case)["y"])


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, stored=st.booleans())
def test_images_are_augmented_by_words_as_by_npkd(seed, stored):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 5), 2, *rng.integers(1, 6, 2)
    images = rng.integers(0, 256, shape, np.uint8) if stored else rng.standard_normal(shape)
    count, largest = shape[0], min(shape[2:]) - 1
    shifts = rng.integers(-largest, largest + 1, (count, 2))
    given = {"images": images, "shifts": shifts, "flips": rng.random(count) < 0.5}
    y = made_of(OfNumPy())["augment"](**given)
    assert y.dtype == images.dtype
    np.testing.assert_array_equal(y, by_npkd.computed("augment", given, {})["y"])


def test_every_loss_has_its_facts():
    assert set(FACTS) == set(losses.__all__) - {"conventions"} == set(LOSSES)


FAULTS = {  # of frameworks, as they are released: what random cases may run into
    ("ncnn", "avg_pool2d"): "ceil_mode: divides by cells that it adds",
    ("ncnn", "max_pool2d"): "ceil_mode: windows that begin in the padding at the end",
    ("paddle", "avg_pool2d"): "ceil_mode: windows that begin in the padding at the end",
    ("paddle", "max_pool2d"): "ceil_mode: windows that begin in the padding at the end",
    ("paddle", "batch_norm"): "a weight without a bias gets no gradient",
    ("paddle", "conv2d"): "padding same does not heed dilation",
    ("keras", "kl"): "probabilities are clipped at 1e-7",
    ("tinygrad", "relu6"): "the slope at 6 is 1, which one case does not tell from a lost end",
}
OF_TESTS = ("torch", "jax")  # which one of the extras brings; of others those that are there
ASKED = [name for name in FRAMEWORKS if name in OF_TESTS or not missing(name)]
PROGRAM = """\
from asked import {kind}
from answer import answer
answer({kind}(), "cases", "results.npz")
"""


def require(framework):
    """Skip the test where a framework is not installed."""
    if missing(framework):
        pytest.skip(f"{FRAMEWORKS[framework].name} is not installed")
    try:
        adapter(framework)
    except BadInput as error:
        pytest.skip(str(error))


def without(case, found, left):
    """A case of which no more is needed than a framework has."""
    assert all(isinstance(why, NotGiven) for _, why in left), left
    not_had = {tensor for one, _ in left for tensor in one.outputs.values()} - set(found)
    assert set(found) | not_had == set(case.tensors())
    return replace(case, needed=case.needed - not_had)


@pytest.mark.parametrize("framework", ASKED)
@pytest.mark.parametrize("op", [*OPS, *LOSSES])
@ONCE
@given(seed=SEEDS)
def test_every_op_and_loss_is_asked_for_and_found_to_be_right(framework, op, seed):
    require(framework)
    case = random_case(op, np.random.default_rng(seed))
    found, left = answers(adapter(framework), case)
    case = without(case, found, left)
    if not found:
        return
    report = judge([(case, found)])
    if not report.ok and (framework, op) in FAULTS:
        pytest.xfail(FAULTS[framework, op])
    assert report.ok, str(report)


@pytest.mark.parametrize("framework", ASKED)
def test_an_operation_that_is_unknown_is_not_given(framework):
    require(framework)
    case = Case("a", "a", "", {"x": np.zeros(1)}, (Operation("a", "fold", {"x": "x"}, {"y": "y"}),))
    try:
        _, left = answers(adapter(framework), case)
    except NotGiven as why:
        left = [(None, why)]
    assert [str(why) for _, why in left] == ["fold"]


@pytest.mark.parametrize("framework", ASKED)
def test_an_adapter_answers_exported_cases_without_npkd(framework, tmp_path):
    require(framework)
    if framework in OF_TESTS:  # they are asked whole passes, for which npkd is needed
        assert isinstance(adapter(framework), PassAdapter)
        return
    names = ["conv2d", "linear", "relu", "concat", "global_avg_pool2d"]
    asked = list(cases(np.random.default_rng(0), names))
    exchange.export(tmp_path / "cases", asked)
    here = tmp_path / "alone"
    shutil.copytree(tmp_path / "cases", here, ignore=shutil.ignore_patterns("*.npz", "*.json"))
    text = (Path(frameworks.__file__).parent / f"{framework}.py").read_text("utf-8")
    (here / "asked.py").write_text(exchange.standalone(text), "utf-8")
    program = PROGRAM.format(kind=FRAMEWORKS[framework].adapter)
    (tmp_path / "program.py").write_text(
        "import sys\n"
        "sys.modules['npkd'] = None  # nothing of it is there\n"
        f"sys.path[0] = {str(here)!r}\n{program}",
        "utf-8",
    )
    subprocess.run([sys.executable, "program.py"], cwd=tmp_path, check=True, capture_output=True)
    results = exchange.read_results(tmp_path / "results.npz", asked)
    assert exchange.read_about(tmp_path / "results.npz")["adapter"]
    pairs = [(replace(case, needed=frozenset()), results.get(case.name, {})) for case in asked]
    report = judge(pairs)
    assert report.verdicts
    assert {verdict.verdict for verdict in report.verdicts} <= {"CONSISTENT", "UNPROVEN"}
