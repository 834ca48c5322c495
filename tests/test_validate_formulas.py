"""The bounds of the losses, derived on a tape, hold for npkd and for PyTorch, in any precision.

A bound that is too small would call a right program wrong: npkd's and PyTorch's float32 must lie
within it, and so must exact arithmetic on whatever inputs an error allows. A bound that is far too
large would let a wrong one pass: numbers of fewer bits must lie outside.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, cases

from npkd import losses
from npkd.losses.facts import FACTS
from npkd.ops import log_softmax, softmax
from npkd.proofs.cases import LOSSES, arrays
from npkd.validate.bounds import losses as bounds
from npkd.validate.bounds.rounding import ARITHMETICS, LOWER, Rounded, exact
from npkd.validate.bounds.rules import RULES

FLOAT32, FLOAT64 = ARITHMETICS["float32"], ARITHMETICS["float64"]
every_loss = pytest.mark.parametrize("name", LOSSES)
random_examples = settings(max_examples=5, deadline=None)
few_examples = settings(max_examples=3, deadline=None)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def of_torch(torch):
    """PyTorch's formulas of the losses, by name: the usual ways to write each."""
    from npkd.validate.frameworks.torch import Torch

    functional, asked = torch.nn.functional, Torch()

    def as_asked(name):
        """By PyTorch's own function, or by the formula."""

        def of(**given):
            arrays = {key: given.pop(key) for key in FACTS[name].arrays if key in given}
            return asked.computed(name, arrays, bounds.resolved(name, given))

        return of

    def reduced(apart, reduction, elements):
        if reduction == "none":
            return apart
        return apart.sum() / {"batchmean": len(apart), "elementmean": elements}.get(reduction, 1)

    def mix(student, teacher, labels, alpha):
        hard = functional.cross_entropy(student, labels)
        soft = functional.mse_loss(student, teacher, reduction="sum") / (2 * len(student))
        return (1 - alpha) * hard + alpha * soft

    def standardize(logits, ddof, epsilon):
        deviation = logits.std(dim=1, correction=ddof, keepdim=True)
        return (logits - logits.mean(dim=1, keepdim=True)) / (epsilon + deviation)

    def kl_of_probabilities(student, teacher, **options):
        """As most have it: the target as probabilities. The variants are others' mistakes."""
        if options["variant"] != "paper" or options.get("skew"):
            return asked.loss(
                "kl", {"student": student, "teacher": teacher}, bounds.resolved("kl", options)
            )
        temperature = options["temperature"]
        q = functional.log_softmax(student / temperature, dim=1)
        p = functional.softmax(teacher / temperature, dim=1)
        terms = functional.kl_div(q, p, reduction="none")
        factor = temperature**2 if options["temperature_squared"] else 1
        return reduced(factor * terms.sum(dim=1), options["reduction"], terms.numel())

    def dkd(student, teacher, labels, alpha, beta, temperature, temperature_squared, reduction):
        """As mdistiller has it, in the precision of its inputs."""
        is_label = functional.one_hot(labels, student.shape[1]).to(student.dtype)

        def two(z):
            p = functional.softmax(z, dim=1)
            return torch.stack([(p * is_label).sum(dim=1), (p * (1 - is_label)).sum(dim=1)], 1)

        def divergence(q, p):
            return functional.kl_div(q, p, reduction="none").sum(dim=1)

        s, t = student / temperature, teacher / temperature
        rest_s, rest_t = s - 1000 * is_label, t - 1000 * is_label
        others = divergence(
            functional.log_softmax(rest_s, dim=1), functional.softmax(rest_t, dim=1)
        )
        factor = temperature**2 if temperature_squared else 1
        terms = factor * (alpha * divergence(two(s).log(), two(t)) + beta * others)
        return reduced(terms, reduction, None)

    def rkd_distance_of_products(student, teacher, delta, reduction):
        """As the authors' code has distances."""

        def of(features):
            f = features.flatten(1)
            squares = f.square().sum(dim=1)
            d = squares[:, None] + squares[None] - 2 * (f @ f.T)
            d = d.clamp(min=1e-12).sqrt() * (1 - torch.eye(len(f)))
            return d / d[d > 0].mean()

        apart = functional.huber_loss(of(student), of(teacher), delta=delta, reduction="none")
        return reduced(apart, reduction, apart.numel())

    of_losses = {name: [as_asked(name)] for name in LOSSES}
    others = [mix, standardize, kl_of_probabilities, dkd, rkd_distance_of_products]
    for name, other in zip(
        ["mix", "standardize", "kl", "dkd", "rkd_distance"], others, strict=True
    ):
        of_losses[name].append(other)
    return of_losses


