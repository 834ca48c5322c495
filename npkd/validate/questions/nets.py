"""Questions about whole nets, and about distillation."""

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from npkd import ops
from npkd.nets import Network
from npkd.nets.layers import Conv2d, Function, Layer, Linear
from npkd.validate.program import Case, Operation, sum_of
from npkd.validate.questions.losses import SOFT, loss_operation
from npkd.validate.questions.numbers import (
    Arrays,
    C,
    Cases,
    Draw,
    N,
    Options,
    Shape,
    case_of,
    drawn_labels,
    dyadic,
    normal,
)
from npkd.validate.questions.updates import sgd_operations


def network(
    layers: Mapping[str, Layer], x: str, *, at: str = "", params: str = ""
) -> list[Operation]:
    """The operations of a net on the tensor x.

    A layer's output is `at` + its name, its parameters are `params` + "conv1.weight" and so on.
    """
    operations = []
    for name, layer in layers.items():
        op, options = operation_of(layer)
        inputs = {"x": x} | _parameters(layer, params + name)
        x = at + name
        operations.append(Operation(x, op, inputs, {"y": x}, options))
    return operations


def network_backward(
    layers: Mapping[str, Layer], x: str, *, at: str = "", params: str = ""
) -> list[Operation]:
    """The operations of a net's backward pass, from the gradient by its last layer's output.

    The gradient by a tensor has its name and ".grad"; by a parameter, `at`, its name and ".grad".
    """
    names = list(layers)
    operations = []
    for i in reversed(range(len(names))):
        name, layer = names[i], layers[names[i]]
        op, options = operation_of(layer)
        below = at + names[i - 1] if i else x
        own = _parameters(layer, params + name)
        outputs = {"dx": f"{below}.grad"} | {
            f"d{key}": f"{at}{tensor.removeprefix(params)}.grad" for key, tensor in own.items()
        }
        inputs = {"x": below} | own | {"dy": f"{at}{name}.grad"}
        operations.append(
            Operation(f"{at}{name} backward", f"{op}_backward", inputs, outputs, options)
        )
    return operations


def operation_of(layer: Layer) -> tuple[str, dict[str, Any]]:
    """The op that a layer computes, and its options."""
    if isinstance(layer, Conv2d):
        return "conv2d", {"padding": layer.options["padding"]}
    if isinstance(layer, Linear):
        return "linear", {}
    if isinstance(layer, Function):
        bound = inspect.signature(layer.op).bind(None, *layer.arguments).arguments
        return layer.op.__name__, dict(list(bound.items())[1:])
    raise ValueError(f"validate: no operation is known for a {type(layer).__name__}")


def _parameters(layer: Layer, name: str) -> dict[str, str]:
    """A layer's parameters: the tensors w and b."""
    return {key[0]: f"{name}.{key}" for key in layer.shapes}


def sparse_weights(network: Network, rng: np.random.Generator) -> Arrays:
    """Weights of −1, 0 and 1 of which a net on such images, with such a dy, rounds nothing.

    Of each output of a convolution 3 weights are not 0, and in linear layers one of each input, or
    a little more. For the document's nets, with their biases, outputs are so at most

        conv1 3 + 1 = 4,  conv2 3 · 4 + 1 = 13,  pool 4 · 13 quarters,
        fc1 32 · 52 + 4 = 1,668 quarters: 11 bits, the most that there may be

    and gradients, by columns, at most 2 by relu3, 2 by pool, 2 quarters by conv2, and by relu1
    18 quarters; sums over 5 images of 1024 cells each are far below 2²⁴ of them.
    """
    weights = {}
    for name, layer in network.layers.items():
        for key, shape in layer.shapes.items():
            nonzero = None
            if key == "weight":
                columns = math.prod(shape[1:])
                nonzero = 3 if len(shape) == 4 else max(3, math.ceil(columns / shape[0]))
            weights[f"{name}.{key}"] = dyadic(rng, shape, nonzero=nonzero)
    return weights


def about_net(subject: str, net: Network, rng: np.random.Generator) -> Cases:
    """One of the document's nets, forward and backward."""
    last = net.last
    operations = network(net.layers, "x") + network_backward(net.layers, "x")
    needed = [last, *(f"{name}.grad" for name in net.params)]
    for exact in (False, True):
        draw: Draw = dyadic if exact else normal
        weights = sparse_weights(net, rng) if exact else net.params
        outputs = len(net.params[f"{last}.bias"])
        yield case_of(
            f"{subject}{' exact' * exact}",
            subject,
            f"the logits of npkd.{subject}, and the gradients by its parameters given {last}.grad",
            {"x": draw(rng, (N, *net.image_shape))}
            | weights
            | {f"{last}.grad": draw(rng, (N, outputs))},
            operations,
            exact=exact,
            needed=needed,
        )


