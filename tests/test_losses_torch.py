"""Every loss against PyTorch's autograd of its docstring's formula, in float64."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, assert_close

from npkd import losses

torch = pytest.importorskip("torch")
functional = torch.nn.functional

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


# The formulas


def reduced(apart, reduction, elements=None):
    """One number out of the losses of single samples or entries; elements: for "elementmean"."""
    if reduction == "none":
        return apart
    return apart.sum() / {"sum": 1, "batchmean": len(apart), "elementmean": elements}[reduction]


def l2(student, teacher, half, temperature, temperature_squared, variant, reduction):
    s, t = student / temperature, teacher / temperature
    if variant == "probabilities":
        s, t = functional.softmax(s, dim=-1), functional.softmax(t, dim=-1)
    if variant == "log-probabilities":
        s, t = functional.log_softmax(s, dim=-1), functional.log_softmax(t, dim=-1)
    apart = functional.mse_loss(s, t, reduction="none") * (0.5 if half else 1)
    return reduced(apart * (temperature**2 if temperature_squared else 1), reduction, s.numel())


def l1(student, teacher, reduction):
    apart = functional.l1_loss(student, teacher, reduction="none")
    return reduced(apart, reduction, student.numel())


def huber(student, teacher, delta, variant, reduction):
    if variant == "smooth":
        apart = functional.smooth_l1_loss(student, teacher, beta=delta, reduction="none")
    else:
        apart = functional.huber_loss(student, teacher, delta=delta, reduction="none")
    return reduced(apart, reduction, student.numel())


def kl(student, teacher, temperature, temperature_squared, variant, reduction):
    log_q, log_p = (functional.log_softmax(z / temperature, dim=1) for z in (student, teacher))
    approximation, target = {
        "paper": (log_q, log_p),
        "reversed": (log_p, log_q),
        "unlogged": (log_q.exp(), log_p),
        "reversed unlogged": (log_p.exp(), log_q),
    }[variant]
    terms = functional.kl_div(approximation, target, log_target=True, reduction="none")
    factor = temperature**2 if temperature_squared else 1
    return reduced(factor * terms.sum(dim=1), reduction, terms.numel())


def soft_cross_entropy(student, teacher, temperature, temperature_squared, reduction):
    p = functional.softmax(teacher / temperature, dim=1)
    apart = functional.cross_entropy(student / temperature, p, reduction="none")
    factor = temperature**2 if temperature_squared else 1
    return reduced(factor * apart, reduction, student.numel())


def limit(student, teacher, reduction):
    delta, classes = student - teacher, student.shape[1]
    apart = (delta.square().sum(dim=1) - delta.sum(dim=1).square() / classes) / (2 * classes)
    return reduced(apart, reduction, delta.numel())


def dkd(student, teacher, labels, alpha, beta, temperature, temperature_squared, reduction):
    """With 1000 taken from the label's logit / T, as mdistiller leaves it out."""
    is_label = functional.one_hot(labels, student.shape[1]).double()

    def divergence(log_q, log_p):
        return functional.kl_div(log_q, log_p, log_target=True, reduction="none").sum(dim=1)

    def of_label_and_rest(z):
        p = functional.softmax(z, dim=1)
        return torch.stack([(p * is_label).sum(dim=1), (p * (1 - is_label)).sum(dim=1)], 1).log()

    s, t = student / temperature, teacher / temperature
    target = divergence(of_label_and_rest(s), of_label_and_rest(t))
    others = divergence(*(functional.log_softmax(z - 1000 * is_label, dim=1) for z in (s, t)))
    factor = temperature**2 if temperature_squared else 1
    return reduced(factor * (alpha * target + beta * others), reduction)


def dist(student, teacher, beta, gamma, temperature, temperature_squared, epsilon):
    q, p = (functional.softmax(z / temperature, dim=1) for z in (student, teacher))

    def correlation(x, y):
        x, y = x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True)
        return ((x * y).sum(dim=1) / (x.norm(dim=1) * y.norm(dim=1) + epsilon)).mean()

    factor = temperature**2 if temperature_squared else 1
    return factor * (beta * (1 - correlation(q, p)) + gamma * (1 - correlation(q.T, p.T)))


def regressed(student, weight, bias=None):
    if weight is None:
        return student
    if student.ndim == 2:
        return functional.linear(student, weight, bias)
    return functional.conv2d(student, weight[:, :, None, None], bias)