# Results of one loss, by their names


def drawn(draw, name, seed, dtype=np.float32):
    """Arrays (labels, and an upstream gradient, among them) and options of one case."""
    case, rng = draw(cases(name)), np.random.default_rng(seed)
    given, options = arrays(case, rng, dtype), dict(case.options)
    if "labels" in options:
        given["labels"] = options.pop("labels")
    if name == "standardize":
        given["dy"] = rng.standard_normal(given["logits"].shape).astype(dtype)
    return given, options


def rounded(given, errors=None):
    return {
        key: Rounded(exact(x).value, errors[key]) if errors and key in errors else exact(x)
        for key, x in given.items()
    }


def trained(name, given):
    """The arguments that there are gradients by."""
    return list(FACTS[name].gradients(given).values())


def keys(name, given):
    return list(FACTS[name].gradients(given))


def by_npkd(name, given, options):
    """Value and gradients."""
    given = dict(given)
    if name == "standardize":
        dy = given.pop("dy")
        y, backward = losses.standardize(**given, **options)
        return {"y": y, "dx": backward(dy)}
    value, gradients = getattr(losses, name)(**given, **options)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    return {"value": value} | dict(zip(keys(name, given), gradients, strict=True))


def by_torch(torch, formula, name, given, options):
    """Value and gradients by automatic differentiation."""
    given = dict(given)
    dy = given.pop("dy", None)
    tensors = {key: torch.tensor(x) for key, x in given.items()}
    leaves = [tensors[key].requires_grad_() for key in trained(name, given)]
    y = formula(**tensors, **options)
    y.backward(torch.ones_like(y) if dy is None else torch.tensor(dy))
    gradients = [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]
    names = ["y", "dx"] if name == "standardize" else ["value", *keys(name, given)]
    return {key: x.detach().numpy() for key, x in zip(names, [y, *gradients], strict=True)}


def shares(found, results):
    """The largest |found − value| / error of each; where the error is 0 both must be equal."""
    assert found.keys() == results.keys()
    largest = {}
    for key, result in results.items():
        assert np.shape(found[key]) == result.value.shape == np.shape(result.error)
        off = np.abs(found[key] - result.value)
        bound = np.broadcast_to(result.error, off.shape)
        share = np.divide(off, bound, out=np.where(off > 0, np.inf, 0), where=bound > 0)
        largest[key] = np.max(share, initial=0)
    return largest


def assert_within(found, results):
    largest = shares(found, results)
    assert max(largest.values()) <= 1, f"off by {largest} of the bounds"


# What the bounds promise


def test_every_loss_has_a_formula():
    assert {*bounds.FORMULAS, "mix", "conventions"} == set(losses.__all__)
    assert set(LOSSES) == {*bounds.FORMULAS, "mix"}


@every_loss
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_formulas_have_the_value_and_the_gradients_of_npkd(name, data, seed):
    given, options = drawn(data.draw, name, seed, np.float64)
    results = bounds.by_tape(FLOAT64, name, rounded(given), options)
    found = by_npkd(name, given, options)
    assert_within(found, results)
    for key, result in results.items():
        np.testing.assert_allclose(result.value, found[key], rtol=1e-9, atol=1e-9)


@every_loss
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_float32_is_within_the_bounds(name, data, seed):
    given, options = drawn(data.draw, name, seed)
    results = bounds.loss(FLOAT32, name, rounded(given), options)
    assert_within(by_npkd(name, given, options), results)
    for result in results.values():
        assert isinstance(result.roundings, int)
        assert result.roundings >= 1 or not np.any(result.value)


@every_loss
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_pytorchs_float32_is_within_the_bounds_however_it_is_written(
    torch, of_torch, name, data, seed
):
    given, options = drawn(data.draw, name, seed)
    results = bounds.loss(FLOAT32, name, rounded(given), options)
    for formula in of_torch[name]:
        assert_within(by_torch(torch, formula, name, given, options), results)


