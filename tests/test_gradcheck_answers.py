"""The three answers of npkd.gradcheck: RIGHT has power, WRONG is proved, the rest is UNDECIDED.

`python -m pytest tests/test_gradcheck_answers.py --gradients 10000` tries as many right and as many
wrong gradients at random; what they were called stands at the end of the run.
"""

from collections import Counter
from functools import partial

import numpy as np
import pytest
from conftest import ANSWERS
from functions import (
    AFFINE,
    FAULTS,
    FUNCTIONS,
    absolute,
    batch_norm,
    elementwise,
    half_precision_inside,
    huber,
    in_half_precision,
    in_single_precision,
    length,
    matmul,
    max_pool,
    net,
    normal,
    positive,
    product_in_float32,
    relu,
    sine,
    softmax,
    summed,
    tanh,
    tied,
    with_fault,
)

from npkd import gradcheck
from npkd.gradcheck import RIGHT, UNDECIDED, WRONG
from npkd.gradcheck.trial import Trial

either_way = pytest.mark.parametrize("entrywise", [False, True], ids=["direction", "entries"])


# The matrix: functions, the factors of their gradient, and the answers they may get

NEVER_WRONG, NEVER_RIGHT = {RIGHT, UNDECIDED}, {WRONG, UNDECIDED}
BY_FACTOR = {1: {RIGHT}, 0: {WRONG}, -1: {WRONG}, 3: {WRONG}}
COARSE = {1: NEVER_WRONG, 0: NEVER_RIGHT, 2: NEVER_RIGHT, -1: NEVER_RIGHT}
HIDDEN = {1: {UNDECIDED}, 0: {WRONG}, 3: {WRONG}}  # from the complex step: it finds another slope
ZERO = {0: {RIGHT}, 1: {RIGHT}, 1e20: NEVER_RIGHT}  # of a gradient that is 0 but for rounding
NO_FUNCTION = {1: {UNDECIDED}, 0: {UNDECIDED}, 1e6: {UNDECIDED}}
TOO_LARGE = {1: {UNDECIDED}, 0: {UNDECIDED}, 5: {UNDECIDED}}


# These remember their calls, in a default argument, on purpose.


def dropout(x, masks=np.random.default_rng(7)):  # noqa: B008
    mask = masks.random(x.shape) < 0.5
    return 2 * x * mask, lambda dy: 2 * dy * mask


def noisy_gradient(x, noise=np.random.default_rng(8)):  # noqa: B008
    return np.sin(x), lambda dy: dy * np.cos(x) + 1e-6 * noise.standard_normal(x.shape)


def counts_its_calls(x, calls=[]):  # noqa: B006
    calls.append(1)
    return np.sin(x) * (1 + 1e-9 * len(calls)), lambda dy: dy * np.cos(x)


def loss_with_abs(x):
    return (x * x).sum() + np.abs(x).sum(), 2 * x + np.sign(x)


def loss_that_forgets_abs(x):
    """The complex step and the gradient share the mistake."""
    return (x * x).sum() + np.abs(x).sum(), 2 * x


def step(x):
    return np.where(x.real > 0, 1.0, 0.0), lambda dy: dy


def zeros(rng):
    return np.zeros((3, 4))


def tied_images(rng):
    return tied(rng)[:, :2].repeat(2, axis=1)  # every pair is a tie


large_and_x = elementwise(lambda x: 1e16 + x, np.ones_like)
steep = elementwise(lambda x: np.sin(1e3 * x), lambda x: 1e3 * np.cos(1e3 * x))
fast = elementwise(lambda x: np.sin(1e8 * x), lambda x: 1e8 * np.cos(1e8 * x))
too_fast = elementwise(lambda x: np.sin(1e14 * x), lambda x: 1e14 * np.cos(1e14 * x))
constant = elementwise(lambda x: 0 * x + 1, np.ones_like)  # whose gradient is 0, not 1
conjugated = elementwise(lambda x: np.conj(x) ** 2, lambda x: 2 * x)
cast = elementwise(lambda x: np.sin(x).astype(np.float32), np.cos)
real_part = elementwise(lambda x: np.sin(x.real), np.cos)