def about_residual(rng: np.random.Generator) -> Cases:
    """y = h + w₂ h, h = w₁ x + b₁: a tensor that is used twice has the sum of two gradients."""
    parameters = {"w": "w1", "b": "b1"}
    operations = [
        Operation("fc1", "linear", {"x": "x"} | parameters, {"y": "h"}),
        Operation("fc2", "linear", {"x": "h", "w": "w2"}, {"y": "fc2"}),
        sum_of(["h", "fc2"], "y"),
        Operation(
            "fc2 backward",
            "linear_backward",
            {"x": "h", "w": "w2", "dy": "y.grad"},
            {"dx": "h.grad by fc2", "dw": "w2.grad"},
        ),
        sum_of(["y.grad", "h.grad by fc2"], "h.grad"),
        Operation(
            "fc1 backward",
            "linear_backward",
            {"x": "x"} | parameters | {"dy": "h.grad"},
            {"dx": "x.grad", "dw": "w1.grad", "db": "b1.grad"},
        ),
    ]
    for exact in (False, True):
        for features, hidden in ((6, 4), (5, 9)):
            draw: Draw = dyadic if exact else normal
            shapes = {
                "x": (N, features),
                "w1": (hidden, features),
                "b1": (hidden,),
                "w2": (hidden, hidden),
                "y.grad": (N, hidden),
            }
            yield case_of(
                f"residual {features} to {hidden}{' exact' * exact}",
                "residual",
                "h = w1 x + b1, y = h + w2 h, and the gradients given y.grad",
                {name: draw(rng, shape) for name, shape in shapes.items()},
                operations,
                exact=exact,
                needed=["y", "h.grad", "x.grad", "w1.grad", "b1.grad", "w2.grad"],
            )


