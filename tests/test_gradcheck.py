"""npkd.gradcheck accepts what is right and rejects what is wrong, saying where and why."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from npkd import gradcheck, ops
from npkd.gradcheck import RIGHT, UNDECIDED, WRONG, trial

ONE_NUMBER = np.array([0.3])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# What is checked


def weighted_tanh(change=lambda dx, dw: (dx, dw)):
    """y = tanh(x) wᵀ with its backward pass, what that gives passed through `change`."""

    def function(x, w):
        def backward(dy):
            return change(dy @ w * (1 - np.tanh(x) ** 2), dy.T @ np.tanh(x))

        return np.tanh(x) @ w.T, backward

    return function


def product(change=lambda dx, dw: (dx, dw)):
    """y = x wᵀ, linear in x and in w; nothing is conjugated."""
    return lambda x, w: (x @ w.T, lambda dy: change(dy @ w, dy.T @ x))


def operands(rng):
    """x (3, 4) and a square w, whose gradient's transpose has the right shape."""
    return rng.standard_normal((3, 4)), rng.standard_normal((4, 4))


def complex_operands(rng):
    return [a + 1j * b for a, b in zip(operands(rng), operands(rng), strict=True)]


def sine(factor=1.0):
    return lambda x: (np.sin(x), lambda dy: factor * dy * np.cos(x))


def half_squares(factor=1.0):
    """The loss ½ Σ x² with its gradient, `factor` times what is right."""
    return lambda x: (np.sum(x * x) / 2, factor * x)


def relu(slope_at=lambda x: x > 0):
    """ReLU that decides by the real part."""
    return lambda x: (np.where(x.real > 0, x, 0), lambda dy: dy * slope_at(x.real))


def one_entry_off(by):
    def change(dx, dw):
        dx = dx.copy()
        dx[1, 2] *= 1 + by
        return dx, dw

    return change


WRONG_BACKWARDS = {
    "dropped term": lambda dx, dw: (dx, 0 * dw),
    "doubled term": lambda dx, dw: (dx, 2 * dw),
    "averaged over the batch": lambda dx, dw: (dx, dw / 3),
    "wrong sign": lambda dx, dw: (-dx, dw),
    "swapped axes": lambda dx, dw: (dx, dw.T),
    "flipped": lambda dx, dw: (dx[:, ::-1], dw),
    "rolled by one": lambda dx, dw: (np.roll(dx, 1), dw),
    "one entry off by 1e-5": one_entry_off(1e-5),
    "one NaN": one_entry_off(np.nan),
    "one infinite entry": one_entry_off(np.inf),
    "swapped axes of unequal length": lambda dx, dw: (dx.T, dw),
    "one axis too many": lambda dx, dw: (dx[np.newaxis], dw),
    "gradients in the wrong order": lambda dx, dw: (dw, dx),
    "a gradient missing": lambda dx, dw: dx,
    "one gradient too many": lambda dx, dw: (dx, dw, dw),
    "None for a gradient": lambda dx, dw: (None, dw),
    "None for the last gradient": lambda dx, dw: (dx, None),
}
WRONG_BY_LITTLE = {
    "rounded to single precision": lambda dx, dw: (dx.astype(np.float32), dw),
    "one entry off by 1e-8": one_entry_off(1e-8),
}

# The methods that each function and its arguments allow, with how far a difference can see.
SUBJECTS = {
    "complex": (weighted_tanh, operands, {"method": "complex"}),
    "affine": (product, operands, {"method": "affine"}),
    "linear": (product, operands, {"method": "linear"}),
    "linear, complex": (product, complex_operands, {"method": "linear"}),
    "central": (weighted_tanh, operands, {"method": "central"}),
}
EXACT = [name for name in SUBJECTS if name != "central"]
either_way = pytest.mark.parametrize("entrywise", [False, True])
every_method = pytest.mark.parametrize("subject", SUBJECTS)


@either_way
@every_method
def test_a_right_backward_pass_is_accepted(rng, subject, entrywise):
    make, arguments, options = SUBJECTS[subject]
    gradcheck.check(make(), *arguments(rng), rng=rng, entrywise=entrywise, **options)


@either_way
@pytest.mark.parametrize(
    ("wrong", "subject"),
    [(w, s) for w in WRONG_BACKWARDS for s in SUBJECTS]
    + [(w, s) for w in WRONG_BY_LITTLE for s in EXACT],
)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_a_wrong_backward_pass_is_rejected(rng, wrong, subject, entrywise):
    make, arguments, options = SUBJECTS[subject]
    change = (WRONG_BACKWARDS | WRONG_BY_LITTLE)[wrong]
    with pytest.raises(AssertionError):
        gradcheck.check(make(change), *arguments(rng), rng=rng, entrywise=entrywise, **options)


@pytest.mark.parametrize("subject", [name for name in EXACT if name != "affine"])
def test_where_nothing_is_subtracted_a_relative_error_of_1e_10_is_seen(rng, subject):
    make, arguments, options = SUBJECTS[subject]
    function = make(one_entry_off(1e-10))
    result = gradcheck.compare(function, *arguments(rng), rng=rng, entrywise=True, **options)
    assert not result.ok
    assert result.where == "argument 0 at (1, 2)"


# Arguments, outputs and gradients in all their forms


