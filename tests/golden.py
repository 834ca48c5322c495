"""The golden trajectory: 20 updates of both nets in float64, from a formula that anyone can redo.

`python tests/golden.py` (PYTHONPATH=. where npkd is not installed) writes the figures anew, to
tests/golden.json. Do so only where a change of behaviour is meant.

Numbers. All arrays are windows on one sequence, which whole numbers give in exact arithmetic:

    r(k) = (1 + k⁵ mod P) / 2³⁰ − 1,  P = 2³¹ − 1

which lies in (−1, 1) and is a float64 without rounding; it takes no value twice for k < P. The
array with seed s, its entries counted from i = 0 in row-major order, has entry i equal to
r(10⁷ s + i). The array with seed 1 begins −0.45664003025740385, 0.816331741400063.

    images   x_high (11, 3, 32, 32)                                seed 1
    labels   (11,), ⌊10 (1 + k⁵ mod P) / 2³¹⌋ for k = 10⁷ s + i    seed 2
             that is 6 7 0 2 0 2 7 5 9 1 5
    weights  of parameter number j = 0 … 7, in the order conv1.weight, conv1.bias, conv2.weight, …,
             fc2.bias: the array with the parameter's shape        seed 10 + j, large net
             divided by √m, m the inputs of one output of its      seed 30 + j, small net
             layer (in·3·3, or in), in a bias too: PyTorch's bound
    vectors  of parameter number j, with the parameter's shape     seed 20 + j, large net
                                                                   seed 40 + j, small net

Training. Each net gets updates t = 0 … 19. Update t sees the four images from 4 (t mod 3) on, or
the last three where t mod 3 = 2, and makes, for each parameter θ,

    g = ∂L/∂θ + 10⁻³ θ,  v ← 0.9 v + g,  θ ← θ − α(t) v,  v = 0 at first
    α(t) = α (t + 1) / 4  for t < 3,  α ½ (1 + cos(π (t − 3) / 17))  from there on

large  α = 0.03, on x_high; L is the mean over the batch of the cross-entropy with the labels
small  α = 0.004, on x_low, the means of 2×2 cells of x_high; L is the mean over the batch of
       ½‖y_large − y_small‖², where y_large are the trained large net's outputs for x_low with each
       cell repeated 2×2

Figures, for each net: losses, L before each of the updates; vectors, the norms of the vectors (to
compare one's own with); params, after 10 and after 20 updates the norm of each parameter and its
inner product with its vector.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import npkd
from npkd import SGD, LargeCNN, SmallCNN, ops, optim
from npkd.distill.tasks.task import brought_back
from npkd.losses import cross_entropy
from npkd.nets import Network, Params
from npkd.objectives import Batch, Objective, from_truth
from npkd.training import train

FIGURES = Path(__file__).with_suffix(".json")
P = 2**31 - 1
IMAGES, BATCH, STEPS, RECORDED = 11, 4, 20, (10, 20)
WARMUP, MOMENTUM, WEIGHT_DECAY = 3, 0.9, 1e-3
RATES = {"large": 0.03, "small": 0.004}
NETS = {"large": LargeCNN, "small": SmallCNN}
WEIGHTS = {"large": 10, "small": 30}  # seeds
VECTORS = {"large": 20, "small": 40}


def residues(seed: int, count: int) -> np.ndarray:
    """1 + k⁵ mod P for k = 10⁷ seed, 10⁷ seed + 1, …: whole numbers (count,) below 2³¹."""
    values = np.empty(count, np.uint64)
    for start in range(0, count, 1 << 14):  # so many stay in a core's cache
        stop = min(start + (1 << 14), count)
        k = np.arange(10**7 * seed + start, 10**7 * seed + stop, dtype=np.uint64)
        square = k * k % P  # factors are below 2³¹, products below 2⁶²
        values[start:stop] = 1 + square * square % P * k % P
    return values


def array(seed: int, *shape: int) -> np.ndarray:
    """The array with this seed, of entries in (−1, 1)."""
    return (residues(seed, math.prod(shape)) / 2.0**30 - 1).reshape(shape)


def images() -> np.ndarray:
    """x_high (11, 3, 32, 32)."""
    return array(1, IMAGES, 3, 32, 32)


def labels() -> np.ndarray:
    """The labels (11,), from 0 to 9."""
    return (10 * residues(2, IMAGES) >> 31).astype(np.int64)


def untrained(name: str) -> Network:
    """The large or the small net with the formula's weights."""
    network = NETS[name](0, dtype=np.float64)
    weights = {}
    for j, (key, theta) in enumerate(network.params.items()):
        fan_in = network.params[key.replace("bias", "weight")][0].size
        weights[key] = array(WEIGHTS[name] + j, *theta.shape) / math.sqrt(fan_in)
    network.load(weights)
    return network


