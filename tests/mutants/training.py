"""Mutants of updates, training and the six steps."""

from mutants.building import mutants

MUTANTS = [
    *mutants(
        "SGD",
        "npkd.optim.sgd.SGD._update",
        {
            "uphill": (
                "theta -= lr * step",
                "theta += lr * step",
                "steps",
            ),
            "rate squared": (
                "theta -= lr * step",
                "theta -= lr**2 * step",
                "steps",
            ),
            "rate of the first step kept": (
                "float(self.lr)",
                'float(self.__dict__.setdefault("first", self.lr))',
                "steps",
            ),
            "rate inside of the velocity": (
                "v += step\n"
                "            step = step + momentum * v if self.nesterov else v\n"
                "        theta -= lr * step",
                "v += lr * step\n"
                "            theta -= v\n"
                "            return\n"
                "        theta -= lr * step",
                "steps",
            ),
            "damped by 1 − μ": (
                "v += step",
                "v += (1 - momentum) * step",
                "steps",
            ),
            "Nesterov's momentum": (
                "if self.nesterov else v",
                "if True else v",
                "steps",
            ),
            "Nesterov's momentum left out": (
                "if self.nesterov else v",
                "if False else v",
                "steps",
            ),
            "Nesterov's momentum by the velocity before the step": (
                "v *= momentum\n            v += step\n            step = step + momentum * v if",
                "before = momentum * v\n"
                "            v *= momentum\n"
                "            v += step\n"
                "            step = step + before if",
                "steps",
            ),
            "Nesterov's momentum without the decay": (
                "step + momentum * v if",
                "g + momentum * v if",
                "steps",
            ),
            "gradient shrunk with the velocity": (
                "v *= momentum\n            v += step",
                "v += step\n            v *= momentum",
                "steps",
            ),
            "velocity never shrinks": (
                "v *= momentum",
                "v *= 1",
                "steps",
            ),
            "no weight decay": (
                "if decay else g",
                "if False else g",
                "steps",
            ),
            "weight decay with its sign flipped": (
                "g + decay * theta",
                "g - decay * theta",
                "steps",
            ),
            "weight decay decoupled": (
                "step = g + decay * theta if decay else g",
                "theta -= lr * decay * theta\n        step = g",
                "steps",
            ),
            "weight decay added to the caller's gradient": (
                "step = g + decay * theta if decay else g",
                "g += decay * theta\n        step = g",
                "steps",
            ),
        },
    ),
    *mutants(
        "SGD",
        "npkd.optim.optimiser.Optimiser.step",
        {
            "velocity forgotten": (
                "if not self.memory.get(what):",
                "if True:",
                "steps",
            ),
            "weight decay not for biases": (
                "if self.decay_biases or theta.ndim > 1 else",
                "if theta.ndim > 1 else",
                "steps",
            ),
            "biases decayed though they are not to be": (
                "if self.decay_biases or theta.ndim > 1 else",
                "if True else",
                "steps",
            ),
            "weights not decayed as biases are not": (
                "if self.decay_biases or theta.ndim > 1 else",
                "if self.decay_biases else",
                "steps",
            ),
            "weights of linear layers taken for biases": (
                "theta.ndim > 1",
                "theta.ndim > 2",
                "steps",
            ),
            "a copy updated": (
                "np.atleast_1d(theta, ",
                "np.atleast_1d(theta.copy(), ",
                "steps",
            ),
        },
    ),
    *mutants(
        "SGD",
        "npkd.optim.optimiser.Optimiser.load",
        {
            "velocity not taken over": (
                "self.memory = {",
                "self.memory = {} and {",
                "steps",
            ),
        },
    ),
    *mutants(
        "Adam",
        "npkd.optim.adam.Adam._update",
        {
            "uphill": (
                "theta -= lr",
                "theta += lr",
                "steps",
            ),
            "rate of the first step kept": (
                "float(self.lr)",
                'float(self.__dict__.setdefault("first", self.lr))',
                "steps",
            ),
            "mean of gradients not corrected": (
                "lr / (1 - beta1**t)",
                "lr",
                "steps",
            ),
            "mean of squares not corrected": (
                "size /= math.sqrt(1 - beta2**t)",
                "pass",
                "steps",
            ),
            "mean of squares corrected past the root": (
                "size /= math.sqrt(1 - beta2**t)",
                "size /= 1 - beta2**t",
                "steps",
            ),
            "corrected for a step too many": (
                "self.updates",
                "self.updates + 1",
                "steps",
            ),
            "corrected for a step too few": (
                "self.updates",
                "max(1, self.updates - 1)",
                "steps",
            ),
            "corrected for the first step always": (
                "self.updates",
                "1",
                "steps",
            ),
            "epsilon inside of the root": (
                "size = np.sqrt(v)\n"
                "        size /= math.sqrt(1 - beta2**t)  # √v̂\n"
                "        size += float(self.epsilon)",
                "size = np.sqrt(v / (1 - beta2**t) + self.epsilon)",
                "steps",
            ),
            "epsilon added before the correction": (
                "size = np.sqrt(v)\n"
                "        size /= math.sqrt(1 - beta2**t)  # √v̂\n"
                "        size += float(self.epsilon)",
                "size = (np.sqrt(v) + self.epsilon) / math.sqrt(1 - beta2**t)",
                "steps",
            ),
            "epsilon left out": (
                "float(self.epsilon)",
                "0.0",
                "steps",
            ),
            "no root": (
                "np.sqrt(v)",
                "v.copy()",
                "steps",
            ),
            "weight decay decoupled": (
                "if decay and self.decoupled:",
                "if decay:",
                "steps",
            ),
            "no weight decay": (
                "elif decay:",
                "elif False:",
                "steps",
            ),
            "weight decay not in the mean of gradients": (
                "m += (1 - beta1) * g",
                "m += (1 - beta1) * (g - decay * theta)",
                "steps",
            ),
            "mean of gradients and mean of squares exchanged": (
                "(m, v), (",
                "(v, m), (",
                "steps",
            ),
            "betas exchanged": (
                "(beta1, beta2), t",
                "(beta2, beta1), t",
                "steps",
            ),
            "squares of the mean": (
                "(g * g)",
                "(m * m)",
                "steps",
            ),
            "gradients summed, not averaged": (
                "m += (1 - beta1) * g",
                "m += g",
                "steps",
            ),
            "squares summed, not averaged": (
                "(1 - beta2) * (g * g)",
                "g * g",
                "steps",
            ),
        },
    ),
    *mutants(
        "Adam",
        "npkd.optim.optimiser.Optimiser",
        {
            "steps counted from anew by who takes over": (
                "self.updates = int(updates)",
                "self.updates = 0",
                "steps",
            ),
            "a step counted for each parameter": (
                "self.updates += 1\n        for name, theta in params.items():",
                "for name, theta in params.items():\n            self.updates += 1",
                "steps",
            ),
            "one memory for both means": (
                'arrays[f"{what}/{n}"]',
                'arrays[f"{kept[0]}/{n}"]',
                "steps",
            ),
        },
    ),
    *mutants(
        "AdamW",
        "npkd.optim.adam.Adam._update",
        {
            "weight decay coupled": (
                "if decay and self.decoupled:",
                "if False:",
                "steps",
            ),
            "weight decay without the rate": (
                "theta *= 1 - lr * decay",
                "theta *= 1 - decay",
                "steps",
            ),
            "weight decay divided by the root mean square": (
                "m / size",
                "m / size + decay * theta / size",
                "steps",
            ),
            "weight decay coupled too": (
                "elif decay:",
                "if decay:",
                "steps",
            ),
        },
    ),
    *mutants(
        "training",
        "npkd.optim.clipping.clipped",
        {
            "gradients clipped each by its own norm": (
                "g * float(norm / total)",
                "g * float(norm / max(norm, np.linalg.norm(g)))",
                "steps",
            ),
            "clipped gradients made longer": (
                "norm / total",
                "total / norm",
                "steps",
            ),
            "short gradients made longer": (
                "if not norm / scale < total < math.inf:",
                "if not 0 < total < math.inf:",
                "steps",
            ),
        },
    ),
    *mutants(
        "training",
        "npkd.optim.clipping._common_norm",
        {
            "clipped by the square of the norm": (
                "math.hypot(*(float(np.linalg.norm(g)) for g in grads.values()))",
                "sum(float(np.linalg.norm(g)) ** 2 for g in grads.values())",
                "steps",
            ),
            "clipped by the sum of the norms": (
                "math.hypot(*(float(np.linalg.norm(g)) for g in grads.values()))",
                "sum(float(np.linalg.norm(g)) for g in grads.values())",
                "steps",
            ),
        },
    ),
    *mutants(
        "training",
        "npkd.training.train",
        {
            "no update on the first batch": (
                "optimiser.step(params, grads)",
                "if step:\n            optimiser.step(params, grads)",
                "steps",
            ),
            "no update on the last batch": (
                "optimiser.step(params, grads)",
                "if batch is not batches[-1]:\n            optimiser.step(params, grads)",
                "steps",
            ),
            "two updates for a batch": (
                "optimiser.step(params, grads)",
                "optimiser.step(params, grads)\n        optimiser.step(params, grads)",
                "steps",
            ),
            "a copy updated": (
                "optimiser.step(params, grads)",
                "optimiser.step({name: p.copy() for name, p in params.items()}, grads)",
                "steps",
            ),
            "gradient of the batch before": (
                "optimiser.step(params, grads)",
                'grads, optimiser.last = getattr(optimiser, "last", grads), grads\n'
                "        optimiser.step(params, grads)",
                "steps",
            ),
            "gradient averaged over the batch again": (
                "backward(gradients, need_dx=False)",
                "backward(\n"
                "            {name: g / len(batch.x) for name, g in gradients.items()},\n"
                "            need_dx=False,\n"
                "        )",
                "steps",
            ),
            "rate of the step before": (
                "optimiser.lr = schedule(step)",
                "optimiser.lr = schedule(max(0, step - 1))",
                "steps",
            ),
            "rate not set": (
                "optimiser.lr = schedule(step)",
                "optimiser.lr = schedule(0)",
                "steps",
            ),
            "not clipped": (
                "if clip_norm < math.inf:",
                "if False:",
                "steps",
            ),
            "clipped after the update": (
                "if clip_norm < math.inf:\n"
                "            grads = optim.clipped(grads, clip_norm)\n"
                "        optimiser.step(params, grads)",
                "optimiser.step(params, grads)\n"
                "        if clip_norm < math.inf:\n"
                "            grads = optim.clipped(grads, clip_norm)",
                "steps",
            ),
            "loss reported after the update": (
                "float(value), len(batch.x)",
                "float(loss(network.features(batch.x, loss.layers)[0], batch)[0]), len(batch.x)",
                "steps",
            ),
            "loss reported for the whole batch": (
                "float(value), len(batch.x)",
                "float(value) * len(batch.x), len(batch.x)",
                "steps",
            ),
            "what the losses train is not updated": (
                "params = network.params | loss.params",
                "params = network.params",
                "steps",
            ),
        },
    ),
    *mutants(
        "training",
        "npkd.objectives.Objective.__call__",
        {
            "label_weight is the teacher's share in the value": (
                "value = self.label_weight * hard",
                "value = (1 - self.label_weight) * hard",
                "direction",
            ),
            "label_weight is the teacher's share in the gradient": (
                "gradients[self.output] = self.label_weight * gradient",
                "gradients[self.output] = (1 - self.label_weight) * gradient",
                "direction",
            ),
            "labels ignored": (
                "if self.label_weight > 0:",
                "if self.label_weight == 1:",
                "steps",
            ),
            "losses to the teacher not weighted": (
                "share = (1 - self.label_weight) * term.factor",
                "share = 1 - self.label_weight",
                "steps",
            ),
            "the second loss of a layer takes the place of the first": (
                "gradients[layer] + part if layer in gradients else part",
                "part",
                "direction",
            ),
            "gradients of what is trained not weighted": (
                "grads |= {name: share * g for name, g in zip(names, by_param, strict=True)}",
                "grads |= dict(zip(names, by_param, strict=True))",
                "direction",
            ),
            "a hint's gradient at the output": (
                "for layer, gradient in zip(layers, by_layer, strict=True):",
                "for layer, gradient in zip([self.output], by_layer, strict=False):",
                "direction",
            ),
        },
    ),
    *mutants(
        "training",
        "npkd.objectives.Objective.__init__",
        {
            "the teacher ignored where there are labels": (
                "list(terms) if label_weight < 1 else []",
                "list(terms) if label_weight == 0 else []",
                "direction",
            ),
        },
    ),
    *mutants(
        "training",
        "npkd.objectives.Objective._of_teacher",
        {
            "student and teacher exchanged": (
                "function(*student, *teacher, *labels, *trained, **term.options)",
                "function(*teacher, *student, *labels, *trained, **term.options)",
                "direction",
            ),
            "gradients of what is trained in another order": (
                "gradients[len(layers) :]",
                "gradients[: len(layers) - 1 : -1]",
                "direction",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.steps.Run.teacher_outputs",
        {
            "teacher shown unaltered images only": (
                "self.prepare.small_version(version)",
                "self.prepare.small_version(0)",
                "batches",
            ),
            "an untrained teacher": (
                "return TeacherFeatures(self.large, images",
                "return TeacherFeatures(self.task.networks(4, 0, 0)[0], images",
                "batches",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.preparation.Preparation.small_batches",
        {
            "teacher's outputs for another version": (
                "teacher[epoch % self.versions]",
                "teacher[epoch // self.versions]",
                "batches",
            ),
            "teacher's outputs for other images": (
                "outputs[indices] if",
                "outputs[: len(indices)] if",
                "batches",
            ),
            "labelled images in one version in all passes": (
                "numbers % self.versions_in(passes)",
                "numbers // len(self.taught) % self.versions_in(passes)",
                "nets",
            ),
            "labels of other images": (
                "yield Batch(epoch, x, truth, of_teacher, rows)",
                "yield Batch(epoch, x, truth[::-1], of_teacher, rows)",
                "batches",
            ),
            "small net from labels shown unlabelled images": (
                "self.taught if teacher else self.labelled",
                "self.taught",
                "nets",
            ),
            "distilled net shown labelled images only": (
                "self.taught if teacher else self.labelled",
                "self.labelled",
                "batches",
            ),
            "labels of unlabelled images known": (
                "rows = None if all_known else",
                "rows = None if True else",
                "batches",
            ),
            "labels of the unlabelled images known alone": (
                "np.isin(indices, self.labelled)",
                "np.isin(indices, self.labelled, invert=True)",
                "batches",
            ),
            "labels of the first images of a batch": (
                "labels = self.labels[indices[labelled]]",
                "labels = self.labels[indices][: len(indices[labelled])]",
                "batches",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.steps.Run.__init__",
        {
            "one small net for both": (
                "self.small_from_labels = self.small.astype(self.small.dtype)",
                "self.small_from_labels = self.small",
                "nets",
            ),
            "small nets start apart": (
                "self.small_from_labels = self.small.astype(self.small.dtype)",
                "self.small_from_labels = self.task.networks(4, large_rng, small_rng)[1]",
                "nets",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.steps.Run.steps",
        {
            "teacher not frozen": (
                "large.freeze()",
                "large.astype(large.dtype).freeze()",
                "nets",
            ),
            "teacher goes on learning in step 5": (
                "yield Stage(5, STEPS[5])",
                "yield Stage(5, STEPS[5])\n"
                "        for theta in large.params.values():\n"
                "            theta.setflags(write=True)\n"
                '        progress.updates["large"] = 0\n'
                '        yield from train("large", progress)',
                "nets",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.trainer.Trainer.updates_of",
        {
            "step 5 learns from labels": (
                'if name != "small":',
                "if name:",
                "nets",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.config",
        {
            "step 5 goes by the other net's rate": (
                '"small": "learning_rate"',
                '"small": "labels_learning_rate"',
                "nets",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.config.optimiser_of",
        {
            "momentum and weight decay forgotten": (
                "optim.SGD(rate, config.momentum, decay, config.nesterov, decay_biases=biases)",
                "optim.SGD(rate)",
                "nets",
            ),
            "weight decay of the large net for the small ones": (
                'decay = config.large_weight_decay if net == "large" else config.weight_decay',
                "decay = config.large_weight_decay",
                "nets",
            ),
            "weight decay of the small nets for the large one": (
                'decay = config.large_weight_decay if net == "large" else config.weight_decay',
                "decay = config.weight_decay",
                "nets",
            ),
            "Nesterov's momentum ignored": (
                "decay, config.nesterov,",
                "decay, False,",
                "nets",
            ),
            "biases decayed though they are not to be": (
                "biases = getattr(config, RATES[net]), config.decay_biases",
                "biases = getattr(config, RATES[net]), True",
                "nets",
            ),
            "Adam and AdamW exchanged": (
                'config.optimiser == "adam" else',
                'config.optimiser == "adamw" else',
                "nets",
            ),
            "another first beta": (
                "(config.momentum, 0.999)",
                "(0.5, 0.999)",
                "nets",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.preparation.Preparation.__init__",
        {
            "the first images labelled": (
                "order = np.random.default_rng([config.seed, LABELLED]).permutation(count)",
                "pass",
                "batches",
            ),
            "the same images labelled whatever the seed": (
                "np.random.default_rng([config.seed, LABELLED])",
                "np.random.default_rng([LABELLED])",
                "batches",
            ),
            "labelled images not among the taught": (
                "order[: known + config.unlabelled]",
                "order[known : known + config.unlabelled]",
                "batches",
            ),
            "other images taught than the labelled": (
                "order[: known + config.unlabelled]",
                "order[count - known - config.unlabelled :]",
                "batches",
            ),
            "all images taught": (
                "order[: known + config.unlabelled]",
                "order",
                "batches",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.preparation.Preparation.large_batches",
        {
            "large net shown unlabelled images": (
                "self.order(LARGE_ORDER, epoch, self.labelled,",
                "self.order(LARGE_ORDER, epoch, self.taught,",
                "nets",
            ),
            "large net shown one version in all passes": (
                "_each(version, indices, numbers)",
                "_each(version, indices, 0 * numbers)",
                "nets",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.preparation.Preparation.order",
        {
            "some images twice, others never": (
                "[rng.permutation(len(images)) for",
                "[rng.integers(len(images), size=len(images)) for",
                "batches",
            ),
            "in the same order when all have been": (
                "[rng.permutation(len(images)) for _ in range(passes)]",
                "[rng.permutation(len(images))] * passes",
                "nets",
            ),
            "fewer updates from labels": (
                "passes = math.ceil(count / len(images))",
                "count, passes = len(images), 1",
                "nets",
            ),
            "in the same order in every epoch": (
                "np.random.default_rng([self.config.seed, use, epoch])",
                "np.random.default_rng([self.config.seed, use])",
                "batches",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.preparation.Preparation.samples",
        {
            "a schedule for as many batches as there are images": (
                'len(self.labels if net == "large" else self.taught)',
                "len(self.labels)",
                "nets",
            ),
            "a schedule for as many batches as there are taught images": (
                'len(self.labels if net == "large" else self.taught)',
                "len(self.taught)",
                "nets",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.preparation.Preparation.epochs",
        {
            "a schedule for the large net's epochs": (
                'self.config.large_epochs if net == "large" else self.config.epochs',
                "self.config.large_epochs",
                "nets",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.objectives.Objective._of_truth",
        {
            "few labels count as much as many": (
                "share = len(batch.labelled) / len(y)",
                "share = float(len(batch.labelled) > 0)",
                "nets",
            ),
            "few labels count as much as many in the value": (
                "return share * value, gradient",
                "return value, gradient",
                "nets",
            ),
            "few labels count as much as many in the gradient": (
                "gradient[batch.labelled] = share * of_labelled",
                "gradient[batch.labelled] = of_labelled",
                "nets",
            ),
            "gradients of the labelled images at the first ones": (
                "gradient[batch.labelled] = share * of_labelled",
                "gradient[: len(of_labelled)] = share * of_labelled",
                "nets",
            ),
            "labels taken for those of the first images": (
                "self.hard(y[batch.labelled], batch.truth)",
                "self.hard(y[: len(batch.truth)], batch.truth)",
                "nets",
            ),
            "labels ignored where some images have none": (
                "if not share:",
                "if share < 1:",
                "nets",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.distill.tasks.classify.Classify.x_teaching",
        {
            "teacher_input ignored": (
                'if self.config.teacher_input == "high" else',
                "if False else",
                "batches",
            ),
            "teacher_input exchanged": (
                'if self.config.teacher_input == "high" else',
                'if self.config.teacher_input == "low" else',
                "batches",
            ),
        },
    ),
    *mutants(
        "run",
        "npkd.nets.network.Network.astype",
        {
            "both small nets in the same memory": (
                "other.params = {name: theta.astype(dtype) for",
                "other.params = {name: theta.astype(dtype, copy=False) for",
                "nets",
            ),
        },
    ),
]