def params(rng):
    return {"w": rng.standard_normal((4, 3)), "b": rng.standard_normal(4)}


def affine_dict(factor=1.0, outputs=("tanh", "sum")):
    """A dict of parameters in, a dict of outputs out."""

    def function(x, p):
        s = x @ p["w"].T + p["b"]

        def backward(dy):
            ds = dy["tanh"] * (1 - np.tanh(s) ** 2) + dy["sum"]
            return ds @ p["w"], {"w": ds.T @ x, "b": factor * ds.sum(axis=0)}

        return {"tanh": np.tanh(s), "sum": s.sum()}, backward

    return function


@either_way
@pytest.mark.parametrize("method", ["complex", "central"])
def test_arguments_gradients_and_outputs_may_be_dicts(rng, method, entrywise):
    options = {"rng": rng, "method": method, "entrywise": entrywise}
    x, p = rng.standard_normal((2, 3)), params(rng)
    gradcheck.check(affine_dict(), x, p, **options)
    result = gradcheck.compare(affine_dict(1 + 1e-6), x, p, **options)
    assert not result.ok
    if entrywise:
        assert result.argument == 'argument 1["b"]'


def test_the_gradients_of_a_dict_must_have_its_keys(rng):
    def function(p):
        return p["w"].sum() + p["b"].sum(), {"w": np.ones((4, 3)), "c": np.ones(4)}

    with pytest.raises(AssertionError, match=r'by argument 0\["w"\] .*0\["c"\] .*; expected .*"b"'):
        gradcheck.check(function, params(rng), rng=rng)


def test_the_gradients_of_a_dict_may_be_in_any_order(rng):
    def function(p):
        return np.sum(p["a"] * p["b"]), {"b": p["a"], "a": p["b"]}

    gradcheck.check(function, {"a": np.arange(3.0), "b": np.ones(3)}, rng=rng)


@pytest.mark.parametrize(
    "given",
    [
        lambda dx: dx,
        lambda dx: (dx,),
        lambda dx: [dx],
        lambda dx: (dx, None),
        lambda dx: [dx, None, None],
    ],
)
def test_a_gradient_may_be_single_or_in_a_sequence_with_none_at_the_end(rng, given):
    x = rng.standard_normal((2, 3))
    gradcheck.check(lambda x: (np.sin(x), lambda dy: given(dy * np.cos(x))), x, rng=rng)
    gradcheck.check(lambda x: (np.sum(np.sin(x)), given(np.cos(x))), x, rng=rng)
    with pytest.raises(AssertionError):
        gradcheck.check(lambda x: (np.sin(x), lambda dy: given(dy * np.sin(x))), x, rng=rng)


@either_way
@pytest.mark.parametrize("method", ["complex", "central"])
@pytest.mark.parametrize("of", [np.sum, lambda squares: squares], ids=["scalar", "array"])
def test_losses_are_taken_with_their_gradient(rng, of, method, entrywise):
    x = rng.standard_normal((3, 4))
    options = {"rng": rng, "method": method, "entrywise": entrywise}
    gradcheck.check(lambda x: (of(x * x) / 2, x), x, **options)
    with pytest.raises(AssertionError):
        gradcheck.check(lambda x: (of(x * x) / 2, (1 + 1e-6) * x), x, **options)


@pytest.mark.parametrize("method", gradcheck.METHODS)
@either_way
def test_arguments_may_be_numbers(rng, method, entrywise):
    def double(factor):
        return lambda x: (2 * x, lambda dy: factor * dy)

    options = {"rng": rng, "method": method, "entrywise": entrywise}
    gradcheck.check(double(2), 3.0, **options)
    result = gradcheck.compare(double(2.001), 3.0, **options)
    assert not result.ok
    assert result.index == (() if entrywise else None)


@pytest.mark.parametrize("method", gradcheck.METHODS)
@either_way
def test_arguments_without_entries_are_not_compared(rng, method, entrywise):
    def product_and_sum(factor):
        return lambda x, w, b: (
            x @ w + b,
            lambda dy: (dy @ w.T, x.T @ dy, factor * dy.sum(axis=0)),
        )

    options = {"rng": rng, "method": method, "entrywise": entrywise}
    args = np.empty((2, 0)), np.empty((0, 3)), rng.standard_normal(3)
    for factor, answer in ((1, RIGHT), (2, WRONG)):
        assert gradcheck.compare(product_and_sum(factor), *args, **options).answer == answer
    nothing = gradcheck.compare(lambda x: (np.ones(2), lambda dy: x), np.empty((0, 2)), **options)
    assert nothing.answer == UNDECIDED
    assert "nothing was compared" in str(nothing)


def test_a_function_without_arguments_is_not_judged(rng):
    result = gradcheck.compare(lambda: (np.ones(3), lambda dy: ()), rng=rng)
    assert (result.answer, result.directions) == (UNDECIDED, 0)