def small_net(
    rng: np.random.Generator,
    image_shape: tuple[int, int, int],
    channels: tuple[int, int],
    hidden: int,
) -> Network:
    """A net like the document's, of any size."""
    first, second = channels
    depth, height, width = image_shape
    layers: dict[str, Layer] = {
        "conv1": Conv2d(depth, first, 3, padding=1),
        "relu1": Function(ops.relu),
        "conv2": Conv2d(first, second, 3, padding=1),
        "relu2": Function(ops.relu),
        "pool": Function(ops.avg_pool2d, 2),
        "flatten": Function(ops.flatten),
        "fc1": Linear(second * (height // 2) * (width // 2), hidden),
        "relu3": Function(ops.relu),
        "fc2": Linear(hidden, C),
    }
    return Network(layers, image_shape, rng)


def shallow_net(rng: np.random.Generator, image_shape: tuple[int, int, int]) -> Network:
    """A net of two layers with weights, so that numbers grow slowly from one update to the next."""
    depth, height, width = image_shape
    layers: dict[str, Layer] = {
        "conv1": Conv2d(depth, 4, 3, padding=1),
        "relu1": Function(ops.relu),
        "pool": Function(ops.max_pool2d, 2),
        "flatten": Function(ops.flatten),
        "fc2": Linear(4 * (height // 2) * (width // 2), C),
    }
    return Network(layers, image_shape, rng)


def distillation(
    name: str,
    teacher: tuple[Network, Arrays],
    student: tuple[Network, Arrays],
    batches: Sequence[np.ndarray],
    loss: tuple[str, Options],
    updates: Sequence[Options],
    *,
    labels: Sequence[np.ndarray] | None = None,
    exact: bool = False,
) -> Case:
    """Updates of a student by a teacher's outputs for x_low brought back to size.

    teacher, student: the net, and its parameters. batches: x_high for each update. updates: the
    rate and the constants of each.
    """
    large, of_large = teacher
    small, of_small = student
    op, options = loss
    inputs = {f"teacher/{key}": theta for key, theta in of_large.items()} | of_small
    operations: list[Operation] = []
    needed: list[str] = []
    before = ""
    for step, (x_high, update) in enumerate(zip(batches, updates, strict=True)):
        at = f"step{step + 1}/"
        inputs[f"{at}x_high"] = x_high
        of_loss = {"student": at + small.last, "teacher": f"{at}teacher/{large.last}"}
        if labels is not None:
            inputs[f"{at}labels"] = labels[step]
            of_loss["labels"] = f"{at}labels"
        operations += [
            Operation(
                f"{at}x_low",
                "avg_pool2d",
                {"x": f"{at}x_high"},
                {"y": f"{at}x_low"},
                {"kernel_size": 2},
            ),
            Operation(
                f"{at}x_up",
                "upsample",
                {"x": f"{at}x_low"},
                {"y": f"{at}x_up"},
                {"factor": 2, "mode": "nearest"},
            ),
            *network(large.layers, f"{at}x_up", at=f"{at}teacher/", params="teacher/"),
            *network(small.layers, f"{at}x_low", at=at, params=before),
            loss_operation(
                op,
                of_loss,
                options,
                {"value": f"{at}loss", "gradient": f"{at}{small.last}.grad"},
            ),
            *network_backward(small.layers, f"{at}x_low", at=at, params=before),
            *sgd_operations(list(of_small), before=before, at=at, first=step == 0, options=update),
        ]
        needed += [
            f"{at}teacher/{large.last}",
            at + small.last,
            f"{at}loss",
            *(f"{at}{key}.grad" for key in of_small),
            *(at + key for key in of_small),
        ]
        before = at
    for key in of_large:
        operations.append(
            Operation(
                f"after/teacher/{key}",
                "copy",
                {"x": f"teacher/{key}"},
                {"y": f"after/teacher/{key}"},
            )
        )
        needed.append(f"after/teacher/{key}")
    return case_of(
        name,
        "distillation",
        f"{len(batches)} updates of a student by {op} with a teacher's outputs, the last batch a "
        "shorter one; after them the teacher's parameters, as they were",
        inputs,
        operations,
        exact=exact,
        needed=needed,
    )


def about_distillation(large: Network, small: Network, rng: np.random.Generator) -> Cases:
    """The document's nets and small ones, by L2 and by a mixture; and an exact one, by L1.

    Exact: a gradient by L1 is −1, 0 or 1 over the batch, however large logits have grown.
    """
    by_l2: tuple[str, Options] = ("l2", {})
    by_mix: tuple[str, Options] = ("mix", {"alpha": 0.3, "soft": "kl", "soft_options": SOFT})
    usual = [{"lr": lr, "momentum": 0.9, "weight_decay": 0.01} for lr in (0.05, 0.05, 0.02)]
    powers = [{"lr": lr, "momentum": 0.5, "weight_decay": 0.5} for lr in (0.5, 0.5, 0.25)]
    counts = (4, 4, 3)

    def images(height: int, width: int) -> list[np.ndarray]:
        return [normal(rng, (count, 3, height, width)) for count in counts]

    for name, loss in (("l2", by_l2), ("mix", by_mix)):
        teacher = small_net(rng, (3, 8, 12), (4, 6), 20)
        student = small_net(rng, (3, 4, 6), (4, 5), 12)
        yield distillation(
            f"distillation {name}",
            (teacher, teacher.params),
            (student, student.params),
            images(8, 12),
            loss,
            usual,
            labels=None if loss is by_l2 else [drawn_labels(rng, count, C) for count in counts],
        )

    teacher, student = small_net(rng, (3, 8, 12), (4, 6), 20), shallow_net(rng, (3, 4, 6))
    yield distillation(
        "distillation l1 exact",
        (teacher, sparse_weights(teacher, rng)),
        (student, sparse_weights(student, rng)),
        [_with_whole_means(rng, (count, 3, 4, 6)) for count in (2, 2, 1)],
        ("l1", {}),
        powers,
        exact=True,
    )

    yield distillation(
        "distillation of the document",
        (large, large.params),
        (small, small.params),
        images(32, 32),
        by_l2,
        usual,
    )


def _with_whole_means(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Images of twice this height and width whose 2×2 means are −1, 0 or 1: one cell has it all."""
    means = dyadic(rng, shape)
    count, channels, height, width = shape
    cells = np.zeros((*shape, 4), np.float32)
    np.put_along_axis(cells, rng.integers(0, 4, (*shape, 1)), 4 * means[..., None], axis=-1)
    blocks = cells.reshape(count, channels, height, width, 2, 2)
    return blocks.transpose(0, 1, 2, 4, 3, 5).reshape(count, channels, 2 * height, 2 * width)