MATRIX = [
    # name, function, points, method, answers by the factor of the gradient
    ("sin", sine, normal, "complex", BY_FACTOR),
    ("sin by differences", sine, normal, "central", BY_FACTOR),
    ("net", net, normal, "complex", BY_FACTOR),
    ("net by differences", net, normal, "central", BY_FACTOR),
    ("softmax", softmax, normal, "complex", BY_FACTOR),
    ("batch norm", batch_norm, normal, "complex", BY_FACTOR),
    ("length", length, normal, "complex", BY_FACTOR),
    ("Huber", huber, normal, "complex", BY_FACTOR),
    ("log", elementwise(np.log, lambda x: 1 / x), positive, "complex", BY_FACTOR),
    ("product, complex step", matmul, normal, "complex", BY_FACTOR),
    ("product, exact difference", matmul, normal, "affine", BY_FACTOR),
    ("product, adjoint", matmul, normal, "linear", BY_FACTOR),
    ("product in float32, exact difference", product_in_float32, normal, "affine", BY_FACTOR),
    ("product in float32, adjoint", product_in_float32, normal, "linear", BY_FACTOR),
    ("ReLU", relu, normal, "complex", BY_FACTOR),
    ("ReLU at ties", relu, tied, "complex", BY_FACTOR),
    ("max-pool", max_pool, normal, "complex", BY_FACTOR),
    ("max-pool at ties", max_pool, tied, "complex", BY_FACTOR),
    ("max-pool at ties alone", max_pool, tied_images, "complex", BY_FACTOR),
    ("max-pool where all are equal", max_pool, zeros, "complex", BY_FACTOR),
    ("sin 1000 x", steep, normal, "complex", BY_FACTOR),
    ("Σ batch norm", summed(batch_norm), normal, "complex", ZERO),
    ("Σ softmax", summed(softmax), normal, "complex", ZERO),
    ("Σ batch norm by differences", summed(batch_norm), normal, "central", {1: NEVER_WRONG}),
    ("constant", constant, normal, "complex", {0: {RIGHT}, 1: {WRONG}, 5: {WRONG}}),
    ("constant by differences", constant, normal, "central", {0: NEVER_WRONG, 5: {WRONG}}),
    ("|x|, complex step", absolute, normal, "complex", HIDDEN),
    ("|x| by differences", absolute, normal, "central", BY_FACTOR),
    ("Σ x² + Σ |x|", loss_with_abs, normal, "complex", HIDDEN),
    ("Σ x² + Σ |x|, gradient 2 x", loss_that_forgets_abs, normal, "complex", {1: {WRONG}}),
    ("Σ x² + Σ |x|, 2 x by differences", loss_that_forgets_abs, normal, "central", {1: {WRONG}}),
    ("conj", conjugated, normal, "complex", HIDDEN),
    ("the real part alone", real_part, normal, "complex", HIDDEN),
    ("cast to float32", cast, normal, "complex",
     {1: {UNDECIDED}, 0: NEVER_RIGHT, 3: NEVER_RIGHT}),
    ("norm", lambda x: (np.linalg.norm(x), x / length(x)[0]), normal, "complex", HIDDEN),
    ("sin in float16", in_half_precision(sine), normal, "central", COARSE),
    ("sin in float32", in_single_precision(sine), normal, "central",
     {1: NEVER_WRONG, 0: {WRONG}, 3: {WRONG}}),
    ("tanh, float16 inside", half_precision_inside(tanh), normal, "central", COARSE),
    ("net, float16 inside", half_precision_inside(net), normal, "central", COARSE),
    ("1e16 + x by differences", large_and_x, normal, "central", TOO_LARGE),
    ("1e16 + x, complex step", large_and_x, normal, "complex", COARSE),
    ("sin 1e8 x by differences", fast, normal, "central", COARSE),
    ("sin 1e8 x, complex step", fast, normal, "complex", COARSE),
    ("sin 1e14 x, complex step", too_fast, normal, "complex",
     {1: NEVER_WRONG, 0: NEVER_RIGHT, 3: NEVER_RIGHT}),
    ("a step at 0 by differences", step, zeros, "central", {0: {UNDECIDED}, 7: {UNDECIDED}}),
    ("a fresh mask at each call", dropout, normal, "central", NO_FUNCTION),
    ("a fresh mask, complex step", dropout, normal, "complex", NO_FUNCTION),
    ("a gradient with noise", noisy_gradient, normal, "complex", {1: {UNDECIDED}}),
    ("a value by the number of calls", counts_its_calls, normal, "central", NO_FUNCTION),
    ("x², as if it were affine", elementwise(np.square, lambda x: 2 * x), normal, "affine",
     {1: {UNDECIDED}, 0: {UNDECIDED}}),
    ("x², as if it were linear", elementwise(np.square, lambda x: 2 * x), normal, "linear",
     {1: {UNDECIDED}, 0: {UNDECIDED}}),
    ("ReLU, as if it were affine", relu, normal, "affine", {1: NEVER_WRONG, 0: NEVER_RIGHT}),
]  # fmt: skip