@every_method
def test_arguments_are_unchanged(rng, subject):
    make, arguments, options = SUBJECTS[subject]
    args = arguments(rng)
    before = [a.copy() for a in args]
    gradcheck.compare(make(one_entry_off(1e-4)), *args, rng=rng, **options)
    for a, b in zip(args, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_backward_pass_that_changes_dy_is_not_judged_by_the_changed_one(rng):
    def three_times(x):
        def backward(dy):
            dy *= 2
            return 3 * dy

        return 3 * x, backward

    assert not gradcheck.compare(three_times, np.ones(3), rng=rng).ok


def test_a_function_that_changes_its_argument_is_not_judged_at_the_changed_one(rng):
    def square_in_place(x):
        x **= 2
        return x.copy(), lambda dy: dy * 2 * x  # 2 x², as x is by then

    assert not gradcheck.compare(square_in_place, np.array([2.0, 3.0]), rng=rng).ok


@every_method
def test_results_depend_on_the_seed_alone(subject):
    make, arguments, options = SUBJECTS[subject]
    args = arguments(np.random.default_rng(7))

    def result(seed, change):
        rng = np.random.default_rng(seed)
        return gradcheck.compare(make(change), *args, rng=rng, **options)

    for change in (one_entry_off(0), one_entry_off(1e-4)):
        assert str(result(1, change)) == str(result(1, change))
        assert result(1, change).backward != result(2, change).backward


def test_sample_takes_as_many_entries_of_each_array(rng):
    x, p = rng.standard_normal((2, 3)), params(rng)
    result = gradcheck.check(affine_dict(), x, p, rng=rng, entrywise=True, sample=5)
    assert result.directions == 5 + 5 + 4
    assert gradcheck.check(affine_dict(), x, p, rng=rng, entrywise=True).directions == 6 + 12 + 4


def test_sample_leaves_no_entry_out_for_ever(rng):
    x = rng.standard_normal(10)
    found = {
        gradcheck.compare(sine(2.0), x, rng=rng, entrywise=True, sample=1).index for _ in range(100)
    }
    assert found == {(i,) for i in range(10)}


# Calls that make no sense


def test_an_unknown_method_is_an_error(rng):
    with pytest.raises(ValueError, match=r"method is 'forward', expected one of .*'central'"):
        gradcheck.compare(sine(), ONE_NUMBER, rng=rng, method="forward")


@pytest.mark.parametrize("method", ["complex", "affine", "central"])
def test_complex_arguments_are_for_the_method_linear(rng, method):
    with pytest.raises(ValueError, match=f"complex arguments .*linear.*{method}"):
        gradcheck.compare(product(), *complex_operands(rng), rng=rng, method=method)


@pytest.mark.parametrize("returned", [np.ones(2), None, (1, 2, 3), {"y": 1}])
def test_a_function_returns_a_pair(rng, returned):
    with pytest.raises(TypeError, match=rf"returned a {type(returned).__name__}, expected \(y, b"):
        gradcheck.compare(lambda x: returned, ONE_NUMBER, rng=rng)


def test_a_function_that_refuses_complex_numbers_is_told_of_central_differences(rng):
    def cube_root(x):
        return np.cbrt(x), lambda dy: dy / (3 * np.cbrt(x) ** 2)

    with pytest.raises(TypeError, match="cbrt") as caught:
        gradcheck.check(cube_root, ONE_NUMBER, rng=rng)
    assert any('method="central"' in note for note in caught.value.__notes__)
    gradcheck.check(cube_root, ONE_NUMBER, rng=rng, method="central")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("swapped axes of unequal length", r"argument 0 \(4, 3\).*expected argument 0 \(3, 4\)"),
        ("a gradient missing", r"by argument 0 \(3, 4\); expected .*, argument 1 \(4, 4\)"),
        ("one gradient too many", r"argument 2 \(4, 4\); expected"),
        ("None for a gradient", "the gradient by argument 0 is None"),
        ("None for the last gradient", "the gradient by argument 1 is None"),
    ],
)
def test_gradients_that_cannot_be_compared_are_named(rng, wrong, message):
    with pytest.raises(AssertionError, match=message):
        gradcheck.compare(weighted_tanh(WRONG_BACKWARDS[wrong]), *operands(rng), rng=rng)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("one NaN", r"by argument 0 at \(1, 2\) is nan; of 28 entries 1 are not finite"),
        ("one infinite entry", r"by argument 0 at \(1, 2\) is -?inf; of 28"),
    ],
)
def test_a_gradient_that_is_not_finite_is_wrong_where_the_value_is(rng, wrong, message):
    result = gradcheck.compare(weighted_tanh(WRONG_BACKWARDS[wrong]), *operands(rng), rng=rng)
    assert result.answer == WRONG
    assert re.search(message, str(result))


# The result


def three_times(gradient):
    return lambda x: (3 * np.sum(x), np.asarray(gradient))


def test_the_fields_of_a_result(rng):
    function = three_times([[3.0, 3.0], [3.0, 4.0]])
    result = gradcheck.compare(function, np.ones((2, 2)), rng=rng, entrywise=True)
    assert (result.method, result.argument, result.index) == ("complex", "argument 0", (1, 1))
    assert result.where == "argument 0 at (1, 1)"
    assert (result.backward, result.expected, result.error) == (4, 3, 1)
    assert (result.scale, result.relative) == (7, 1 / 7)
    assert 1e-13 * 7 <= result.allowed < 1e-4  # v moves beside the point, and the fault with it
    assert result.of_allowed == 1 / result.allowed
    assert (result.ok, result.directions) == (False, 4)
    assert (result.crossings, result.switched, len(result.notes)) == ((), (), 1)
    assert [entry.answer for entry in result.entries] == [RIGHT, RIGHT, RIGHT, WRONG]
    assert all(entry.power < 1e-8 for entry in result.entries[:3])


