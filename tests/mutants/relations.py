"""Mutants of losses between relations of samples."""

from mutants.building import mutants

MUTANTS = [
    *mutants(
        "similarity",
        "npkd.losses.relations.similarity",
        {
            "the two divisions of rows exchanged": (
                '{"paper": unit, "l1": shares}',
                '{"paper": shares, "l1": unit}',
                "value",
            ),
            "the teacher's columns for its rows": (
                "delta = g - of_teacher\n",
                "delta = g - of_teacher.T\n",
                "value",
            ),
            "the teacher's rows not divided": (
                "divide(p), divide(_products_by_row(flat(teacher))[0])",
                "divide(p), _products_by_row(flat(teacher))",
                "value",
            ),
            "gradient not through the rows' length": (
                "backward(2 * delta / divisor)",
                "2 * delta / divisor",
                "direction",
            ),
            "gradient without the 2": (
                "backward(2 * delta / divisor)",
                "backward(delta / divisor)",
                "direction",
            ),
            "gradient with its sign flipped": (
                "backward(2 * delta / divisor)",
                "backward(-2 * delta / divisor)",
                "direction",
            ),
            "samples divided by their length first": (
                "p, to_features = _products_by_row(flat(student))",
                "p, to_features = _products_by_row(unit(flat(student))[0])",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return (delta * delta).sum() / divisor, gradient.reshape(student.shape)",
                "gradient = gradient.reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return (delta * delta).sum() / divisor, gradient",
                "entries",
            ),
        },
    ),
    *mutants(
        "similarity",
        "npkd.losses.relations.similarity",
        {
            "batchmean over all pairs": (
                "reduction, count, count**2",
                "reduction, count**2, count**2",
                "value",
            ),
        },
    ),
    *mutants(
        "similarity",
        "npkd.losses.relations._products_by_row",
        {
            "products by their left factor alone": (
                "(dp @ right + dp.T @ left * (own / of_all)) / own",
                "dp @ right / own",
                "direction",
            ),
            "products with complex numbers conjugated": (
                "return left @ right.T,",
                "return left @ right.T.conj(),",
                "value",
            ),
        },
    ),
    *mutants(
        "similarity",
        "npkd.losses.geometry.shares",
        {
            "shares of the sum, signs and all": (
                "s = (sign * x).sum(axis=-1, keepdims=True)",
                "s = x.sum(axis=-1, keepdims=True)",
                "value",
            ),
            "the shares' sum taken as a constant": (
                "across = dy - sign * (dy * y).sum(axis=-1, keepdims=True)\n"
                "        return np.where(none, 0, orthogonal(y, across, rules) / s)",
                "return np.where(none, 0, dy / s)",
                "direction",
            ),
            "signs forgotten in the slope of the shares' sum": (
                "across = dy - sign * (dy * y).sum(axis=-1, keepdims=True)\n"
                "        return np.where(none, 0, orthogonal(y, across, rules) / s)",
                "across = dy - (dy * y).sum(axis=-1, keepdims=True)\n"
                "        return np.where(none, 0, across / s)",
                "direction",
            ),
        },
    ),
    *mutants(
        "rkd_distance",
        "npkd.losses.relations.rkd_distance",
        {
            "the mean distance taken as a constant": (
                "through_mean = (g * psi).sum() / many",
                "through_mean = 0",
                "direction",
            ),
            "the mean's gradient spread over all pairs": (
                "through_mean = (g * psi).sum() / many",
                "through_mean = (g * psi).sum() / psi.size",
                "direction",
            ),
            "gradient not divided by the mean": (
                "(by_psi / mean / unit_of)",
                "(by_psi / unit_of)",
                "direction",
            ),
            "the teacher's distances in the student's unit": (
                "difference, many = psi - psi_of_teacher,",
                "psi_of_teacher = of_teacher / mean\n    difference, many = psi - psi_of_teacher,",
                "value",
            ),
            "over to absolute values at 1 whatever δ": (
                "value, g = huber_of(difference, far)\n    g = g / divisor\n",
                "value, g = huber_of(difference, 1.0)\n    g = g / divisor\n",
                "value",
            ),
            "each pair counted once": (
                "return value.sum() / divisor, (by_psi",
                "return np.triu(value).sum() / divisor, (by_psi",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value.sum() / divisor, (by_psi / mean / unit_of).reshape(student.shape)",
                "gradient = (by_psi / mean / unit_of).reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value.sum() / divisor, gradient",
                "entries",
            ),
            "the means' difference forgotten": (
                "(less - psi_of_teacher * (less.sum() / many)) / mean",
                "less / mean",
                "value",
            ),
        },
    ),
    *mutants(
        "rkd_distance",
        "npkd.losses.relations._by_mean",
        {
            "distances of 0 in the mean": (
                "(d[apart] / w).sum() / many if many",
                "(d / w).mean() if many",
                "value",
            ),
            "distances in units of their sum": (
                "(d[apart] / w).sum() / many if many",
                "(d[apart] / w).sum() if many",
                "value",
            ),
        },
    ),
    *mutants(
        "rkd_distance",
        "npkd.losses.relations.rkd_distance",
        {
            "mean over pairs of two samples": (
                "reduction, count, count**2",
                "reduction, count, count * (count - 1)",
                "value",
            ),
        },
    ),
    *mutants(
        "rkd_distance",
        "npkd.losses.geometry.distances",
        {
            "squares of distances": (
                "y[i] = length(row - x)[:, 0]",
                "y[i] = length(row - x)[:, 0] ** 2",
                "value",
            ),
            "distances by absolute values": (
                "y[i] = length(row - x)[:, 0]",
                "y[i] = np.abs(row - x).sum(axis=1)",
                "value",
            ),
            "gradient of distances not divided by them": (
                "weight[i] @ ((row - x) / of[:, np.newaxis])",
                "weight[i] @ (row - x)",
                "direction",
            ),
            "gradient of distances at one end alone": (
                "weight = dy + dy.T",
                "weight = dy.copy()",
                "direction",
            ),
            "gradient of distances towards the other sample": (
                "weight[i] @ ((row - x) / of",
                "weight[i] @ ((x - row) / of",
                "direction",
            ),
        },
    ),
    *mutants(
        "rkd_angle",
        "npkd.losses.relations.rkd_angle",
        {
            "mean over pairs": (
                "count, count**3",
                "count, count**2",
                "value",
            ),
            "batchmean over pairs": (
                "reduction, count, count**3",
                "reduction, count**2, count**3",
                "value",
            ),
            "differences divided by no length": (
                "(psi, to_differences), (of_teacher, _) = cosines(x), cosines(y)",
                "(psi, to_differences), (of_teacher, _) = products(x), cosines(y)",
                "value",
            ),
            "the teacher's differences divided by no length": (
                "(psi, to_differences), (of_teacher, _) = cosines(x), cosines(y)",
                "(psi, to_differences), (of_teacher, _) = cosines(x), products(y)",
                "value",
            ),
            "no gradient by the sample that is seen from": (
                "dv.sum(axis=0) - dv.sum(axis=1)",
                "dv.sum(axis=0)",
                "direction",
            ),
            "gradient with its sign flipped": (
                "dv.sum(axis=0) - dv.sum(axis=1)",
                "dv.sum(axis=1) - dv.sum(axis=0)",
                "direction",
            ),
            "gradient not through the length": (
                "dv = to_differences(g / divisor)",
                "dv = products(unit(x)[0])[1](g / divisor)",
                "direction",
            ),
            "student and teacher exchanged": (
                "value, g = huber_of(difference, far)\n    dv",
                "value, g = huber_of(-difference, far)\n    dv",
                "direction",
            ),
            "over to absolute values at 1 whatever δ": (
                "value, g = huber_of(difference, far)\n    dv",
                "value, g = huber_of(difference, 1.0)\n    dv",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "gradient = dv.sum(axis=0) - dv.sum(axis=1)",
                "gradient = dv.sum(axis=0) - dv.sum(axis=1)\n    gradient.flat[:1] *= 1 + 1e-12",
                "entries",
            ),
            "directions apart on one side alone": (
                "products_apart(e, of_e, less)",
                "products_apart(e, e, less)",
                "value",
            ),
        },
    ),
    *mutants(
        "rkd_angle",
        "npkd.losses.geometry.unit",
        {
            "length taken as a constant": (
                "across = orthogonal(e, dy - e * along, rules)",
                "across = dy",
                "direction",
            ),
        },
    ),
    *mutants(
        "rkd_angle",
        "npkd.losses.geometry.products_apart",
        {
            "products apart on one side alone": (
                "less @ np.swapaxes(x, -1, -2) + y @ np.swapaxes(less, -1, -2)",
                "less @ np.swapaxes(x, -1, -2)",
                "value",
            ),
        },
    ),
    *mutants(
        "rkd_angle",
        "npkd.losses.geometry.directions_apart",
        {
            "directions apart, lengths taken as equal": (
                "less - u * lengths_apart(x, y, less)",
                "less.copy()",
                "value",
            ),
        },
    ),
    *mutants(
        "pkt",
        "npkd.losses.relations.pkt",
        {
            "student and teacher exchanged": (
                "value = divergence(p, np.where(opposite, q, p * ratio), x).sum() / divisor",
                "value = divergence(q, p, -x).sum() / divisor",
                "value",
            ),
            "no ε above the line": (
                "ratio = (q + epsilon) / by",
                "near, ratio = near & False, (q + epsilon) / (by - epsilon)",
                "value",
            ),
            "ε added to the ratio": (
                "ratio = (q + epsilon) / by",
                "near, ratio = near & False, q / by + epsilon",
                "value",
            ),
            "ε above the line in the gradient too": (
                "dq = (more + epsilon / (m + epsilon) * q_away) / (q + epsilon) / divisor",
                "dq = more / (q + epsilon) / divisor",
                "direction",
            ),
            "gradient with its sign flipped": (
                "dq = (more +",
                "dq = -(more +",
                "direction",
            ),
            "gradient not averaged": (
                "* q_away) / (q + epsilon) / divisor",
                "* q_away) / (q + epsilon)",
                "direction",
            ),
            "the sum of a row taken as a constant": (
                "dc = (dq - (dq * q).sum(axis=1, keepdims=True)) / total",
                "dc = dq / total",
                "direction",
            ),
            "gradient of the cosine doubled": (
                "(to_features(to_directions(dc / w)) * w)",
                "(to_features(to_directions(2 * dc / w)) * w)",
                "direction",
            ),
            "gradient not through the length": (
                "(to_features(to_directions(dc / w)) * w)",
                "(to_directions(dc / w) * w)",
                "direction",
            ),
            "cosines not shifted": (
                "q, p = (1 + c) / total, (1 + of_teacher) / of_total",
                "q, p = c / total, of_teacher / of_total",
                "value",
            ),
            "the student's columns for its rows": (
                "    total, of_total =",
                "    c = c + 0.1 * np.arange(count)\n    total, of_total =",
                "value",
            ),
            "no ε in the student's length": (
                "unit(f, epsilon), unit(t, epsilon)",
                "unit(f), unit(t, epsilon)",
                "value",
            ),
            "one entry of the gradient off by 1e-11": (
                "return value, (to_features(to_directions(dc / w)) * w).reshape(student.shape)",
                "gradient = (to_features(to_directions(dc / w)) * w).reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-11\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *mutants(
        "cc",
        "npkd.losses.relations.cc",
        {
            "the highest power missing": (
                "for p in range(1, order + 1)",
                "for p in range(1, order)\n        ] + [\n            0.0",
                "value",
            ),
            "powers not divided by p!": (
                "(2 * gamma) ** p / factorial(p)",
                "(2 * gamma) ** p",
                "value",
            ),
            "γ for 2γ": (
                "(2 * gamma) ** p / factorial(p)",
                "gamma**p / factorial(p)",
                "value",
            ),
            "e^−γ for e^−2γ": (
                "np.exp(-2 * gamma)",
                "np.exp(-gamma)",
                "value",
            ),
            "weights in double precision": (
                "float(np.exp(-2 * gamma))",
                "np.exp(-2 * gamma)",
                "contract",
            ),
            "the kernel's slope left out": (
                "to_features(dk * slope)",
                "to_features(dk)",
                "direction",
            ),
            "gradient without the 2": (
                "1 / divisor), 2 * delta / divisor, 2 * n",
                "1 / divisor), delta / divisor, 2 * n",
                "direction",
            ),
            "the square for the norm": (
                "value, dk, units = (direction * delta).sum() / divisor",
                "value, dk, units = (delta * delta).sum() / divisor",
                "value",
            ),
            "gradient of the norm as long as the difference": (
                ", direction / divisor, 0",
                ", delta / divisor, 0",
                "direction",
            ),
            "products for the kernels": (
                "delta = less * chord",
                "delta = less",
                "value",
            ),
            "the kernel's slope for its chord": (
                "_chord(c, of_teacher, weights)",
                "_chord(c, c, weights)",
                "value",
            ),
            "samples divided by their length in all variants": (
                'matrix = cosines if variant == "paper" else products',
                "matrix = cosines if True else products",
                "value",
            ),
            "gradient not through the length": (
                "to_features(dk * slope)",
                "products(f)[1](dk * slope)",
                "direction",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, gradient.reshape(student.shape)",
                "gradient = gradient.reshape(student.shape)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "entries",
            ),
        },
    ),
    *mutants(
        "cc",
        "npkd.losses.relations._chord",
        {
            "the kernel's chord by the kernel after it": (
                "chord = w + k + other * chord\n        k = c * (w + k)",
                "k = c * (w + k)\n        chord = w + k + other * chord",
                "value",
            ),
        },
    ),
    *mutants(
        "cc",
        "npkd.losses.relations._consecutive",
        {
            "consecutive samples from the first to the last again": (
                "value = (a[:-1] * a[1:]).sum() / divisor",
                "value = (a * np.roll(a, 1, axis=0)).sum() / divisor",
                "value",
            ),
            "consecutive: no gradient by the sample before": (
                "neighbours[1:] += a[:-1]\n",
                "pass\n",
                "direction",
            ),
            "consecutive: gradient without the sign": (
                "(sign * neighbours / divisor)",
                "(neighbours / divisor)",
                "direction",
            ),
            "consecutive: mean over samples, not their pairs": (
                "max(1, len(student) - 1)",
                "max(1, len(student))",
                "value",
            ),
        },
    ),
    *mutants(
        "cc",
        "npkd.losses.geometry.unit",
        {
            "directions by the square of the length": (
                "return e * kept, backward",
                "return e * kept / of_v, backward",
                "value",
            ),
        },
    ),
]