def hint(student, teacher, weight, bias, half, reduction):
    apart = functional.mse_loss(regressed(student, weight, bias), teacher, reduction="none")
    return reduced(apart * (0.5 if half else 1), reduction, teacher.numel())


def attention(student, teacher, power, epsilon, variant, reduction):
    def of(features):
        a = features.abs().pow(power).mean(dim=1).flatten(1)
        if epsilon == 0:
            return functional.normalize(a, dim=1)
        return a / (a.norm(dim=1, keepdim=True) + epsilon)

    delta = of(student) - of(teacher)
    apart = delta.norm(dim=1) if variant == "norm" else delta.square().sum(dim=1)
    return reduced(apart, reduction, delta.numel())


def nst(student, teacher, epsilon, reduction):
    """The kernel of each pair of channels, as two samples' maximum mean discrepancy."""

    def kernel(x, y):
        return torch.einsum("bci,bdi->bcd", x, y).square().mean(dim=(1, 2))

    s, t = (
        f.flatten(2) / (f.flatten(2).norm(dim=2, keepdim=True) + epsilon)
        for f in (student, teacher)
    )
    return reduced(kernel(s, s) + kernel(t, t) - 2 * kernel(s, t), reduction)


def fsp(
    first,
    second,
    teacher_first,
    teacher_second,
    weight_first,
    weight_second,
    variant,
    reduction,
):
    def flow(f, g):
        return torch.einsum("bchw,bdhw->bcd", f, g) / (f.shape[2] * f.shape[3])

    own = flow(regressed(first, weight_first), regressed(second, weight_second))
    delta = own - flow(teacher_first, teacher_second)
    apart = delta.norm(dim=1) if variant == "norms" else delta.square()
    return reduced(apart, reduction, apart.numel())


def vid(student, teacher, scale, weight, bias, epsilon, variant, reduction):
    mean = regressed(student, weight, bias)
    variance = functional.softplus(scale) + epsilon
    if variant == "fixed":
        variance = variance.detach() + 0 * scale
    variance = variance.reshape(1, -1, *[1] * (mean.ndim - 2)).expand_as(mean)
    apart = functional.gaussian_nll_loss(mean, teacher, variance, reduction="none", eps=1e-12)
    return reduced(apart, reduction, apart.numel())


def similarity(student, teacher, variant, reduction):
    def of(features):
        f = features.flatten(1)
        return functional.normalize(f @ f.T, p=1 if variant == "l1" else 2, dim=1)

    delta = of(student) - of(teacher)
    return reduced(delta.square(), reduction, delta.numel())


def rkd_distance(student, teacher, delta, reduction):
    def of(features):
        f = features.flatten(1)
        d = torch.cdist(f, f, compute_mode="donot_use_mm_for_euclid_dist")
        return d / d[d > 0].mean()

    psi, of_teacher = of(student), of(teacher)
    apart = functional.huber_loss(psi, of_teacher, delta=delta, reduction="none")
    return reduced(apart, reduction, apart.numel())


def rkd_angle(student, teacher, delta, reduction):
    def of(features):
        f = features.flatten(1)
        e = functional.normalize(f[None, :] - f[:, None], dim=2)
        return torch.einsum("ijd,ikd->ijk", e, e)

    apart = functional.huber_loss(of(student), of(teacher), delta=delta, reduction="none")
    return reduced(apart, reduction, apart.numel())


def pkt(student, teacher, epsilon, reduction):
    def of(features):
        f = features.flatten(1)
        u = f / (f.norm(dim=1, keepdim=True) + epsilon)
        s = (u @ u.T + 1) / 2
        return s / s.sum(dim=1, keepdim=True)

    q, p = of(student), of(teacher)
    return reduced(p * ((p + epsilon) / (q + epsilon)).log(), reduction, p.numel())


def cc(student, teacher, gamma, order, variant, reduction):
    s, t = student.flatten(1), teacher.flatten(1)
    if variant == "consecutive":
        a = (s - t).abs()
        return reduced((a[:-1] * a[1:]).sum(dim=1), reduction, len(a) - 1)

    def of(f):
        f = functional.normalize(f, dim=1) if variant == "paper" else f
        if variant == "bilinear":
            return f @ f.T
        p = torch.arange(order + 1, dtype=f.dtype)
        weight = (p * np.log(2 * gamma) - 2 * gamma - torch.lgamma(p + 1)).exp()
        return sum(w * (f @ f.T) ** k for k, w in enumerate(weight))

    delta = of(s) - of(t)
    if variant == "norm":
        return delta.norm() / {"sum": 1, "batchmean": len(s), "elementmean": len(s) ** 2}[reduction]
    return reduced(delta.square(), reduction, delta.numel())


