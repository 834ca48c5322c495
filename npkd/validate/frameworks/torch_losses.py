"""The losses of npkd.losses as a PyTorch user writes them: PyTorch's own, or by their formulas.

    LOSSES["kl"](student, teacher, **with_defaults("kl", {"temperature": 2.0}))

Arguments and options are those of npkd.losses, where the formulas are explained; all options must
be given. Gradients are left to autograd.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from npkd.losses.facts import FACTS


def with_defaults(loss: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a loss."""
    if loss == "mix":
        return {"soft": "l2", "soft_options": {}, "hard_options": {}} | dict(options)
    return {**FACTS[loss].options, **options}


def reduced(apart, reduction, elements=None):
    """One number out of the losses of single samples or entries; elements: for "elementmean"."""
    if reduction == "none":
        return apart
    divisors = {"sum": 1, "batchmean": len(apart), "elementmean": elements or apart.numel()}
    return apart.sum() / divisors[reduction]


def _factor(temperature, temperature_squared):
    return temperature**2 if temperature_squared else 1.0


# On outputs


def l2(student, teacher, *, half, temperature, temperature_squared, variant, reduction):
    s, t = student / temperature, teacher / temperature
    if variant == "probabilities":
        s, t = functional.softmax(s, -1), functional.softmax(t, -1)
    if variant == "log-probabilities":
        s, t = functional.log_softmax(s, -1), functional.log_softmax(t, -1)
    factor = (0.5 if half else 1.0) * _factor(temperature, temperature_squared)
    named = {"none": "none", "elementmean": "mean"}.get(reduction, "sum")
    divisor = len(s) if reduction == "batchmean" else 1
    return factor * functional.mse_loss(s, t, reduction=named) / divisor


def l1(student, teacher, *, reduction):
    return reduced(functional.l1_loss(student, teacher, reduction="none"), reduction)


def huber(student, teacher, *, delta, variant, reduction):
    if variant == "smooth":
        apart = functional.smooth_l1_loss(student, teacher, beta=delta, reduction="none")
    else:
        apart = functional.huber_loss(student, teacher, delta=delta, reduction="none")
    return reduced(apart, reduction)


def kl(student, teacher, *, temperature, temperature_squared, variant, reduction):
    log_q, log_p = (functional.log_softmax(z / temperature, 1) for z in (student, teacher))
    factor = _factor(temperature, temperature_squared)
    if variant == "paper" and reduction in ("batchmean", "sum"):
        p = functional.softmax(teacher / temperature, 1)
        return factor * functional.kl_div(log_q, p, reduction=reduction)
    guess, target = {
        "paper": (log_q, log_p),
        "reversed": (log_p, log_q),
        "unlogged": (log_q.exp(), log_p),
        "reversed unlogged": (log_p.exp(), log_q),
    }[variant]
    terms = functional.kl_div(guess, target, log_target=True, reduction="none")
    return reduced(factor * terms.sum(1), reduction, terms.numel())


def soft_cross_entropy(student, teacher, *, temperature, temperature_squared, reduction):
    p = functional.softmax(teacher / temperature, 1)
    apart = functional.cross_entropy(student / temperature, p, reduction="none")
    factor = _factor(temperature, temperature_squared)
    return reduced(factor * apart, reduction, student.numel())


def cross_entropy(logits, labels, *, reduction="batchmean"):
    named = "mean" if reduction == "batchmean" else reduction
    return functional.cross_entropy(logits, labels, reduction=named)


def mix(student, teacher, labels, *, alpha, soft, soft_options, hard_options):
    soft_value = LOSSES[soft](student, teacher, **with_defaults(soft, soft_options))
    return (1 - alpha) * cross_entropy(student, labels, **hard_options) + alpha * soft_value


def limit(student, teacher, *, reduction):
    delta = student - teacher
    delta = delta - delta.mean(1, keepdim=True)
    return reduced(delta.square().sum(1) / (2 * delta.shape[1]), reduction, delta.numel())


def dkd(student, teacher, labels, *, alpha, beta, temperature, temperature_squared, reduction):
    """With 1000 taken from the label's logit / T, as mdistiller leaves it out."""
    is_label = functional.one_hot(labels, student.shape[1]).to(student.dtype)

    def divergence(log_q, log_p):
        return functional.kl_div(log_q, log_p, log_target=True, reduction="none").sum(1)

    def label_and_rest(z):
        log_p = functional.log_softmax(z, 1)
        others = torch.logsumexp(log_p - 1000 * is_label, 1)
        return torch.stack([(log_p * is_label).sum(1), others], 1)

    s, t = student / temperature, teacher / temperature
    target = divergence(label_and_rest(s), label_and_rest(t))
    others = divergence(*(functional.log_softmax(z - 1000 * is_label, 1) for z in (s, t)))
    factor = _factor(temperature, temperature_squared)
    return reduced(factor * (alpha * target + beta * others), reduction)


