"""Mutants of losses between maps of features."""

from mutants.building import mutants

MUTANTS = [
    *mutants(
        "hint",
        "npkd.losses.features.hint",
        {
            "halved always": (
                "l2(r, teacher, half=half, reduction=reduction)",
                "l2(r, teacher, half=True, reduction=reduction)",
                "value",
            ),
            "elementmean over the batch": (
                "l2(r, teacher, half=half, reduction=reduction)",
                'l2(r, teacher, half=half, reduction=reduction.replace("element", "batch"))',
                "value",
            ),
            "student and teacher exchanged": (
                "l2(r, teacher, half=half, reduction=reduction)",
                "l2(teacher, r, half=half, reduction=reduction)",
                "direction",
            ),
            "one entry of each gradient off by 1e-12": (
                "value, dr = l2(r, teacher, half=half, reduction=reduction)",
                "value, dr = l2(r, teacher, half=half, reduction=reduction)\n"
                "    dr.flat[:1] *= 1 + 1e-12",
                "direction",
            ),
        },
    ),
    *mutants(
        "hint",
        "npkd.losses.features._regressed",
        {
            "dweight transposed": (
                "dw.reshape(weight.shape))",
                "dw.reshape(weight.shape[::-1]).T)",
                "direction",
            ),
            "dweight averaged over the batch again": (
                "dw.reshape(weight.shape))",
                "dw.reshape(weight.shape) / len(dy))",
                "direction",
            ),
            "weight not trained": (
                "dw.reshape(weight.shape))",
                "np.zeros_like(weight))",
                "direction",
            ),
            "dbias averaged over the batch again": (
                "((db,) if bias is not None else ())",
                "((db / len(dy),) if bias is not None else ())",
                "direction",
            ),
            "weight's gradient before the student's": (
                "(dx, dw.reshape(weight.shape)) +",
                "(dw.reshape(weight.shape), dx) +",
                "direction",
            ),
        },
    ),
    *mutants(
        "attention",
        "npkd.losses.features._activity",
        {
            "squares whatever the power": (
                "flat((size**power).mean(axis=1))",
                "flat((size**2).mean(axis=1))",
                "value",
            ),
            "power of the sum": (
                "flat((size**power).mean(axis=1))",
                "flat(size.mean(axis=1) ** power)",
                "value",
            ),
            "channels added in the value, averaged in the gradient": (
                "flat((size**power).mean(axis=1))",
                "flat((size**power).sum(axis=1))",
                "direction",
            ),
            "gradient without the sign": (
                "* sign * size ** (power - 1)",
                "* size ** (power - 1)",
                "direction",
            ),
            "gradient without the power before it": (
                "slope = power / features.shape[1] * sign",
                "slope = 1 / features.shape[1] * sign",
                "direction",
            ),
            "gradient with the power itself": (
                "size ** (power - 1)",
                "size**power",
                "direction",
            ),
        },
    ),
    *mutants(
        "attention",
        "npkd.losses.features.attention",
        {
            "maps divided by their sum": (
                "(q, backward), (r, _) = unit(a, epsilon_a), unit(b, epsilon_b)",
                "(q, backward), (r, _) = (\n"
                "        (m / by, lambda dy, m=m, by=by: (dy - (dy * m / by).sum(1, "
                "keepdims=True)) / by)\n"
                "        for m in (a, b)\n"
                "        for by in [m.sum(axis=1, keepdims=True)]\n"
                "    )",
                "value",
            ),
            "the student's map divided by no length": (
                "(q, backward), (r, _) = unit(a, epsilon_a),",
                "(q, backward), (r, _) = (a, lambda dq: dq),",
                "value",
            ),
            "gradient not through the length": (
                "to_student(backward(dq / divisor))",
                "to_student(dq / divisor)",
                "direction",
            ),
            "no ε for the teacher": (
                "unit(b, epsilon_b)",
                "unit(b)",
                "value",
            ),
            "the square for the norm": (
                "dq, _ = unit(delta)",
                "dq = delta",
                "value",
            ),
            "gradient without the 2": (
                "dq = 2 * delta",
                "dq = delta",
                "direction",
            ),
            "elementmean over the batch": (
                "student[:, 0].size if",
                "len(student) if",
                "value",
            ),
            "one entry of the gradient off by 1e-11": (
                "return value, to_student(backward(dq / divisor))",
                "gradient = to_student(backward(dq / divisor))\n"
                "    gradient[0, 0, 0, 0] *= 1 + 1e-11\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *mutants(
        "attention",
        "npkd.losses.geometry.unit",
        {
            "ε forgotten in the length's slope": (
                "(across + e * along * less) * kept",
                "across * kept",
                "direction",
            ),
        },
    ),
    *mutants(
        "nst",
        "npkd.losses.features.nst",
        {
            "kernel of degree 1 in the student": (
                "np.swapaxes(s, 1, 2) @ s / c -",
                "np.ones_like(s[:, 0, :, np.newaxis]) * s.mean(axis=1, keepdims=True) -",
                "value",
            ),
            "student against teacher counted once": (
                'value = np.einsum("bij,bij->b", apart, apart) * w * w',
                'value = np.einsum("bij,bij->b", apart, apart) * w * w\n'
                "    value = value + (s @ np.swapaxes(t, 1, 2) / (c * d) * (s @ "
                "np.swapaxes(t, 1, 2))).sum((1, 2))",
                "value",
            ),
            "the teacher's own term missing": (
                'value = np.einsum("bij,bij->b", apart, apart) * w * w',
                'value = np.einsum("bij,bij->b", apart, apart) - ((t @ np.swapaxes(t, 1, 2) '
                "/ d) ** 2).sum((1, 2))",
                "value",
            ),
            "the teacher's channels divided by the student's number": (
                "np.swapaxes(t, 1, 2) @ t / d",
                "np.swapaxes(t, 1, 2) @ t / c",
                "value",
            ),
            "gradient by one side of the kernel only": (
                "ds = 4 * (",
                "ds = 2 * (",
                "direction",
            ),
            "gradient towards the teacher with its sign flipped": (
                "ds = 4 * (s @ apart) / c / divisor",
                "ds = 4 * (s @ (apart + 2 * np.swapaxes(t, 1, 2) @ t / d)) / c / divisor",
                "direction",
            ),
            "gradient of the kernel of degree 1": (
                "ds = 4 * (s @ apart) / c / divisor",
                "ds = 4 * np.broadcast_to(apart.sum(axis=1, keepdims=True), s.shape) / c / divisor",
                "direction",
            ),
            "channels divided by no length": (
                "unit(_channels(f), epsilon) for f in",
                "(_channels(f), lambda dy: dy) for f in",
                "value",
            ),
            "gradient not through the length": (
                "(backward(ds) * w).reshape(student.shape)",
                "(ds * w).reshape(student.shape)",
                "direction",
            ),
            "gradient not averaged": (
                "ds = 4 * (s @ apart) / c / divisor",
                "ds = 4 * (s @ apart) / c",
                "direction",
            ),
            "one entry of the gradient off by 1e-11": (
                "return value, (backward(ds) * w).reshape(student.shape)",
                "gradient = (backward(ds) * w).reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-11\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *mutants(
        "nst",
        "npkd.losses.geometry.unit",
        {
            "ε inside the root": (
                "    n = of_v * largest\n",
                "    n = np.sqrt((of_v * largest) ** 2 + epsilon)\n    epsilon = 0.0\n",
                "value",
            ),
        },
    ),
    *mutants(
        "fsp",
        "npkd.losses.features.fsp",
        {
            "positions added, not averaged": (
                "np.swapaxes(g, 1, 2) / f.shape[2]",
                "np.swapaxes(g, 1, 2)",
                "value",
            ),
            "the teacher's positions averaged as the student's": (
                "np.swapaxes(tg, 1, 2) / tf.shape[2]",
                "np.swapaxes(tg, 1, 2) / f.shape[2]",
                "value",
            ),
            "gradient not divided by the positions": (
                "by_gram = by_gram / f.shape[2]",
                "by_gram = by_gram.copy()",
                "direction",
            ),
            "the second layer taken as a constant": (
                "dg = (np.swapaxes(by_gram, 1, 2) @ f)",
                "dg = (0 * np.swapaxes(by_gram, 1, 2) @ f)",
                "direction",
            ),
            "gradient halved": (
                "slope, value = 2 * columns,",
                "slope, value = columns,",
                "direction",
            ),
            "value halved": (
                "sum_of_squares(columns.ravel(), 1 / divisor)",
                "sum_of_squares(columns.ravel(), 0.5 / divisor)",
                "value",
            ),
            "elementmean over the batch": (
                "entries = columns.size if",
                "entries = len(columns) if",
                "value",
            ),
            "one norm for all columns": (
                "slope = unit(columns)[0]",
                "slope = unit(columns.reshape(len(columns), -1))[0].reshape(columns.shape)",
                "value",
            ),
            "the square for the norm": (
                "slope = unit(columns)[0]",
                "slope = columns",
                "value",
            ),
            "norms averaged over all entries": (
                "else len(columns) * columns.shape[1]",
                "else columns.size",
                "value",
            ),
            "gradients of the weights exchanged": (
                "*by_weight_first, *by_weight_second)\n",
                "*by_weight_second, *by_weight_first)\n",
                "direction",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (by_first, by_second,",
                "by_first.flat[:1] *= 1 + 1e-12\n    return value, (by_first, by_second,",
                "direction",
            ),
        },
    ),
    *mutants(
        "vid",
        "npkd.losses.features.vid",
        {
            "logarithm of the variance missing": (
                "squares.sum() * w * w + entries * np.log(variance).sum() / divisor",
                "squares.sum() * w * w",
                "value",
            ),
            "log σ for log σ²": (
                "entries * np.log(variance).sum() / divisor",
                "entries * np.log(variance).sum() / 2 / divisor",
                "value",
            ),
            "value without the ½": (
                "value = 0.5 * (squares",
                "value = (squares",
                "value",
            ),
            "variance by exp": (
                "variance = np.where(raised, scale, 0) + np.log1p(decay) + epsilon",
                "variance = np.exp(scale) + epsilon",
                "value",
            ),
            "ε missing": (
                "np.log1p(decay) + epsilon",
                "np.log1p(decay)",
                "value",
            ),
            "softplus's slope left out": (
                "slope = np.where(raised, 1, decay) / (1 + decay)",
                "slope = np.ones_like(decay)",
                "direction",
            ),
            "softplus's slope that of the other sign": (
                "slope = np.where(raised, 1, decay) / (1 + decay)",
                "slope = np.where(raised, decay, 1) / (1 + decay)",
                "direction",
            ),
            "the variance divides the error but once in dscale": (
                "- by_scale * squares * w * w",
                "- by_scale * squares * variance * w * w",
                "direction",
            ),
            "dscale with its sign flipped": (
                "dscale = by_scale * entries / divisor - by_scale * squares * w * w",
                "dscale = by_scale * squares * w * w - by_scale * entries / divisor",
                "direction",
            ),
            "dscale without the logarithm's part": (
                "dscale = by_scale * entries / divisor - by_scale",
                "dscale = -by_scale",
                "direction",
            ),
            "logarithms of all channels in dscale": (
                "entries = teacher.size // max(1, teacher.shape[1])",
                "entries = teacher.size",
                "value",
            ),
            "gradient not divided by the variance": (
                "dstudent, *others = backward(precise / divisor)",
                "dstudent, *others = backward(error / divisor)",
                "direction",
            ),
            "gradient not averaged": (
                "dstudent, *others = backward(precise / divisor)",
                "dstudent, *others = backward(precise)",
                "direction",
            ),
            "a fixed variance trained": (
                'if variant == "fixed":\n        dscale',
                "if False:\n        dscale",
                "direction",
            ),
            "one entry of dscale off by 1e-12": (
                "dstudent, *others = backward(precise / divisor)",
                "dscale[:1] *= 1 + 1e-12\n    dstudent, *others = backward(precise / divisor)",
                "direction",
            ),
            "one entry of dstudent off by 1e-12": (
                "return value, (dstudent, dscale, *others)",
                "dstudent.flat[:1] *= 1 + 1e-12\n    return value, (dstudent, dscale, *others)",
                "entries",
            ),
        },
    ),
]
