"""Right computations, written as others write them: transforms, emulated products, other formulas.

All in NumPy and float32; FORMULAS makes random cases of the last, with their results. Of a case on
conv2d and its backward pass, `convolution(case, product)` gives the results, where `product(x, w)`
is the correlation of all images with all kernels, stride 1 and no padding,
(N, C, H, W) and (O, C, h, w) → (N, O, H − h + 1, W − w + 1):

    winograd(m)     Toom and Cook's, m × m outputs a tile, on the points that libraries take
    fourier         products of Fourier transforms
    emulated(…)     sums of products of parts in bfloat16 or TF32
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.special import erf, erfc

from npkd import ops
from npkd.validate import Case, Operation, by_npkd
from npkd.validate.bounds.rounding import BFLOAT16, TF32, Precision
from npkd.validate.questions.numbers import normal

F32 = np.float32
Arrays = dict[str, np.ndarray]
Product = Callable[[np.ndarray, np.ndarray], np.ndarray]
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 4.0, -4.0, 0.25)  # Lavin and Gray 2015, wincnn


def convolution(case: Case, product: Product) -> Arrays:
    """The results of conv2d and its backward pass at stride 1, in one group, by this product."""
    x, w, dy = (case.inputs[name] for name in ("x", "w", "dy"))
    (rows, columns) = np.broadcast_to(case.operations[0].options.get("padding", 0), 2).tolist()
    height, width = w.shape[2:]

    def padded(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
        return np.pad(images, ((0, 0), (0, 0), (rows, rows), (columns, columns)))

    wide = padded(x, rows, columns)
    back = product(
        padded(dy, height - 1, width - 1),
        np.ascontiguousarray(w.transpose(1, 0, 2, 3)[..., ::-1, ::-1]),
    )
    found = {
        "y": product(wide, w),
        "dx": back[:, :, rows : rows + x.shape[2], columns : columns + x.shape[3]],
        "dw": product(wide.transpose(1, 0, 2, 3), dy.transpose(1, 0, 2, 3)).transpose(1, 0, 2, 3),
    }
    if "b" in case.inputs:
        found["y"] = found["y"] + case.inputs["b"].reshape(-1, 1, 1)
        found["db"] = dy.sum(axis=(0, 2, 3))
    return found


def program(case: Case, product: Product) -> Arrays:
    """All tensors of a case, its convolutions, at stride 1, by this product."""
    known = dict(case.inputs)
    for operation in case.operations:
        inputs = {name: known[tensor] for name, tensor in operation.inputs.items()}
        if operation.op in ("conv2d", "conv2d_backward"):
            y, _ = ops.conv2d(inputs["x"], inputs["w"], **operation.options)
            forward = Operation("conv", "conv2d", {}, {}, operation.options)
            given = {"dy": np.zeros_like(y)} | inputs
            results = convolution(Case("conv", "conv2d", "", given, (forward,)), product)
        else:
            results = by_npkd.computed(operation.op, inputs, operation.options)
        known |= {to: np.asarray(results[name]) for name, to in operation.outputs.items()}
    return {tensor: known[tensor] for tensor in case.tensors()}


# Winograd


def toom_cook(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ (m, n), G (n, r) and Bᵀ (n, n) of y = Aᵀ ((G g) ⊙ (Bᵀ d)), n = m + r − 1."""
    n = m + r - 1

    def powers(count: int) -> np.ndarray:
        finite = np.array(POINTS[: n - 1])[:, np.newaxis] ** np.arange(count)
        return np.vstack([finite, np.arange(count) == count - 1])

    return powers(m).T, powers(r), np.linalg.inv(powers(n)).T