@either_way
@pytest.mark.parametrize(
    ("function", "draw", "method", "answers"),
    [row[1:] for row in MATRIX],
    ids=[row[0] for row in MATRIX],
)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning", "ignore::RuntimeWarning")
def test_the_matrix(function, draw, method, answers, entrywise, request):
    seeds = 4 if request.config.getoption("gradients") > 200 else 2
    for factor, allowed in answers.items():
        wrong = with_fault(function, lambda g, rng, factor=factor: factor * g, 0)
        for seed in range(seeds):
            x = draw(np.random.default_rng([seed, 1]))
            result = gradcheck.compare(wrong, x, rng=seed, method=method, entrywise=entrywise)
            assert result.answer in allowed, f"× {factor:g}, seed {seed}: {result}"


def test_the_matrix_is_large_and_its_names_differ():
    assert len({row[0] for row in MATRIX}) == len(MATRIX) >= 40


# What the answers rest on


def test_not_a_function_is_said():
    result = gradcheck.compare(dropout, np.ones((3, 4)), rng=0)
    assert "not a function: called again at the same point it gives other bits" in str(result)


def test_zero_by_cancellation_names_the_parts():
    result = gradcheck.compare(summed(batch_norm), np.random.default_rng(0).random((25, 5)), rng=1)
    assert result.answer == RIGHT
    assert "zero by cancellation" in str(result)
    assert 1e-3 < result.parts < 1e3
    assert result.allowed < 1e-12 * result.parts


def test_at_a_kink_the_branch_taken_is_judged_and_said_to_be():
    x = np.array([[1.0, 1.0, 0.5, 0.0], [2.0, 1.0, 3.0, 3.0]])
    result = gradcheck.check(max_pool, x, rng=0)
    assert result.branch_only
    assert "on the branch taken only" in str(result)
    assert not gradcheck.check(max_pool, x + 0.1 * np.arange(8).reshape(2, 4), rng=0).branch_only


def test_a_wrong_convention_at_a_kink_is_wrong_by_the_branch_taken():
    def to_the_last_of_equal(x):
        pairs = x.reshape(-1, 2)
        last = np.where(pairs[:, 1].real >= pairs[:, 0].real, 1, 0)
        return max_pool(x)[0], lambda dy: (np.eye(2)[last] * dy[:, np.newaxis]).reshape(x.shape)

    for seed in range(10):
        x = normal(np.random.default_rng(seed))
        assert gradcheck.compare(to_the_last_of_equal, x, rng=seed).answer == RIGHT
        x[1, 2] = x[1, 3]
        result = gradcheck.compare(to_the_last_of_equal, x, rng=seed)
        assert result.answer == WRONG
        assert "on the branch taken only" in str(result)


