"""Losses between maps of features: the formulas as scalar loops."""

import numpy as np

from npkd.definitions.ops import conv2d, linear
from npkd.definitions.steps import Number, absolute, length_of, maps, product, unit

__all__ = ["attention", "fsp", "hint", "nst", "vid"]


def _regressed(
    features: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None = None
) -> np.ndarray:
    """weight · features + bias at every position, a 1×1 convolution; as they are with no weight."""
    if weight is None:
        return features
    if features.ndim == 2:
        return linear(features, weight, bias)
    return conv2d(features, weight.reshape(*weight.shape, 1, 1), bias)


def hint(
    student: np.ndarray,
    teacher: np.ndarray,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    half: bool = False,
    reduction: str = "elementmean",
) -> Number:
    """The squared difference of a regression on the student's features and the teacher's.

    Shapes
        student (B, C, H, W), teacher (B, O, H, W), or rows (B, C) and (B, O);
        weight (O, C), bias (O,), or None  →  a number

    Definition, with r = weight · student + bias at every position
        "sum"          Σ (r − teacher)², halved with `half`
        "batchmean"    the same / B
        "elementmean"  the same / number of entries
    """
    r = _regressed(student, weight, bias)
    total = 0.0
    for index in np.ndindex(teacher.shape):
        delta = r.item(*index) - teacher.item(*index)
        total += (0.5 if half else 1.0) * delta * delta
    return total / {"sum": 1, "batchmean": len(teacher), "elementmean": teacher.size}[reduction]


def attention(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    power: float = 2.0,
    reduction: str = "elementmean",
    variant: str = "squared",
    epsilon: float = 0.0,
) -> Number | np.ndarray:
    """The distance of the maps of where features are large, each divided by its length.

    Shapes
        student (B, C, H, W), teacher (B, D, H, W)  →  a number; with "none" an array (B,)

    Definition, with a[b,i] = Σ_c |student[b,c,i]|^power / C at position i, Q[b] = a[b] / (‖a[b]‖ +
    ε), or 0 where ‖a[b]‖ is 0, and R likewise of the teacher
        "none"         Σ_i (Q − R)²; with variant "norm" √Σ_i (Q − R)²
        "sum"          the sum of these over b
        "batchmean"    their sum / B
        "elementmean"  their sum / (B H W)
    """
    losses = []
    for s, t in zip(maps(student), maps(teacher), strict=True):
        q, r = unit(_activity(s, power), epsilon), unit(_activity(t, power), epsilon)
        delta = [q[i] - r[i] for i in range(len(q))]
        losses.append(product(delta, delta) if variant == "squared" else length_of(delta))
    if reduction == "none":
        return np.array(losses, student.dtype)
    entries = len(student) * student.shape[2] * student.shape[3]
    divisor = {"sum": 1, "batchmean": len(student), "elementmean": entries}[reduction]
    return sum(losses) / divisor


def _activity(channels: list, power: float) -> list:
    """Σ_c |x[c,i]|^power / C for each position i."""
    cells = zip(*channels, strict=True)
    return [sum(absolute(x) ** power for x in cell) / len(cell) for cell in cells]


def nst(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    reduction: str = "batchmean",
    epsilon: float = 0.0,
) -> Number | np.ndarray:
    """The squared maximum mean discrepancy of channels, each divided by its length.

    Shapes
        student (B, C, H, W), teacher (B, D, H, W)  →  a number; with "none" an array (B,)

    Definition, with s[c] = student[b,c] / (‖student[b,c]‖ + ε) over positions, or 0 where the
    length is 0, t[d] likewise of the teacher, and k(x, y) = (Σ_i x_i y_i)²
        "none"       Σ_{c,c'} k(s[c], s[c']) / C² + Σ_{d,d'} k(t[d], t[d']) / D²
                     − 2 Σ_{c,d} k(s[c], t[d]) / CD
                     which is Σ_{i,j} (Σ_c s[c,i] s[c,j] / C − Σ_d t[d,i] t[d,j] / D)²
        "sum"        the sum of these over b
        "batchmean"  their sum / B
    """
    losses = []
    for of_student, of_teacher in zip(maps(student), maps(teacher), strict=True):
        s, t = ([unit(x, epsilon) for x in channels] for channels in (of_student, of_teacher))
        total: Number = 0.0
        for i, j in np.ndindex(len(s[0]), len(s[0])):
            own = sum(x[i] * x[j] for x in s) / len(s)
            total += (own - sum(x[i] * x[j] for x in t) / len(t)) ** 2
        losses.append(total)
    if reduction == "none":
        return np.array(losses, student.dtype)
    return sum(losses) / {"sum": 1, "batchmean": len(student)}[reduction]


