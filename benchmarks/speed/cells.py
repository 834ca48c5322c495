"""What is measured: the document's two nets, some of the field's, single operations by shape.

A cell is one piece of work that frameworks are timed at. Arrays are float32 and drawn from a fixed
seed, so that every framework gets the same ones.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from npkd import LargeCNN, SmallCNN
from npkd.engine import memory

NETS = {"large": LargeCNN, "small": SmallCNN}
OF_THE_FIELD = ("resnet20", "mobilenetv2")  # of npkd.zoo
MATRIX_PRODUCT = "matrix product"
SIDE_OF_MATRICES = 2048
LAYERS = ("conv1", "conv2", "fc1")  # those that are measured alone
SIDES = (16, 32, 64, 128, 256)  # of the images that a convolution is scaled over
CHANNELS = (4, 8, 16, 32, 64, 128, 256)  # in and out, likewise


class Cell(NamedTuple):
    """One line of a table.

    subject: a key of NETS or of OPS, one of OF_THE_FIELD, or MATRIX_PRODUCT. work: of a net
    "training step" or "forward", of an operation "forward", "backward" or "forward and backward".
    batch: how many images, or rows.
    """

    subject: str
    work: str
    batch: int


class Op(NamedTuple):
    """An operation of `npkd.ops`, by its name there, and what it is applied to.

    image: the shape of x without the batch. options: the keyword arguments. weight: the shape of w,
    where there is one; then there is a bias too. need_dx: whether backward gives the gradient by x.
    channels_last: the order of x and dy in memory, as convolutions make it. several: how many
    arrays of x's shape there are. trained: by how many there are gradients.
    """

    name: str
    image: tuple[int, ...]
    options: dict[str, Any]
    weight: tuple[int, ...] = ()
    need_dx: bool = True
    several: int = 1
    trained: int = 3
    channels_last: bool = False

    def arrays(self, batch: int) -> list[np.ndarray]:
        """x, others like it, and w and b if there are any."""
        rng = np.random.default_rng(0)
        shapes = [(batch, *self.image)] * self.several
        if self.weight:
            shapes += [self.weight, self.weight[:1]]
        return [
            self.laid_out(array) if array.ndim == len(shapes[0]) else array
            for array in (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
        ]

    def laid_out(self, images: np.ndarray) -> np.ndarray:
        """In the order in memory that is asked for."""
        return memory.turned(images) if self.channels_last else images


def _layers_with_weights(net: str) -> dict[str, Op]:
    """The convolutions and the first linear layer of a net; nobody asks for dx of its images."""
    size, (first, second), hidden = NETS[net].size, NETS[net].channels, NETS[net].hidden
    inputs = second * (size // 2) ** 2
    around = {"padding": 1}
    ops = (
        Op("conv2d", (3, size, size), around, (first, 3, 3, 3), need_dx=False),
        Op("conv2d", (first, size, size), around, (second, first, 3, 3)),
        Op("linear", (inputs,), {}, (hidden, inputs)),
    )
    return {f"{layer}, {net}": op for layer, op in zip(LAYERS, ops, strict=True)}


def _between(name: str, several: int = 1, trained: int = 3, **options: Any) -> Op:
    """An operation between two convolutions."""
    image = (96, 16, 16)
    return Op(name, image, options, several=several, trained=trained, channels_last=True)


# The operations of the large net at its sizes, and what brings x_low back to that size; and those
# that stand between the convolutions of other nets.
OPS = {
    **_layers_with_weights("large"),
    **_layers_with_weights("small"),
    "relu": Op("relu", (64, 32, 32), {}),
    "batch_norm": Op("batch_norm", (64, 32, 32), {}, (64,), channels_last=True),
    "avg_pool2d": Op("avg_pool2d", (64, 32, 32), {"kernel_size": 2}),
    "max_pool2d": Op("max_pool2d", (64, 32, 32), {"kernel_size": 2}),
    "softmax": Op("softmax", (10,), {}),
    "log_softmax": Op("log_softmax", (10,), {}),
    "upsample, nearest": Op("upsample", (3, 16, 16), {"factor": 2, "mode": "nearest"}),
    "upsample, bilinear": Op("upsample", (3, 16, 16), {"factor": 2, "mode": "bilinear"}),
    "pixel_shuffle": Op("pixel_shuffle", (12, 16, 16), {"factor": 2}),
    "relu6": _between("relu6"),
    "sigmoid": _between("sigmoid"),
    "tanh": _between("tanh"),
    "silu": _between("silu"),
    "gelu": _between("gelu"),
    "gelu, tanh": _between("gelu", approximate="tanh"),
    "dropout": _between("dropout", several=2, trained=1),
    "add": _between("add", several=2),
    "concat": _between("concat", several=2),
    "global_avg_pool2d": _between("global_avg_pool2d"),
}
SCALED_CONVOLUTIONS = {
    f"conv2d, side {side}": Op("conv2d", (16, side, side), {"padding": 1}, (32, 16, 3, 3))
    for side in SIDES
} | {
    f"conv2d, channels {c}": Op("conv2d", (c, 32, 32), {"padding": 1}, (c, c, 3, 3))
    for c in CHANNELS
}


def op_of(cell: Cell) -> Op:
    """The operation that a cell is about."""
    return (OPS | SCALED_CONVOLUTIONS)[cell.subject]


def batch_of(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Images (B, 3, H, H) for a net, and the targets (B, 10) of its outputs."""
    rng = np.random.default_rng(0)
    side = 32 if cell.subject in OF_THE_FIELD else NETS[cell.subject].size
    images = rng.standard_normal((cell.batch, 3, side, side), dtype=np.float32)
    return images, rng.standard_normal((cell.batch, 10), dtype=np.float32)


def gradient_of(shape: tuple[int, ...]) -> np.ndarray:
    """An upstream gradient dy for outputs of this shape."""
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


def operations_of_a_step(net: str, batch: int) -> int:
    """Floating point operations of a training step: two for each multiply-add.

    Forward, the gradient by the weights and the gradient by the inputs take as many multiply-adds
    each; the first layer's inputs are the images, which need no gradient. Biases, ReLU, pooling,
    the loss and SGD count nothing.

    Counted from shapes, as `Network.macs` would need a network: this process has to stay small
    (see `measure.peak_so_far`).
    """
    pixels, hidden = NETS[net].size ** 2, NETS[net].hidden
    conv1, conv2, fc1 = (math.prod(OPS[f"{layer}, {net}"].weight) for layer in LAYERS)
    first = pixels * conv1
    every = first + pixels * conv2 + fc1 + 10 * hidden
    return 2 * batch * (3 * every - first)
