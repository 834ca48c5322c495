"""Mutants of networks."""

from mutants.building import mutants

MUTANTS = [
    *mutants(
        "cnn",
        "npkd.nets.layers.Conv2d.__call__",
        {
            "convolution without its bias": (
                'ops.conv2d(x, params["weight"], params["bias"], padding=self.padding)',
                'ops.conv2d(x, params["weight"], 0 * params["bias"], padding=self.padding)',
                "value",
            ),
        },
    ),
    *mutants(
        "cnn",
        "npkd.nets.layers.Linear.__call__",
        {
            "linear layer with the bias doubled": (
                'ops.linear(x, params["weight"], params["bias"])',
                'ops.linear(x, params["weight"], 2 * params["bias"])',
                "value",
            ),
        },
    ),
    *mutants(
        "cnn",
        "npkd.nets.layers._with_names",
        {
            "gradients by weight and bias exchanged": (
                'return dx, {"weight": dw, "bias": db}',
                'return dx, {"weight": db, "bias": dw}',
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
                "dy = gradients[output] if dy is None else dy + gradients[output]",
                "dy = gradients[output]",
                "direction",
            ),
            "gradient of a named layer dropped": (
                "dy = gradients[output] if dy is None else dy + gradients[output]",
                "dy = gradients[output] if dy is None else dy",
                "direction",
            ),
            "gradient of a named layer added twice": (
                "dy = gradients[output] if dy is None else dy + gradients[output]",
                "dy = gradients[output] if dy is None else dy + 2 * gradients[output]",
                "direction",
            ),
            "gradient of a named layer added in place": (
                "dy = gradients[output] if dy is None else dy + gradients[output]",
                "dy = gradients[output] if dy is None else np.add(dy, gradients[output], out=dy)",
                "contract",
            ),
            "features in reverse order": (
                "return {name: outputs[name] for name in names}, backward",
                "return dict(zip(names, [outputs[name] for name in names[::-1]])), backward",
                "value",
            ),
            "without dx only the last layer learns": (
                "need_dx or name != first",
                "need_dx",
                "contract",
            ),
            "dx computed where not needed": (
                "need_dx or name != first",
                "True",
                "contract",
            ),
            "dx of the network zero": (
                "if dy is None and need_dx:",
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
    *mutants(
        "SmallCNN",
        "npkd.nets.layers.Conv2d.with_relu",
        {
            "padding ignored": (
                "padding=self.padding",
                "padding=0",
                "value",
            ),
        },
    ),
]
