"""Every loss against PyTorch's autograd of its docstring's formula, in float64.

The formulas are those that the judge asks PyTorch for, which use nothing of npkd's own losses.
"""

import inspect

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import SEEDS, assert_close

from npkd import losses

torch = pytest.importorskip("torch")
functional = torch.nn.functional

from npkd.validate.bounds.losses import resolved  # noqa: E402
from npkd.validate.frameworks.torch import Torch  # noqa: E402  # which needs torch

pytestmark = pytest.mark.usefixtures("one_torch_thread")
random_examples = settings(max_examples=15, deadline=None)
SIZES = st.integers(1, 4)
BATCHES = st.integers(3, 5)
CLASSES = st.integers(3, 6)


# What is given: arrays by the names of the arguments


def draw_alike(draw, rng):
    """Two arrays of one shape, of two axes or more."""
    shape = draw(st.tuples(BATCHES, CLASSES) | st.tuples(BATCHES, SIZES, SIZES))
    return dict(zip(("student", "teacher"), rng.standard_normal((2, *shape)), strict=True))


def draw_logits(draw, rng):
    shape = draw(BATCHES), draw(CLASSES)
    student, teacher = 2 * rng.standard_normal((2, *shape))
    return {"student": student, "teacher": teacher}


def draw_labelled(draw, rng):
    arrays = draw_logits(draw, rng)
    batch, classes = arrays["student"].shape
    return arrays | {"labels": rng.integers(classes, size=batch)}


def draw_maps(draw, rng):
    """Maps of two numbers of channels."""
    batch, (height, width) = draw(BATCHES), draw(st.tuples(SIZES, st.integers(2, 4)))
    return {
        net: rng.standard_normal((batch, draw(SIZES), height, width))
        for net in ("student", "teacher")
    }


def draw_features(draw, rng):
    """Features of two sizes, of two to four axes."""
    batch = draw(BATCHES)
    return {
        net: rng.standard_normal(
            (batch, draw(st.integers(2, 4)), *draw(st.lists(SIZES, max_size=2)))
        )
        for net in ("student", "teacher")
    }


def draw_directions(draw, rng):
    """Features, no two of them opposite: of (cos + 1) / 2 only rounding would be left."""
    arrays = draw_features(draw, rng)
    for features in arrays.values():
        f = features.reshape(len(features), -1)
        f = f / np.linalg.norm(f, axis=1, keepdims=True)
        assume(np.min(f @ f.T) > -0.99)
    return arrays


def draw_regression(draw, rng):
    """Features and a regressor: none, a weight, or a weight and a bias."""
    batch, channels = draw(BATCHES), draw(st.integers(2, 4))
    positions = draw(st.just(()) | st.tuples(SIZES, SIZES))
    weight, bias = draw(st.sampled_from([(False, False), (True, False), (True, True)]))
    outputs = draw(SIZES) if weight else channels
    return {
        "student": rng.standard_normal((batch, channels, *positions)),
        "teacher": rng.standard_normal((batch, outputs, *positions)),
        "weight": rng.standard_normal((outputs, channels)) if weight else None,
        "bias": rng.standard_normal(outputs) if bias else None,
    }


def draw_scaled_regression(draw, rng):
    arrays = draw_regression(draw, rng)
    return arrays | {"scale": 3 * rng.standard_normal(arrays["teacher"].shape[1])}


def draw_two_layers(draw, rng):
    batch, own, of_teacher = (
        draw(BATCHES),
        draw(st.tuples(SIZES, SIZES)),
        draw(st.tuples(SIZES, SIZES)),
    )
    arrays = {}
    for layer in ("first", "second"):
        channels, weight = draw(st.integers(2, 4)), draw(st.booleans())
        outputs = draw(st.integers(2, 4)) if weight else channels
        arrays[layer] = rng.standard_normal((batch, channels, *own))
        arrays[f"teacher_{layer}"] = rng.standard_normal((batch, outputs, *of_teacher))
        arrays[f"weight_{layer}"] = rng.standard_normal((outputs, channels)) if weight else None
    return arrays


# All of them, each variant and reduction in turn; the other arguments are drawn

NUMBERS, SHARE = st.floats(0.25, 4), st.floats(0.05, 0.75)
EPSILON = {"epsilon": st.sampled_from([0.0, 1e-7, 0.1])}
# Below 1, probabilities come near 0 and 1, where differences between them round away.
TEMPERATURE = {"temperature": st.floats(1, 8), "temperature_squared": st.booleans()}
CORRELATION = {"gamma": NUMBERS, "order": st.integers(1, 5)}
ENTRIES = ["batchmean", "sum", "elementmean", "none"]
SAMPLES = ["batchmean", "sum", "none"]
WHOLE = ["batchmean", "sum", "elementmean"]
KL_VARIANTS = ["paper", "reversed", "unlogged", "reversed unlogged"]


def cases(name, draw, drawn=None, variants=None, reductions=None):
    """One case for each variant and reduction."""
    for variant in variants or [None]:
        for reduction in reductions or [None]:
            fixed = {"variant": variant, "reduction": reduction}
            fixed = {name: value for name, value in fixed.items() if value is not None}
            own = [option for option in drawn or {} if option == "skew"]
            words = " ".join([name, *own, *fixed.values()])
            yield pytest.param(name, draw, drawn or {}, fixed, id=words)


