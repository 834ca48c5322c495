"""Mutants of losses that regress."""

from mutants.building import mutants

MUTANTS = [
    *mutants(
        "l2",
        "npkd.losses.regression.l2",
        {
            "value without the ½": (
                "sum_of_squares(delta.ravel(), 0.5 * factor / divisor)",
                "sum_of_squares(delta.ravel(), factor / divisor)",
                "value",
            ),
            "value by absolute values": (
                "sum_of_squares(delta.ravel(), 0.5 * factor / divisor)",
                "sum_of_squares(np.abs(delta).ravel(), 0.5 * factor / divisor)",
                "value",
            ),
            "value in double precision": (
                "value = 0.5 * factor * delta * delta",
                "value = np.float64(0.5) * factor * delta * delta",
                "contract",
            ),
            "gradient by the teacher": (
                "gradient = delta / divisor",
                "gradient = -delta / divisor",
                "direction",
            ),
            "gradient averaged twice": (
                "gradient = delta / divisor",
                "gradient = delta / divisor**2",
                "direction",
            ),
            "gradient doubled": (
                "gradient = delta / divisor",
                "gradient = 2 * delta / divisor",
                "direction",
            ),
            "one entry of the gradient off by 1e-12": (
                "gradient = delta / divisor",
                "gradient = delta / divisor\n    gradient.flat[:1] *= 1 + 1e-12",
                "direction",
            ),
            "batchmean over all entries": (
                '"l2", reduction, len(student),',
                '"l2", reduction, student.size,',
                "value",
            ),
            "elementmean over the batch": (
                '"l2", reduction, len(student), student.size',
                '"l2", reduction, len(student), len(student)',
                "value",
            ),
            "half=False forgotten": (
                "factor *= 2",
                "pass",
                "value",
            ),
            "T² in the gradient alone": (
                "0.5 * factor / divisor)",
                "0.5 * (2 - half) / divisor)",
                "value",
            ),
            "T² in the value alone": (
                "gradient if factor == t else (factor / t) * gradient",
                "((2 - half) / t) * gradient",
                "direction",
            ),
            "gradient not divided by T": (
                "gradient if factor == t else (factor / t) * gradient",
                "factor * gradient",
                "direction",
            ),
            "difference not divided by T": (
                "        delta = delta / t\n",
                "        delta = delta.copy()\n",
                "value",
            ),
            "teacher's logits not divided by T": (
                "log_q, log_p = log_softened(student, t), log_softened(teacher, t)\n"
                "        delta, _ = log_ratio(apart(student, teacher) / t, log_q, log_p)",
                "log_q, log_p = log_softened(student, t), log_softened(teacher)\n"
                "        delta, _ = log_ratio(student / t - teacher, log_q, log_p)",
                "value",
            ),
            "gradient not through the softmax": (
                "gradient = of_infinite(partial(back, q), gradient)",
                "pass",
                "direction",
            ),
            "softmax over the batch": (
                "log_q, log_p = log_softened(student, t), log_softened(teacher, t)\n"
                "        delta, _ = log_ratio(apart(student, teacher) / t, log_q, log_p)",
                "log_q, log_p = log_softened(student.T, t).T, log_softened(teacher.T, t).T\n"
                "        delta = log_q - log_p",
                "value",
            ),
            "probabilities and their logarithms exchanged": (
                '        if variant == "probabilities":\n            delta =',
                '        if variant != "probabilities":\n            delta =',
                "value",
            ),
        },
    ),
    *mutants(
        "l2",
        "npkd.losses.facts.divisor_of",
        {
            "no reduction divides": (
                "return divisor",
                "return 1",
                "value",
            ),
            "gradient averaged where losses are kept apart": (
                '"none": 1',
                '"none": samples',
                "direction",
            ),
        },
    ),
    *mutants(
        "l1",
        "npkd.losses.regression.l1",
        {
            "value of differences with their signs": (
                "value = sign * delta",
                "value = delta.copy()",
                "value",
            ),
            "value squared": (
                "value = sign * delta",
                "value = delta * delta",
                "value",
            ),
            "gradient by the teacher": (
                "return value, sign / divisor",
                "return value, -sign / divisor",
                "direction",
            ),
            "gradient of L2": (
                "return value, sign / divisor",
                "return value, delta / divisor",
                "direction",
            ),
            "gradient not averaged": (
                "return value, sign / divisor",
                "return value, sign",
                "direction",
            ),
            "sign of the student's outputs": (
                "sign = np.sign(delta.real).astype(delta.dtype)",
                "sign = np.sign(student.real).astype(delta.dtype)",
                "value",
            ),
            "sign in double precision": (
                "sign = np.sign(delta.real).astype(delta.dtype)",
                "sign = np.sign(delta.real).astype(np.result_type(delta.dtype, np.float64))",
                "contract",
            ),
            "batchmean over all entries": (
                '"l1", reduction, len(student),',
                '"l1", reduction, student.size,',
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, sign / divisor",
                "gradient = sign / divisor\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *mutants(
        "huber",
        "npkd.losses.regression.huber_of",
        {
            "squares far out too": (
                "near = ~(np.abs(difference.real) > delta)",
                "near = np.ones(difference.shape, bool)",
                "value",
            ),
            "over to absolute values at 1 whatever δ": (
                "near = ~(np.abs(difference.real) > delta)",
                "near = ~(np.abs(difference.real) > 1)",
                "value",
            ),
            "squares far out, absolute values near": (
                "near = ~(np.abs(difference.real) > delta)",
                "near = np.abs(difference.real) > delta",
                "value",
            ),
            "value near 0 without the ½": (
                "0.5 * difference * difference",
                "difference * difference",
                "value",
            ),
            "value far out without the −½ δ": (
                "delta * (sign * difference - 0.5 * delta)",
                "delta * (sign * difference)",
                "value",
            ),
            "value far out without the δ": (
                "delta * (sign * difference - 0.5 * delta)",
                "sign * difference - 0.5 * delta",
                "value",
            ),
            "gradient far out without the δ": (
                "np.where(near, difference, delta * sign)",
                "np.where(near, difference, sign)",
                "direction",
            ),
            "gradient far out without the sign": (
                "np.where(near, difference, delta * sign)",
                "np.where(near, difference, delta)",
                "direction",
            ),
        },
    ),
    *mutants(
        "huber",
        "npkd.losses.regression.huber",
        {
            "gradient of the smooth one not divided by δ": (
                "value, gradient = value / far, gradient / far",
                "value = value / far",
                "direction",
            ),
            "the two variants exchanged": (
                'if variant == "smooth":',
                'if variant != "smooth":',
                "value",
            ),
            "elementmean over the batch": (
                '"huber", reduction, len(student), student.size',
                '"huber", reduction, len(student), len(student)',
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, gradient / divisor",
                "gradient = gradient / divisor\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
]
