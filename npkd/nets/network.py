"""A network: named layers, with one primitive, `features`."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from npkd import ops
from npkd.arguments import FLOATS, fitted, is_integer, require_arrays, shown
from npkd.engine.threads import one_pass
from npkd.nets.layers import BatchNorm, Conv2d, Layer, Params, op_of
from npkd.ops.contract import require_gradient

IMAGES = "x"  # what a layer may take beside layers
MOST = 2**28  # parameters: of float32 a gibibyte, as much as `npkd.weights` keeps in a file
WITH_RELU = (Conv2d, BatchNorm)  # the layers that are run in one with the ReLU behind them


class Step(NamedTuple):
    """What is computed at once: a layer, perhaps with those behind it, and what that gives."""

    layers: tuple[str, ...]  # with parameters: one, or a convolution and its batch norm
    output: str  # the name of the last layer
    takes: tuple[str, ...]
    relu: bool = False  # whether one is behind them


class Network:
    """Named layers in order, each of which takes what the one before gives, or what it names.

        y, backward = network(x)
        dx, grads = backward(dy)

    params: one dict of all parameters, "conv1.weight", "conv1.bias", …; what it holds is what the
    network computes with. state: what layers remember, "bn1.running_mean", …, likewise; it is not
    trained. layers: the layers by name, in order; where one names what it takes (`layers.Wired`),
    these are layers before it, or "x", the images. Weights and biases start as uniform on
    (−1/√m, 1/√m), m the inputs of one output, which is PyTorch's default for both, unless the layer
    has a start of its own.

    stages, vector: names of the layers whose outputs are the maps of its stages, from wide to
    narrow, and the features of an image: what losses on inner layers are on unless told otherwise.
    A network of your own may set them.

    Raises ValueError for layers that take what is not before them or have too many parameters, and
    for images of another shape or dtype than the network's.

    Example
        >>> layers = {"flatten": nets.Function(ops.flatten), "fc": nets.Linear(4, 1)}
        >>> network = nets.Network(layers, (1, 2, 2), rng=0)
        >>> y, backward = network(np.ones((3, 1, 2, 2), np.float32))
        >>> print(y.shape, {name: g.shape for name, g in backward(y)[1].items()})
        (3, 1) {'fc.weight': (1, 4), 'fc.bias': (1,)}
    """

    stages: tuple[str, ...] = ()
    vector: str = ""

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
        self.image_shape = tuple(image_shape)
        self.takes = self._taken()
        shapes = (shape for layer in self.layers.values() for shape in layer.shapes.values())
        count = sum(map(math.prod, shapes))
        if count > MOST:
            raise ValueError(
                f"{type(self).__name__}: its layers have {count:,} parameters, expected {MOST:,} "
                "at most"
            )
        self.params: Params = {}
        self.state: Params = {}
        generator = generator_of(type(self).__name__, rng)
        for name, layer in self.layers.items():
            start = layer.start if hasattr(layer, "start") else partial(_uniform, layer.shapes)
            for key, values in start(generator).items():
                self.params[f"{name}.{key}"] = values.astype(dtype)
            for key, value in getattr(layer, "state", {}).items():
                self.state[f"{name}.{key}"] = _as(value, dtype)
        if not self.params:
            raise ValueError(f"{type(self).__name__}: its layers have no parameters")

    def _taken(self) -> dict[str, tuple[str, ...]]:
        """What each layer takes, by name."""
        taken: dict[str, tuple[str, ...]] = {}
        before = IMAGES
        for name, layer in self.layers.items():
            taken[name] = tuple(getattr(layer, "takes", ())) or (before,)
            unknown = [one for one in taken[name] if one != IMAGES and one not in taken]
            if name == IMAGES or name in taken[name] or unknown:
                names = ", ".join(taken[name])
                raise ValueError(
                    f"{type(self).__name__}: {shown(name)} takes {names}, expected layers before "
                    f'it, or "{IMAGES}", the images'
                )
            before = name
        return taken

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the parameters, and so of the images that the network takes."""
        return next(iter(self.params.values())).dtype

    @property
    def last(self) -> str:
        """The name of the last layer."""
        return next(reversed(self.layers))

    @property
    def nbytes(self) -> int:
        """The bytes of the parameters."""
        return sum(theta.nbytes for theta in self.params.values())

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
        self,
        x: np.ndarray,
        names: Iterable[str],
        *,
        training: bool = False,
        rng: np.random.Generator | int | None = None,
    ) -> tuple[Any, ...]:
        """The outputs of the layers named, and one backward pass from all of them.

            outputs, backward = network.features(x, ("relu2", "fc2"))
            dx, grads = backward({"relu2": d_relu2, "fc2": d_fc2})

        Definition (y_k = f_k(y_i, y_j, …; θ_k), with i, j, … what layer k takes, in a straight line
        k − 1 alone; y_0 = x; L any function of the outputs named)
            backward takes d_k = ∂L/∂y_k as far as L depends on y_k directly, for some of `names`

        Backward
            y_i reaches L directly and through every y_k that takes it, so from the last layer down
            ∂L/∂y_i = d_i + Σ_k (∂y_k/∂y_i)ᵀ ∂L/∂y_k,    ∂L/∂θ_k = (∂y_k/∂θ_k)ᵀ ∂L/∂y_k

        Layers that those named do not need are not run; the gradients by their parameters are zero.

        training: a training pass, in which layers such as batch norm do otherwise. It gives

            outputs, backward, state = network.features(x, names, training=True)

        with the new state, all of it; the network's own stays as it is. rng: what layers such as
        dropout draw from, or a seed. Raises ValueError for a training pass of a frozen network.
        """
        self._require_images(x)
        names = [names] if isinstance(names, str) else list(names)
        self._require_names(names)
        rng = None if rng is None else generator_of(type(self).__name__, rng)
        if training and self.is_frozen:
            raise ValueError(f"{type(self).__name__} is frozen, and has no training pass")
        arrays, state = self.params | self.state, dict(self.state)
        steps = self._steps(set(names), training)
        last_use = {taken: step.output for step in steps for taken in step.takes}
        known, backwards = {IMAGES: x}, []
        with one_pass():
            for step in steps:
                layer: Any
                *before, layer = (self.layers[name] for name in step.layers)
                *others, own = (self._arrays_of(name, arrays) for name in step.layers)
                xs = [known[taken] for taken in step.takes]
                options = {"relu": True} if step.relu else {}
                if before:
                    y, step_backward = layer.behind(*before, *xs, *others, own, **options)
                elif training and hasattr(layer, "train"):
                    y, step_backward, new = layer.train(*xs, own, rng, **options)
                    self._require_own(step.layers[0], "state", new, getattr(layer, "state", ()))
                    state |= {f"{step.layers[0]}.{key}": value for key, value in new.items()}
                else:
                    y, step_backward = layer(*xs, own, **options)
                known[step.output] = y
                backwards.append((step, step_backward))
                for taken in step.takes:
                    if last_use[taken] == step.output and taken not in names:
                        known.pop(taken, None)
        outputs = {name: known[name] for name in names}

        def backward(
            gradients: Mapping[str, np.ndarray], need_dx: bool = True
        ) -> tuple[np.ndarray | None, Params]:
            self._require_gradients(gradients, outputs)
            grads: Params = {}
            gathered = dict(gradients)  # ∂L/∂y_k, as far as it is known
            with one_pass():
                for step, step_backward in reversed(backwards):
                    dy = gathered.pop(step.output, None)
                    if dy is None:
                        continue
                    dx, *owns = step_backward(dy, need_dx or step.takes != (IMAGES,))
                    for layer, own in zip(step.layers, owns, strict=True):
                        self._require_own(layer, "gradients", own, self.layers[layer].shapes)
                        grads |= {f"{layer}.{key}": gradient for key, gradient in own.items()}
                    for taken, part in zip(
                        step.takes, dx if isinstance(dx, tuple) else (dx,), strict=True
                    ):
                        if part is None:  # by the images, and not needed
                            continue
                        more = gathered.get(taken)
                        gathered[taken] = part if more is None else ops.add(part, more)[0]
            dx = gathered.get(IMAGES) if need_dx else None
            if dx is None and need_dx:
                dx = np.zeros_like(x)
            return dx, {
                name: grads[name] if name in grads else np.zeros_like(theta)
                for name, theta in self.params.items()
            }

        return (outputs, backward, state) if training else (outputs, backward)

    def _steps(self, names: set[str], training: bool = False) -> list[Step]:
        """What is computed, in order, for the outputs named.

        In one, to the same bits and quicker, are a convolution or batch norm and the ReLU behind
        it, and in evaluation a convolution and the batch norm behind it, unless the output between
        is named or taken elsewhere.
        """
        needed = set(names)
        for name in reversed(self.layers):
            if name in needed:
                needed.update(self.takes[name])
        uses = Counter(taken for name in needed - {IMAGES} for taken in self.takes[name])
        steps: dict[str, Step] = {}  # by what they give
        for name, layer in self.layers.items():
            if name not in needed:
                continue
            before = self.takes[name][0]
            step, kind = steps.get(before), type(self.layers.get(before))
            if step is None or uses[before] > 1 or before in names:
                steps[name] = Step((name,), name, self.takes[name])
            elif _is_relu(layer) and kind in WITH_RELU:
                steps[name] = steps.pop(before)._replace(output=name, relu=True)
            elif (
                type(layer) is BatchNorm
                and kind is Conv2d
                and not training
                and layer.shapes["bias"] == self.layers[before].shapes["weight"][:1]
            ):
                steps[name] = steps.pop(before)._replace(output=name, layers=(before, name))
            else:
                steps[name] = Step((name,), name, self.takes[name])
        return list(steps.values())

    def _arrays_of(self, name: str, arrays: Params) -> Params:
        """A layer's parameters and state, by its own names for them."""
        layer = self.layers[name]
        keys = (*layer.shapes, *getattr(layer, "state", ()))
        return {key: arrays[f"{name}.{key}"] for key in keys}

    @property
    def is_frozen(self) -> bool:
        """Whether the parameters are read-only; see `freeze`."""
        return not any(theta.flags.writeable for theta in self.params.values())

    def freeze(self) -> None:
        """Make parameters and state read-only, as a teacher's are."""
        for array in self.state_dict().values():
            array.setflags(write=False)

    def state_dict(self) -> Params:
        """Parameters and state by name, as PyTorch has them: the arrays themselves, not copies."""
        return self.params | self.state

    def astype(self, dtype: Any) -> "Network":
        """The same network with its parameters and its state copied to another dtype."""
        other = copy(self)
        other.params = {name: theta.astype(dtype) for name, theta in self.params.items()}
        other.state = {name: _as(value, dtype) for name, value in self.state.items()}
        return other

    def load(self, values: Mapping[str, np.ndarray]) -> None:
        """Take over parameters and state of the same names and shapes, in our dtype.

        What wrappers put before every name ("module.", "model.") is taken off, if all names share
        it. Batches counted (`num_batches_tracked`) may be missing, as in files of old; they are 0
        then. Raises ValueError if anything else is, if a value is not finite, a negative variance
        or a whole number (as quantised weights are), or for a frozen network; then nothing is
        changed. An array that would fit as Keras and JAX lay it out is refused with the
        transposition to make; a square one cannot be told from one that fits.
        """
        if self.is_frozen:
            raise ValueError(f"{type(self).__name__} is frozen, and takes no values")
        own = self.state_dict()
        for key, value in fitted(type(self).__name__, values, own).items():
            own[key][...] = value

    def macs(self) -> int:
        """Multiply-adds for one image."""
        x = np.zeros((1, *self.image_shape), self.dtype)
        for name, layer in self.layers.items():
            if not hasattr(layer, "macs"):
                kind = type(layer).__name__
                raise ValueError(f"{name} is a {kind}, which does not say its macs; see nets.Layer")
        outputs, _ = self.features(x, self.layers)
        return sum(layer.macs(outputs[name].shape) for name, layer in self.layers.items())

    def _require_images(self, x: np.ndarray) -> None:
        name = type(self).__name__
        require_arrays(name, x=x)
        if x.shape[1:] != self.image_shape:
            got = "×".join(map(str, x.shape[1:])) if x.ndim == 4 else f"an array of {x.shape}"
            expected, hint = "×".join(map(str, self.image_shape)), ""
            if len(self.image_shape) == 3:
                c, height, width = self.image_shape
                hints = {
                    (c, 2 * height, 2 * width): "; is this x_high?",
                    (c, height // 2, width // 2): "; is this x_low?",
                    (height, width, c): "; are its channels last?",
                }
                hint = hints.get(x.shape[1:], "")
            if x.shape == self.image_shape:
                hint = "; is this one image? Then it wants an axis for the batch: x[None]"
            raise ValueError(f"{name} expects images of {expected}, got {got}{hint}")
        if x.dtype != self.dtype:
            raise ValueError(f"{name} has {self.dtype} weights, got {x.dtype} images")

    def _require_gradients(self, gradients: Any, outputs: Params) -> None:
        name = type(self).__name__
        if not isinstance(gradients, Mapping):
            raise ValueError(
                f"{name}: gradients are a {type(gradients).__name__}, expected a dict of them by "
                "the names of layers"
            )
        unknown = [one for one in gradients if one not in outputs]
        if unknown:
            raise ValueError(
                f"{name}: gradients given for {unknown}, expected some of {list(outputs)}, the "
                "outputs asked for"
            )
        for one, gradient in gradients.items():
            require_gradient(one, gradient, outputs[one].shape, outputs[one].dtype)

    def _require_own(self, layer: str, what: str, found: Any, expected: Iterable[str]) -> None:
        """That a layer, perhaps a user's, gives what belongs to its parameters or its state."""
        if not isinstance(found, Mapping) or set(found) != set(expected):
            given = sorted(found) if isinstance(found, Mapping) else type(found).__name__
            raise ValueError(
                f"{type(self).__name__}: the {what} of {layer} are {given}, expected "
                f"{sorted(expected)}"
            )

    def _require_names(self, names: list[str]) -> None:
        unknown = [name for name in names if name not in self.layers]
        if unknown or not names:
            raise ValueError(
                f"{type(self).__name__}: layers asked for are {names}, expected some of "
                f"{list(self.layers)}"
            )


def _is_relu(layer: Any) -> bool:
    """Whether a layer is `ops.relu` of one array, and nothing else."""
    if op_of(layer) is not ops.relu:
        return False
    return not layer.arguments and not layer.options and len(layer.takes) < 2


def _uniform(shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> Params:
    if not shapes:
        return {}
    weight = shapes.get("weight", next(iter(shapes.values())))
    bound = 1 / math.sqrt(max(1, math.prod(weight[1:])))
    return {key: rng.uniform(-bound, bound, shape) for key, shape in shapes.items()}


def _as(value: np.ndarray, dtype: Any) -> np.ndarray:
    """A copy in another dtype; of a count in its own."""
    return value.astype(dtype if value.dtype.kind in "fc" else value.dtype)


def generator_of(owner: str, rng: np.random.Generator | int) -> np.random.Generator:
    """A Generator as it is, or the one of a seed."""
    if isinstance(rng, np.random.Generator):
        return rng
    if not is_integer(rng) or rng < 0:
        raise ValueError(f"{owner}: rng is {shown(rng)}, expected a np.random.Generator or a seed")
    return np.random.default_rng(rng)