def test_a_failure_raises_what_compare_tells():
    args = {"entrywise": True}
    function, x = three_times([3.0, 3.5]), np.ones(2)
    told = gradcheck.compare(function, x, rng=np.random.default_rng(1), **args)
    with pytest.raises(AssertionError) as caught:
        gradcheck.check(function, x, rng=np.random.default_rng(1), **args)
    assert str(caught.value) == str(told)


def test_success_returns_what_compare_tells():
    function, x = three_times([3.0, 3.0]), np.ones(2)
    told = gradcheck.compare(function, x, rng=np.random.default_rng(1))
    assert gradcheck.check(function, x, rng=np.random.default_rng(1)) == told
    assert told.ok
    assert told.notes == ()
    assert told.where == "along a random direction of argument 0"


def test_the_message_says_where_and_by_how_much(rng):
    function = three_times([[3.0, 3.0], [3.0, 4.0]])
    message = str(gradcheck.compare(function, np.ones((2, 2)), rng=rng, entrywise=True))
    for part in (
        "gradient is wrong: argument 0 at (1, 1), the worst of 4 (1 WRONG)\n",
        "backward gives 4\n",
        "complex step gives 3\n",
        "differ by 1, relatively 0.143; allowed is ",
    ):
        assert part in message


def test_a_value_that_is_not_a_number_agrees_with_nothing(rng):
    result = gradcheck.compare(lambda x: (x * np.nan, lambda dy: dy), np.ones(3), rng=rng)
    assert result.answer == UNDECIDED
    assert "the value, output at (0,) is nan; of 3 entries 3 are not finite" in str(result)


def test_an_infinite_derivative_agrees_with_nothing(rng):
    def clipped(x):
        return np.exp(x), lambda dy: dy * np.minimum(np.exp(x), 1e300)

    with np.errstate(over="ignore"):
        result = gradcheck.compare(clipped, np.array([1.0, 1000.0]), rng=rng, entrywise=True)
    assert not result.ok


# What a failure means


def test_a_wrong_backward_pass_is_called_that(rng):
    for entrywise in (False, True):
        result = gradcheck.compare(sine(1.01), np.ones((2, 3)), rng=rng, entrywise=entrywise)
        assert "the backward pass is wrong" in str(result)
        assert "not analytic" not in str(result)


@pytest.mark.parametrize(
    ("of", "slope"),
    [
        (np.abs, np.sign),
        (lambda x: np.conj(x) ** 2, lambda x: 2 * x),
        (lambda x: np.sin(x.real), np.cos),
        (lambda x: np.sin(x).astype(np.float32), np.cos),
        (lambda x: np.linalg.norm(x), lambda x: x / np.linalg.norm(x)),
        (lambda x: np.vdot(x, x), lambda x: 2 * x),
    ],
    ids=["abs", "conj", "real", "float32", "norm", "vdot"],
)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_a_function_that_is_not_analytic_is_called_that(rng, of, slope):
    def function(x):
        return of(x), lambda dy: dy * slope(x)

    x = rng.standard_normal(5)
    result = gradcheck.compare(function, x, rng=rng)
    assert not result.ok
    assert "the function is not analytic" in str(result)
    assert "the backward pass is wrong" not in str(result)
    gradcheck.check(function, x, rng=rng, method="central")


def test_an_error_too_small_for_central_differences_is_still_an_error(rng):
    result = gradcheck.compare(sine(1 + 1e-12), np.ones(3), rng=rng)
    assert not result.ok
    assert "too small" in str(result)


@every_method
@pytest.mark.parametrize("by", [1e-4, 3.0])
def test_a_failure_along_a_direction_is_traced_to_its_entry(rng, subject, by):
    make, arguments, options = SUBJECTS[subject]
    result = gradcheck.compare(make(one_entry_off(by)), *arguments(rng), rng=rng, **options)
    assert result.index is None
    assert re.search(r"worst of 28 entries.* is argument 0 at \(1, 2\): ", str(result))


def test_a_failure_of_too_many_entries_is_not_traced(rng, monkeypatch):
    monkeypatch.setattr(trial, "MOST_TO_LOCATE", 5)
    assert "entries" in str(gradcheck.compare(sine(2.0), np.ones(5), rng=rng))
    assert "entries" not in str(gradcheck.compare(sine(2.0), np.ones(6), rng=rng))


# Complex steps at kinks


def test_the_complex_step_does_not_cross_kinks(rng):
    x = np.array([-1e-12, 0.0, 1e-12, 1.0])
    gradcheck.check(relu(), x, rng=rng, entrywise=True)
    assert not gradcheck.compare(relu(lambda x: x >= 0), x, rng=rng, entrywise=True).ok


# Central differences


def smooth(rng, n=5):
    """y = sin(a tanh(x)) exp(x₀/2) + x³, with random a."""
    a = rng.standard_normal((n, n))

    def function(x):
        t = np.tanh(x)
        s, e = a @ t, np.exp(x[0] / 2)

        def backward(dy):
            dx = (dy * np.cos(s) * e) @ a * (1 - t**2) + 3 * dy * x**2
            dx[0] += np.sum(dy * np.sin(s)) * e / 2
            return dx

        return np.sin(s) * e + x**3, backward

    return function