@every_loss
@random_examples
@given(data=st.data(), seed=SEEDS, size=st.sampled_from([1e-7, 1e-5, 1e-3, 0.03]))
def test_bounds_hold_for_every_input_that_an_error_allows(name, data, seed, size):
    """Decisions within their error (l1's sign, huber's branch) among them."""
    given, options = drawn(data.draw, name, seed, np.float64)
    rng = np.random.default_rng(seed + 1)
    errors = {key: size * rng.random(x.shape) for key, x in given.items() if x.dtype.kind == "f"}
    results = bounds.loss(FLOAT64, name, rounded(given, errors), options)
    for corner in (True, False):
        moved = dict(given)
        for key, error in errors.items():
            by = rng.choice([-1, 1], error.shape) if corner else rng.uniform(-1, 1, error.shape)
            moved[key] = given[key] + error * by * (1 - 1e-6)  # which rounds, and stays within
        assert_within(by_npkd(name, moved, options), results)


def of_shapes(name, rng):
    """Arrays of one size for each loss, and labels."""
    outputs, features = (8, 10), (8, 4, 3, 3)
    shape = outputs if FACTS[name].layers == "output" else features
    given = {"student": shape, "teacher": shape}
    if name in ("cross_entropy", "standardize"):
        given = {"logits": outputs}
    if name == "standardize":
        given |= {"dy": outputs}
    if name in ("hint", "vid"):
        given |= {"weight": (4, 4), "bias": (4,)}
    if name == "vid":
        given |= {"scale": (4,)}
    if name == "fsp":
        layers = ("first", "second", "teacher_first", "teacher_second")
        given = dict.fromkeys(layers, features)
    given = {key: rng.standard_normal(shape).astype(np.float32) for key, shape in given.items()}
    if name in ("cross_entropy", "dkd", "mix"):
        given["labels"] = rng.integers(10, size=8)
    return given


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "l1"])
@few_examples
@given(seed=SEEDS)
def test_gradients_from_numbers_of_fewer_bits_are_out_of_bounds(name, seed):
    """So bfloat16 does not pass for float32. (The gradient of l1 is a sign.)"""
    given = of_shapes(name, np.random.default_rng(seed))
    options = {"alpha": 0.3} if name == "mix" else {}
    results = bounds.loss(FLOAT32, name, rounded(given), options)
    bfloat16 = ARITHMETICS["bfloat16"].stored
    fewer = {
        key: bfloat16.round(x).astype(x.dtype) if x.dtype.kind == "f" else x
        for key, x in given.items()
    }
    found = shares(by_npkd(name, fewer, options), results)
    assert found["dx" if name == "standardize" else "gradient"] > 1


@every_loss
@few_examples
@given(data=st.data(), seed=SEEDS)
def test_bounds_grow_with_the_unit_roundoff(name, data, seed):
    """What is within float32's bounds is within those of whatever is less precise."""
    given, options = drawn(data.draw, name, seed)
    right = bounds.loss(FLOAT32, name, rounded(given), options)
    for arithmetic in LOWER["float32"]:
        results = bounds.loss(arithmetic, name, rounded(given), options)
        for key, result in results.items():
            assert np.all(result.error >= right[key].error)
            np.testing.assert_array_equal(result.value, right[key].value)


# Softmax alone


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@random_examples
@given(seed=SEEDS, scale=st.sampled_from([1, 30, 300]), size=st.sampled_from([0, 1e-6, 0.01]))
def test_softmax_and_its_backward_pass_are_within_their_bounds(op, axis, seed, scale, size):
    """Of inputs in error too, and of an upstream gradient in error."""
    rng = np.random.default_rng(seed)
    x, dy = (scale * rng.standard_normal((2, 4, 6))).astype(np.float32)
    near_x, near_dy = ((a + size * rng.uniform(-1, 1, a.shape)).astype(np.float32) for a in (x, dy))
    by_x, by_dy = (
        Rounded(a.astype(np.float64), np.abs(near.astype(np.float64) - a))
        for a, near in ((x, near_x), (dy, near_dy))
    )
    options = {"axis": axis}
    bounds = RULES[op](FLOAT32, {"x": by_x}, options)
    bounds |= RULES[f"{op}_backward"](FLOAT32, {"x": by_x, "dy": by_dy}, options)
    found, backward = {"softmax": softmax, "log_softmax": log_softmax}[op](near_x, axis)
    assert_within({"y": found, "dx": backward(near_dy)}, bounds)


