"""The specification: every op, every loss and SGD as the literal formula in scalar loops.

Read a docstring's formula and the loop below it side by side: they should be the same text. The
functions take the arguments of their namesakes in `npkd.ops`, `npkd.losses` and `npkd.optim`,
which they assume to be valid, and return values only, no gradients. They are slow, and nothing
but checks should call them.

Scalars are Python numbers, so sums are in double precision whatever the dtype of the arrays; a
result has the dtype of its input. Complex arrays go through every function by the same formula:
nothing is conjugated, and what must choose (ReLU, max-pool, an absolute value) chooses by the real
part. So |x| is x sign(Re x), and the length of a vector √Σ x², both analytic and neither of them a
modulus. A vector of length 0 has no direction: where one is asked for, it stays 0.

Letters of ops: n image, c input channel, o output channel, (i, j) output row and column, (p, q)
input row and column, (u, v) row and column inside a kernel. Of losses: b sample, c class or
channel, d channel of another layer or entry of a row of features, i position in a map, or in losses
on relations i, j, k samples; B is the size of the batch, T the temperature. Sizes are an int or a
(height, width) pair. The meaning of the ops' arguments is PyTorch's.
"""

import math
from collections.abc import Callable

import numpy as np

Size = int | tuple[int, int]
Number = float | complex


# Geometry: what one output cell sees


def _pair(size: Size | str) -> list:
    """[height, width] of a size given as one value for both or as a pair."""
    return np.broadcast_to(size, 2).tolist()