def scaled(function, factor):
    """The function with a backward pass that is `factor` times what it was."""

    def wrong(*args):
        y, backward = function(*args)
        return y, lambda dy: factor * np.asarray(backward(dy))

    return wrong


def test_central_differences_of_smooth_functions_are_precise_and_find_no_kinks(rng):
    for _ in range(40):
        function, x = smooth(rng), rng.standard_normal(5)
        result = gradcheck.check(function, x, rng=rng, method="central")
        assert result.relative < 1e-9
        assert result.allowed < 1e-8 * result.scale
        assert result.crossings == ()


@either_way
def test_central_differences_see_an_error_of_a_millionth(rng, entrywise):
    for _ in range(10):
        function, x = scaled(smooth(rng), 1 + 1e-6), rng.standard_normal(5)
        options = {"rng": rng, "method": "central", "entrywise": entrywise}
        assert not gradcheck.compare(function, x, **options).ok


def conv_relu_pool(x, w, b):
    """The network of the false alarms: many kinks, at random."""
    s, conv_backward = ops.conv2d(x, w, b, padding=1)
    a, relu_backward = ops.relu(s)
    y, pool_backward = ops.max_pool2d(a, 2)
    return y, lambda dy: conv_backward(relu_backward(pool_backward(dy)))


def network_arguments(rng):
    return [rng.standard_normal(shape) for shape in ((2, 2, 4, 6), (3, 2, 3, 3), (3,))]


def test_central_differences_of_random_networks_give_no_false_alarm(rng, request):
    answers = [
        gradcheck.compare(conv_relu_pool, *network_arguments(rng), rng=rng, method="central").answer
        for _ in range(200 if request.config.getoption("gradients") > 200 else 80)
    ]
    assert WRONG not in answers
    # of few, some output has kinks on both sides of the point
    assert answers.count(RIGHT) >= 0.975 * len(answers)


def test_central_differences_of_random_networks_see_a_wrong_one(rng, monkeypatch):
    def wrong(x, w, b):
        y, backward = conv_relu_pool(x, w, b)

        def changed(dy):
            dx, dw, db = backward(dy)
            return dx, dw * (1 + 1e-6), db

        return y, changed

    monkeypatch.setattr(trial, "MOST_TO_LOCATE", 0)  # it takes its time
    for _ in range(20):
        assert not gradcheck.compare(wrong, *network_arguments(rng), rng=rng, method="central").ok


def test_single_precision_makes_central_differences_uncertain_but_not_wrong(rng):
    def function(x):
        return np.sin(x.astype(np.float32)), lambda dy: dy * np.cos(x)

    for _ in range(50):
        x = rng.standard_normal(4)
        result = gradcheck.check(function, x, rng=rng, method="central")
        assert 1e-9 < result.allowed / result.scale < 1e-2
        assert not gradcheck.compare(scaled(function, 1.05), x, rng=rng, method="central").ok


# Kinks near the point

NEAR_ZERO = [1e-12, 1e-7, -1e-7, 3e-8, -3e-8, 1e-6]
entry_of_a_kink = {"method": "central", "entrywise": True}


@pytest.mark.parametrize("position", NEAR_ZERO)
def test_a_kink_near_the_point_is_reported_with_entry_place_and_slopes(rng, position):
    x = np.array([[0.5, -2.0], [position, 1.5]])
    result = gradcheck.check(relu(), x, rng=rng, **entry_of_a_kink)
    (crossing,) = result.crossings
    assert crossing.output == "output at (1, 0)"
    assert crossing.t == pytest.approx(-position, rel=1e-3, abs=1e-14)
    assert (crossing.before, crossing.after) == pytest.approx((0, 1), abs=1e-6)
    assert not crossing.at_the_point
    assert "kink: output at (1, 0) changes its slope from" in str(result)


@pytest.mark.parametrize("position", NEAR_ZERO)
@pytest.mark.parametrize("direction", [1, -1])
def test_a_kink_beside_the_point_is_judged_by_its_own_side(rng, position, direction):
    x, right = np.array([direction * position]), float(position > 0)

    def function(slope):
        def of(x):
            return np.maximum(direction * x, 0), lambda dy: direction * slope * dy

        return of

    assert gradcheck.compare(function(right), x, rng=rng, **entry_of_a_kink).ok
    for wrong in (1 - right, 0.5, right + 1e-4, right - 1e-4):
        assert not gradcheck.compare(function(wrong), x, rng=rng, **entry_of_a_kink).ok


def test_at_a_kink_any_slope_between_is_undecided_and_none_outside_is(rng):
    def judged(slope):
        function = relu(lambda x: np.array([slope, 1.0]))
        return gradcheck.compare(function, np.array([0.0, 1.0]), rng=rng, **entry_of_a_kink)

    for slope in (0.0, 0.5, 1.0):
        assert judged(slope).answer == UNDECIDED
    for slope in (-0.1, -1e-5, 1 + 1e-5, 2.0):
        assert judged(slope).answer == WRONG
    assert judged(0.0).crossings[0].at_the_point
    assert "the point is at a kink, and any slope between its two is one" in str(judged(0.0))