def fsp(
    first: np.ndarray,
    second: np.ndarray,
    teacher_first: np.ndarray,
    teacher_second: np.ndarray,
    weight_first: np.ndarray | None = None,
    weight_second: np.ndarray | None = None,
    *,
    reduction: str = "elementmean",
    variant: str = "squared",
) -> Number:
    """The squared difference of how two layers of a net go together, in student and teacher.

    Shapes
        first (B, C, H, W), second (B, D, H, W), teacher_first (B, C', H', W'),
        teacher_second (B, D', H', W'), weight_first (C', C), weight_second (D', D), or None
        →  a number

    Definition, with f = weight_first · first, g = weight_second · second at every position
        G[b,c,d] = Σ_i f[b,c,i] g[b,d,i] / (H W), and G' likewise of the teacher's layers
        "sum"          Σ_{b,c,d} (G − G')²; with variant "norms" Σ_{b,d} √Σ_c (G − G')²
        "batchmean"    the same / B
        "elementmean"  the same / (B C' D'), or with "norms" / (B D')
    """
    f, g = _regressed(first, weight_first), _regressed(second, weight_second)
    batch, rows, columns = len(first), teacher_first.shape[1], teacher_second.shape[1]
    of_student, of_teacher = _flow(f, g), _flow(teacher_first, teacher_second)
    total: Number = 0.0
    for b in range(batch):
        for d in range(columns):
            delta = [of_student[b][c][d] - of_teacher[b][c][d] for c in range(rows)]
            total += product(delta, delta) if variant == "squared" else length_of(delta)
    entries = batch * columns * (rows if variant == "squared" else 1)
    return total / {"sum": 1, "batchmean": batch, "elementmean": entries}[reduction]


def _flow(first: np.ndarray, second: np.ndarray) -> list:
    """G[b][c][d] = Σ_i f[b,c,i] g[b,d,i] / (H W), over the positions i."""
    return [
        [[product(x, y) / len(x) for y in of_second] for x in of_first]
        for of_first, of_second in zip(maps(first), maps(second), strict=True)
    ]


def _softplus(x: Number) -> Number:
    """log(1 + exp x), where Re x > 0 as x + log(1 + exp(−x)), which cannot overflow.

    The two differ by multiples of 2πi at most, where |Im x| is above π.
    """
    return np.log(1 + np.exp(-x)).item() + x if x.real > 0 else np.log(1 + np.exp(x)).item()


def vid(
    student: np.ndarray,
    teacher: np.ndarray,
    scale: np.ndarray,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    epsilon: float = 1e-5,
    reduction: str = "elementmean",
    variant: str = "paper",
) -> Number:
    """The negative log-likelihood, but for ½ log 2π, of the teacher's features as normal.

    Shapes
        student (B, C, H, W), teacher (B, O, H, W), or rows (B, C) and (B, O); scale (O,);
        weight (O, C), bias (O,), or None  →  a number, the same for both variants

    Definition, with μ = weight · student + bias at every position and
    σ²[o] = log(1 + exp scale[o]) + ε
        "sum"          Σ ½ ((μ − teacher)² / σ² + log σ²) over all entries
        "batchmean"    the same / B
        "elementmean"  the same / number of entries
    """
    mean = _regressed(student, weight, bias)
    variances = [_softplus(value) + epsilon for value in scale.tolist()]
    total = 0.0
    for index in np.ndindex(teacher.shape):
        delta, variance = mean.item(*index) - teacher.item(*index), variances[index[1]]
        total += 0.5 * (delta * delta / variance + np.log(variance).item())
    return total / {"sum": 1, "batchmean": len(teacher), "elementmean": teacher.size}[reduction]
