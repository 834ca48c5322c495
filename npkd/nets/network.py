"""A network: named layers in order, with one primitive, `features`."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from npkd import ops
from npkd.arguments import FLOATS, is_integer, require_arrays, shown
from npkd.engine.threads import one_pass
from npkd.nets.layers import Conv2d, Function, Layer, Params
from npkd.ops.contract import require_gradient


class Network:
    """Named layers in order.

        y, backward = network(x)
        dx, grads = backward(dy)

    params: one dict of all parameters, "conv1.weight", "conv1.bias", …; what it holds is what the
    network computes with. layers: the layers by name, in order. Weights and biases start as uniform
    on (−1/√m, 1/√m), m the inputs of one output, which is PyTorch's default for both.

    Raises ValueError for images of another shape or dtype than the network's.

    Example
        >>> layers = {"flatten": nets.Function(ops.flatten), "fc": nets.Linear(4, 1)}
        >>> network = nets.Network(layers, (1, 2, 2), rng=0)
        >>> y, backward = network(np.ones((3, 1, 2, 2), np.float32))
        >>> print(y.shape, {name: g.shape for name, g in backward(y)[1].items()})
        (3, 1) {'fc.weight': (1, 4), 'fc.bias': (1,)}
    """

    def __init__(
        self,
        layers: Mapping[str, Layer],
        image_shape: tuple[int, int, int],
        rng: np.random.Generator | int,
        dtype: Any = np.float32,
    ):
        if dtype is None or np.dtype(dtype) not in FLOATS:
            raise ValueError(f"{type(self).__name__}: dtype is {dtype}, expected a float dtype")
        self.layers = dict(layers)
        self.image_shape = image_shape
        self.params: Params = {}
        generator = _generator(type(self).__name__, rng)
        for name, layer in self.layers.items():
            for key, shape in layer.shapes.items():
                bound = 1 / math.sqrt(math.prod(layer.shapes["weight"][1:]))
                values = generator.uniform(-bound, bound, shape)
                self.params[f"{name}.{key}"] = values.astype(dtype)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the parameters, and so of the images that the network takes."""
        return next(iter(self.params.values())).dtype

    @property
    def last(self) -> str:
        """The name of the last layer."""
        return next(reversed(self.layers))

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, Callable[..., Any]]:
        """The output of the last layer, and its backward pass.

        Shapes
            x (N, *image_shape)  →  y (N, …)

        `backward(dy, need_dx=True)` returns the gradient by x, or None if not needed, and `grads`,
        the gradients by the parameters, keyed like `params`.
        """
        last = self.last
        outputs, features_backward = self.features(x, [last])

        def backward(dy: np.ndarray, need_dx: bool = True) -> tuple[np.ndarray | None, Params]:
            return features_backward({last: dy}, need_dx)

        return outputs[last], backward

    def features(
        self, x: np.ndarray, names: Iterable[str]
    ) -> tuple[dict[str, np.ndarray], Callable[..., tuple[np.ndarray | None, Params]]]:
        """The outputs of the layers named, and one backward pass from all of them.

            outputs, backward = network.features(x, ("relu2", "fc2"))
            dx, grads = backward({"relu2": d_relu2, "fc2": d_fc2})

        Definition (y_k = f_k(y_{k−1}; θ_k), y_0 = x; L any function of the outputs named)
            backward takes d_k = ∂L/∂y_k as far as L depends on y_k directly, for some of `names`

        Backward
            y_k reaches L directly and through y_{k+1}, so from the last layer down
            ∂L/∂y_k = d_k + (∂y_{k+1}/∂y_k)ᵀ ∂L/∂y_{k+1},    ∂L/∂θ_k = (∂y_k/∂θ_k)ᵀ ∂L/∂y_k

        Layers behind the last one named are not run; the gradients by their parameters are zero.
        """
        self._require_images(x)
        names = [names] if isinstance(names, str) else list(names)
        self._require_names(names)
        outputs, backwards = {}, {}
        remaining = set(names)
        y = x
        with one_pass():
            for name, step, output in self._steps(names):
                if not remaining:
                    break
                own = {key: self.params[f"{name}.{key}"] for key in self.layers[name].shapes}
                y, step_backward = step(y, own)
                backwards[output] = name, step_backward
                if output in remaining:
                    outputs[output] = y
                    remaining.remove(output)

        def backward(
            gradients: Mapping[str, np.ndarray], need_dx: bool = True
        ) -> tuple[np.ndarray | None, Params]:
            if not isinstance(gradients, Mapping):
                raise ValueError(
                    f"{type(self).__name__}: gradients are a {type(gradients).__name__}, expected "
                    f"a dict of them by the names of layers"
                )
            unknown = [name for name in gradients if name not in outputs]
            if unknown:
                raise ValueError(
                    f"{type(self).__name__}: gradients given for {unknown}, expected some of "
                    f"{list(outputs)}, the outputs asked for"
                )
            for name, gradient in gradients.items():
                require_gradient(name, gradient, outputs[name].shape, outputs[name].dtype)
            grads: Params = {}
            dy: np.ndarray | None = None
            first = next(iter(self.layers))
            with one_pass():
                for output, (name, step_backward) in reversed(backwards.items()):
                    if output in gradients:
                        dy = gradients[output] if dy is None else dy + gradients[output]
                    if dy is not None:
                        dy, own = step_backward(dy, need_dx or name != first)
                        grads |= {f"{name}.{key}": gradient for key, gradient in own.items()}
            if dy is None and need_dx:
                dy = np.zeros_like(x)
            return dy, {
                name: grads[name] if name in grads else np.zeros_like(theta)
                for name, theta in self.params.items()
            }

        return {name: outputs[name] for name in names}, backward

    def _steps(self, names: list[str]) -> list[tuple[str, Callable[..., Any], str]]:
        """What is computed, in order: a layer's name, the layer, and the name of what it gives.

        A convolution and the ReLU behind it are one, which gives the ReLU's output, to the same
        bits and quicker, unless the convolution's own is among `names`.
        """
        steps: list[tuple[str, Callable[..., Any], str]] = []
        for name, layer in self.layers.items():
            before, convolution, _ = steps[-1] if steps else ("", None, "")
            is_relu = isinstance(layer, Function) and layer.op is ops.relu
            if is_relu and type(convolution) is Conv2d and before not in names:
                steps[-1] = (before, convolution.with_relu, name)
            else:
                steps.append((name, layer, name))
        return steps

    def astype(self, dtype: Any) -> "Network":
        """The same network with its parameters copied to another dtype."""
        other = object.__new__(type(self))
        other.layers, other.image_shape = self.layers, self.image_shape
        other.params = {name: theta.astype(dtype) for name, theta in self.params.items()}
        return other

    def load(self, params: Mapping[str, np.ndarray]) -> None:
        """Take over the values of `params`, which has the same names and shapes, in our dtype.

        Raises ValueError if it has not, or if a value is not finite; then nothing is changed.
        """
        name = type(self).__name__
        if params.keys() != self.params.keys():
            missing = sorted(self.params.keys() - params.keys())
            surplus = sorted(params.keys() - self.params.keys())
            raise ValueError(f"{name}: weights lack {missing}, and have {surplus} that are not its")
        values = {}
        for key, theta in self.params.items():
            if np.shape(params[key]) != theta.shape:
                raise ValueError(
                    f"{name}: {key} has shape {np.shape(params[key])}, expected {theta.shape}"
                )
            if np.iscomplexobj(params[key]) and not np.iscomplexobj(theta):
                raise ValueError(f"{name}: {key} is complex, expected {theta.dtype}")
            with np.errstate(over="ignore"):
                values[key] = np.asarray(params[key], theta.dtype)
            if not np.isfinite(values[key]).all():
                raise ValueError(f"{name}: {key} holds values that are not finite {theta.dtype}")
        for key, theta in self.params.items():
            theta[...] = values[key]

    def macs(self) -> int:
        """Multiply-adds for one image."""
        x = np.zeros((1, *self.image_shape), self.dtype)
        outputs, _ = self.features(x, self.layers)
        return sum(layer.macs(outputs[name].shape) for name, layer in self.layers.items())

    def _require_images(self, x: np.ndarray) -> None:
        name = type(self).__name__
        require_arrays(name, x=x)
        if x.shape[1:] != self.image_shape:
            got = "×".join(map(str, x.shape[1:])) if x.ndim == 4 else f"an array of {x.shape}"
            c, height, width = self.image_shape
            hints = {
                (c, 2 * height, 2 * width): "; is this x_high?",
                (c, height // 2, width // 2): "; is this x_low?",
                (height, width, c): "; are its channels last?",
            }
            hint = hints.get(x.shape[1:], "")
            if x.shape == self.image_shape:
                hint = "; is this one image? Then it wants an axis for the batch: x[None]"
            raise ValueError(f"{name} expects images of {c}×{height}×{width}, got {got}{hint}")
        if x.dtype != self.dtype:
            raise ValueError(f"{name} has {self.dtype} weights, got {x.dtype} images")

    def _require_names(self, names: list[str]) -> None:
        unknown = [name for name in names if name not in self.layers]
        if unknown or not names:
            raise ValueError(
                f"{type(self).__name__}: layers asked for are {names}, expected some of "
                f"{list(self.layers)}"
            )


def _generator(owner: str, rng: np.random.Generator | int) -> np.random.Generator:
    """A Generator as it is, or the one of a seed."""
    if isinstance(rng, np.random.Generator):
        return rng
    if not is_integer(rng) or rng < 0:
        raise ValueError(f"{owner}: rng is {shown(rng)}, expected a np.random.Generator or a seed")
    return np.random.default_rng(rng)