@pytest.mark.parametrize("at", [3, 8, 16])
def test_a_kink_of_a_curved_function_at_the_point_is_seen_to_be_there(rng, at):
    """max(1 − xᵖ, 0) at 1: the parabola moves where straight lines are seen to meet."""

    def function(x):
        return np.maximum(1 - x**at, 0), lambda dy: dy * np.where(x < 1, -at * x ** (at - 1), 0)

    result = gradcheck.compare(function, np.ones(1), rng=rng, **entry_of_a_kink)
    assert result.crossings[0].at_the_point
    assert result.answer == UNDECIDED


def test_kinks_at_any_distance_give_no_false_alarm_and_hide_no_error(rng):
    """A change of slope at t, from 1e-9 to 1e-2 away and small or large, beside an offset."""
    for _ in range(300):
        offset, slope = rng.standard_normal(2)
        t, change = rng.choice([-1, 1]) * 10 ** rng.uniform(-9, -2), 10 ** rng.uniform(-3, 0)

        def of(x, side, offset=offset, slope=slope, t=t, change=change):
            y = offset + slope * x + change * np.maximum(x - t, 0)
            return y, lambda dy: dy * (slope + change * side(x - t))

        x = np.zeros(1)
        right = gradcheck.compare(lambda x: of(x, lambda s: s > 0), x, rng=rng, method="central")
        wrong = gradcheck.compare(lambda x: of(x, lambda s: s <= 0), x, rng=rng, method="central")
        assert right.ok
        assert not wrong.ok


@pytest.mark.parametrize(
    "kinks",
    [
        pytest.param({-2e-7: 1, 1e-7: 1}, id="on both sides"),
        pytest.param({2e-7: 1, 1e-7: 1}, id="on one side"),
        pytest.param({3e-6: 2e-4}, id="little of a kink"),
    ],
)
def test_kinks_in_awkward_places_give_no_false_alarm(rng, kinks):
    def function(x):
        t, change = np.array(list(kinks)), np.array(list(kinks.values()))
        y = 1 + x + np.sum(change * np.maximum(x - t, 0))
        return y, lambda dy: dy * (1 + np.sum(change * (x > t)))

    options = {"rng": rng, "method": "central", "entrywise": True}
    for _ in range(10):
        assert gradcheck.compare(function, np.zeros(1), **options).answer != WRONG


def test_a_long_list_of_kinks_is_cut(rng):
    result = gradcheck.compare(relu(), np.zeros(8), rng=rng, **entry_of_a_kink)
    assert len(result.crossings) == 8
    assert "kink: … and 3 more" in str(result)


def test_units_that_switch_are_named(rng):
    x = np.array([[0.5, 1e-7], [-1e-9, 1.5]])
    result = gradcheck.check(relu(), x, rng=rng, branches=lambda x: x > 0, **entry_of_a_kink)
    assert result.switched == ("unit at (0, 1)", "unit at (1, 0)")
    assert "changes branch: unit at (1, 0)" in str(result)


def test_units_that_switch_inside_a_composition_are_named(rng):
    x, w, b = network_arguments(rng)
    s, _ = ops.conv2d(x, w, b, padding=1)
    b[1] -= s[1, 1, 2, 3]  # this unit is now at its kink

    def decisions(x, w, b):
        s, _ = ops.conv2d(x, w, b, padding=1)
        return {"relu": s > 0, "sign of w": w > 0}

    result = gradcheck.compare(
        conv_relu_pool, x, w, b, rng=rng, method="central", branches=decisions
    )
    assert result.switched == ('unit["relu"] at (1, 1, 2, 3)',)


def test_units_of_dicts_of_arguments_are_named(rng):
    def function(p):
        return p["a"].sum() + np.maximum(p["b"], 0).sum(), {
            "a": np.ones(2),
            "b": 1.0 * (p["b"] > 0),
        }

    p = {"a": np.zeros(2), "b": np.array([1.0, 2.0, -1e-7])}
    options = {"rng": rng, "method": "central", "entrywise": True}
    result = gradcheck.check(function, p, branches=lambda p: {"b": p["b"] > 0}, **options)
    assert result.switched == ('unit["b"] at (2,)',)


# Frameworks


def adapted(f):
    """A function of PyTorch tensors as gradcheck takes it."""
    import torch

    def function(*arrays):
        tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
        y = f(*tensors)
        return y.detach().numpy(), lambda dy: torch.autograd.grad(
            y, tensors, torch.tensor(dy), retain_graph=True
        )

    return function


def test_functions_of_pytorch_are_accepted(rng):
    functional = pytest.importorskip("torch").nn.functional
    options = {"rng": rng, "method": "central"}
    gradcheck.check(adapted(functional.gelu), rng.standard_normal((3, 4)), **options)
    gradcheck.check(
        adapted(lambda x, w, b: functional.relu(functional.conv2d(x, w, b, padding=1))),
        *network_arguments(rng),
        **options,
    )


@either_way
def test_a_wrong_function_of_pytorch_is_rejected(rng, entrywise):
    torch = pytest.importorskip("torch")

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, dy):
            (x,) = ctx.saved_tensors
            return dy * 3 * x**2 * (1 + 1e-6)

    x = rng.standard_normal((3, 4))
    options = {"rng": rng, "method": "central", "entrywise": entrywise}
    assert not gradcheck.compare(adapted(Cube.apply), x, **options).ok