def _before_and_after(padding: int | str, kernel: int, dilation: int) -> tuple[int, int]:
    """Cells added on the two sides of an axis; "same" puts the odd one after."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = dilation * (kernel - 1)
        return total // 2, total - total // 2
    return int(padding), int(padding)


def _output_size(
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    ceil_mode: bool = False,
) -> int:
    """Number of windows along an axis of `size` cells padded by (before, after).

    The first window starts at the first padded cell and each next one `stride` further:
        ⌊(before + size + after − dilation (kernel − 1) − 1) / stride⌋ + 1
    With `ceil_mode` it is ⌈·⌉, so that a last window may stick out at the end, but only if it
    starts inside the image or the padding before it.
    """
    before, after = padding
    steps = (before + size + after - dilation * (kernel - 1) - 1) / stride
    if not ceil_mode:
        return math.floor(steps) + 1
    count = math.ceil(steps) + 1
    return count if (count - 1) * stride < before + size else count - 1


def _cells(start: int, kernel: int, dilation: int, size: int) -> list[int]:
    """The cells start + dilation u, 0 ≤ u < kernel, that lie inside an axis of `size` cells."""
    window = [start + dilation * u for u in range(kernel)]
    return [cell for cell in window if 0 <= cell < size]


def _zero_padded(x: np.ndarray, n: int, c: int, p: int, q: int) -> Number:
    """x[n,c,p,q], or 0 outside the image."""
    height, width = x.shape[2:]
    return x.item(n, c, p, q) if 0 <= p < height and 0 <= q < width else 0.0


# Ops


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> np.ndarray:
    """Cross-correlation of images with kernels (the kernel is not flipped).

    Shapes
        x (N, C, H, W), w (O, C/groups, kh, kw), b (O,) or None  →  y (N, O, Ho, Wo)

    Definition, with x = 0 outside the image
        y[n,o,i,j] = b[o] + Σ_{c,u,v} w[o,c,u,v] x[n, first + c, p, q]
        first = (C/groups) ⌊o / (O/groups)⌋, the first input channel of o's group
        p = i sh − top + u dh,  q = j sw − left + v dw, for strides s and dilations d

    `padding` is a size, "valid" (none) or "same" (Ho = H, Wo = W; at stride 1 only).
    """
    (sh, sw), (dh, dw), (pad_h, pad_w) = _pair(stride), _pair(dilation), _pair(padding)
    images, _, height, width = x.shape
    outputs, channels, kh, kw = w.shape
    top, bottom = _before_and_after(pad_h, kh, dh)
    left, right = _before_and_after(pad_w, kw, dw)
    rows = _output_size(height, kh, sh, (top, bottom), dh)
    columns = _output_size(width, kw, sw, (left, right), dw)
    y = np.empty((images, outputs, rows, columns), x.dtype)
    for n, o, i, j in np.ndindex(y.shape):
        first = channels * (o // (outputs // groups))
        total = 0.0 if b is None else b.item(o)
        for c, u, v in np.ndindex(channels, kh, kw):
            p, q = i * sh - top + u * dh, j * sw - left + v * dw
            total += w.item(o, c, u, v) * _zero_padded(x, n, first + c, p, q)
        y[n, o, i, j] = total
    return y


def avg_pool2d(
    x: np.ndarray,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """The mean of each window of an image.

    Shapes
        x (N, C, H, W)  →  y (N, C, Ho, Wo)

    Definition
        y[n,c,i,j] = (1/divisor) Σ x[n,c,p,q] over the cells (p, q) of window (i, j) in the image

    The divisor is `divisor_override` if given; else the number of the window's cells in the
    padded image, or with `count_include_pad=False` in the image. Cells by which a window sticks
    out of the padded image under `ceil_mode` are never counted. `stride=None` is `kernel_size`.
    """
    (kh, kw), (ph, pw) = _pair(kernel_size), _pair(padding)
    sh, sw = _pair(kernel_size if stride is None else stride)
    images, channels, height, width = x.shape
    rows = _output_size(height, kh, sh, (ph, ph), 1, ceil_mode)
    columns = _output_size(width, kw, sw, (pw, pw), 1, ceil_mode)
    y = np.empty((images, channels, rows, columns), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        ps = _cells(i * sh - ph, kh, 1, height)
        qs = _cells(j * sw - pw, kw, 1, width)
        if divisor_override is not None:
            divisor = divisor_override
        elif count_include_pad:  # the same windows, in the coordinates of the padded image
            padded_ps = _cells(i * sh, kh, 1, height + 2 * ph)
            padded_qs = _cells(j * sw, kw, 1, width + 2 * pw)
            divisor = len(padded_ps) * len(padded_qs)
        else:
            divisor = len(ps) * len(qs)
        y[n, c, i, j] = sum(x.item(n, c, p, q) for p in ps for q in qs) / divisor
    return y


def max_pool2d(
    x: np.ndarray,
    kernel_size: Size,
    *,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The largest value of each window of an image, by the real part.

    Shapes
        x (N, C, H, W)  →  y (N, C, Ho, Wo)

    Definition
        y[n,c,i,j] = max x[n,c,p,q] over the cells (p, q) of window (i, j) in the image

    Conventions: padding is never chosen, since only cells in the image compete; a tie goes to
    the first cell in row-major order (values differ there only if complex); a NaN wins over
    any number. `stride=None` is `kernel_size`.
    """
    (kh, kw), (ph, pw), (dh, dw) = _pair(kernel_size), _pair(padding), _pair(dilation)
    sh, sw = _pair(kernel_size if stride is None else stride)
    images, channels, height, width = x.shape
    rows = _output_size(height, kh, sh, (ph, ph), dh, ceil_mode)
    columns = _output_size(width, kw, sw, (pw, pw), dw, ceil_mode)
    y = np.empty((images, channels, rows, columns), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        ps = _cells(i * sh - ph, kh, dh, height)
        qs = _cells(j * sw - pw, kw, dw, width)
        window = [x.item(n, c, p, q) for p in ps for q in qs]
        y[n, c, i, j] = max(window, key=lambda value: (value != value, value.real))
    return y


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """The affine map of each row.

    Shapes
        x (N, I), w (O, I), b (O,) or None  →  y (N, O)

    Definition
        y[n,o] = b[o] + Σ_i w[o,i] x[n,i]
    """
    y = np.empty((len(x), len(w)), x.dtype)
    for n, o in np.ndindex(y.shape):
        total = 0.0 if b is None else b.item(o)
        for i in range(w.shape[1]):
            total += w.item(o, i) * x.item(n, i)
        y[n, o] = total
    return y


def relu(x: np.ndarray) -> np.ndarray:
    """The positive part of each entry, by its real part.

    Shapes
        x, any shape  →  y, the same

    Definition
        y = 0 where Re x ≤ 0, else x; so NaN stays NaN
    """
    y = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = x.item(*index)
        y[index] = 0.0 if value.real <= 0 else value
    return y


def flatten(x: np.ndarray) -> np.ndarray:
    """Each image as one row, in row-major order.

    Shapes
        x (N, C, H, W)  →  y (N, C H W); the axes after the first may be of any number

    Definition
        y[n,k] = x[n,c,p,q] with k = (c H + p) W + q
    """
    y = np.empty((len(x), math.prod(x.shape[1:])), x.dtype)
    for n in range(len(x)):
        for k, index in enumerate(np.ndindex(x.shape[1:])):
            y[n, k] = x[n].item(*index)
    return y


def _shifted(line: list) -> list:
    """The entries x_k − max_l Re x_l: their softmax is the same, and exp cannot overflow."""
    largest = max(value.real for value in line)
    return [value - largest for value in line]


def _softmax(line: list) -> list:
    """The quotient exp x_k / Σ_l exp x_l for each entry of one line."""
    exponentials = [np.exp(value).item() for value in _shifted(line)]
    return [value / sum(exponentials) for value in exponentials]


def _log_softmax(line: list) -> list:
    """The difference x_k − log Σ_l exp x_l for each entry of one line."""
    shifted = _shifted(line)
    log_sum = np.log(sum(np.exp(value).item() for value in shifted)).item()
    return [value - log_sum for value in shifted]


def log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """The logarithm of the softmax along one axis.

    Shapes
        x, any shape  →  y, the same

    Definition, for each line of entries x_k along the axis
        y_k = x_k − log Σ_l exp x_l
    """
    y = np.empty_like(x)
    lines, y_lines = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)  # views
    for index in np.ndindex(lines.shape[:-1]):
        y_lines[index] = _log_softmax(lines[index].tolist())
    return y


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """The softmax along one axis.

    Shapes
        x, any shape  →  y, the same

    Definition, for each line of entries x_k along the axis
        y_k = exp x_k / Σ_l exp x_l
    """
    y = np.empty_like(x)
    lines, y_lines = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)  # views
    for index in np.ndindex(lines.shape[:-1]):
        y_lines[index] = _softmax(lines[index].tolist())
    return y