CASES = [
    *cases(
        "l2",
        draw_alike,
        {"half": st.booleans(), **TEMPERATURE},
        ["paper", "probabilities", "log-probabilities"],
        ENTRIES,
    ),
    *cases("l1", draw_alike, None, None, ENTRIES),
    *cases("huber", draw_alike, {"delta": NUMBERS}, ["paper", "smooth"], ENTRIES),
    *cases("kl", draw_logits, TEMPERATURE, KL_VARIANTS, ENTRIES),
    *cases("kl", draw_logits, {"skew": SHARE, **TEMPERATURE}, KL_VARIANTS[:2], ENTRIES),
    *cases("js", draw_logits, {"beta": SHARE, **TEMPERATURE}, ["paper", "exchanged"], ENTRIES),
    *cases("soft_cross_entropy", draw_logits, TEMPERATURE, None, ENTRIES),
    *cases("limit", draw_logits, None, None, ENTRIES),
    *cases("dkd", draw_labelled, {"alpha": NUMBERS, "beta": NUMBERS, **TEMPERATURE}, None, SAMPLES),
    *cases("dist", draw_logits, {"beta": NUMBERS, "gamma": NUMBERS, **TEMPERATURE, **EPSILON}),
    *cases("hint", draw_regression, {"half": st.booleans()}, None, WHOLE),
    *cases("attention", draw_maps, {"power": st.floats(1, 4), **EPSILON}, ["squared"], ENTRIES),
    *cases("attention", draw_maps, {"power": st.floats(1, 4), **EPSILON}, ["norm"], SAMPLES),
    *cases("nst", draw_maps, EPSILON, None, SAMPLES),
    *cases("fsp", draw_two_layers, None, ["squared", "norms"], WHOLE),
    *cases("vid", draw_scaled_regression, EPSILON, ["paper", "fixed"], WHOLE),
    *cases("similarity", draw_features, None, ["paper", "l1"], WHOLE),
    *cases("rkd_distance", draw_features, {"delta": NUMBERS}, None, WHOLE),
    *cases("rkd_angle", draw_features, {"delta": NUMBERS}, None, WHOLE),
    *cases("pkt", draw_directions, EPSILON, None, WHOLE),
    *cases("cc", draw_features, CORRELATION, ["paper", "bilinear", "norm"], WHOLE),
    *cases(
        "cc", draw_alike, {"gamma": NUMBERS, "order": st.integers(1, 5)}, ["consecutive"], WHOLE
    ),
]


def test_every_loss_is_judged():
    judged = {case.values[0] for case in CASES}
    assert judged | {"conventions", "cross_entropy", "mix", "standardize"} == set(losses.__all__)


@pytest.mark.parametrize(("name", "draw", "drawn", "fixed"), CASES)
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_value_and_all_gradients_are_those_of_pytorchs_autograd(
    name, draw, drawn, fixed, data, seed
):
    loss = getattr(losses, name)
    given = draw(data.draw, np.random.default_rng(seed))
    options = fixed | {name: data.draw(strategy, name) for name, strategy in drawn.items()}
    names = [name for name in inspect.signature(loss).parameters if name in given]
    trained = [
        name
        for name in names
        if not name.startswith(("teacher", "labels")) and given[name] is not None
    ]
    tensors = {
        name: None if array is None else torch.tensor(array, requires_grad=name in trained)
        for name, array in given.items()
    }
    expected = Torch(dtype="float64").loss(name, tensors, resolved(name, options))
    expected.sum().backward()
    value, gradients = loss(**given, **options)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    # Terms of either sign may cancel in a value, as they do in PKT's, and leave their rounding.
    np.testing.assert_allclose(value, expected.detach(), rtol=1e-12, atol=1e-14)
    assert value.shape == expected.shape
    for name, gradient in zip(trained, gradients, strict=True):
        by = tensors[name].grad
        assert_close(gradient, torch.zeros_like(tensors[name]).detach() if by is None else by)


@pytest.mark.parametrize("ddof", [0, 1])
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_standardize_and_its_backward_pass_are_those_of_pytorch(ddof, data, seed):
    rng = np.random.default_rng(seed)
    logits, dy = rng.standard_normal((2, data.draw(BATCHES), data.draw(CLASSES)))
    epsilon = data.draw(EPSILON["epsilon"])
    tensor = torch.tensor(logits, requires_grad=True)
    deviation = tensor.std(dim=1, correction=ddof, keepdim=True)
    expected = (tensor - tensor.mean(dim=1, keepdim=True)) / (epsilon + deviation)
    expected.backward(torch.from_numpy(dy))
    y, backward = losses.standardize(logits, ddof=ddof, epsilon=epsilon)
    assert_close(y, expected.detach())
    assert_close(backward(dy), tensor.grad)


@pytest.mark.parametrize(("ours", "theirs"), [("sum", "sum"), ("batchmean", "mean"), ("none",) * 2])
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_cross_entropy_is_that_of_pytorch(ours, theirs, data, seed):
    given = draw_labelled(data.draw, np.random.default_rng(seed))
    logits, labels = given["student"], given["labels"]
    tensor = torch.tensor(logits, requires_grad=True)
    expected = functional.cross_entropy(tensor, torch.from_numpy(labels), reduction=theirs)
    expected.sum().backward()
    value, gradient = losses.cross_entropy(logits, labels, reduction=ours)
    assert_close(value, expected.detach())
    assert_close(gradient, tensor.grad)


@random_examples
@given(data=st.data(), seed=SEEDS, alpha=st.floats(0, 1))
def test_mix_is_the_sum_of_pytorchs_losses(data, seed, alpha):
    given = draw_labelled(data.draw, np.random.default_rng(seed))
    tensor = torch.tensor(given["student"], requires_grad=True)
    hard = functional.cross_entropy(tensor, torch.from_numpy(given["labels"]))
    soft = functional.mse_loss(tensor, torch.from_numpy(given["teacher"]))
    expected = (1 - alpha) * hard + alpha * tensor.shape[1] / 2 * soft
    expected.backward()
    value, gradient = losses.mix(**given, alpha=alpha)
    assert_close(value, expected.detach())
    assert_close(gradient, tensor.grad)