# The contract


def scale_rows(x, w):
    """y[n,i] = x[n,i] w[i], which keeps the contract."""
    return x * w, lambda dy: (dy * w, np.sum(dy * x, axis=0))


def contract_arguments(rng):
    return rng.standard_normal((3, 4)), rng.standard_normal(4)


def test_an_op_that_keeps_the_contract_is_accepted(rng):
    args = contract_arguments(rng)
    gradcheck.check_contract(scale_rows, *args, rng=rng)
    gradcheck.check_contract(scale_rows, *args, rng=rng, batched=[0])
    gradcheck.check_contract(scale_rows, *args, rng=rng, views=True)


def test_a_loss_that_keeps_the_contract_is_accepted(rng):
    gradcheck.check_contract(half_squares(), rng.standard_normal((3, 4)), rng=rng)


def test_views_by_intention_are_accepted(rng):
    def flatten(x):
        return x.reshape(len(x), -1), lambda dy: dy.reshape(x.shape)

    x = rng.standard_normal((3, 2, 2))
    gradcheck.check_contract(flatten, x, rng=rng, views=True)
    with pytest.raises(AssertionError, match="the value shares memory with argument 0"):
        gradcheck.check_contract(flatten, x, rng=rng)


def changes_its_argument(x, w):
    y, backward = scale_rows(x, w)
    w += 1
    return y, backward


def changes_its_argument_and_back(x, w):
    x *= 2
    y = x * w / 2
    x /= 2
    return y, scale_rows(x, w)[1]


def zeroes_its_argument_in_backward(x, w):
    y, backward = scale_rows(x, w)

    def changing(dy):
        gradients = backward(dy)
        x[0] = 0
        return gradients

    return y, changing


def zeroes_dy(x, w):
    y, backward = scale_rows(x, w)

    def changing(dy):
        gradients = backward(dy)
        dy[0] = 0
        return gradients

    return y, changing


def only_in_double_precision(violation):
    return lambda x, w: (violation if x.dtype == np.float64 else scale_rows)(x, w)


def changes_dy(x, w):
    def backward(dy):
        dw = np.sum(dy * x, axis=0)
        dy *= w
        return dy.copy(), dw

    return x * w, backward


def accumulates(x, w):
    total = np.zeros_like(w)

    def backward(dy):
        total[...] += np.sum(dy * x, axis=0)
        return dy * w, total.copy()

    return x * w, backward


def goes_by_the_dy_before(x, w):
    given = []

    def backward(dy):
        given.append(dy.copy())
        return scale_rows(x, w)[1](given[-2:][0])

    return x * w, backward


def gradient_in_double_precision(x, w):
    return x * w, lambda dy: (dy * w, np.sum(dy * x, axis=0, dtype=np.float64))


def value_in_double_precision(x, w):
    return x * w.astype(np.float64), lambda dy: scale_rows(x, w)[1](dy.astype(x.dtype))


def gradient_in_single_precision(x, w):
    return x * w, lambda dy: ((dy * w).astype(np.float32), np.sum(dy * x, axis=0))


def gradient_of_another_shape(x, w):
    return x * w, lambda dy: (dy * w, np.sum(dy * x, axis=0, keepdims=True))


def gradient_left_out(x, w):
    return x * w, lambda dy: dy * w


def otherwise_if_read_only(x, w):
    return x * w * (1 if x.flags.writeable else 2), scale_rows(x, w)[1]


def takes_memory_in_its_order(x, w):
    x = x.ravel(order="K").reshape(x.shape)
    return scale_rows(x, w)


def takes_dy_in_its_order(x, w):
    backward = scale_rows(x, w)[1]
    return x * w, lambda dy: backward(dy.ravel(order="K").reshape(dy.shape))


def adds_to_its_gradient(x, w):
    return x * w, lambda dy: (dy * w, np.sum(dy * x, axis=0) + (0 if len(x) else 1))


def drops_the_batch(x, w):
    return (x * w if len(x) else np.zeros(4, x.dtype)), scale_rows(x, w)[1]


def returns_its_argument(x, w):
    return x.copy(), lambda dy: (dy * 1, w)


def returns_dy(x, w):
    return x + 0 * w, lambda dy: (dy, 0 * w)


def returns_one_buffer_twice(x, w):
    def backward(dy):
        dx = dy * w
        return dx, dx[0]

    return x * w, backward


def returns_the_same_buffer_from_each_call(x, w):
    dx, dw = np.empty_like(x), np.empty_like(w)

    def backward(dy):
        dx[...], dw[...] = scale_rows(x, w)[1](dy)
        return dx, dw

    return x * w, backward


def reads_its_value_again(x, w):
    y = np.tanh(x) + 0 * w
    return y, lambda dy: (dy * (1 - y**2), 0 * w)


def shares_a_buffer_between_calls():
    buffers = {}

    def function(x, w):
        y = buffers.setdefault((x.shape, x.dtype), np.empty_like(x))
        np.multiply(x, w, out=y)
        return y, scale_rows(x, w)[1]

    return function


