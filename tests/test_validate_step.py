"""Training steps as people write them: what is right is no bug, and nothing passes unjudged."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
functional, nn = torch.nn.functional, torch.nn

from npkd import validate  # noqa: E402
from npkd.objectives import Objective, Term  # noqa: E402

T, SHARE = 4.0, 0.3
KD = Objective(SHARE, terms=[Term("kl", options={"temperature": T})])


class Net(nn.Module):
    """Convolution, batch norm if asked for, ReLU, and a linear layer."""

    def __init__(self, channels, classes, *, norm=False):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, stride=2)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        return self.fc(functional.relu(self.norm(self.conv(x))).mean((2, 3)))


class Step:
    """A step of distillation that is right; a test changes one thing.

    take, see: what the nets do with images. scale: of the loss. between: what is done before the
    update. after: what is done after it.
    """

    def __init__(self, seed=0, *, norm=False, make=None):
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        batch, classes, height, width = rng.integers((2, 3, 5, 5), (7, 9, 12, 12))
        self.student = Net(int(rng.integers(2, 6)), classes, norm=norm)
        self.teacher = Net(int(rng.integers(6, 9)), classes, norm=norm).eval()
        self.x = torch.randn(batch, 3, height, width)
        self.labels = torch.from_numpy(rng.integers(0, classes, batch))
        make = make or (lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=5e-4))
        self.optimizer = make(self.student.parameters())
        self.take = self.student
        self.see = self.teacher
        self.scale = 1.0
        self.between = self.after = lambda: None

    def loss(self):
        with torch.no_grad():
            p = functional.softmax(self.see(self.x) / T, 1)
        y = self.take(self.x)
        soft = functional.kl_div(functional.log_softmax(y / T, 1), p, reduction="batchmean")
        return SHARE * functional.cross_entropy(y, self.labels) + (1 - SHARE) * T * T * soft

    def __call__(self):
        self.optimizer.zero_grad()
        loss = self.loss()
        (loss * self.scale).backward()
        self.between()
        self.optimizer.step()
        self.after()
        return loss

    def judged(self, step=None, **given):
        """The report, with nets, optimiser, objective and labels said, but for what is given."""
        given = {
            "student": self.student,
            "teacher": self.teacher,
            "optimizer": self.optimizer,
            "objective": KD,
            "labels": self.labels,
        } | given
        return validate.torch_step(step or self, **given)


def judged_updates(report):
    return {one.operation for one in report.verdicts if one.op in ("sgd", "adam")}


def names(report):
    return [name for cause in report.causes for name in cause.faults]


# What is right


def sgd(**options):
    return lambda p: torch.optim.SGD(p, lr=0.05, **options)


OPTIMIZERS = {
    "Nesterov": sgd(momentum=0.9, weight_decay=1e-3, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-3, weight_decay=1e-2),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, betas=(0.8, 0.99), weight_decay=0.1),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_other_updates_are_judged(make):
    for seed in range(3):
        step = Step(seed, make=make)
        for _ in range(seed):
            step()
        assert len(judged_updates(step.judged().check())) == 4


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("option", ["lr", "weight_decay"])
def test_a_wrong_update_is_a_bug(make, option):
    step = Step(1, make=make)
    step()
    (group,) = step.optimizer.param_groups

    def wrong():
        group[option] *= 1.01  # seen by the optimiser alone
        step.optimizer.register_step_post_hook(
            lambda *_: group.update({option: group[option] / 1.01})
        )
        return step()

    report = step.judged(wrong, expected={option: group[option]})
    assert not report.ok


def test_a_closure_is_judged():
    step = Step()

    def closure():
        step.optimizer.zero_grad()
        loss = step.loss()
        loss.backward()
        return loss

    report = step.judged(lambda: step.optimizer.step(closure)).check()
    assert len(judged_updates(report)) == 4


@pytest.mark.parametrize("scale", [2.0**-3, 2.0**10, 2.0**16])
def test_a_scaled_loss_is_recognised(scale):
    step = Step()
    step.scale = scale
    parameters = step.student.parameters()
    step.between = lambda: [p.grad.div_(scale) for p in parameters]
    assert not step.judged().check().unjudged


def test_a_grad_scaler_is_recognised_with_clipping_too():
    for clips in (False, True):
        step = Step()
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

        def scaled(step=step, scaler=scaler, clips=clips):
            loss = step.loss()
            step.optimizer.zero_grad()
            scaler.scale(loss).backward()
            if clips:
                scaler.unscale_(step.optimizer)
                nn.utils.clip_grad_norm_(step.student.parameters(), 1e-2)
            scaler.step(step.optimizer)
            scaler.update()
            return loss

        report = step.judged(scaled).check()
        assert len(judged_updates(report)) == 4
        assert clips == any("divided by the scale" in text for text in report.unjudged)


def test_gradients_that_stay_scaled_are_a_bug():
    step = Step()
    step.scale = 64.0
    assert names(step.judged()) == ["gradients not unscaled"]
    step = Step()
    step.scale = 3.0
    assert names(step.judged(scale=3.0)) == ["gradients not unscaled"]
    step = Step()
    step.scale = 0.5
    assert step.judged().first is not None


@pytest.mark.parametrize("returned", [lambda loss, scaled: None, lambda loss, scaled: scaled])
def test_a_grad_scaler_is_recognised_whatever_the_step_returns(returned):
    step = Step()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def scaled():
        loss = step.loss()
        step.optimizer.zero_grad()
        whole = scaler.scale(loss)
        whole.backward()
        scaler.step(step.optimizer)
        scaler.update()
        return returned(loss, whole)

    assert not step.judged(scaled).check().unjudged


def test_a_student_may_be_evaluated_after_its_update():
    step = Step(norm=True)

    def after():
        step.student.eval()
        with torch.no_grad():
            step.student(step.x)
        step.student.train()

    step.after = after
    report = step.judged()
    assert report.first is None
    assert not report.asked


def test_what_torch_func_transforms_is_said():
    step = Step()

    def loss(p, x, y):
        return functional.cross_entropy(torch.func.functional_call(step.student, p, (x,)), y)

    def whole():
        p = {name: one.detach() for name, one in step.student.named_parameters()}
        gradients = torch.func.grad(loss)(p, step.x, step.labels)
        for name, one in step.student.named_parameters():
            one.grad = gradients[name]
        step.optimizer.step()

    report = step.judged(whole, objective=None)
    assert report.first is None
    assert any("torch.func" in text for text in report.asked)


def test_a_net_may_give_its_features_too():
    step = Step()
    step.student.forward = lambda x: ([x], Net.forward(step.student, x))
    step.take = lambda x: step.student(x)[1]
    assert not step.judged().check().unjudged


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_what_is_compiled_does_not_pass(backend):
    step = Step()
    step.take = torch.compile(step.student, backend=backend)
    report = step.judged()
    assert report.first is None
    assert any("compiled" in text for text in report.asked)
    report = validate.torch_module(torch.compile(step.student, backend=backend), step.x)
    assert report.first is None
    assert any("compiled" in text for text in report.asked)


@pytest.mark.parametrize("what", ["net in place", "loss", "step", "update"])
def test_whatever_is_compiled_does_not_pass(what):
    step = Step()
    of_loss, whole = step.loss, None
    if what == "net in place":
        step.student.compile(backend="eager")
    elif what == "loss":
        step.loss = torch.compile(of_loss, backend="eager")
    elif what == "step":
        whole = torch.compile(step, backend="eager")
    else:
        step.optimizer.step = torch.compile(step.optimizer.step, backend="eager")
    report = step.judged(whole)
    assert report.first is None
    assert any("compiled" in text for text in report.asked)


@pytest.mark.filterwarnings("ignore")
def test_a_traced_net_does_not_pass():
    step = Step()
    step.take = torch.jit.trace(step.student, step.x)
    report = step.judged(student=step.take, objective=None)
    assert report.first is None
    assert any("compiled" in text for text in report.asked)
    assert any("nothing that it computes was judged" in text for text in report.asked)
    assert not any("leaves PyTorch" in text for text in report.asked)


# Teachers


def average(step, share=0.9):
    """Make the teacher an average of itself and the student, after each update."""
    step.teacher = step.see = copy.deepcopy(step.student)

    def after():
        with torch.no_grad():
            for a, b in zip(step.teacher.parameters(), step.student.parameters(), strict=True):
                a.mul_(share).add_(b, alpha=1 - share)

    step.after = after
    return step


@pytest.mark.parametrize("norm", [False, True])
def test_an_average_of_the_student_is_no_bug(norm):
    report = average(Step(norm=norm)).judged()
    assert report.first is None
    assert any("teacher_trained=True" in text for text in report.asked)
    report = average(Step(norm=norm)).judged(teacher_trained=True)
    assert not report.asked


def test_a_teacher_that_learns_too_is_no_bug():
    step = Step(norm=True)
    other = torch.optim.SGD(step.teacher.train().parameters(), lr=0.1)

    def after():
        other.zero_grad()
        functional.cross_entropy(step.teacher(step.x), step.labels).backward()
        other.step()

    step.after = after
    report = step.judged(objective=None)
    assert report.first is None
    assert any("teacher_trained=True" in text for text in report.asked)


def test_a_teacher_in_training_mode_is_named():
    step = Step(norm=True)
    step.teacher.train()
    assert names(step.judged()) == ["teacher in training mode"]


@pytest.mark.parametrize(
    ("see", "how"),
    [(lambda x: x.flip(-1), "mirrored"), (lambda x: (x - 0.5) / 0.25, "by up to")],
)
def test_other_images_for_the_teacher_are_said(see, how):
    step = Step()
    step.see = lambda x: step.teacher(see(x))
    report = step.judged()
    assert report.first is None
    assert any("other images" in text and how in text for text in report.asked)
    assert step.judged(other_images=True).ok


def test_a_student_in_evaluation_mode_is_said():
    step = Step(norm=True)
    step.student.eval()
    assert any("evaluation mode" in text for text in step.judged().asked)
    assert not step.judged(student_evaluated=True).asked


# What is left out


def test_parameters_that_get_no_update_are_said():
    step = Step()
    step.optimizer = torch.optim.SGD(copy.deepcopy(step.student).parameters(), lr=0.1)
    assert any("the optimizer does not have it" in text for text in step.judged().asked)
    step = Step()
    step.optimizer = torch.optim.SGD(step.student.fc.parameters(), lr=0.1)
    (text,) = step.judged().asked
    assert "student.conv.bias, student.conv.weight (no update" in text
    step.student.conv.requires_grad_(False)
    assert step.judged().ok


def test_gradients_that_are_cleared_are_said():
    step = Step()
    step.between = step.optimizer.zero_grad
    assert any("cleared" in text for text in step.judged().asked)


def test_a_step_without_an_update_or_without_anything_does_not_pass():
    step = Step()
    assert any("made 0 steps" in text for text in step.judged(lambda: step.loss().backward()).asked)
    report = step.judged(lambda: None, objective=None)
    assert not report.ok
    with pytest.raises(AssertionError, match="no gradient reached"):
        report.check()


def test_what_numpy_computes_is_said():
    step = Step()

    def forward(x):
        z = step.student.conv(x).detach().numpy()
        return step.student.fc(torch.from_numpy(np.maximum(z, 0)).mean((2, 3)))

    step.student.forward = forward
    asked = step.judged().asked
    assert any("leaves PyTorch" in text for text in asked)
    assert any("no gradient reached" in text for text in asked)


def test_a_student_in_parts_is_judged_in_parts():
    step = Step()
    parts = nn.ModuleList([step.student.conv, step.student.fc])
    step.take = lambda x: parts[1](functional.relu(parts[0](x)).mean((2, 3)))
    report = step.judged(student=parts)
    assert {"student.0", "student.1", "student.0.backward"} <= {
        one.operation for one in report.verdicts
    }
    assert any("ran in parts" in text for text in report.asked)


def test_a_constant_factor_is_said():
    step = Step()
    step.scale = 7.0
    report = step.judged()
    assert report.first.factor == pytest.approx(7, rel=1e-5)
    assert "found is 7 times what is expected" in str(report)


def test_one_factor_is_no_lower_precision():
    """Random errors of bfloat16 or TF32 are not the same share of every number."""
    for factor in (1.001, 0.9995, 1.002):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        net[0].weight.register_hook(lambda g, factor=factor: g * factor)
        report = validate.torch_module(net, torch.randn(2, 3, 8, 8))
        assert not report.proved
        assert any(one.factor == pytest.approx(factor, rel=1e-5) for one in report.verdicts)


def test_gradients_clipped_parameter_by_parameter_are_taken_as_they_are():
    step = Step()

    def between():
        for k, p in enumerate(step.student.parameters()):
            nn.utils.clip_grad_norm_([p], 0.3 * float(p.grad.norm()) * (1 + k))

    step.between = between
    (text,) = step.judged().check().unjudged
    assert "each by a factor of its own, from 0.29999" in text


def test_a_teacher_that_shares_layers_with_the_student_is_no_bug():
    step = Step()
    step.teacher.conv = step.student.conv
    step.teacher.fc = nn.Linear(step.student.fc.in_features, step.student.fc.out_features)
    step.see = step.teacher
    report = step.judged()
    assert report.first is None
    assert any("teacher_trained=True" in text for text in report.asked)


# Settings


def decays(name):
    return 0.0 if name.endswith("bias") else 5e-4


def groups(decay_of_biases):
    """SGD in two groups, as of weights and of biases."""

    def make(parameters):
        every = list(parameters)
        weights, biases = ([p for p in every if (p.ndim > 1) is kind] for kind in (True, False))
        lists = [(weights, 5e-4), (biases, decay_of_biases)]
        return torch.optim.SGD(
            [{"params": of, "weight_decay": decay} for of, decay in lists], lr=0.05, momentum=0.9
        )

    return make


@pytest.mark.parametrize(
    ("make", "expected", "cause"),
    [
        (sgd(momentum=0.9), {"lr": 0.05, "momentum": 0.9}, ""),
        (groups(0.0), {"weight_decay": decays}, ""),
        (groups(0.0), {"lr": 0.06}, "learning rate not as expected"),
        (sgd(), {"momentum": 0.9}, "momentum not as expected"),
        (sgd(momentum=0.9), {"nesterov": True}, "Nesterov's momentum not as expected"),
        (sgd(), {"weight_decay": 5e-4}, "weight decay missing"),
        (sgd(weight_decay=5e-3), {"weight_decay": 5e-4}, "weight decay not as expected"),
        (groups(5e-4), {"weight_decay": decays}, "biases decayed"),
        (groups(0.0), {"weight_decay": 5e-4}, "biases not decayed"),
    ],
)
def test_settings_are_judged(make, expected, cause):
    report = Step(make=make).judged(expected=expected)
    assert report.ok == (not cause)
    assert names(report) == [cause] * bool(cause)


def test_clipping_by_a_common_norm_is_judged():
    for share, clipped_to in ((0.5, 0.5), (2.0, 2.0), (0.5, 0.4)):
        step = Step(share > 1)
        step.loss().backward()
        norm = share * float(nn.utils.get_total_norm(p.grad for p in step.student.parameters()))

        def clip(step=step, norm=norm * clipped_to / share):
            nn.utils.clip_grad_norm_(step.student.parameters(), norm)

        step.between = clip
        report = step.judged(expected={"max_norm": norm})
        assert report.ok == (share == clipped_to)
        assert not report.unjudged


def test_settings_that_nobody_knows_are_an_error():
    with pytest.raises(ValueError, match="expected has 'rate', not one of"):
        Step().judged(expected={"rate": 0.1})
