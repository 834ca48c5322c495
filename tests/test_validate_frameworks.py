"""Frameworks as the judge asks them: the words of formulas, and every op and loss by an adapter."""

import subprocess
import sys
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, assert_close

from npkd import losses
from npkd.losses.facts import FACTS
from npkd.proofs.cases import LOSSES, OPS
from npkd.validate import by_npkd, judge
from npkd.validate.bounds.formulas import known as formulas
from npkd.validate.bounds.formulas.words import Words
from npkd.validate.frameworks import FRAMEWORKS, adapter, versions
from npkd.validate.frameworks.adapter import NotGiven, made_of
from npkd.validate.frameworks.answering import PassAdapter, answers
from npkd.validate.program import Case, Operation
from npkd.validate.questions import exchange
from npkd.validate.questions.at_random import random_case
from npkd.validate.questions.subjects import cases

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
    value = formulas.value(OfNumPy(), name, inputs, operation.options)
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


ALONE = [name for name in FRAMEWORKS if name not in ("torch", "jax")]  # they need no npkd

FAULTS = {  # known ones of its own, by the options that show them
    ("paddle", "avg_pool2d"): lambda options: options.get("ceil_mode"),
    ("paddle", "max_pool2d"): lambda options: options.get("ceil_mode"),
    ("paddle", "batch_norm"): lambda options: True,  # a weight alone, with no bias, has dw = 0
    ("paddle", "conv2d"): lambda options: (
        options.get("padding") == "same" and options.get("dilation", 1) not in (1, (1, 1))
    ),
    ("keras", "kl"): lambda options: options.get("temperature", 4.0) < 1,
}


def installed(framework):
    """The adapter, or the test is left out."""
    packages = FRAMEWORKS[framework].packages
    if len(versions(framework)) < len(packages):
        pytest.skip(f"not installed: {' '.join(packages)}")
    return adapter(framework)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.filterwarnings("ignore:No ccache found")
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("op", [*OPS, *LOSSES])
@ONCE
@given(seed=SEEDS)
def test_every_op_and_loss_is_asked_for_and_found_to_be_right(framework, op, seed):
    asked, case = installed(framework), random_case(op, np.random.default_rng(seed))
    found, left = answers(asked, case)
    assert [why for _, why in left if not isinstance(why, NotGiven)] == []
    not_had = {tensor for one, _ in left for tensor in one.outputs.values()} - found.keys()
    assert set(found) == set(case.tensors()) - not_had
    is_known = FAULTS.get((framework, op), lambda options: False)
    if not found or is_known(case.operations[0].options):
        return
    report = judge([(replace(case, needed=case.needed - not_had), found)])
    assert report.ok, str(report)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_operation_that_is_unknown_is_refused(framework):
    asked = installed(framework)
    case = Case("a", "a", "", {"x": np.zeros(1)}, (Operation("a", "fold", {"x": "x"}, {"y": "y"}),))
    if isinstance(asked, PassAdapter):
        with pytest.raises(NotGiven, match="fold"):
            answers(asked, case)
    else:
        found, ((operation, why),) = answers(asked, case)
        assert (found, operation.op, type(why), str(why)) == ({}, "fold", NotGiven, "fold")


@pytest.mark.filterwarnings("ignore:No ccache found")
@pytest.mark.parametrize("framework", ALONE)
def test_an_adapter_answers_exported_cases_without_npkd(framework, tmp_path):
    installed(framework)
    chosen = list(cases(np.random.default_rng(0), ["linear", "relu", "concat", "l2"]))
    exchange.export(tmp_path, chosen)
    text = (files("npkd.validate.frameworks") / f"{framework}.py").read_text("utf-8")
    (tmp_path / "mine.py").write_text(exchange.standalone(text), "utf-8")
    program = (
        "import sys; sys.modules['npkd'] = None; from answer import answer; "
        f"from mine import {FRAMEWORKS[framework].adapter} as Mine; answer(Mine(), '.')"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    known = exchange.load(tmp_path)
    found = exchange.read_results(tmp_path / "results.npz", known)
    report = judge([(case, found[case.name]) for case in known])
    assert {one.verdict for one in report.verdicts} == {"CONSISTENT"}, str(report)
    assert report.ok, str(report)