def remembers_its_last_arguments():
    last = {}

    def function(x, w):
        last["x"], last["w"] = x, w
        return x * w, lambda dy: scale_rows(**last)[1](dy)

    return function


VIOLATIONS = {
    changes_its_argument: "argument 1 was changed",
    changes_dy: "dy was changed by the backward pass",
    accumulates: "backward pass called again gives other bits",
    goes_by_the_dy_before: "backward pass called again gives other bits",
    gradient_in_double_precision: r"the gradients float32 \(3, 4\), float64 \(4,\)",
    value_in_double_precision: "the value is float64",
    gradient_in_single_precision: r"the gradients float32 \(3, 4\), float64 \(4,\)",
    gradient_of_another_shape: r"the gradients float32 \(3, 4\), float32 \(1, 4\)",
    gradient_left_out: r"float32 \(4,\) the value is float32, the gradients float32 \(3, 4\)$",
    otherwise_if_read_only: "read-only arguments give other bits",
    takes_memory_in_its_order: "transposed arguments give another value or gradient",
    takes_dy_in_its_order: "transposed arguments give another value or gradient",
    returns_its_argument: "a gradient shares memory with argument 1",
    returns_dy: "a gradient shares memory with dy",
    returns_one_buffer_twice: "a gradient shares memory with a gradient",
    returns_the_same_buffer_from_each_call: "gradient by the second call shares memory",
    reads_its_value_again: "the backward pass changes if the value is written to",
    shares_a_buffer_between_calls(): "a later call changes the value of an earlier one",
    remembers_its_last_arguments(): "a later call changes the backward pass of an earlier one",
}


@pytest.mark.parametrize(
    ("function", "message"),
    VIOLATIONS.items(),
    ids=lambda value: getattr(value, "__qualname__", "").split(".")[0],
)
def test_a_violation_of_the_contract_is_named(rng, function, message):
    with pytest.raises(AssertionError, match=message):
        gradcheck.check_contract(function, *contract_arguments(rng), rng=rng)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (zeroes_its_argument_in_backward, "argument 0 was changed"),
        (zeroes_dy, "dy was changed by the backward pass"),
    ],
)
def test_a_change_that_is_none_the_second_time_is_named(rng, function, message):
    with pytest.raises(AssertionError, match=message):
        gradcheck.check_contract(function, *contract_arguments(rng), rng=rng)


def test_check_contract_leaves_the_arguments_as_they_are(rng):
    x, w = contract_arguments(rng)
    before = w.copy()
    with pytest.raises((AssertionError, ValueError)):
        gradcheck.check_contract(only_in_double_precision(changes_its_argument), x, w, rng=rng)
    np.testing.assert_array_equal(w, before)


def test_an_op_that_fails_for_read_only_arguments_breaks_the_contract(rng):
    with pytest.raises(AssertionError, match="read-only"):
        gradcheck.check_contract(changes_its_argument_and_back, *contract_arguments(rng), rng=rng)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (adds_to_its_gradient, "for a batch of none the gradient by argument 1 is not 0"),
        (drops_the_batch, r"for a batch of none the value is \(4,\), expected \(0, 4\)"),
    ],
)
def test_a_batch_of_none_is_tried_where_it_is_asked_for(rng, function, message):
    args = contract_arguments(rng)
    gradcheck.check_contract(function, *args, rng=rng)
    with pytest.raises(AssertionError, match=message):
        gradcheck.check_contract(function, *args, rng=rng, batched=[0])


def loss_that_counts(x):
    loss_that_counts.calls += 1
    return np.sum(x * x) / 2, x * loss_that_counts.calls


loss_that_counts.calls = 0


def loss_that_centers_its_argument(x):
    x -= np.mean(x)
    return np.sum(x * x) / 2, x.copy()


LOSSES = {
    loss_that_counts: "called again gives other bits",
    loss_that_centers_its_argument: "argument 0 was changed",
    half_squares(np.float64(1)): "the gradients float64",
    (lambda x: (np.sum(x * x, dtype=np.float64) / 2, 1 * x)): "the value is float64",
    (lambda x: (np.sum(x * x) / 2, x)): "a gradient shares memory with argument 0",
    (lambda x: (np.sum(x * x) / 2, x.ravel("K").reshape(x.shape).copy())): "transposed arguments",
}


@pytest.mark.parametrize(("loss", "message"), LOSSES.items(), ids=range(len(LOSSES)))
def test_a_violation_of_the_contract_by_a_loss_is_named(rng, loss, message):
    with pytest.raises(AssertionError, match=message):
        gradcheck.check_contract(loss, rng.standard_normal((3, 4)), rng=rng)


def test_the_contract_takes_gradients_in_a_list_as_compare_does(rng):
    args = contract_arguments(rng)
    gradcheck.check_contract(
        lambda x, w: (x * w, lambda dy: [*scale_rows(x, w)[1](dy)]), *args, rng=rng
    )


# The judge


def test_gradcheck_imports_nothing_else_of_npkd():
    for path in Path(gradcheck.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [
            name
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else ["." * node.level + (node.module or "")]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        ]
        allowed = {
            "math",
            "collections",
            "dataclasses",
            "functools",
            "itertools",
            "typing",
            "numpy",
        }
        for name in names:
            assert name.startswith("npkd.gradcheck.") or name.split(".")[0] in allowed, path
