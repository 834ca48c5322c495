"""Mutants of losses to labels."""

from mutants.building import mutants

MUTANTS = [
    *mutants(
        "cross_entropy",
        "npkd.losses.labels.cross_entropy",
        {
            "gradient towards the class before": (
                "gradient[of_label] = np.expm1(log_p[of_label])",
                "gradient[of_label[0], labels - 1] -= 1",
                "direction",
            ),
            "gradient with its sign flipped": (
                "return value, gradient / divisor",
                "return value, -gradient / divisor",
                "direction",
            ),
            "gradient averaged twice": (
                "return value, gradient / divisor",
                "return value, gradient / divisor**2",
                "direction",
            ),
            "gradient not averaged": (
                "return value, gradient / divisor",
                "return value, gradient",
                "direction",
            ),
            "averaged over classes too": (
                "reduction, len(logits)",
                "reduction, logits.size",
                "value",
            ),
            "softmax over the batch": (
                "log_p = log_softened(logits)",
                "log_p = log_softened(logits.T).T",
                "value",
            ),
            "softmax of a softmax": (
                "log_p = log_softened(logits)",
                "log_p = log_softened(np.exp(log_softened(logits)))",
                "value",
            ),
            "losses kept apart are added": (
                'if reduction != "none":',
                "if True:",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, gradient / divisor",
                "gradient[0, 0] *= 1 + 1e-12\n    return value, gradient / divisor",
                "entries",
            ),
            "the label's gradient alone": (
                "gradient, of_label = np.exp(log_p),",
                "gradient, of_label = np.zeros_like(log_p),",
                "direction",
            ),
            "the label's gradient not that of the others": (
                "np.expm1(log_p[of_label])",
                "np.exp(log_p[of_label]) - 2",
                "direction",
            ),
        },
    ),
    *mutants(
        "cross_entropy",
        "npkd.losses.arguments.require_labels",
        {
            "labels in another order": (
                "labels = np.asarray(labels)",
                "labels = np.sort(labels)",
                "value",
            ),
        },
    ),
    *mutants(
        "mix",
        "npkd.losses.labels.mix",
        {
            "α and 1 − α exchanged in the value": (
                "value = (1 - alpha) * hard_value + alpha * soft_value",
                "value = alpha * hard_value + (1 - alpha) * soft_value",
                "value",
            ),
            "α and 1 − α exchanged in the gradient": (
                "return value, (1 - alpha) * hard_gradient + alpha * soft_gradient",
                "return value, alpha * hard_gradient + (1 - alpha) * soft_gradient",
                "direction",
            ),
            "labels not weighted in the gradient": (
                "return value, (1 - alpha) * hard_gradient + alpha * soft_gradient",
                "return value, hard_gradient + alpha * soft_gradient",
                "direction",
            ),
            "gradient by the teacher alone": (
                "return value, (1 - alpha) * hard_gradient + alpha * soft_gradient",
                "return value, soft_gradient if alpha else hard_gradient",
                "direction",
            ),
            "student and teacher exchanged": (
                "soft_gradient = soft(student, teacher)",
                "soft_gradient = soft(teacher, student)",
                "direction",
            ),
            "labels set against the teacher": (
                "hard_gradient = hard(student, labels)",
                "hard_gradient = hard(teacher, labels)",
                "value",
            ),
            "one entry of the gradient off by 1e-12": (
                "return value, (1 - alpha) * hard_gradient + alpha * soft_gradient",
                "gradient = (1 - alpha) * hard_gradient + alpha * soft_gradient\n"
                "    gradient.flat[:1] *= 1 + 1e-12\n"
                "    return value, gradient",
                "entries",
            ),
        },
    ),
    *mutants(
        "mix",
        "npkd.losses.regression.l2",
        {
            "l2 halves its gradient too": (
                "gradient = delta / divisor",
                "gradient = 0.5 * delta / divisor",
                "direction",
            ),
        },
    ),
]