def winograd(m: int) -> Product:
    """A product in tiles of m × m outputs; of long kernels, such as dy for dw, piece by piece."""

    def product(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        height, width = w.shape[2:]
        if max(height, width) <= 3:
            return _in_tiles(x, w, m)
        rows, columns = x.shape[2] - height + 1, x.shape[3] - width + 1
        y = np.zeros((len(x), len(w), rows, columns), F32)
        for top in range(0, height, m):  # F(r × r, m × m): the roles of tile and kernel exchanged
            for left in range(0, width, m):
                piece = w[:, :, top : top + m, left : left + m]
                window = x[
                    :,
                    :,
                    top : top + rows + piece.shape[2] - 1,
                    left : left + columns + piece.shape[3] - 1,
                ]
                y += _in_tiles(window, piece, 3)
        return y

    return product


def _in_tiles(x: np.ndarray, w: np.ndarray, m: int) -> np.ndarray:
    """Tiles of m × m outputs, the last ones filled up with zeros."""
    (height, width), kernel = x.shape[2:], w.shape[2:]
    rows, columns = height - kernel[0] + 1, width - kernel[1] + 1
    (a, g, b), (c, h, d) = (tuple(one.astype(F32) for one in toom_cook(m, size)) for size in kernel)
    down, right = -(-rows // m), -(-columns // m)
    more = down * m + kernel[0] - 1 - height, right * m + kernel[1] - 1 - width
    x = np.pad(x, ((0, 0), (0, 0), (0, more[0]), (0, more[1])))
    tile = len(b), len(d)
    tiles = np.lib.stride_tricks.sliding_window_view(x, tile, (2, 3))[:, :, ::m, ::m]
    of_x = b @ np.ascontiguousarray(tiles) @ d.T  # (N, C, down, right, n, n)
    of_w = g @ np.ascontiguousarray(w) @ h.T  # (O, C, n, n)
    products = np.einsum("ncpqij,ocij->nopqij", of_x, of_w, optimize=True).astype(F32)
    y = a @ products @ c.T
    y = y.transpose(0, 1, 2, 4, 3, 5).reshape(len(x), len(w), down * m, right * m)
    return y[:, :, :rows, :columns]


# Fourier


def fourier(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """A product of Fourier transforms, which are in complex64."""
    from scipy import fft

    size = x.shape[2:]
    of_x, of_w = (fft.rfft2(np.asarray(one, F32), size) for one in (x, w))
    products = np.einsum("ncij,ocij->noij", of_x, of_w.conj(), optimize=True)
    y = fft.irfft2(products.astype(np.complex64), size)
    return y[:, :, : size[0] - w.shape[2] + 1, : size[1] - w.shape[3] + 1].astype(F32)


# Products of parts


def emulated(precision: Precision, parts: int, kept: int, inner: Product) -> Product:
    """A product of factors that are sums of parts in a lower precision, of which the largest count.

    kept: parts i and j, counted from 0, are multiplied where i + j < kept. Three products of
    bfloat16 are two parts and kept = 2; six are three parts and kept = 3; nine, three and 5.
    """

    def product(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        of_x, of_w = _parts(x, precision, parts), _parts(w, precision, parts)
        pairs = [(i, j) for i in range(parts) for j in range(parts) if i + j < kept]
        terms = [inner(of_x[i], of_w[j]) for i, j in sorted(pairs, key=sum, reverse=True)]
        return np.sum(terms, axis=0, dtype=F32)

    return product


def _parts(x: np.ndarray, precision: Precision, count: int) -> list[np.ndarray]:
    """x rounded, what is left rounded, and so on."""
    parts, left = [], x.astype(np.float64)
    for _ in range(count):
        parts.append(precision.round(left).astype(F32))
        left = left - parts[-1]
    return parts


def directly(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """A product as it is defined, in float32."""
    return ops.conv2d(np.ascontiguousarray(x), np.ascontiguousarray(w))[0]


TRANSFORMS = {f"F({m}, 3)": winograd(m) for m in range(2, 7)} | {"Fourier": fourier}
EMULATED = {
    "three bfloat16 products": emulated(BFLOAT16, 2, 2, directly),
    "six bfloat16 products": emulated(BFLOAT16, 3, 3, directly),
    "nine bfloat16 products": emulated(BFLOAT16, 3, 5, directly),
    "three TF32 products": emulated(TF32, 2, 2, directly),
}


# Other formulas


def integral_image(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Means of windows by four sums each, which all begin in the image's corner."""
    sums = np.pad(x.cumsum(axis=2).cumsum(axis=3), ((0, 0), (0, 0), (1, 0), (1, 0)))
    rows, columns = (np.arange(0, cells - size + 1, stride)[:, np.newaxis] for cells in x.shape[2:])
    top, bottom, left, right = rows, rows + size, columns.T, columns.T + size
    total = sums[:, :, bottom, right] - sums[:, :, top, right]
    total = total - sums[:, :, bottom, left] + sums[:, :, top, left]
    return (total / F32(size * size)).astype(F32)


def standardized(x: np.ndarray, ddof: int = 1, epsilon: float = 1e-7) -> np.ndarray:
    """Rows less their mean, divided by a deviation √(E[x²] − m²)."""
    mean, count = x.mean(axis=1, keepdims=True, dtype=F32), x.shape[1]
    variance = (x * x).mean(axis=1, keepdims=True, dtype=F32) - mean * mean
    deviation = np.sqrt(np.maximum(variance * F32(count / (count - ddof)), 0))
    return (x - mean) / (deviation + F32(epsilon))


def l2_by_norm(student: np.ndarray, teacher: np.ndarray) -> Arrays:
    """½ ‖s − t‖² / B as a norm's square, and its gradient n · (Δ / n) / B."""
    d = (student - teacher).astype(F32)
    norm = np.sqrt((d * d).sum(dtype=F32))
    count = F32(len(d))
    gradient = norm * (d / norm) / count if norm else np.zeros_like(d)
    return {"value": np.asarray(F32(0.5) * norm * norm / count), "gradient": gradient}


def l2_by_squares(student: np.ndarray, teacher: np.ndarray) -> Arrays:
    """½ Σ (s² − 2 s t + t²) / B, and its gradient (s − t) / B."""
    s, t, count = student, teacher, F32(len(student))
    value = F32(0.5) * ((s * s).sum(dtype=F32) - F32(2) * (s * t).sum(dtype=F32))
    value = value + F32(0.5) * (t * t).sum(dtype=F32)
    return {"value": np.asarray(value / count), "gradient": (s - t) / count}


def bilinear_by_lerp(x: np.ndarray, factor: int) -> np.ndarray:
    """Rows, then columns, as a + λ (b − a)."""
    for axis in (2, 3):
        count = x.shape[axis]
        at = np.clip((np.arange(count * factor) + 0.5) / factor - 0.5, 0, count - 1)
        low = np.floor(at).astype(int)
        share = (at - low).astype(F32).reshape(-1, 1) if axis == 2 else (at - low).astype(F32)
        a, b = (np.take(x, np.minimum(of, count - 1), axis) for of in (low, low + 1))
        x = a + share * (b - a)
    return x


def softmax_by_logarithm(x: np.ndarray) -> np.ndarray:
    """exp(x − log Σ exp x)."""
    return np.exp(x - np.log(np.exp(x).sum(axis=1, keepdims=True, dtype=F32)))


def softmax_by_powers(x: np.ndarray) -> np.ndarray:
    """2^(x log₂ e), less the largest."""
    z = x * F32(np.log2(np.e))
    powers = np.exp2(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def batch_norm(order: str, x: Any, mean: Any, variance: Any, w: Any, b: Any) -> np.ndarray:
    """In evaluation mode: as its definition has it, or folded into factors and shifts."""
    mean, variance, w, b = (one.reshape(-1, 1, 1) for one in (mean, variance, w, b))
    factor = w / np.sqrt(variance + F32(1e-5))
    if order == "centred":
        return (x - mean) * factor + b
    if order == "folded":
        return (x * factor - mean * factor) + b
    return x * factor + (b - mean * factor)


def decayed(theta: np.ndarray, g: np.ndarray, lr: float, decay: float) -> np.ndarray:
    """SGD as θ (1 − lr λ) − lr g."""
    return theta * F32(1 - lr * decay) - F32(lr) * g


def flushed(x: np.ndarray) -> np.ndarray:
    """Numbers below the smallest normal one as 0."""
    return np.where(np.abs(x) < np.finfo(F32).tiny, F32(0), x)


def rounded_to(precision: Precision, case: Case) -> Arrays:
    """What npkd gives if every operation rounds its inputs and its results."""

    def low(x: np.ndarray) -> np.ndarray:
        return precision.round(x.astype(np.float64)).astype(F32) if x.dtype.kind == "f" else x

    known = dict(case.inputs)
    for operation in case.operations:
        inputs = {name: low(known[tensor]) for name, tensor in operation.inputs.items()}
        results = by_npkd.computed(operation.op, inputs, operation.options)
        known |= {to: low(np.asarray(results[name])) for name, to in operation.outputs.items()}
    return {tensor: known[tensor] for tensor in case.tensors()}


# Random cases of them, with results

Answered = tuple[Case, Arrays]


def answered(op: str, inputs: Arrays, results: Arrays, **options: Any) -> Answered:
    """A case of one operation, whose tensors are called as its arguments and results."""
    names = {name: name for name in inputs}
    operation = Operation(op, op, names, {name: f"found {name}" for name in results}, options)
    case = Case(op, op, "", inputs, (operation,))
    return case, {f"found {name}": np.asarray(x) for name, x in results.items()}


def _size(rng: np.random.Generator) -> np.float32:
    """How large numbers are, or how far from 0: 0.01 to 100."""
    return F32(10 ** rng.uniform(-2, 2))


def _rows(rng: np.random.Generator) -> np.ndarray:
    """Logits of size up to 20, now and then far from 0."""
    shape = tuple(rng.integers(2, 12, 2))
    x = normal(rng, shape) * F32(10 ** rng.uniform(-1, 1.3))
    return x + (_size(rng) if rng.random() < 0.3 else F32(0))


def _of_softmax(softmax: Callable[[np.ndarray], np.ndarray], rng: Any) -> Answered:
    x = np.clip(_rows(rng), -80, 80)
    return answered("softmax", {"x": x}, {"y": softmax(x)})


def _of_l2(l2: Callable[..., Arrays], rng: np.random.Generator) -> Answered:
    x = _rows(rng)
    inputs = {"student": x, "teacher": x + normal(rng, x.shape) * F32(10 ** rng.uniform(-3, 1))}
    return answered("l2", inputs, l2(**inputs))


def _of_batch_norm(order: str, rng: np.random.Generator) -> Answered:
    count = int(rng.integers(1, 9))
    inputs = {"x": normal(rng, (*rng.integers(1, 9, 1), count, *rng.integers(1, 9, 2)))}
    inputs |= {name: normal(rng, (count,)) * _size(rng) for name in ("mean", "w", "b")}
    inputs["variance"] = np.abs(normal(rng, (count,))) * _size(rng)
    return answered("batch_norm", inputs, {"y": batch_norm(order, **inputs)})


def _of_integral_image(rng: np.random.Generator) -> Answered:
    size, stride = rng.integers(1, 5, 2).tolist()
    x = normal(rng, (2, 3, *rng.integers(5, 40, 2))) + (_size(rng) - 1)
    y = integral_image(x, size, stride)
    return answered("avg_pool2d", {"x": x}, {"y": y}, kernel_size=size, stride=stride)


def _of_standardized(rng: np.random.Generator) -> Answered:
    x = _rows(rng)
    return answered("standardize", {"logits": x}, {"y": standardized(x)}, ddof=1, epsilon=1e-7)


def _of_lerp(rng: np.random.Generator) -> Answered:
    factor = int(rng.integers(2, 6))
    x = normal(rng, (2, 3, *rng.integers(1, 12, 2))) + _size(rng)
    y = bilinear_by_lerp(x, factor)
    return answered("upsample", {"x": x}, {"y": y}, factor=factor, mode="bilinear")


def _of_sgd(rng: np.random.Generator) -> Answered:
    theta, g = normal(rng, (2, 30)) * _size(rng)
    lr, decay = (float(10 ** rng.uniform(-4, 0)) for _ in range(2))
    options = {"lr": lr, "momentum": 0.0, "weight_decay": decay}
    found = {"theta": decayed(theta, g, lr, decay)}
    return answered("sgd", {"theta": theta, "g": g}, found, **options)


def _of_flushed(op: str, rng: np.random.Generator) -> Answered:
    x = (normal(rng, (3, 20)) * 10.0 ** rng.uniform(-42, -36, (3, 20))).astype(F32)
    if op == "relu_backward":
        inputs = {"x": x, "dy": x[:, ::-1].copy()}
        return answered(op, inputs, {"dx": np.where(flushed(x) > 0, flushed(inputs["dy"]), F32(0))})
    return answered(op, {"x": x}, {"y": flushed(np.maximum(x, 0) if op == "relu" else x)})


def sigmoid_by_tanh(x: np.ndarray) -> np.ndarray:
    return F32(0.5) + F32(0.5) * np.tanh(F32(0.5) * x)


def silu_by_tanh(x: np.ndarray) -> np.ndarray:
    return x * sigmoid_by_tanh(x)


def tanh_by_exp(x: np.ndarray) -> np.ndarray:
    return F32(2) / (F32(1) + np.exp(F32(-2) * x)) - F32(1)


def gelu_by_erf(x: np.ndarray) -> np.ndarray:
    return F32(0.5) * x * (F32(1) + erf(x / np.sqrt(F32(2))))


def gelu_by_erfc(x: np.ndarray) -> np.ndarray:
    return x * (F32(0.5) * erfc(-x * np.sqrt(F32(0.5))))


def gelu_by_tanh(x: np.ndarray) -> np.ndarray:
    v = np.sqrt(F32(2 / np.pi)) * (x + F32(0.044715) * x * x * x)
    return F32(0.5) * x * (F32(1) + np.tanh(v))


def _of_entries(
    op: str, function: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator, **options: Any
) -> Answered:
    x = normal(rng, (3, 50)) * _size(rng)
    with np.errstate(over="ignore"):
        return answered(op, {"x": x}, {"y": function(x)}, **options)


def _fused(rng: np.random.Generator) -> Answered:
    """a b + c, rounded once."""
    a, b, c = normal(rng, (3, 50)) * _size(rng)
    operations = (
        Operation("product", "multiply", {"a": "a", "b": "b"}, {"y": "p"}),
        Operation("sum", "add", {"a": "p", "b": "c"}, {"y": "s"}),
    )
    found = {"p": a * b, "s": (a.astype(np.float64) * b + c).astype(F32)}
    return Case("fused", "fused", "", {"a": a, "b": b, "c": c}, operations), found


FORMULAS: dict[str, Callable[[np.random.Generator], Answered]] = {
    "integral image": _of_integral_image,
    "E[x²] − m²": _of_standardized,
    "lerp": _of_lerp,
    "θ (1 − lr λ) − lr g": _of_sgd,
    "fused": _fused,
    "‖s − t‖²": partial(_of_l2, l2_by_norm),
    "s² − 2 s t + t²": partial(_of_l2, l2_by_squares),
    "exp(x − log Σ exp x)": partial(_of_softmax, softmax_by_logarithm),
    "2^(x log₂ e)": partial(_of_softmax, softmax_by_powers),
}
FORMULAS |= {
    "½ (1 + tanh(x/2))": partial(_of_entries, "sigmoid", sigmoid_by_tanh),
    "½ x (1 + tanh(x/2))": partial(_of_entries, "silu", silu_by_tanh),
    "2 σ(2x) − 1": partial(_of_entries, "tanh", tanh_by_exp),
    "½ x (1 + erf(x/√2))": partial(_of_entries, "gelu", gelu_by_erf),
    "½ x erfc(−x/√2)": partial(_of_entries, "gelu", gelu_by_erfc),
    "½ x (1 + tanh v)": partial(_of_entries, "gelu", gelu_by_tanh, approximate="tanh"),
}
FORMULAS |= {
    f"batch norm, {order}": partial(_of_batch_norm, order)
    for order in ("centred", "folded", "shifted")
}
FORMULAS |= {f"{op}, flushed": partial(_of_flushed, op) for op in ("relu", "relu_backward", "copy")}
