"""The same work in each framework, as it runs in a process of that framework alone.

    framework = FRAMEWORKS["npkd"](threads)     # once in a process
    work = framework.work_of(cell)
    work()                                      # one training step, one forward pass, …

A training step is forward, half the squared distance to fixed targets as a mean over the batch,
backward without the gradient by the images, and plain SGD. The forward pass of an operation is the
one that training makes: it keeps what its backward pass needs.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

import npkd
from benchmarks.speed.cells import (
    NETS,
    OF_THE_FIELD,
    SIDE_OF_MATRICES,
    Cell,
    batch_of,
    gradient_of,
    op_of,
)
from npkd import zoo
from npkd.engine.threads import one_blas_thread

LEARNING_RATE = 0.01
Work = Callable[[], object]


class Npkd:
    """npkd, with BLAS held to one thread for as long as the process lives."""

    package = "npkd"

    def __init__(self, threads: int):
        npkd.set_num_threads(threads)
        self.for_life = ExitStack()
        self.for_life.enter_context(one_blas_thread())

    def work_of(self, cell: Cell) -> Work:
        """A net's or an operation's."""
        is_net = cell.subject in (*NETS, *OF_THE_FIELD)
        return self._net(cell) if is_net else self._op(cell)

    def _net(self, cell: Cell) -> Work:
        network = zoo.make(cell.subject, 0)
        images, targets = batch_of(cell)
        sgd, last = npkd.SGD(LEARNING_RATE), network.last

        def training_step() -> None:
            outputs, backward, state = network.features(images, [last], training=True)
            _, dy = npkd.losses.l2(outputs[last], targets)
            _, grads = backward({last: dy}, need_dx=False)
            sgd.step(network.params, grads)
            network.state = state

        def forward() -> None:
            network(images)

        return {"training step": training_step, "forward": forward}[cell.work]

    def _op(self, cell: Cell) -> Work:
        op = op_of(cell)
        function = partial(getattr(npkd.ops, op.name), *op.arrays(cell.batch), **op.options)

        def forward() -> Any:
            return function()[:2]  # batch norm in training has statistics too

        y, backward = forward()
        dy = op.laid_out(gradient_of(y.shape))
        without_dx = {} if op.need_dx else {"need_dx": False}

        def both() -> None:
            _, backward = forward()
            backward(dy, **without_dx)

        return {
            "forward": forward,
            "backward": partial(backward, dy, **without_dx),
            "forward and backward": both,
        }[cell.work]


class NpkdWithBlasThreads(Npkd):
    """npkd as it runs where threadpoolctl is missing: BLAS has threads of its own, npkd none."""

    def __init__(self, threads: int):
        npkd.engine.threads.ThreadpoolController = None
        super().__init__(threads)


class PyTorch:
    """PyTorch, eagerly, a net's forward pass in inference mode."""

    package = "torch"

    def __init__(self, threads: int):
        import torch

        self.torch = torch
        torch.set_num_threads(threads)

    def work_of(self, cell: Cell) -> Work:
        """A net's or an operation's."""
        is_net = cell.subject in (*NETS, *OF_THE_FIELD)
        return self._net(cell) if is_net else self._op(cell)

    def _net(self, cell: Cell) -> Work:
        torch, network = self.torch, self._module(cell.subject)
        images, targets = map(torch.from_numpy, batch_of(cell))
        sgd = torch.optim.SGD(network.parameters(), LEARNING_RATE)

        def training_step() -> None:
            network.train()
            loss = 0.5 * (network(images) - targets).square().sum() / cell.batch
            sgd.zero_grad()
            loss.backward()
            sgd.step()

        @torch.inference_mode()
        def forward() -> None:
            network.eval()
            network(images)

        return {"training step": training_step, "forward": forward}[cell.work]

    def _module(self, net: str) -> Any:
        if net in OF_THE_FIELD:
            from benchmarks.speed.field_in_torch import MODELS

            return MODELS[net](10)
        torch, shape = self.torch, NETS[net]
        first, second = shape.channels
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, first, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(first, second, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.AvgPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(second * (shape.size // 2) ** 2, shape.hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(shape.hidden, 10),
        )

    def _op(self, cell: Cell) -> Work:
        torch, op = self.torch, op_of(cell)
        inputs = [torch.from_numpy(array) for array in op.arrays(cell.batch)]
        wanted = inputs[0 if op.need_dx else 1 : op.trained]
        for array in wanted:
            array.requires_grad_()
        forward = partial(self._function(op.name), *inputs, **op.options)
        y = forward()
        dy = torch.from_numpy(op.laid_out(gradient_of(tuple(y.shape))))
        return {
            "forward": forward,
            "backward": partial(torch.autograd.grad, y, wanted, dy, retain_graph=True),
            "forward and backward": lambda: torch.autograd.grad(forward(), wanted, dy),
        }[cell.work]

    def _function(self, name: str) -> Callable[..., Any]:
        """PyTorch's function of that name, taking npkd's arguments."""
        functional = self.torch.nn.functional
        other_arguments = {
            "softmax": partial(functional.softmax, dim=-1),
            "log_softmax": partial(functional.log_softmax, dim=-1),
            "upsample": lambda x, factor, mode: functional.interpolate(
                x, scale_factor=factor, mode=mode
            ),
            "pixel_shuffle": lambda x, factor: functional.pixel_shuffle(x, factor),
            "batch_norm": lambda x, w, b: functional.batch_norm(x, None, None, w, b, training=True),
            "dropout": self.torch.mul,
            "add": self.torch.add,
            "concat": lambda *xs: self.torch.cat(xs, 1),
            "global_avg_pool2d": lambda x: functional.adaptive_avg_pool2d(x, 1),
        }
        return other_arguments.get(name) or getattr(functional, name)


class Jax:
    """JAX, everything of a training step or forward pass compiled as one."""

    package = "jax"

    def __init__(self, threads: int):
        if hasattr(os, "sched_setaffinity"):  # XLA starts a thread for each core that it may use
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        import jax

        self.jax = jax
        self.forward = jax.jit(self._outputs)
        self.training_step = jax.jit(self._updated, donate_argnums=0)
        jax.devices()  # starts XLA

    def work_of(self, cell: Cell) -> Work:
        """A net's."""
        jax = self.jax
        start = NETS[cell.subject](0).params
        params = {name: jax.numpy.array(theta) for name, theta in start.items()}
        images, targets = map(jax.numpy.array, batch_of(cell))

        def training_step() -> None:
            nonlocal params
            params, _ = jax.block_until_ready(self.training_step(params, images, targets))

        def forward() -> None:
            jax.block_until_ready(self.forward(params, images))

        return {"training step": training_step, "forward": forward}[cell.work]

    def _outputs(self, p: dict[str, Any], x: Any) -> Any:
        jax, relu = self.jax, self.jax.nn.relu
        for conv in ("conv1", "conv2"):
            x = jax.lax.conv(x, p[f"{conv}.weight"], (1, 1), "SAME")
            x = relu(x + p[f"{conv}.bias"][:, None, None])
        windows = (1, 1, 2, 2)
        x = jax.lax.reduce_window(x, 0.0, jax.lax.add, windows, windows, "VALID") / 4
        x = relu(x.reshape(len(x), -1) @ p["fc1.weight"].T + p["fc1.bias"])
        return x @ p["fc2.weight"].T + p["fc2.bias"]

    def _updated(self, params: dict[str, Any], images: Any, targets: Any) -> Any:
        def loss(params: dict[str, Any]) -> Any:
            return 0.5 * ((self._outputs(params, images) - targets) ** 2).sum() / len(images)

        value, grads = self.jax.value_and_grad(loss)(params)
        return {name: theta - LEARNING_RATE * grads[name] for name, theta in params.items()}, value


class MyGrad:
    """A convolution by MyGrad, whose NumPy code lets BLAS have threads of its own."""

    package = "mygrad"

    def __init__(self, threads: int):
        import mygrad
        from mygrad.nnet.layers import conv_nd

        self.tensor, self.conv_nd = mygrad.tensor, conv_nd

    def work_of(self, cell: Cell) -> Work:
        """A convolution's, "forward" or "forward and backward"."""
        op = op_of(cell)
        x, w, b = map(self.tensor, op.arrays(cell.batch))

        def forward() -> Any:
            return self.conv_nd(x, w, stride=1, **op.options) + b.reshape(-1, 1, 1)

        dy = gradient_of(forward().shape)
        return {
            "forward": forward,
            "forward and backward": lambda: forward().backward(dy),
        }[cell.work]


class Onnx:
    """A convolution by the reference evaluator of ONNX, in NumPy; it has no backward pass."""

    package = "onnx"

    def __init__(self, threads: int):
        import onnx
        from onnx.reference import ReferenceEvaluator

        self.onnx, self.evaluator = onnx, ReferenceEvaluator

    def work_of(self, cell: Cell) -> Work:
        """A convolution's, "forward"."""
        op, helper = op_of(cell), self.onnx.helper
        inputs = dict(zip("xwb", op.arrays(cell.batch), strict=True))
        node = helper.make_node("Conv", list(inputs), ["y"], pads=[op.options["padding"]] * 4)
        float32 = self.onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            [node],
            "convolution",
            [helper.make_tensor_value_info(name, float32, a.shape) for name, a in inputs.items()],
            [helper.make_tensor_value_info("y", float32, None)],
        )
        return partial(self.evaluator(helper.make_model(graph)).run, None, inputs)


class NumPy:
    """The matrix product of float32 matrices by NumPy's BLAS, with threads of its own."""

    package = "numpy"

    def __init__(self, threads: int):
        rng = np.random.default_rng(0)
        shape = (2, SIDE_OF_MATRICES, SIDE_OF_MATRICES)
        self.a, self.b = rng.standard_normal(shape, dtype=np.float32)

    def work_of(self, cell: Cell) -> Work:
        """Of MATRIX_PRODUCT."""
        return lambda: self.a @ self.b


FRAMEWORKS: dict[str, Any] = {
    "npkd": Npkd,
    "npkd, BLAS threads": NpkdWithBlasThreads,
    "PyTorch": PyTorch,
    "JAX": Jax,
    "MyGrad": MyGrad,
    "ONNX": Onnx,
    "NumPy": NumPy,
}