def test_an_answer_by_entries_has_an_answer_for_each():
    wrong = with_fault(sine, lambda g, rng: g * (np.arange(12).reshape(3, 4) != 5), 0)
    result = gradcheck.compare(wrong, np.ones((3, 4)), rng=0, entrywise=True)
    assert [entry.answer for entry in result.entries].count(WRONG) == 1
    assert result.entries[5].answer == result.answer == WRONG
    assert all(entry.power <= 1e-6 for entry in result.entries if entry.ok)
    assert "(1 WRONG)" in str(result)


def test_what_would_have_been_seen_is_printed():
    result = gradcheck.check(sine, np.ones((3, 4)), rng=0)
    text = f"a fault of {result.power:.1g} of that sum would have been seen"
    assert f"{text}, in a single entry of the gradient one of {result.single_entry:.1g}" in str(
        result
    )
    assert result.power_if_analytic < 1e-12 < result.power < 1e-6
    by_differences = gradcheck.check(sine, np.ones((3, 4)), rng=0, method="central")
    assert by_differences.power == by_differences.power_if_analytic < 1e-6


@pytest.mark.parametrize("method", ["complex", "central"])
def test_a_fault_of_a_single_entry_from_the_size_printed_on_is_seen(method):
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, seed = normal(rng), int(rng.integers(1000))
        size = gradcheck.check(net, x, rng=seed, method=method).single_entry
        index = tuple(rng.integers(n) for n in x.shape)

        def off(g, _, index=index, size=size):
            g = g.copy()
            g[index] += 1.01 * size
            return g

        wrong = with_fault(net, off, 0)
        assert gradcheck.compare(wrong, x, rng=seed, method=method).answer != RIGHT


def test_power_can_be_asked_for():
    x = np.ones((3, 4))
    assert gradcheck.compare(sine, x, rng=0, method="central", power=1e-3).answer == RIGHT
    result = gradcheck.compare(sine, x, rng=0, method="central", power=1e-13)
    assert result.answer == UNDECIDED
    assert "differences are uncertain by" in str(result)


def test_check_raises_for_undecided_and_says_what_would_decide_it():
    with pytest.raises(AssertionError, match=r"(?s)gradient is undecided.*take another point"):
        gradcheck.check(large_and_x, np.ones(3), rng=0, method="central")
    with pytest.raises(AssertionError, match=r'(?s)undecided.*judge it by method="central"'):
        gradcheck.check(absolute, np.ones(3), rng=0)


def test_a_function_that_is_another_once_in_a_while_is_found_by_its_neighbours():
    """It gives the same bits at the point, and a wrong gradient on a part of the points beside."""

    def now_and_then(x):
        other = x.real.ravel()[0] * 2.0**30 % 2 > 1
        return np.sin(x), lambda dy: dy * np.cos(x) * (2 if other else 1)

    answers = [
        gradcheck.compare(now_and_then, normal(np.random.default_rng(seed)), rng=seed).answer
        for seed in range(20)
    ]
    assert answers.count(RIGHT) <= 10