def dist(student, teacher, *, beta, gamma, temperature, temperature_squared, epsilon):
    q, p = (functional.softmax(z / temperature, 1) for z in (student, teacher))

    def correlation(x, y):
        x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
        return ((x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1) + epsilon)).mean()

    apart = beta * (1 - correlation(q, p)) + gamma * (1 - correlation(q.T, p.T))
    return _factor(temperature, temperature_squared) * apart


# On features


def _regressed(student, weight, bias=None):
    if weight is None:
        return student
    if student.ndim == 2:
        return functional.linear(student, weight, bias)
    return functional.conv2d(student, weight[:, :, None, None], bias)


def hint(student, teacher, weight=None, bias=None, *, half, reduction):
    apart = functional.mse_loss(_regressed(student, weight, bias), teacher, reduction="none")
    return reduced(apart * (0.5 if half else 1), reduction)


def attention(student, teacher, *, power, epsilon, variant, reduction):
    def of(features):
        a = features.abs().pow(power).mean(1).flatten(1)
        return a / (a.norm(dim=1, keepdim=True) + epsilon) if epsilon else functional.normalize(a)

    delta = of(student) - of(teacher)
    apart = delta.norm(dim=1) if variant == "norm" else delta.square().sum(1)
    return reduced(apart, reduction, delta.numel())


def nst(student, teacher, *, epsilon, reduction):
    """The kernel of each pair of channels, as two samples' maximum mean discrepancy."""

    def kernel(x, y):
        return (x @ y.mT).square().mean((1, 2))

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
    weight_first=None,
    weight_second=None,
    *,
    variant,
    reduction,
):
    def flow(f, g):
        return f.flatten(2) @ g.flatten(2).mT / (f.shape[2] * f.shape[3])

    own = flow(_regressed(first, weight_first), _regressed(second, weight_second))
    delta = own - flow(teacher_first, teacher_second)
    return reduced(delta.norm(dim=1) if variant == "norms" else delta.square(), reduction)


def vid(student, teacher, scale, weight=None, bias=None, *, epsilon, variant, reduction):
    mean = _regressed(student, weight, bias)
    variance = functional.softplus(scale) + epsilon
    if variant == "fixed":
        variance = variance.detach() + 0 * scale
    variance = variance.reshape(1, -1, *[1] * (mean.ndim - 2)).expand_as(mean)
    apart = functional.gaussian_nll_loss(mean, teacher, variance, reduction="none", eps=1e-12)
    return reduced(apart, reduction)


# On relations between samples


def similarity(student, teacher, *, variant, reduction):
    def of(features):
        f = features.flatten(1)
        return functional.normalize(f @ f.T, p=1 if variant == "l1" else 2)

    return reduced((of(student) - of(teacher)).square(), reduction)


def rkd_distance(student, teacher, *, delta, reduction):
    def of(features):
        f = features.flatten(1)
        d = torch.cdist(f, f, compute_mode="donot_use_mm_for_euclid_dist")
        return d / d[d > 0].mean()

    apart = functional.huber_loss(of(student), of(teacher), delta=delta, reduction="none")
    return reduced(apart, reduction)


def rkd_angle(student, teacher, *, delta, reduction):
    def of(features):
        f = features.flatten(1)
        e = functional.normalize(f[None, :] - f[:, None], dim=2)
        return e @ e.mT

    apart = functional.huber_loss(of(student), of(teacher), delta=delta, reduction="none")
    return reduced(apart, reduction)


def pkt(student, teacher, *, epsilon, reduction):
    def of(features):
        f = features.flatten(1)
        u = f / (f.norm(dim=1, keepdim=True) + epsilon)
        s = (u @ u.T + 1) / 2
        return s / s.sum(1, keepdim=True)

    q, p = of(student), of(teacher)
    return reduced(p * ((p + epsilon) / (q + epsilon)).log(), reduction)


def cc(student, teacher, *, gamma, order, variant, reduction):
    s, t = student.flatten(1), teacher.flatten(1)
    if variant == "consecutive":
        a = (s - t).abs()
        return reduced((a[:-1] * a[1:]).sum(1), reduction, len(a) - 1)

    def kernel(f):
        f = functional.normalize(f) if variant == "paper" else f
        products = f @ f.T
        if variant == "bilinear":
            return products
        powers = range(order + 1)
        weights = [math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) for p in powers]
        return sum(weight * products**p for p, weight in enumerate(weights))

    delta = kernel(s) - kernel(t)
    if variant == "norm":
        by = {"sum": 1, "batchmean": len(s), "elementmean": len(s) ** 2}[reduction]
        return delta.norm() / by
    return reduced(delta.square(), reduction)


ON_OUTPUTS = (l2, l1, huber, kl, soft_cross_entropy, cross_entropy, mix, limit, dkd, dist)
ON_FEATURES = (hint, attention, nst, fsp, vid)
ON_RELATIONS = (similarity, rkd_distance, rkd_angle, pkt, cc)
LOSSES: dict[str, Callable[..., Tensor]] = {
    one.__name__: one for one in (*ON_OUTPUTS, *ON_FEATURES, *ON_RELATIONS)
}