def _neighbours(i: int, factor: int, size: int) -> list[tuple[int, float]]:
    """The two input cells, with their weights, between which output cell i lies (bilinear).

    Cells are unit squares, and an output cell is 1/factor of one, so its centre lies at
        t = (i + ½) / factor − ½, held to 0 ≤ t ≤ size − 1
    in units where input cell p is centred at p. Cell ⌊t⌋ weighs 1 − (t − ⌊t⌋), the next one the
    rest; at the last cell, where the next would be outside, the rest is 0 and it stands in.
    """
    t = min(max((i + 0.5) / factor - 0.5, 0.0), size - 1.0)
    p = math.floor(t)
    return [(p, 1 - (t - p)), (min(p + 1, size - 1), t - p)]


def upsample(x: np.ndarray, factor: int, mode: str = "nearest") -> np.ndarray:
    """An image `factor` times as high and wide.

    Shapes
        x (N, C, H, W)  →  y (N, C, H factor, W factor)

    Definition
        "nearest"   y[n,c,i,j] = x[n, c, ⌊i / factor⌋, ⌊j / factor⌋]
        "bilinear"  y[n,c,i,j] = Σ_{p,q} weight(p) weight(q) x[n,c,p,q] over the 2×2 input cells
                    around the centre of output cell (i, j) (align_corners=False)
    """
    images, channels, height, width = x.shape
    y = np.empty((images, channels, height * factor, width * factor), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        if mode == "nearest":
            y[n, c, i, j] = x.item(n, c, i // factor, j // factor)
        else:
            y[n, c, i, j] = sum(
                weight_p * weight_q * x.item(n, c, p, q)
                for p, weight_p in _neighbours(i, factor, height)
                for q, weight_q in _neighbours(j, factor, width)
            )
    return y


def pixel_shuffle(x: np.ndarray, factor: int) -> np.ndarray:
    """Groups of factor² channels laid out as factor × factor blocks of pixels.

    Shapes
        x (N, C factor², H, W)  →  y (N, C, H factor, W factor)

    Definition
        y[n,c,i,j] = x[n, channel, ⌊i / factor⌋, ⌊j / factor⌋]
        channel = c factor² + (i mod factor) factor + (j mod factor)

    Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel Convolutional Neural Network", 2016, in PyTorch's order of channels.
    """
    images, channels, height, width = x.shape
    y = np.empty((images, channels // factor**2, height * factor, width * factor), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        channel = c * factor**2 + (i % factor) * factor + (j % factor)
        y[n, c, i, j] = x.item(n, channel, i // factor, j // factor)
    return y


# Losses


def _sign(x: Number) -> int:
    """−1, 0 or 1, by the real part."""
    return (x.real > 0) - (x.real < 0)


def _absolute(x: Number) -> Number:
    """|x| as x sign(Re x), which is analytic: for complex numbers not the modulus."""
    return x * _sign(x)


def _product(x: list, y: list) -> Number:
    """The sum Σ_d x_d y_d."""
    return sum(one * other for one, other in zip(x, y, strict=True))


def _length(x: list) -> Number:
    """The root √Σ_d x_d², the principal one."""
    return np.sqrt(_product(x, x)).item()


def _unit(x: list, epsilon: float = 0.0) -> list:
    """The entries x_d / (‖x‖ + ε), or zeros where ‖x‖ is 0."""
    length = _length(x)
    return [0.0 if length == 0 else value / (length + epsilon) for value in x]


def _centred(x: list) -> list:
    """The entries x_d less their mean."""
    mean = sum(x) / len(x)
    return [value - mean for value in x]


def _rows(features: np.ndarray) -> list:
    """Features (B, …) as B lists of numbers, in row-major order."""
    return [one.ravel().tolist() for one in features]


def _maps(features: np.ndarray) -> list:
    """Maps (B, C, H, W) as B lists of C lists of H·W numbers, in row-major order."""
    return [_rows(one) for one in features]


def l2(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    reduction: str = "batchmean",
    half: bool = True,
    temperature: float = 1.0,
    temperature_squared: bool = False,
    variant: str = "paper",
) -> Number | np.ndarray:
    """Half the squared difference, ½ (student − teacher)².

    Shapes
        student, teacher (B, …), the same shape  →  a number; with "none" an array of that shape

    Definition, with Δ = f(student / T) − f(teacher / T) along the last axis, where f is nothing,
    or with variant "probabilities" softmax, with "log-probabilities" log softmax
        "none"         ½ T² Δ² for each entry; without the ½ unless `half`, and without the T²
                       unless `temperature_squared`
        "sum"          the sum of these
        "batchmean"    their sum / B
        "elementmean"  their sum / number of entries
    """
    transforms: dict[str, Callable[[list], list]] = {
        "paper": list,
        "probabilities": _softmax,
        "log-probabilities": _log_softmax,
    }
    f = transforms[variant]
    factor = (0.5 if half else 1.0) * (temperature**2 if temperature_squared else 1.0)
    losses = []
    for index in np.ndindex(student.shape[:-1]):
        s = f([value / temperature for value in student[index].tolist()])
        t = f([value / temperature for value in teacher[index].tolist()])
        for k in range(len(s)):
            delta = s[k] - t[k]
            losses.append(factor * delta * delta)
    if reduction == "none":
        return np.array(losses, student.dtype).reshape(student.shape)
    divisor = {"sum": 1, "batchmean": len(student), "elementmean": student.size}[reduction]
    return sum(losses) / divisor


def l1(
    student: np.ndarray, teacher: np.ndarray, *, reduction: str = "batchmean"
) -> Number | np.ndarray:
    """The absolute difference |student − teacher|.

    Shapes
        student, teacher (B, …), the same shape  →  a number; with "none" an array of that shape

    Definition, with Δ = student − teacher
        "none"         |Δ| for each entry
        "sum"          the sum of these
        "batchmean"    their sum / B
        "elementmean"  their sum / number of entries
    """
    losses = []
    for index in np.ndindex(student.shape):
        delta = student.item(*index) - teacher.item(*index)
        losses.append(_absolute(delta))
    if reduction == "none":
        return np.array(losses, student.dtype).reshape(student.shape)
    divisor = {"sum": 1, "batchmean": len(student), "elementmean": student.size}[reduction]
    return sum(losses) / divisor


def _huber(difference: Number, delta: float) -> Number:
    """½ Δ² where |Re Δ| ≤ δ, else δ (|Δ| − ½ δ)."""
    if abs(difference.real) <= delta:
        return 0.5 * difference * difference
    return delta * (_absolute(difference) - 0.5 * delta)


def huber(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    delta: float = 1.0,
    reduction: str = "batchmean",
    variant: str = "paper",
) -> Number | np.ndarray:
    """Half the square of a small difference, and its absolute value, shifted, of a large one.

    Shapes
        student, teacher (B, …), the same shape  →  a number; with "none" an array of that shape

    Definition, with Δ = student − teacher
        "none"         h(Δ) for each entry: ½ Δ² where |Δ| ≤ δ, else δ (|Δ| − ½ δ);
                       with variant "smooth" h(Δ) / δ
        "sum"          the sum of these
        "batchmean"    their sum / B
        "elementmean"  their sum / number of entries
    """
    losses = []
    for index in np.ndindex(student.shape):
        h = _huber(student.item(*index) - teacher.item(*index), delta)
        losses.append(h / delta if variant == "smooth" else h)
    if reduction == "none":
        return np.array(losses, student.dtype).reshape(student.shape)
    divisor = {"sum": 1, "batchmean": len(student), "elementmean": student.size}[reduction]
    return sum(losses) / divisor


def cross_entropy(
    logits: np.ndarray, labels: np.ndarray, *, reduction: str = "batchmean"
) -> Number | np.ndarray:
    """The negative log-likelihood of the labels under softmax(logits).

    Shapes
        logits (B, C), labels (B,) integers in 0 … C−1  →  a number; with "none" an array (B,)

    Definition
        "none"       ℓ[n] = −log softmax(logits[n])[labels[n]]
        "sum"        Σ_n ℓ[n]
        "batchmean"  Σ_n ℓ[n] / B
    """
    losses = [-_log_softmax(logits[n].tolist())[labels.item(n)] for n in range(len(logits))]
    if reduction == "none":
        return np.array(losses, logits.dtype)
    divisor = {"sum": 1, "batchmean": len(logits)}[reduction]
    return sum(losses) / divisor


def mix(
    student: np.ndarray,
    teacher: np.ndarray,
    labels: np.ndarray,
    *,
    alpha: float,
    soft: Callable[[np.ndarray, np.ndarray], Number | np.ndarray] = l2,
    hard: Callable[[np.ndarray, np.ndarray], Number | np.ndarray] = cross_entropy,
) -> Number | np.ndarray:
    """The labels' loss and the teacher's, in shares of 1 − alpha and alpha.

    Shapes
        student, teacher (B, C), labels (B,) integers in 0 … C−1  →  a number

    Definition, both losses the mean over the batch
        (1 − alpha) hard(student, labels) + alpha soft(student, teacher)
    """
    return (1 - alpha) * hard(student, labels) + alpha * soft(student, teacher)


def _softened(logits: np.ndarray, temperature: float) -> tuple[list, list]:
    """The softmax of logits / T for each sample, and its logarithm."""
    lines = [[value / temperature for value in line] for line in logits.tolist()]
    return [_softmax(line) for line in lines], [_log_softmax(line) for line in lines]


def kl(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    temperature: float = 4.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
    variant: str = "paper",
) -> Number | np.ndarray:
    """The Kullback-Leibler divergence of the teacher's and the student's softened probabilities.

    Shapes
        student, teacher (B, C)  →  a number; with "none" an array (B,)

    Definition, with p = softmax(teacher / T), q = softmax(student / T)
        "none"         T² Σ_c p (log p − log q), without the T² unless `temperature_squared`;
                       with variant "reversed"  T² Σ_c q (log q − log p)
                       "unlogged"               T² Σ_c p (log p − q)
                       "reversed unlogged"      T² Σ_c q (log q − p)
        "sum"          the sum of these over b
        "batchmean"    their sum / B
        "elementmean"  their sum / (B C)
    """
    batch, classes = student.shape
    (p, log_p), (q, log_q) = _softened(teacher, temperature), _softened(student, temperature)
    factor = temperature**2 if temperature_squared else 1.0
    losses = []
    for b in range(batch):
        total = 0.0
        for c in range(classes):
            total += {
                "paper": p[b][c] * (log_p[b][c] - log_q[b][c]),
                "reversed": q[b][c] * (log_q[b][c] - log_p[b][c]),
                "unlogged": p[b][c] * (log_p[b][c] - q[b][c]),
                "reversed unlogged": q[b][c] * (log_q[b][c] - p[b][c]),
            }[variant]
        losses.append(factor * total)
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": batch, "elementmean": batch * classes}[reduction]
    return sum(losses) / divisor


def soft_cross_entropy(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    temperature: float = 4.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
) -> Number | np.ndarray:
    """The cross-entropy of the student with the teacher's softened probabilities.

    Shapes
        student, teacher (B, C)  →  a number; with "none" an array (B,)

    Definition, with p = softmax(teacher / T), q = softmax(student / T)
        "none"         −T² Σ_c p log q, without the T² unless `temperature_squared`
        "sum"          the sum of these over b
        "batchmean"    their sum / B
        "elementmean"  their sum / (B C)
    """
    batch, classes = student.shape
    (p, _), (_, log_q) = _softened(teacher, temperature), _softened(student, temperature)
    factor = temperature**2 if temperature_squared else 1.0
    losses = [-factor * _product(p[b], log_q[b]) for b in range(batch)]
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": batch, "elementmean": batch * classes}[reduction]
    return sum(losses) / divisor


def limit(
    student: np.ndarray, teacher: np.ndarray, *, reduction: str = "batchmean"
) -> Number | np.ndarray:
    """Half the variance, over the classes, of the difference of logits.

    Shapes
        student, teacher (B, C)  →  a number; with "none" an array (B,)

    Definition, with Δ = student − teacher
        "none"         Σ_c (Δ[b,c] − Σ_k Δ[b,k] / C)² / 2C
        "sum"          the sum of these over b
        "batchmean"    their sum / B
        "elementmean"  their sum / (B C)
    """
    batch, classes = student.shape
    losses = []
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        centred = _centred([s[c] - t[c] for c in range(classes)])
        losses.append(_product(centred, centred) / (2 * classes))
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": batch, "elementmean": batch * classes}[reduction]
    return sum(losses) / divisor


def _divergence(teacher: list, student: list) -> Number:
    """The sum Σ_c p (log p − log q) for p, q the softmax of two lines of logits."""
    p, log_p, log_q = _softmax(teacher), _log_softmax(teacher), _log_softmax(student)
    return sum(p[c] * (log_p[c] - log_q[c]) for c in range(len(p)))


def _log_sum_exp(line: list) -> Number:
    """The logarithm log Σ_k exp x_k, as x_0 − log softmax(x)_0."""
    return line[0] - _log_softmax(line)[0]


def dkd(
    student: np.ndarray,
    teacher: np.ndarray,
    labels: np.ndarray,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
) -> Number | np.ndarray:
    """The divergence of the label's class from the rest, and that of the rest, each weighted.

    Shapes
        student, teacher (B, C), labels (B,) integers in 0 … C−1  →  a number; "none" an array (B,)

    Definition, with z = student / T, l the label, o = log Σ_{c≠l} exp z[c], likewise the teacher
        TCKD = Σ p (log p − log q) over two classes, p, q = softmax(z[l], o) of teacher, student
        NCKD = Σ p (log p − log q) over the classes c ≠ l, p, q = softmax(z[c], c ≠ l) likewise
        "none"       T² (α TCKD + β NCKD), without the T² unless `temperature_squared`
        "sum"        the sum of these over b
        "batchmean"  their sum / B
    """
    factor = temperature**2 if temperature_squared else 1.0
    losses = []
    for b, label in enumerate(labels.tolist()):
        z_s = [value / temperature for value in student[b].tolist()]
        z_t = [value / temperature for value in teacher[b].tolist()]
        rest_s = [value for c, value in enumerate(z_s) if c != label]
        rest_t = [value for c, value in enumerate(z_t) if c != label]
        two_s = [z_s[label], _log_sum_exp(rest_s)]
        two_t = [z_t[label], _log_sum_exp(rest_t)]
        tckd, nckd = _divergence(two_t, two_s), _divergence(rest_t, rest_s)
        losses.append(factor * (alpha * tckd + beta * nckd))
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": len(student)}[reduction]
    return sum(losses) / divisor


def _correlation(x: list, y: list, epsilon: float) -> Number:
    """Σ x̃ ỹ / (‖x̃‖ ‖ỹ‖ + ε), x̃ = x − mean x, ỹ = y − mean y; 0 where x or y is constant."""
    x, y = _centred(x), _centred(y)
    lengths = _length(x) * _length(y)
    return 0.0 if lengths == 0 else _product(x, y) / (lengths + epsilon)


def dist(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    temperature_squared: bool = True,
    epsilon: float = 0.0,
) -> Number:
    """One minus the correlation of probabilities, over classes and over samples.

    Shapes
        student, teacher (B, C)  →  a number

    Definition, with q = softmax(student / T), p = softmax(teacher / T)
        ρ(x, y) = Σ x̃ ỹ / (‖x̃‖ ‖ỹ‖ + ε), x̃ = x − mean x, ỹ = y − mean y; 0 for a constant
        inter = 1 − Σ_b ρ(q[b,:], p[b,:]) / B
        intra = 1 − Σ_c ρ(q[:,c], p[:,c]) / C
        T² (β inter + γ intra), without the T² unless `temperature_squared`
    """
    batch, classes = student.shape
    (q, _), (p, _) = _softened(student, temperature), _softened(teacher, temperature)
    factor = temperature**2 if temperature_squared else 1.0
    inter = 1 - sum(_correlation(q[b], p[b], epsilon) for b in range(batch)) / batch
    q_of, p_of = ([list(of) for of in zip(*rows, strict=True)] for rows in (q, p))  # by class
    intra = 1 - sum(_correlation(q_of[c], p_of[c], epsilon) for c in range(classes)) / classes
    return factor * (beta * inter + gamma * intra)


def standardize(logits: np.ndarray, *, ddof: int = 0, epsilon: float = 1e-7) -> np.ndarray:
    """Logits less their mean, divided by their standard deviation, for each sample.

    Shapes
        logits (B, C)  →  y (B, C)

    Definition, with m[b] = Σ_c x[b,c] / C
        s[b] = √(Σ_c (x[b,c] − m[b])² / (C − ddof))
        y[b,c] = (x[b,c] − m[b]) / (ε + s[b]), or 0 where s[b] is 0
    """
    batch, classes = logits.shape
    y = np.empty_like(logits)
    for b in range(batch):
        centred = _centred(logits[b].tolist())
        s = np.sqrt(_product(centred, centred) / (classes - ddof)).item()
        for c in range(classes):
            y[b, c] = 0.0 if s == 0 else centred[c] / (epsilon + s)
    return y


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
    for s, t in zip(_maps(student), _maps(teacher), strict=True):
        q, r = _unit(_activity(s, power), epsilon), _unit(_activity(t, power), epsilon)
        delta = [q[i] - r[i] for i in range(len(q))]
        losses.append(_product(delta, delta) if variant == "squared" else _length(delta))
    if reduction == "none":
        return np.array(losses, student.dtype)
    entries = len(student) * student.shape[2] * student.shape[3]
    divisor = {"sum": 1, "batchmean": len(student), "elementmean": entries}[reduction]
    return sum(losses) / divisor


def _activity(channels: list, power: float) -> list:
    """Σ_c |x[c,i]|^power / C for each position i."""
    cells = zip(*channels, strict=True)
    return [sum(_absolute(x) ** power for x in cell) / len(cell) for cell in cells]


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
        "sum"        the sum of these over b
        "batchmean"  their sum / B
    """
    losses = []
    for of_student, of_teacher in zip(_maps(student), _maps(teacher), strict=True):
        s, t = ([_unit(x, epsilon) for x in channels] for channels in (of_student, of_teacher))
        own, others, both = (
            sum(_product(x, y) ** 2 for x in first for y in second) / (len(first) * len(second))
            for first, second in ((s, s), (t, t), (s, t))
        )
        losses.append(own + others - 2 * both)
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
            total += _product(delta, delta) if variant == "squared" else _length(delta)
    entries = batch * columns * (rows if variant == "squared" else 1)
    return total / {"sum": 1, "batchmean": batch, "elementmean": entries}[reduction]


def _flow(first: np.ndarray, second: np.ndarray) -> list:
    """G[b][c][d] = Σ_i f[b,c,i] g[b,d,i] / (H W), over the positions i."""
    return [
        [[_product(x, y) / len(x) for y in of_second] for x in of_first]
        for of_first, of_second in zip(_maps(first), _maps(second), strict=True)
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


def _products(rows: list) -> list:
    """The products Σ_d x[i,d] x[j,d] of all pairs of rows."""
    return [[_product(x, y) for y in rows] for x in rows]


def _shares(x: list) -> list:
    """The entries x_k / Σ_l |x_l|, or zeros where the sum is 0."""
    total = sum(_absolute(value) for value in x)
    return [0.0 if total == 0 else value / total for value in x]


def similarity(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    reduction: str = "elementmean",
    variant: str = "paper",
) -> Number:
    """The squared difference of which samples activate a net alike, in student and teacher.

    Shapes
        student (B, …), teacher (B, …)  →  a number

    Definition, with P[i,j] = Σ_d f[i,d] f[j,d] for features f as rows, G[i] = P[i] / ‖P[i]‖, with
    variant "l1" P[i] / Σ_j |P[i,j]|, or 0 where that is 0, and G' likewise of the teacher
        "sum"          Σ_{i,j} (G − G')²
        "batchmean"    the same / B
        "elementmean"  the same / B²
    """
    batch = len(student)
    divided = _unit if variant == "paper" else _shares
    g = [divided(row) for row in _products(_rows(student))]
    of_teacher = [divided(row) for row in _products(_rows(teacher))]
    total: Number = 0.0
    for i, j in np.ndindex(batch, batch):
        total += (g[i][j] - of_teacher[i][j]) ** 2
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**2}[reduction]


def _difference(x: list, y: list) -> list:
    return [one - other for one, other in zip(x, y, strict=True)]


def _distances_by_mean(features: np.ndarray) -> list:
    """d[i,j] / μ, d[i,j] = ‖f[i] − f[j]‖, μ the mean of those d with Re d > 0; 0 if none has."""
    rows = _rows(features)
    d = [[_length(_difference(x, y)) for y in rows] for x in rows]
    apart = [value for line in d for value in line if value.real > 0]
    mean = sum(apart) / len(apart) if apart else 1.0
    return [[value / mean for value in line] for line in d]


def rkd_distance(
    student: np.ndarray, teacher: np.ndarray, *, delta: float = 1.0, reduction: str = "elementmean"
) -> Number:
    """The difference of distances between samples, by Huber's loss, in student and teacher.

    Shapes
        student (B, …), teacher (B, …)  →  a number

    Definition, with d[i,j] = ‖f[i] − f[j]‖ for features f as rows, μ the mean of those d above 0,
    ψ = d / μ, ψ' likewise of the teacher, and h as in `huber`
        "sum"          Σ_{i,j} h(ψ[i,j] − ψ'[i,j])
        "batchmean"    the same / B
        "elementmean"  the same / B²
    """
    batch = len(student)
    psi, of_teacher = _distances_by_mean(student), _distances_by_mean(teacher)
    total: Number = 0.0
    for i, j in np.ndindex(batch, batch):
        total += _huber(psi[i][j] - of_teacher[i][j], delta)
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**2}[reduction]


def _angles(features: np.ndarray) -> list:
    """ψ[i][j][k] = Σ_d e[i,j,d] e[i,k,d], e[i,j] = (f[j] − f[i]) / ‖f[j] − f[i]‖, or 0."""
    rows = _rows(features)
    return [_products([_unit(_difference(y, x)) for y in rows]) for x in rows]


def rkd_angle(
    student: np.ndarray, teacher: np.ndarray, *, delta: float = 1.0, reduction: str = "elementmean"
) -> Number:
    """The difference of angles between samples, by Huber's loss, in student and teacher.

    Shapes
        student (B, …), teacher (B, …)  →  a number

    Definition, with e[i,j] = (f[j] − f[i]) / ‖f[j] − f[i]‖ for features f as rows, or 0 where the
    length is 0, ψ[i,j,k] = Σ_d e[i,j,d] e[i,k,d], ψ' likewise of the teacher, and h as in `huber`
        "sum"          Σ_{i,j,k} h(ψ[i,j,k] − ψ'[i,j,k])
        "batchmean"    the same / B
        "elementmean"  the same / B³
    """
    batch = len(student)
    psi, of_teacher = _angles(student), _angles(teacher)
    total: Number = 0.0
    for i, j, k in np.ndindex(batch, batch, batch):
        total += _huber(psi[i][j][k] - of_teacher[i][j][k], delta)
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**3}[reduction]


def _choices(features: np.ndarray, epsilon: float) -> list:
    """s[i,j] / Σ_k s[i,k], s[i,j] = (Σ_d u[i,d] u[j,d] + 1) / 2, u[i] = f[i] / (‖f[i]‖ + ε)."""
    choices = []
    for cosines in _products([_unit(row, epsilon) for row in _rows(features)]):
        s = [0.0 if value.real < -1 else (value + 1) / 2 for value in cosines]
        choices.append([value / sum(s) for value in s])
    return choices


def pkt(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    epsilon: float = 1e-7,
    reduction: str = "elementmean",
) -> Number:
    """The divergence of how likely one sample picks another, in teacher and student.

    Shapes
        student (B, …), teacher (B, …)  →  a number

    Definition, with u[i] = f[i] / (‖f[i]‖ + ε) for features f as rows, or 0 where the length is 0,
    s[i,j] = (Σ_d u[i,d] u[j,d] + 1) / 2, q[i,j] = s[i,j] / Σ_k s[i,k], p likewise of the teacher
        "sum"          Σ_{i,j} p log((p + ε) / (q + ε))
        "batchmean"    the same / B
        "elementmean"  the same / B²
    where a cosine below −1, by rounding or by the real part of a complex one, has s = 0
    """
    batch = len(student)
    p, q = _choices(teacher, epsilon), _choices(student, epsilon)
    total: Number = 0.0
    for i, j in np.ndindex(batch, batch):
        total += p[i][j] * np.log((p[i][j] + epsilon) / (q[i][j] + epsilon)).item()
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**2}[reduction]


def _kernel(c: Number, gamma: float, order: int) -> Number:
    """Σ_{p=0}^{order} e^{−2γ} (2γ)^p / p! c^p."""
    return sum(
        math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) * c**p for p in range(order + 1)
    )


def cc(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    gamma: float = 0.4,
    order: int = 2,
    reduction: str = "elementmean",
    variant: str = "paper",
) -> Number:
    """The squared difference of a kernel between samples, in student and teacher.

    Shapes
        student (B, …), teacher (B, …)  →  a number; with variant "consecutive" of one shape

    Definition, with c[i,j] = Σ_d u[i,d] u[j,d] for u[i] = f[i] / ‖f[i]‖, or 0 where the length is
    0, f the features as rows, K[i,j] = Σ_{p=0}^{order} e^{−2γ} (2γ)^p / p! c[i,j]^p, K' likewise
        "sum"          Σ_{i,j} (K − K')²
        "batchmean"    the same / B
        "elementmean"  the same / B²
    with variant "bilinear" u = f and K = c; with "norm" u = f, and √Σ_{i,j} (K − K')² for the sum
    with variant "consecutive" another loss, a[i,d] = |f[i,d] − f'[i,d]|
        "sum"                       Σ_{i<B−1} Σ_d a[i,d] a[i+1,d], for i from 0
        "batchmean", "elementmean"  the same / (B − 1), or / 1 where B is 1
    """
    batch = len(student)
    rows, of_teacher = _rows(student), _rows(teacher)
    total: Number = 0.0
    if variant == "consecutive":
        a = [
            [_absolute(value) for value in _difference(x, y)]
            for x, y in zip(rows, of_teacher, strict=True)
        ]
        for i in range(batch - 1):
            total += _product(a[i], a[i + 1])
        return total if reduction == "sum" else total / max(1, batch - 1)
    if variant == "paper":
        rows, of_teacher = ([_unit(row) for row in one] for one in (rows, of_teacher))
    k, k_of_teacher = _products(rows), _products(of_teacher)
    for i, j in np.ndindex(batch, batch):
        ours, theirs = k[i][j], k_of_teacher[i][j]
        if variant != "bilinear":
            ours, theirs = _kernel(ours, gamma, order), _kernel(theirs, gamma, order)
        total += (ours - theirs) ** 2
    if variant == "norm":
        total = np.sqrt(total).item()
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**2}[reduction]


# Optimiser


def sgd(
    params: dict[str, np.ndarray],
    grads: dict[str, np.ndarray],
    velocity: dict[str, np.ndarray],
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """One step of gradient descent with momentum μ and weight decay λ, in PyTorch's convention.

    Shapes
        params, grads, velocity: arrays of one shape under each name; velocity is 0 at first
        →  (new params, new velocity), new arrays of those shapes

    Definition, for each entry θ with gradient g and velocity v
        v ← μ v + (g + λ θ)
        θ ← θ − lr v
    """
    new_params = {name: np.empty_like(array) for name, array in params.items()}
    new_velocity = {name: np.empty_like(array) for name, array in params.items()}
    for name, array in params.items():
        for index in np.ndindex(array.shape):
            theta, g, v = (arrays[name].item(*index) for arrays in (params, grads, velocity))
            v = momentum * v + (g + weight_decay * theta)
            new_velocity[name][index] = v
            new_params[name][index] = theta - lr * v
    return new_params, new_velocity
