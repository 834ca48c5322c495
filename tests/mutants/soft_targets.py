"""Mutants of losses between probabilities."""

from mutants.building import mutants

MUTANTS = [
    *mutants(
        "kl",
        "npkd.losses.soft_targets.kl",
        {
            "T² missing in the value": (
                "times = t if temperature_squared else 1.0",
                "times = 1.0",
                "value",
            ),
            "T² missing in the gradient": (
                "return value, (factor / t / divisor) * gradient",
                "return value, (1 / t / divisor) * gradient",
                "direction",
            ),
            "gradient not divided by T": (
                "return value, (factor / t / divisor) * gradient",
                "return value, (factor / divisor) * gradient",
                "direction",
            ),
            "gradient not averaged": (
                "return value, (factor / t / divisor) * gradient",
                "return value, (factor / t) * gradient",
                "direction",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (factor / t / divisor) * gradient",
                "gradient[0, 0] *= 1 + 1e-12\n    return value, (factor / t / divisor) * gradient",
                "direction",
            ),
            "student and teacher exchanged": (
                "log_p, log_q = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "log_q, log_p = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "value",
            ),
            "teacher not softened": (
                "log_p, log_q = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "log_p, log_q = log_softened(teacher), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "value",
            ),
            "softmax over the batch": (
                "log_p, log_q = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "log_p, log_q = log_softened(teacher.T, t).T, log_softened(student.T, t).T\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    if variant.endswith",
                "value",
            ),
            "p and q exchanged in the gradient": (
                "divergence(p, q, u, times), difference(p, q, u)",
                "divergence(p, q, u, times), difference(q, p, -u)",
                "direction",
            ),
            "batchmean over all entries": (
                '"kl", reduction, len(student),',
                '"kl", reduction, student.size,',
                "value",
            ),
            "elementmean over the batch": (
                '"kl", reduction, len(student), student.size',
                '"kl", reduction, len(student), len(student)',
                "value",
            ),
            "the reversed one not reversed": (
                "divergence(q, p, -u, times)",
                "divergence(p, q, u, times)",
                "value",
            ),
            "reversed gradient without the softmax's mean": (
                "of_infinite(partial(by_logits, q), r)\n        else",
                "(q * u)\n        else",
                "direction",
            ),
            "unlogged gradient without the softmax's mean": (
                "of_infinite(partial(by_logits, q), r)\n    else",
                "q * r\n    else",
                "direction",
            ),
            "logarithms where probabilities were given for them": (
                "expected(p, log_p - q)",
                "expected(p, log_p - log_q)",
                "value",
            ),
        },
    ),
    *mutants(
        "kl",
        "npkd.losses.softened.divergence",
        {
            "e^u for e^u − 1": (
                "p * (times * x) * (times * x) / 2 * series",
                "p * ((times * x) * (times * x) / 2 * series + 1)",
                "value",
            ),
            "another series": (
                "series = 1 + x / n * series",
                "series = 1 + x / (n - 1) * series",
                "value",
            ),
            "a term missing where the student is far surer": (
                "q - p - p * u",
                "q - p * u",
                "value",
            ),
        },
    ),
    *mutants(
        "kl",
        "npkd.losses.softened.log_ratio",
        {
            "log Z without the far classes of the teacher": (
                "more - far_p",
                "more",
                "value",
            ),
            "log Z without the far classes of the student": (
                "np.log1p(np.where(alike, -far_q, 0))",
                "0",
                "value",
            ),
            "far rows by the classes that are near": (
                "np.abs(far_p) + np.abs(far_q) < 0.5",
                "np.abs(far_p) + np.abs(far_q) < np.inf",
                "value",
            ),
            "differences to another class": (
                "    f = d - of_r\n",
                "    f = d - d[..., :1]\n",
                "value",
            ),
        },
    ),
    *mutants(
        "kl",
        "npkd.losses.soft_targets.kl",
        {
            "skewed with the shares exchanged": (
                "(float(skew), 1 - float(skew)) if own",
                "(1 - float(skew), float(skew)) if own",
                "value",
            ),
            "skewed reversed with the shares exchanged": (
                "else (1 - float(skew), float(skew))",
                "else (float(skew), 1 - float(skew))",
                "value",
            ),
        },
    ),
    *mutants(
        "js",
        "npkd.losses.soft_targets.js",
        {
            "T² missing in the value": (
                "times = t if temperature_squared else 1.0",
                "times = 1.0",
                "value",
            ),
            "T² missing in the gradient": (
                "(factor / t / divisor) * gradient",
                "(1 / t / divisor) * gradient",
                "direction",
            ),
            "gradient not divided by T": (
                "(factor / t / divisor) * gradient",
                "(factor / divisor) * gradient",
                "direction",
            ),
            "batchmean over all entries": (
                "reduction, len(student)",
                "reduction, student.size",
                "value",
            ),
            "weights of the two halves exchanged": (
                "shares, (beta, 1 - beta)",
                "shares, (1 - beta, beta)",
                "value",
            ),
            "shares of the mixture exchanged": (
                'shares = (beta, 1 - beta) if variant == "paper"',
                'shares = (1 - beta, beta) if variant == "paper"',
                "value",
            ),
            "student and teacher exchanged": (
                "p, q = np.exp(log_p), np.exp(log_q)",
                "q, p, u = np.exp(log_p), np.exp(log_q), -u",
                "value",
            ),
            "gradient not through the softmax": (
                "of_infinite(partial(by_logits, q), dq)",
                "of_infinite(lambda of: q * of, dq)",
                "direction",
            ),
        },
    ),
    *mutants(
        "js",
        "npkd.losses.soft_targets._from_mixture",
        {
            "the student's half left out": (
                "for w, x, of_x in halves], axis=0)",
                "for w, x, of_x in halves[:1]], axis=0)",
                "value",
            ),
            "the mixture taken for a constant": (
                "if a != s:",
                "if False:",
                "direction",
            ),
            "the mixture's gradient by the teacher's share": (
                "r * np.sum(",
                "s * np.sum(",
                "direction",
            ),
            "sign of the gradient": (
                "dq = -b * of_q if b",
                "dq = b * of_q if b",
                "direction",
            ),
        },
    ),
    *mutants(
        "js",
        "npkd.losses.softened.log_mixture",
        {
            "the other share where q is far less": (
                "s + r * np.exp",
                "r + s * np.exp",
                "value",
            ),
            "the other share": (
                "r * np.expm1(near)",
                "s * np.expm1(near)",
                "value",
            ),
        },
    ),
    *mutants(
        "soft_cross_entropy",
        "npkd.losses.soft_targets.soft_cross_entropy",
        {
            "T² missing in the value": (
                "value = -factor * expected(p, log_q)",
                "value = -expected(p, log_q)",
                "value",
            ),
            "value with its sign flipped": (
                "value = -factor * expected(p, log_q)",
                "value = factor * expected(p, log_q)",
                "value",
            ),
            "the teacher's entropy subtracted": (
                "value = -factor * expected(p, log_q)",
                "value = -factor * expected(p, log_q - log_p)",
                "value",
            ),
            "the student's own entropy": (
                "value = -factor * expected(p, log_q)",
                "value = -factor * expected(q, log_q)",
                "value",
            ),
            "T² missing in the gradient": (
                "(factor / t / divisor) * difference(p, q, u)",
                "(1 / t / divisor) * difference(p, q, u)",
                "direction",
            ),
            "p and q exchanged in the gradient": (
                "(factor / t / divisor) * difference(p, q, u)",
                "(factor / t / divisor) * difference(q, p, -u)",
                "direction",
            ),
            "gradient not through the softmax": (
                "(factor / t / divisor) * difference(p, q, u)",
                "(factor / t / divisor) * -p",
                "direction",
            ),
            "student not softened": (
                "log_p, log_q = log_softened(teacher, t), log_softened(student, t)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    u, _",
                "log_p, log_q = log_softened(teacher, t), log_softened(student)\n"
                "    p, q = np.exp(log_p), np.exp(log_q)\n"
                "    u, _",
                "value",
            ),
            "batchmean over all entries": (
                "reduction, len(student),",
                "reduction, student.size,",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (factor / t / divisor) * difference(p, q, u)",
                "gradient = (factor / t / divisor) * difference(p, q, u)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *mutants(
        "soft_cross_entropy",
        "npkd.losses.arguments.temperatures",
        {
            "T for T²": (
                "t * t if squared else 1.0",
                "t if squared else 1.0",
                "value",
            ),
        },
    ),
    *mutants(
        "limit",
        "npkd.losses.soft_targets.limit",
        {
            "mean not subtracted": (
                "of_infinite(lambda of: centred(of)[0], apart(student, teacher))",
                "student - teacher",
                "value",
            ),
            "mean over the batch subtracted": (
                "of_infinite(lambda of: centred(of)[0], apart(student, teacher))",
                "centred((student - teacher).T)[0].T",
                "value",
            ),
            "mean of the student's logits subtracted": (
                "of_infinite(lambda of: centred(of)[0], apart(student, teacher))",
                "centred(student)[0] - teacher",
                "value",
            ),
            "mean not subtracted in the gradient": (
                "return value, delta / (classes * divisor)",
                "return value, (student - teacher) / (classes * divisor)",
                "direction",
            ),
            "value without the ½": (
                "sum_of_squares(delta, 0.5 / classes)",
                "sum_of_squares(delta, 1 / classes)",
                "value",
            ),
            "value not divided by C": (
                "sum_of_squares(delta, 0.5 / classes)",
                "sum_of_squares(delta, 0.5)",
                "value",
            ),
            "gradient not divided by C": (
                "return value, delta / (classes * divisor)",
                "return value, delta / divisor",
                "direction",
            ),
            "gradient doubled": (
                "return value, delta / (classes * divisor)",
                "return value, 2 * delta / (classes * divisor)",
                "direction",
            ),
            "the student's logits changed": (
                "lambda of: centred(of)[0], apart(student, teacher))",
                "lambda of: centred(of)[0], np.subtract(student, teacher, out=student))",
                "contract",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, delta / (classes * divisor)",
                "gradient = delta / (classes * divisor)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *mutants(
        "limit",
        "npkd.losses.geometry.sum_of_squares",
        {
            "sums of squares in a unit that is not taken back": (
                "times * (v * v).sum(axis=-1) * by * by",
                "times * (v * v).sum(axis=-1) * by",
                "value",
            ),
        },
    ),
    *mutants(
        "dkd",
        "npkd.losses.soft_targets._taken_apart",
        {
            "the label's class among the rest": (
                "np.where(none, -np.inf, more)], axis=1)",
                "log_softened(z, t).max(axis=1, keepdims=True) * -1], axis=1)",
                "value",
            ),
            "the rest's mean logit for log Σ exp": (
                "np.where(none, -np.inf, more)], axis=1)",
                "(rest.mean(axis=1, keepdims=True) - m) / t], axis=1)",
                "value",
            ),
        },
    ),
    *mutants(
        "dkd",
        "npkd.losses.soft_targets.dkd",
        {
            "labels of other samples": (
                "labels[:, np.newaxis]",
                "labels[::-1, np.newaxis]",
                "value",
            ),
            "α and β exchanged in the value": (
                "value = alpha * np.where(alpha == 0, 0, tckd)",
                "alpha, beta = beta, alpha\n    value = alpha * np.where(alpha == 0, 0, tckd)",
                "value",
            ),
            "α for β in the gradient": (
                "by_rest = beta *",
                "by_rest = alpha *",
                "direction",
            ),
            "student and teacher exchanged between label and rest": (
                "divergence(b_t, b_s, u_two, times)",
                "divergence(b_s, b_t, -u_two, times)",
                "value",
            ),
            "student and teacher exchanged within the rest": (
                "divergence(r_t, r_s, u_rest, times)",
                "divergence(r_s, r_t, -u_rest, times)",
                "value",
            ),
            "the rest weighted by its probability, as in KL": (
                "divergence(r_t, r_s, u_rest, times)",
                "(b_t[:, 1] * divergence(r_t, r_s, u_rest, times))",
                "value",
            ),
            "no gradient between label and rest at the rest": (
                "(by_two[:, 1:] * r_s + by_rest)",
                "(by_rest.copy())",
                "direction",
            ),
            "gradient shared out as the teacher has it": (
                "by_two[:, 1:] * r_s",
                "by_two[:, 1:] * r_t",
                "direction",
            ),
            "the rest's gradient at the label": (
                "gradient[is_label] = by_two[:, 0]",
                "gradient[is_label] = by_two[:, 1]",
                "direction",
            ),
            "T² missing in the value": (
                "times = t if temperature_squared else 1.0",
                "times = 1.0",
                "value",
            ),
            "T² missing in the gradient": (
                "(factor / t / divisor) * gradient",
                "(1 / t / divisor) * gradient",
                "direction",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (factor / t / divisor) * gradient",
                "gradient = (factor / t / divisor) * gradient\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "direction",
            ),
        },
    ),
    *mutants(
        "dist",
        "npkd.losses.geometry.centred",
        {
            "cosines, means not subtracted": (
                "    y = x - x[:, :1]\n    y -= y.mean(axis=1, keepdims=True)\n",
                "    y = x + 1\n",
                "value",
            ),
        },
    ),
    *mutants(
        "dist",
        "npkd.losses.soft_targets.dist",
        {
            "inter and intra exchanged in the value": (
                "beta * inter + gamma * intra",
                "gamma * inter + beta * intra",
                "value",
            ),
            "inter and intra exchanged in the gradient": (
                "    by_log_q = beta * by_inter",
                "    beta, gamma = gamma, beta\n    by_log_q = beta * by_inter",
                "direction",
            ),
            "no gradient by the correlation within classes": (
                "by_log_q += gamma * (by_intra * (least / unit_of_intra)).T",
                "pass",
                "direction",
            ),
            "gradient not through the softmax": (
                "by_log_probabilities(np.exp(log_q), by_log_q) / least",
                "by_log_q / least",
                "direction",
            ),
            "T² missing in the value": (
                "value = factor * (beta",
                "value = (beta",
                "value",
            ),
            "gradient not divided by T": (
                "return value, (factor / t) *",
                "return value, factor *",
                "direction",
            ),
            "teacher not softened": (
                "    ratio, _ = log_ratio",
                "    teacher = teacher * t\n"
                "    log_p = log_softened(teacher, t)\n"
                "    ratio, _ = log_ratio",
                "value",
            ),
            "softmax over the batch": (
                "by_log_probabilities(np.exp(log_q), by_log_q)",
                "by_log_probabilities(np.exp(log_q).T, by_log_q.T).T",
                "direction",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (factor / t) * (by_log_probabilities(np.exp(log_q), by_log_q) "
                "/ least)",
                "gradient = (factor / t) * (by_log_probabilities(np.exp(log_q), by_log_q) / "
                "least)\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "entries",
            ),
        },
    ),
    *mutants(
        "dist",
        "npkd.losses.soft_targets._one_less_correlation",
        {
            "correlations added, not averaged": (
                "return value.mean(),",
                "return value.sum(),",
                "value",
            ),
            "gradient with its sign flipped": (
                "np.where(none, 0, by_log) / len(x), w",
                "np.where(none, 0, -by_log) / len(x), w",
                "direction",
            ),
            "length taken as a constant": (
                "backward(across)",
                "(across / n)",
                "direction",
            ),
            "ε left out of the gradient": (
                "by_log = kappa * (by_log - (1 - one_less) * less_kappa * x * u / n)",
                "by_log = kappa * by_log",
                "direction",
            ),
            "ε added to each length": (
                "    less_kappa = epsilon / (lengths",
                "    epsilon = epsilon * (1 + (n + of_n).mean().item())\n"
                "    less_kappa = epsilon / (lengths",
                "value",
            ),
        },
    ),
    *mutants(
        "dist",
        "npkd.losses.arguments.number",
        {
            "weights and temperature in double precision": (
                "found = as_float(value)",
                "found = np.float64(as_float(value))",
                "contract",
            ),
        },
    ),
    *mutants(
        "standardize",
        "npkd.losses.geometry.centred",
        {
            "mean over the batch": (
                "    y = x - x[:, :1]\n    y -= y.mean(axis=1, keepdims=True)\n",
                "    y = x - x[:1]\n    y -= y.mean(axis=0, keepdims=True)\n",
                "value",
            ),
        },
    ),
    *mutants(
        "standardize",
        "npkd.losses.soft_targets.standardize",
        {
            "divided by C whatever ddof": (
                "count = logits.shape[1] - int(ddof)",
                "count = logits.shape[1]",
                "value",
            ),
            "divided by C − 1 whatever ddof": (
                "count = logits.shape[1] - int(ddof)",
                "count = logits.shape[1] - 1",
                "value",
            ),
            "divided by C in the gradient": (
                "along = e * (d * e).sum(axis=1, keepdims=True) / count",
                "along = e * (d * e).mean(axis=1, keepdims=True)",
                "direction",
            ),
            "variance for deviation": (
                "by = epsilon + s",
                "by = epsilon + s * s",
                "value",
            ),
            "ε inside the root": (
                "by = epsilon + s",
                "by = np.sqrt(epsilon + s * s)",
                "value",
            ),
            "mean taken as a constant": (
                "d, _ = centred(dy)",
                "d = dy",
                "direction",
            ),
            "deviation taken as a constant": (
                "(d - along + along * (epsilon / by)) / by",
                "d / by",
                "direction",
            ),
            "ε in the deviation's slope": (
                "(d - along + along * (epsilon / by)) / by",
                "(d - along) / by",
                "direction",
            ),
            "one entry of the gradient off by 1e-12": (
                "return np.where(none, 0, (d - along + along * (epsilon / by)) / by)",
                "gradient = np.where(none, 0, (d - along + along * (epsilon / by)) / by)\n"
                "        gradient.flat[:1] *= 1 + 1e-12\n"
                "        return gradient",
                "entries",
            ),
        },
    ),
]
