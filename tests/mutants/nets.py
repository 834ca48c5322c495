"""Mutants of networks."""

from mutants.building import mutants

MUTANTS = [
    *mutants(
        "cnn",
        "npkd.nets.layers.Conv2d.__call__",
        {
            "convolution without its bias": (
                'params.get("bias")',
                'params["bias"] * 0',
                "value",
            ),
            "padding ignored": (
                "**self.options)",
                '**self.options | {"padding": 0})',
                "value",
            ),
        },
    ),
    *mutants(
        "cnn",
        "npkd.nets.layers.Linear.__call__",
        {
            "linear layer with the bias doubled": (
                'params.get("bias")',
                '2 * params["bias"]',
                "value",
            ),
        },
    ),
    *mutants(
        "cnn",
        "npkd.nets.layers._with_names",
        {
            "gradients by weight and bias exchanged": (
                'else {"weight": dw, "bias": db}',
                'else {"weight": db, "bias": dw}',
                "direction",
            ),
        },
    ),
    *mutants(
        "cnn",
        "npkd.nets.network.Network.features",
        {
            "gradients by biases forgotten": (
                "gradient for key, gradient in own.items()}",
                'gradient for key, gradient in own.items() if key != "bias"}',
                "direction",
            ),
            "gradient of a named layer overwrites": (
                "part if more is None else ops.add(part, more)[0]",
                "part if more is None else more",
                "direction",
            ),
            "gradient of a named layer dropped": (
                "gathered = dict(gradients)",
                "gathered = dict(list(gradients.items())[-1:])",
                "direction",
            ),
            "gradient of a named layer added twice": (
                "ops.add(part, more)[0]",
                "ops.add(part, 2 * more)[0]",
                "direction",
            ),
            "gradient of a named layer added in place": (
                "ops.add(part, more)[0]",
                "np.add(part, more, out=more)",
                "contract",
            ),
            "features in reverse order": (
                "outputs = {name: known[name] for name in names}",
                "outputs = dict(zip(names, [known[name] for name in names[::-1]]))",
                "value",
            ),
            "without dx only the last layer learns": (
                "need_dx or step.takes != (IMAGES,)",
                "need_dx",
                "contract",
            ),
            "dx computed where not needed": (
                "gathered.get(IMAGES) if need_dx else None",
                "gathered.get(IMAGES, np.zeros_like(x))",
                "contract",
            ),
            "dx of the network zero": (
                "if dx is None and need_dx:",
                "if need_dx:",
                "direction",
            ),
            "layers that were not run get gradients": (
                "name: grads[name] if name in grads else np.zeros_like(theta)",
                "name: grads[name] if name in grads else theta.copy()",
                "direction",
            ),
        },
    ),
    *mutants(
        "graph",
        "npkd.nets.network.Network.features",
        {
            "a shortcut's gradient overwrites": (
                "part if more is None else ops.add(part, more)[0]",
                "part",
                "direction",
            ),
            "a branch that is taken twice counted once": (
                "gathered[taken] = part if more is None else ops.add(part, more)[0]",
                "gathered[taken] = part if step.takes.count(taken) > 1 or more is None else "
                "ops.add(part, more)[0]",
                "direction",
            ),
            "gradients of what is taken exchanged": (
                "dx if isinstance(dx, tuple)",
                "dx[::-1] if isinstance(dx, tuple)",
                "direction",
            ),
            "without dx no layer beside the images learns": (
                "if part is None:",
                "if part is None or not need_dx:",
                "contract",
            ),
            "images taken twice without dx": (
                "if part is None:",
                "if False:",
                "contract",
            ),
            "a training pass in evaluation": (
                "if training and hasattr(",
                "if hasattr(",
                "value",
            ),
            "evaluation in a training pass": (
                "if training and hasattr(",
                "if False and hasattr(",
                "value",
            ),
            "the network's own state moved": (
                "dict(self.state)",
                "self.state",
                "contract",
            ),
            "a state without layers that were not run": (
                "dict(self.state)",
                "{}",
                "value",
            ),
            "state as parameters": (
                "for name, theta in self.params.items()\n            }",
                "for name, theta in arrays.items()\n            }",
                "direction",
            ),
        },
    ),
    *mutants(
        "graph",
        "npkd.nets.network.Network._steps",
        {
            "a ReLU in place, though the output before it is named": (
                "self.takes[name])\n            elif _is_relu",
                "self.takes[name])\n"
                "                if before in names and getattr(layer, 'op', 0) is ops.relu:\n"
                "                    if kind in WITH_RELU:\n"
                "                        steps[before] = step._replace(relu=True)\n"
                "            elif _is_relu",
                "value",
            ),
            "a ReLU in place, though another layer takes the output before it": (
                "self.takes[name])\n            elif _is_relu",
                "self.takes[name])\n"
                "                if uses[before] > 1 and getattr(layer, 'op', 0) is ops.relu:\n"
                "                    if kind in WITH_RELU:\n"
                "                        steps[before] = step._replace(relu=True)\n"
                "            elif _is_relu",
                "value",
            ),
            "no ReLU where it is run with the layer before": (
                "relu=True",
                "relu=False",
                "value",
            ),
        },
    ),
    *mutants(
        "graph",
        "npkd.ops.norm.conv2d_norm",
        {
            "the mean not taken away": ("values -= mu\n", "pass\n", "value"),
            "the shift left out": ("values += b\n", "pass\n", "value"),
            "the ReLU behind both left out": ("if with_relu:", "if False:", "value"),
            "the gradient goes past the batch norm": (
                "return backward_of_conv(dz, need_dx)",
                "return backward_of_conv(dy, need_dx)",
                "direction",
            ),
        },
    ),
    *mutants(
        "graph",
        "npkd.nets.layers._by_channel",
        {
            "the variance in the place of the mean": (
                '"running_mean", "running_var"',
                '"running_var", "running_var"',
                "value",
            ),
        },
    ),
    *mutants(
        "graph",
        "npkd.nets.layers.BatchNorm.behind",
        {
            "gradients by scale and shift exchanged": (
                '{"weight": dscale, "bias": dshift}',
                '{"weight": dshift, "bias": dscale}',
                "direction",
            ),
        },
    ),
    *mutants(
        "graph",
        "npkd.nets.layers.Conv2d.__call__",
        {
            "the convolution's ReLU left out": (
                "conv2d_relu if relu else ops.conv2d",
                "ops.conv2d",
                "value",
            ),
            "a ReLU behind every convolution": (
                "conv2d_relu if relu else ops.conv2d",
                "conv2d_relu",
                "value",
            ),
        },
    ),
    *mutants(
        "graph",
        "npkd.nets.layers.BatchNorm.__call__",
        {
            "the default ε": (
                ", epsilon=self.epsilon",
                "",
                "value",
            ),
            "the batch norm's ReLU left out": (
                "batch_norm_relu if relu else ops.batch_norm",
                "ops.batch_norm",
                "value",
            ),
        },
    ),
    *mutants(
        "graph",
        "npkd.nets.layers.BatchNorm.train",
        {
            "the ReLU left out in training": (
                "batch_norm_relu if relu else ops.batch_norm",
                "ops.batch_norm",
                "value",
            ),
            "running statistics in training": (
                'y, backward, (mean, variance) = op(\n            x, params["weight"], '
                'params["bias"], epsilon=self.epsilon\n        )',
                '_, _, (mean, variance) = op(x, params["weight"], params["bias"])\n'
                '        y, backward = op(x, params["weight"], params["bias"], '
                'params["running_mean"], params["running_var"], epsilon=self.epsilon)',
                "value",
            ),
            "running variance biased": (
                "variance * (m / (m - 1))",
                "variance",
                "value",
            ),
            "running variance of the images' number alone": (
                "x.size // x.shape[1]",
                "len(x)",
                "value",
            ),
            "momentum exchanged": (
                "(1 - moved) * params[name] + moved * fresh[name]",
                "moved * params[name] + (1 - moved) * fresh[name]",
                "value",
            ),
            "passes not counted": (
                'params["num_batches_tracked"] + 1',
                'params["num_batches_tracked"]',
                "value",
            ),
            "what is remembered changed in place": (
                'params["num_batches_tracked"] + 1',
                'np.add(params["num_batches_tracked"], 1, out=params["num_batches_tracked"])',
                "contract",
            ),
        },
    ),
    *mutants(
        "graph",
        "npkd.nets.layers.Dropout.__call__",
        {
            "less in evaluation": (
                "return x, lambda",
                "return x * (1 - self.p), lambda",
                "value",
            ),
            "no gradient in evaluation": (
                "(dy, {})",
                "(0 * dy, {})",
                "direction",
            ),
        },
    ),
    *mutants(
        "graph",
        "npkd.nets.layers.Dropout.train",
        {
            "kept with chance p": (
                ">= self.p",
                "< self.p",
                "value",
            ),
            "no larger in training": (
                " / (1 - self.p)",
                "",
                "value",
            ),
            "gradient past the mask": (
                "backward(dy) if need_dx",
                "dy if need_dx",
                "direction",
            ),
            "a mask of its own in the backward pass": (
                "backward(dy) if need_dx",
                "ops.dropout(dy, rng.permuted(mask))[0] if need_dx",
                "contract",
            ),
        },
    ),
    *mutants(
        "SmallCNN",
        "npkd.nets.models._CNN.__init__",
        {
            "a ReLU left out": (
                '"relu2": Function(ops.relu),\n            "pool"',
                '"relu2": Function(lambda x: (x.copy(), lambda dy: dy.copy())),\n'
                '            "pool"',
                "value",
            ),
            "a ReLU too many": (
                '"fc2": Linear(self.hidden, num_classes),',
                '"fc2": Linear(self.hidden, num_classes), "relu4": Function(ops.relu),',
                "value",
            ),
            "pooled before the ReLU": (
                '"relu2": Function(ops.relu),\n            "pool": Function(ops.avg_pool2d, 2),',
                '"pool": Function(ops.avg_pool2d, 2),\n            "relu2": Function(ops.relu),',
                "value",
            ),
            "max pool": (
                "Function(ops.avg_pool2d, 2)",
                "Function(ops.max_pool2d, 2)",
                "value",
            ),
            "rows and columns exchanged before fc1": (
                "Function(ops.flatten)",
                "Function(lambda x: ops.flatten(x.swapaxes(2, 3)))",
                "value",
            ),
        },
    ),
]
