"""npkd's losses, as a user of JAX writes them: arguments, arrays or not, have no types."""

import math

import jax
import jax.numpy as jnp

from npkd.validate.frameworks.jax_functions import conv2d, linear


def _reduced(each, reduction, of):
    """The costs of each entry or sample, or their sum by the samples or entries of an array."""
    divisor = {"none": 1, "sum": 1, "batchmean": len(of), "elementmean": of.size}[reduction]
    return (each if reduction == "none" else each.sum()) / divisor


def _square(temperature, temperature_squared):
    return temperature**2 if temperature_squared else 1.0


def l2(
    student,
    teacher,
    reduction="batchmean",
    half=True,
    temperature=1.0,
    temperature_squared=False,
    variant="paper",
):
    of = {
        "paper": lambda z: z,
        "probabilities": jax.nn.softmax,
        "log-probabilities": jax.nn.log_softmax,
    }[variant]
    delta = of(student / temperature) - of(teacher / temperature)
    factor = (0.5 if half else 1.0) * _square(temperature, temperature_squared)
    return factor * _reduced(delta**2, reduction, student)


def l1(student, teacher, reduction="batchmean"):
    return _reduced(_absolute(student - teacher), reduction, student)


def _absolute(x):
    """|x| with the slope 0 at 0; that of jnp.abs is 1 there."""
    return x * jax.lax.stop_gradient(jnp.sign(x))


def huber(student, teacher, delta=1.0, reduction="batchmean", variant="paper"):
    each = _huber_of(student - teacher, delta) / (delta if variant == "smooth" else 1)
    return _reduced(each, reduction, student)


def _huber_of(difference, delta):
    size = _absolute(difference)
    return jnp.where(size <= delta, 0.5 * difference**2, delta * (size - 0.5 * delta))


def kl(
    student,
    teacher,
    temperature=4.0,
    temperature_squared=True,
    reduction="batchmean",
    variant="paper",
):
    log_p = jax.nn.log_softmax(teacher / temperature)
    log_q = jax.nn.log_softmax(student / temperature)
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    terms = {
        "paper": lambda: p * (log_p - log_q),
        "reversed": lambda: q * (log_q - log_p),
        "unlogged": lambda: p * (log_p - q),
        "reversed unlogged": lambda: q * (log_q - p),
    }[variant]()
    each = terms.sum(axis=1) * _square(temperature, temperature_squared)
    return _reduced(each, reduction, student)


def soft_cross_entropy(
    student, teacher, temperature=4.0, temperature_squared=True, reduction="batchmean"
):
    p = jax.nn.softmax(teacher / temperature)
    each = -(p * jax.nn.log_softmax(student / temperature)).sum(axis=1)
    each = each * _square(temperature, temperature_squared)
    return _reduced(each, reduction, student)


def limit(student, teacher, reduction="batchmean"):
    delta = student - teacher
    delta = delta - delta.mean(axis=1, keepdims=True)
    each = (delta**2).sum(axis=1) / (2 * student.shape[1])
    return _reduced(each, reduction, student)


def cross_entropy(logits, labels, reduction="batchmean"):
    one_hot = jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype)
    each = -(one_hot * jax.nn.log_softmax(logits)).sum(axis=1)
    return _reduced(each, reduction, logits)


def mix(student, teacher, labels, *, alpha, soft="l2", soft_options=None, hard_options=None):
    given = [labels] if soft == "dkd" else []
    of_teacher = LOSSES[soft](student, teacher, *given, **(soft_options or {}))
    of_labels = cross_entropy(student, labels, **(hard_options or {}))
    return (1 - alpha) * of_labels + alpha * of_teacher


def dkd(
    student,
    teacher,
    labels,
    alpha=1.0,
    beta=8.0,
    temperature=4.0,
    temperature_squared=True,
    reduction="batchmean",
):
    is_label = jax.nn.one_hot(labels, student.shape[1], dtype=bool)

    def taken_apart(z):
        """Logarithms of the shares of label and rest, and of the classes of the rest."""
        rest = jnp.where(is_label, -jnp.inf, z)
        of_rest = jax.nn.logsumexp(rest, axis=1)
        of_label = jnp.where(is_label, z, 0).sum(axis=1)
        two = jax.nn.log_softmax(jnp.stack([of_label, of_rest], axis=1))
        return two, jnp.where(is_label, 0, z - of_rest[:, None])

    (two_s, rest_s), (two_t, rest_t) = (taken_apart(z / temperature) for z in (student, teacher))
    tckd = (jnp.exp(two_t) * (two_t - two_s)).sum(axis=1)
    nckd = jnp.where(is_label, 0, jnp.exp(rest_t) * (rest_t - rest_s)).sum(axis=1)
    each = (alpha * tckd + beta * nckd) * _square(temperature, temperature_squared)
    return _reduced(each, reduction, student)


def _length(x):
    """√Σ x² along the last axis, 0 with gradient 0 where all of x is 0."""
    squares = (x**2).sum(axis=-1, keepdims=True)
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1)), 0)


def _unit(x, epsilon=0.0):
    """Vectors along the last axis, divided by their length."""
    length = _length(x)
    return jnp.where(length > 0, x / jnp.where(length > 0, length + epsilon, 1), 0)


def _flat(x):
    return x.reshape(len(x), -1)


def dist(
    student, teacher, beta=1.0, gamma=1.0, temperature=1.0, temperature_squared=True, epsilon=0.0
):
    q, p = jax.nn.softmax(student / temperature), jax.nn.softmax(teacher / temperature)

    def one_less_correlation(x, y):
        x, y = (z - z.mean(axis=1, keepdims=True) for z in (x, y))
        lengths = _length(x) * _length(y) + epsilon
        return 1 - ((x * y).sum(axis=1, keepdims=True) / lengths).mean()

    value = beta * one_less_correlation(q, p) + gamma * one_less_correlation(q.T, p.T)
    return value * _square(temperature, temperature_squared)