# All of them, each variant and reduction in turn; the other arguments are drawn

NUMBERS = st.floats(0.25, 4)
EPSILON = {"epsilon": st.sampled_from([0.0, 1e-7, 0.1])}
# Below 1, probabilities come near 0 and 1, where differences between them round away.
TEMPERATURE = {"temperature": st.floats(1, 8), "temperature_squared": st.booleans()}
ENTRIES = ["batchmean", "sum", "elementmean", "none"]
SAMPLES = ["batchmean", "sum", "none"]
WHOLE = ["batchmean", "sum", "elementmean"]
KL_VARIANTS = ["paper", "reversed", "unlogged", "reversed unlogged"]


def cases(formula, draw, drawn=None, variants=None, reductions=None):
    """One case for each variant and reduction."""
    for variant in variants or [None]:
        for reduction in reductions or [None]:
            fixed = {"variant": variant, "reduction": reduction}
            fixed = {name: value for name, value in fixed.items() if value is not None}
            name = " ".join([formula.__name__, *fixed.values()])
            yield pytest.param(formula, draw, drawn or {}, fixed, id=name)


CASES = [
    *cases(
        l2,
        draw_alike,
        {"half": st.booleans(), **TEMPERATURE},
        ["paper", "probabilities", "log-probabilities"],
        ENTRIES,
    ),
    *cases(l1, draw_alike, None, None, ENTRIES),
    *cases(huber, draw_alike, {"delta": NUMBERS}, ["paper", "smooth"], ENTRIES),
    *cases(kl, draw_logits, TEMPERATURE, KL_VARIANTS, ENTRIES),
    *cases(soft_cross_entropy, draw_logits, TEMPERATURE, None, ENTRIES),
    *cases(limit, draw_logits, None, None, ENTRIES),
    *cases(dkd, draw_labelled, {"alpha": NUMBERS, "beta": NUMBERS, **TEMPERATURE}, None, SAMPLES),
    *cases(dist, draw_logits, {"beta": NUMBERS, "gamma": NUMBERS, **TEMPERATURE, **EPSILON}),
    *cases(hint, draw_regression, {"half": st.booleans()}, None, WHOLE),
    *cases(attention, draw_maps, {"power": st.floats(1, 4), **EPSILON}, ["squared"], ENTRIES),
    *cases(attention, draw_maps, {"power": st.floats(1, 4), **EPSILON}, ["norm"], SAMPLES),
    *cases(nst, draw_maps, EPSILON, None, SAMPLES),
    *cases(fsp, draw_two_layers, None, ["squared", "norms"], WHOLE),
    *cases(vid, draw_scaled_regression, EPSILON, ["paper", "fixed"], WHOLE),
    *cases(similarity, draw_features, None, ["paper", "l1"], WHOLE),
    *cases(rkd_distance, draw_features, {"delta": NUMBERS}, None, WHOLE),
    *cases(rkd_angle, draw_features, {"delta": NUMBERS}, None, WHOLE),
    *cases(pkt, draw_features, EPSILON, None, WHOLE),
    *cases(
        cc,
        draw_features,
        {"gamma": NUMBERS, "order": st.integers(1, 5)},
        ["paper", "bilinear", "norm"],
        WHOLE,
    ),
    *cases(cc, draw_alike, {"gamma": NUMBERS, "order": st.integers(1, 5)}, ["consecutive"], WHOLE),
]


def test_every_loss_is_judged():
    judged = {case.values[0].__name__ for case in CASES}
    assert judged | {"conventions", "cross_entropy", "mix", "standardize"} == set(losses.__all__)


@pytest.mark.parametrize(("formula", "draw", "drawn", "fixed"), CASES)
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_value_and_all_gradients_are_those_of_pytorchs_autograd(
    formula, draw, drawn, fixed, data, seed
):
    loss = getattr(losses, formula.__name__)
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
    expected = formula(**tensors, **options)
    expected.sum().backward()
    value, gradients = loss(**given, **options)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    # Terms of either sign may cancel in a value, as they do in PKT's, and leave their rounding.
    np.testing.assert_allclose(value, expected.detach(), rtol=1e-12, atol=1e-14)
    assert value.shape == expected.shape
    for name, gradient in zip(trained, gradients, strict=True):
        assert_close(gradient, tensors[name].grad)


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