def vectors(name: str, params: Params) -> Params:
    """The fixed vectors of a net's parameters."""
    return {k: array(VECTORS[name] + j, *params[k].shape) for j, k in enumerate(params)}


def batch(step: int) -> slice:
    """Which images an update sees."""
    start = BATCH * (step % 3)
    return slice(start, min(start + BATCH, IMAGES))


def batches(x: np.ndarray, teacher: np.ndarray | None = None) -> Iterator[Batch]:
    """The images x, their labels and the large net's outputs for them, for all updates."""
    truth = labels()
    for step in range(STEPS):
        some = batch(step)
        outputs = None if teacher is None else {"fc2": teacher[some]}
        yield Batch(step // 3, x[some], truth[some], outputs)


def figures(params: Params, fixed: Params) -> dict[str, dict[str, float]]:
    """Norm of each parameter, and its inner product with its vector."""
    # np.sum adds pairwise, so that 8 million terms cost no digits.
    return {
        name: {
            "norm": math.sqrt(np.sum(np.square(theta))),
            "inner": float(np.sum(theta * fixed[name])),
        }
        for name, theta in params.items()
    }


def trained(
    name: str,
    network: Network,
    batches: Iterator[Batch],
    loss: Objective,
    *,
    weight_decay: float = WEIGHT_DECAY,
) -> dict[str, Any]:
    """Train `network`, and return its figures."""
    rate = RATES[name]
    fixed = vectors(name, network.params)
    norms = {key: value["norm"] for key, value in figures(fixed, fixed).items()}
    losses, params = [], {}
    for update in train(
        network,
        batches,
        loss=loss,
        optimiser=SGD(rate, MOMENTUM, weight_decay),
        schedule=optim.cosine(rate, steps=STEPS, warmup=WARMUP),
    ):
        losses.append(update.loss)
        if update.step + 1 in RECORDED:
            params[str(update.step + 1)] = figures(network.params, fixed)
    return {"losses": losses, "vectors": norms, "params": params}


def train_large() -> tuple[dict[str, Any], np.ndarray]:
    """The large net's figures, and its outputs (11, 10) for x_low brought back to size."""
    network = untrained("large")
    made = trained("large", network, batches(images()), from_truth(cross_entropy))
    x_low, _ = ops.avg_pool2d(images(), 2)
    teacher, _ = network(brought_back(x_low))
    return made, teacher


def train_small(
    teacher: np.ndarray, network: Network | None = None, *, weight_decay: float = WEIGHT_DECAY
) -> dict[str, Any]:
    """The small net's figures; of another start or another weight decay, where given."""
    network = network or untrained("small")
    x_low, _ = ops.avg_pool2d(images(), 2)
    learn = Objective(label_weight=0)
    return trained("small", network, batches(x_low, teacher), learn, weight_decay=weight_decay)


def trajectory() -> dict[str, Any]:
    """The figures of both nets."""
    large, teacher = train_large()
    return {"large": large, "small": train_small(teacher)}


if __name__ == "__main__":
    how = (
        f"python tests/golden.py, by npkd {npkd.__version__} with NumPy {np.__version__}, in "
        "float64; what is computed, and from which formula, stands at the top of that file"
    )
    text = json.dumps({"made by": how} | trajectory(), indent=1)
    FIGURES.write_text(text + "\n", encoding="utf-8")