def _regressed(x, weight, bias=None):
    if weight is None:
        return x
    if x.ndim == 2:
        return linear(x, weight, bias)
    return conv2d(x, weight[:, :, None, None], bias)


def hint(student, teacher, weight=None, bias=None, half=False, reduction="elementmean"):
    return l2(_regressed(student, weight, bias), teacher, reduction=reduction, half=half)


def attention(student, teacher, power=2.0, reduction="elementmean", variant="squared", epsilon=0.0):
    q, r = (
        _unit(_flat((_absolute(features) ** power).mean(axis=1)), epsilon)
        for features in (student, teacher)
    )
    each = ((q - r) ** 2).sum(axis=1) if variant == "squared" else _length(q - r)[:, 0]
    return _reduced(each, reduction, q)


def _channels(x):
    return x.reshape(*x.shape[:2], -1)


def nst(student, teacher, reduction="batchmean", epsilon=0.0):
    s, t = (_unit(_channels(features), epsilon) for features in (student, teacher))

    def kernel(x, y):
        return ((x @ y.swapaxes(1, 2)) ** 2).mean(axis=(1, 2))

    each = kernel(s, s) + kernel(t, t) - 2 * kernel(s, t)
    return _reduced(each, reduction, student)


def fsp(
    first,
    second,
    teacher_first,
    teacher_second,
    weight_first=None,
    weight_second=None,
    reduction="elementmean",
    variant="squared",
):
    def flow(f, g):
        f, g = _channels(f), _channels(g)
        return f @ g.swapaxes(1, 2) / f.shape[2]

    own = flow(_regressed(first, weight_first), _regressed(second, weight_second))
    delta = (own - flow(teacher_first, teacher_second)).swapaxes(1, 2)
    each = delta**2 if variant == "squared" else _length(delta)
    return _reduced(each, reduction, each)


def vid(
    student,
    teacher,
    scale,
    weight=None,
    bias=None,
    epsilon=1e-5,
    reduction="elementmean",
    variant="paper",
):
    variance = jax.nn.softplus(scale) + epsilon
    if variant == "fixed":
        variance = jax.lax.stop_gradient(variance)
    variance = variance.reshape(1, -1, *(1,) * (teacher.ndim - 2))
    error = _regressed(student, weight, bias) - teacher
    each = 0.5 * (error**2 / variance + jnp.log(variance))
    return _reduced(each, reduction, teacher)


def similarity(student, teacher, reduction="elementmean", variant="paper"):
    def rows(features):
        p = _flat(features) @ _flat(features).T
        if variant == "paper":
            return _unit(p)
        total = _absolute(p).sum(axis=1, keepdims=True)
        return p / jnp.where(total > 0, total, 1)

    each = (rows(student) - rows(teacher)) ** 2
    return _reduced(each, reduction, each)


def rkd_distance(student, teacher, delta=1.0, reduction="elementmean"):
    def psi(features):
        f = _flat(features)
        d = _length(f[:, None] - f)[:, :, 0]
        mean = d.sum() / jnp.maximum((d > 0).sum(), 1)
        return d / jnp.where(mean > 0, mean, 1)

    each = _huber_of(psi(student) - psi(teacher), delta)
    return _reduced(each, reduction, each)


def rkd_angle(student, teacher, delta=1.0, reduction="elementmean"):
    def psi(features):
        f = _flat(features)
        e = _unit(f - f[:, None])
        return e @ e.swapaxes(1, 2)

    each = _huber_of(psi(student) - psi(teacher), delta)
    return _reduced(each, reduction, each)


def pkt(student, teacher, epsilon=1e-7, reduction="elementmean"):
    def shares(features):
        u = _unit(_flat(features), epsilon)
        s = (u @ u.T + 1) / 2
        return s / s.sum(axis=1, keepdims=True)

    q, p = shares(student), shares(teacher)
    each = p * jnp.log((p + epsilon) / (q + epsilon))
    return _reduced(each, reduction, each)


def cc(student, teacher, gamma=0.4, order=2, reduction="elementmean", variant="paper"):
    if variant == "consecutive":
        a = _absolute(_flat(student) - _flat(teacher))
        pairs = jnp.empty(max(1, len(a) - 1))
        return _reduced(a[:-1] * a[1:], reduction, pairs)

    def kernel(features):
        f = _unit(_flat(features)) if variant == "paper" else _flat(features)
        c = f @ f.T
        if variant == "bilinear":
            return c
        weights = [
            math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) for p in range(order + 1)
        ]
        return sum((w * c**p for p, w in enumerate(weights[1:], 1)), start=weights[0])

    delta = kernel(student) - kernel(teacher)
    each = _length(delta.ravel()) if variant == "norm" else delta**2
    return _reduced(each, reduction, delta)


def standardize(logits, ddof=0, epsilon=1e-7):
    mean = logits.mean(axis=1, keepdims=True)
    return (logits - mean) / (epsilon + logits.std(axis=1, ddof=ddof, keepdims=True))


_LOGITS = (l2, l1, huber, kl, soft_cross_entropy, limit, cross_entropy, mix, dkd, dist)
_LAYERS = (hint, attention, nst, fsp, vid, similarity, rkd_distance, rkd_angle, pkt, cc)
LOSSES = {loss.__name__: loss for loss in (*_LOGITS, *_LAYERS)}