# Decisions, and what has no value


def test_a_sign_within_its_error_may_be_the_other_one():
    """Where the difference is 1e-3 and may be off by 2e-3, l1's slope is open."""
    student = Rounded(np.array([[1.001, 2.0]]), np.array([[2e-3, 2e-3]]))
    teacher = exact(np.array([[1.0, 1.0]]))
    result = bounds.loss(FLOAT32, "l1", {"student": student, "teacher": teacher}, {})
    np.testing.assert_array_equal(result["gradient"].value, [[1.0, 1.0]])
    np.testing.assert_array_equal(result["gradient"].error >= 2, [[True, False]])


def test_nothing_is_promised_where_a_direction_is_within_its_error_of_none():
    features = np.ones((3, 2, 2, 2))
    features[0] = 1e-6
    student = Rounded(features, np.where(features < 0.5, 2e-6, 0.0))
    given = {"student": student, "teacher": exact(np.ones((3, 2, 2, 2)))}
    error = bounds.loss(FLOAT32, "nst", given, {"reduction": "none"})["value"].error
    np.testing.assert_array_equal(np.isinf(error), [True, False, False])


@pytest.mark.parametrize("name", ["attention", "nst", "similarity", "rkd_angle", "rkd_distance"])
def test_directions_that_are_none_for_certain_are_0_as_in_npkd(name):
    given = of_shapes(name, np.random.default_rng(0))
    given["student"][:2] = 0
    results = bounds.loss(FLOAT32, name, rounded(given), {})
    assert_within(by_npkd(name, given, {}), results)
    assert all(np.isfinite(result.error).all() for result in results.values())


# Mixtures, and wrong programs


@pytest.mark.parametrize(
    ("soft", "of_soft"), [("kl", {"temperature": 3.0}), ("dkd", {"beta": 2.0}), ("l2", {})]
)
@few_examples
@given(seed=SEEDS)
def test_a_mixture_takes_any_loss_with_its_options(soft, of_soft, seed):
    given = of_shapes("mix", np.random.default_rng(seed))
    options = {"alpha": 0.3, "soft": soft, "soft_options": of_soft}
    results = bounds.loss(FLOAT32, "mix", rounded(given), options)
    labels = (given["labels"],) if soft == "dkd" else ()
    found = losses.mix(
        **given, alpha=0.3, soft=lambda s, t: getattr(losses, soft)(s, t, *labels, **of_soft)
    )
    assert_within(dict(zip(("value", "gradient"), found, strict=True)), results)


WRONG = ["axis", "double_softmax", "swapped"]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", ["kl", "soft_cross_entropy", "cross_entropy"])
@few_examples
@given(seed=SEEDS)
def test_wrong_programs_are_what_pytorch_makes_of_them(torch, name, wrong, seed):
    functional = torch.nn.functional
    given = of_shapes(name, np.random.default_rng(seed))
    tensors = {key: torch.tensor(x) for key, x in given.items()}
    t = 1.0 if name == "cross_entropy" else 3.0
    leaf = tensors[next(iter(given))].requires_grad_()
    dim = 0 if wrong == "axis" else 1
    student = functional.softmax(leaf, dim=1) if wrong == "double_softmax" else leaf
    log_q = functional.log_softmax(student / t, dim=dim)
    if name == "cross_entropy":
        target = functional.one_hot(tensors["labels"], 10).float()
        log_p = functional.log_softmax(target, dim=dim)
        terms = -leaf * log_p if wrong == "swapped" else -target * log_q
    else:
        log_p = functional.log_softmax(tensors["teacher"] / t, dim=dim)
        if wrong == "swapped":
            log_q, log_p = log_p, log_q
        terms = log_p.exp() * (log_p - log_q) if name == "kl" else -log_p.exp() * log_q
    value = t**2 * terms.sum() / len(leaf)
    value.backward()
    options = {wrong: 0 if wrong == "axis" else True}
    if name != "cross_entropy":
        options["temperature"] = 3.0
    results = bounds.loss(FLOAT32, name, rounded(given), options)
    found = {"value": value.detach().numpy(), "gradient": leaf.grad.numpy()}
    assert_within(found, results)