# Calls that make no sense


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rng": None}, "rng is None, expected a numpy Generator or a seed"),
        ({"rng": -1}, "rng is -1, expected a numpy Generator or a seed"),
        ({"rng": True}, "rng is True, expected a numpy Generator or a seed"),
        ({"sample": 0}, "sample is 0, expected a whole number from 1"),
        ({"sample": 1.5}, "sample is 1.5, expected a whole number from 1"),
        ({"power": 0}, "power is 0, expected a number between 0 and 1"),
        ({"power": 2.0}, r"power is 2\.0, expected"),
        ({"method": "forward"}, "method is 'forward', expected one of"),
    ],
    ids=str,
)
def test_a_bad_option_is_one_clear_line(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        gradcheck.compare(sine, np.ones(3), **{"rng": 0, "entrywise": True} | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["complex", "affine", "central"])
def test_complex_arguments_are_one_clear_line(method):
    with pytest.raises(
        ValueError, match=f'complex arguments go with method "linear", not .{method}'
    ):
        gradcheck.compare(sine, 1j * np.ones(3), rng=0, method=method)


@pytest.mark.parametrize("nothing", [np.empty(0), {}, np.empty((0, 3))], ids=["none", "{}", "rows"])
def test_a_function_without_outputs_is_one_clear_line(nothing):
    with pytest.raises(ValueError, match="the function returned no numbers") as caught:
        gradcheck.compare(lambda x: (nothing, lambda dy: 0 * x), np.ones(3), rng=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("x", [np.array(["a"]), np.array([None]), {"a": np.array([object()])}])
def test_arguments_that_hold_no_numbers_are_one_clear_line(x):
    with pytest.raises(ValueError, match=r"argument 0.* holds .*, expected numbers") as caught:
        gradcheck.compare(sine, x, rng=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_arguments_that_are_not_finite_are_one_clear_line(bad):
    with pytest.raises(ValueError, match=r"argument 0 at \(1,\) is .*; of 2 entries 1 are not fin"):
        gradcheck.compare(sine, np.array([1.0, bad]), rng=0)


def test_a_seed_is_taken_for_its_generator():
    x = np.ones((3, 4))
    of_seed = gradcheck.compare(sine, x, rng=3)
    assert of_seed == gradcheck.compare(sine, x, rng=np.random.default_rng(3))
    gradcheck.check_contract(elementwise(np.sin, np.cos), x, rng=0)


# Many gradients, right and wrong


def _judged(function, x, seed, method, monkeypatch, **options):
    """The result, and the faults ⟨δg, v⟩ of all that was compared, if the right one is given."""
    faults, right = [], options.pop("right", function)

    def judged(self, direction, original=Trial.judged):
        _, backward = right(self.x.like(self.x.values)[0])
        g = backward(self.dy.reshape(self.y.shapes[0])) if callable(backward) else backward
        faults.append(abs(np.sum((self.here.g - np.ravel(g)) * direction[2])))
        return original(self, direction)

    with monkeypatch.context() as patch:
        patch.setattr(Trial, "judged", judged)
        return gradcheck.compare(function, x, rng=seed, method=method, **options), faults


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_right_gradient_is_called_wrong_and_no_fault_beyond_the_power_right(
    request, monkeypatch
):
    count = request.config.getoption("gradients")
    rng, found = np.random.default_rng(0), Counter()
    cases = [(function, method) for function in FUNCTIONS for method in function.methods]
    for k in range(count):
        function, method = cases[k % len(cases)]
        x, seed, entrywise = function.draw(rng), int(rng.integers(2**32)), bool(rng.integers(2))
        options = {"entrywise": entrywise, "power": function.power}
        if entrywise:
            options["sample"] = 3
        judged = partial(_judged, x=x, seed=seed, method=method, monkeypatch=monkeypatch)

        result, _ = judged(function.call, **options)
        assert result.answer != WRONG, f"{function}, {method}: {result}"
        found["right", result.answer] += 1

        name = list(FAULTS)[rng.integers(len(FAULTS))]
        wrong = with_fault(function.call, FAULTS[name], int(rng.integers(2**32)))
        result, faults = judged(wrong, right=function.call, **options)
        found["wrong", result.answer] += 1
        for entry, fault in zip(result.entries or [result], faults, strict=True):
            hidden = entry.ok and fault > entry.power * entry.scale
            assert not hidden, f"{function}, {method}, {name}, fault {fault:.3g}: {entry}"
    request.config.stash.setdefault(ANSWERS, Counter()).update(found)
    assert found["right", UNDECIDED] < 0.1 * count


def test_there_are_functions_for_every_method():
    assert {method for function in FUNCTIONS for method in function.methods} == set(AFFINE)
    assert set(AFFINE) == set(gradcheck.METHODS)
