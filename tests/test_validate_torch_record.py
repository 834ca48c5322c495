"""What `npkd.validate.recording.torch` records of a PyTorch model is what the model computes."""

import numpy as np
import pytest
from strategies import assert_close

from npkd.objectives import Objective, Term
from npkd.validate.bounds.formulas.known import NAMES
from npkd.validate.bounds.rules import RULES
from npkd.validate.bounds.updates import OF_STEPS
from npkd.validate.judging.judge import judge
from npkd.validate.judging.verdicts import CONSISTENT, UNPROVEN
from npkd.validate.program import REPLAYED, Case, Operation

torch = pytest.importorskip("torch")
functional, nn = torch.nn.functional, torch.nn

from npkd.validate.frameworks import torch as asked_torch  # noqa: E402
from npkd.validate.questions import subjects  # noqa: E402
from npkd.validate.recording import torch as in_torch  # noqa: E402


class Block(nn.Module):
    """Two convolutions beside a shortcut, with operations in place."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, (3, 1), padding="same", bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.conv2(self.relu(self.conv1(x)))
        y += x
        return self.relu(y)


class Net(nn.Module):
    """A small CNN: one block used twice, functions of several kinds, and a layer used twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.MaxPool2d((2, 3), 2)
        )
        self.block = Block(4)
        self.dropout = nn.Dropout()
        self.fc1 = nn.Linear(32, 5)
        self.fc2 = nn.Linear(5, 5)

    def forward(self, x):
        x = self.block(self.block(self.stem(x)))
        x = functional.interpolate(x, scale_factor=2, mode="bilinear")
        x = functional.avg_pool2d(x, (4, 3), ceil_mode=True) * 2
        x = self.dropout(x.flatten(1))
        x = functional.relu(self.fc2(self.fc1(x)))
        return functional.log_softmax(self.fc2(x), dim=1)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """On arrays this small, threads wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, 15, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def rng():
    return np.random.default_rng(2)


# Each operation alone, in float64, by PyTorch's functions

FUNCTIONS = {
    "conv2d": lambda options, x, w, b=None: functional.conv2d(x, w, b, **options),
    "linear": lambda options, x, w, b=None: functional.linear(x, w, b),
    "batch_norm": lambda options, x, mean, variance, w, b: functional.batch_norm(
        x, mean.detach(), variance.detach(), w, b, eps=options["epsilon"]
    ),
    "relu": lambda options, x: torch.where(x > 0, x, 0),
    "max_pool2d": lambda options, x: functional.max_pool2d(x, **options),
    "avg_pool2d": lambda options, x: functional.avg_pool2d(x, **options),
    "upsample": lambda options, x: functional.interpolate(
        x, scale_factor=options["factor"], mode=options["mode"]
    ),
    "flatten": lambda options, x: x.reshape(len(x), -1),
    "dropout": lambda options, x: x,
    "log_softmax": lambda options, x: torch.log_softmax(x, options["axis"]),
    "multiply": lambda options, a, b: a * b,
    "sum": lambda options, **terms: sum(terms.values()),
    "copy": lambda options, x: 1 * x,
}


def computed_anew(operation, known):
    """An operation's results in float64, from recorded inputs; gradients by autograd."""
    inputs = {
        key: torch.tensor(known[name], dtype=torch.float64, requires_grad=True)
        for key, name in operation.inputs.items()
    }
    dy = inputs.pop("dy") if operation.op.endswith("_backward") else None
    y = FUNCTIONS[operation.op.removesuffix("_backward")](operation.options, **inputs)
    if dy is None:
        return {"y": y.detach()}
    wanted = [inputs[result.removeprefix("d")] for result in operation.outputs]
    gradients = torch.autograd.grad(y, wanted, dy.detach())
    return dict(zip(operation.outputs, gradients, strict=True))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.BatchNorm1d(4), (6, 4)),
        (nn.BatchNorm1d(4, affine=False, momentum=None), (3, 4, 5)),
        (nn.BatchNorm2d(4, track_running_stats=False), (3, 4, 5, 2)),
        (nn.BatchNorm2d(4, eps=0.25), (3, 4, 5, 2)),
    ],
    ids=lambda value: str(value) if isinstance(value, tuple) else "",
)
def test_batch_norm_in_training_is_judged_with_its_gradients(layer, shape, rng):
    x = torch.from_numpy(1 + rng.standard_normal(shape)).float()
    report = in_torch.torch_module(layer, x, training=True).check()
    assert {one.op for one in report.verdicts} == {"batch_norm", "batch_norm_backward"}
    assert {one.verdict for one in report.verdicts} == {CONSISTENT}
    assert not report.unjudged


def test_sizes_in_a_sequence_of_one_or_none_are_read_as_they_are_meant(rng):
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=(1,), padding=(1,), dilation=[1]),
        nn.AvgPool2d((3,), (2,), (1,)),
        nn.MaxPool2d([2], stride=(), padding=(1,), dilation=(1,)),
        nn.AvgPool2d(2, stride=[]),
    )
    case, found, *_ = in_torch.record(layers, torch.randn(2, 3, 12, 13), rng=rng)
    judge([(case, found)]).check()
    pools = [one for one in case.operations if one.op in ("avg_pool2d", "max_pool2d")]
    assert [np.broadcast_to(one.options["stride"], 2).tolist() for one in pools] == [
        [2, 2],
        [2, 2],
        [2, 2],
    ]


def test_each_operation_gives_its_recorded_results_from_its_recorded_inputs(net, images, rng):
    case, found, precision, _ = in_torch.record(net, images, rng=rng)
    known = {**case.inputs, **found}
    assert precision == "float32"
    assert {operation.op.removesuffix("_backward") for operation in case.operations} == set(
        FUNCTIONS
    )
    for operation in case.operations:
        for result, expected in computed_anew(operation, known).items():
            name = operation.outputs[result]
            np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


def test_operations_have_the_names_of_the_modules_that_call_them(net, images, rng):
    case, _, _, _ = in_torch.record(net, images, rng=rng)
    forward = [(one.name, one.op) for one in case.operations if "grad" not in str(one.outputs)]
    block = ["block.conv1", "block.relu", "block.conv2", "block.add", "block.relu #2"]
    block += ["block.conv1 #2", "block.relu #3", "block.conv2 #2", "block.add #2", "block.relu #4"]
    ops = ["conv2d", "relu", "conv2d", "sum", "relu"] * 2
    assert forward == [
        ("stem.0", "conv2d"),
        ("stem.1", "batch_norm"),
        ("stem.2", "max_pool2d"),
        *zip(block, ops, strict=True),
        ("interpolate", "upsample"),
        ("avg_pool2d", "avg_pool2d"),
        ("mul", "multiply"),
        ("flatten", "flatten"),
        ("dropout", "dropout"),
        ("fc1", "linear"),
        ("fc2", "linear"),
        ("relu", "relu"),
        ("fc2 #2", "linear"),
        ("log_softmax", "log_softmax"),
    ]


def test_values_and_gradients_are_those_of_a_run_that_is_not_recorded(net, images, rng):
    case, found, _, _ = in_torch.record(net, images, rng=rng)
    x = images.clone().requires_grad_()
    y = net(x)
    y.backward(torch.from_numpy(case.inputs["log_softmax.grad"]))
    np.testing.assert_array_equal(found["log_softmax"], y.detach())
    for name, tensor in [("x", x), *net.named_parameters()]:
        np.testing.assert_array_equal(found[f"{name}.grad"], tensor.grad, err_msg=name)


def test_the_parts_of_a_gradient_are_those_of_the_uses_of_a_tensor(net, images, rng):
    case, found, _, _ = in_torch.record(net, images, rng=rng)
    sums = {one.outputs["y"]: one for one in case.operations if ".grad" in one.name}
    assert set(sums) == {
        "fc2.weight.grad",
        "fc2.bias.grad",
        "block.conv1.weight.grad",
        "block.conv1.bias.grad",
        "block.conv2.weight.grad",
        "stem.2.grad",
        "block.relu #2.grad",
    }
    for name, operation in sums.items():
        parts = [found[part] for part in operation.inputs.values()]
        assert len(parts) == 2
        assert all(np.any(part) for part in parts)
        np.testing.assert_allclose(found[name], sum(parts), rtol=1e-5, atol=1e-6)


# A model is left as it was found


def state(module):
    """All that a module holds, gradients and hooks too."""
    everywhere = torch.nn.modules.module
    hooks = [everywhere._global_forward_hooks, everywhere._global_forward_pre_hooks]
    hooks += [one._forward_hooks for one in module.modules()]
    return {
        "values": {name: tensor.clone() for name, tensor in module.state_dict().items()},
        "gradients": {name: p.grad for name, p in module.named_parameters()},
        "trainable": [p.requires_grad for p in module.parameters()],
        "modes": [one.training for one in module.modules()],
        "hooks": [len(one) for one in hooks],
        "own hooks": [len(p._backward_hooks or ()) for p in module.parameters()],
    }


def assert_same_state(before, after):
    for name, tensor in before.pop("values").items():
        assert torch.equal(tensor, after["values"][name]), name
    assert before == {key: value for key, value in after.items() if key != "values"}


@pytest.mark.parametrize("training", [False, True])
def test_a_model_is_left_as_it_was_found(net, images, training):
    net.train()
    net.fc1.eval()
    net.fc1.bias.requires_grad_(False)
    before, x = state(net), images.clone()
    in_torch.torch_module(net, x, training=training)
    assert_same_state(before, state(net))
    assert torch.equal(x, images)
    assert x.grad is None


def test_a_model_is_left_as_it_was_found_after_an_exception(net, rng):
    before = state(net)
    with pytest.raises(RuntimeError, match="channels"):
        in_torch.record(net, torch.randn(3, 2, 15, 24), rng=rng)
    assert_same_state(before, state(net))


def test_a_model_runs_once(images, rng):
    calls = []

    def model(x):
        calls.append(x)
        return x.relu()

    in_torch.record(model, images, rng=rng)
    assert len(calls) == 1


# Operations in place, and what is not known


def operation_named(case, name):
    (operation,) = (one for one in case.operations if one.name == name)
    return operation


def test_an_operation_in_place_is_recorded_with_the_values_from_before(rng):
    def model(x):
        y = x + 1
        z = y * 2
        y.relu_()
        return z + y

    x = torch.tensor([[-3.0, -0.5, 2.0]])
    case, found, _, _ = in_torch.record(model, x, rng=rng)
    relu = operation_named(case, "relu")
    assert relu.inputs == {"x": "add"}
    np.testing.assert_array_equal(found["add"], [[-2.0, 0.5, 3.0]])
    np.testing.assert_array_equal(found["relu"], [[0.0, 0.5, 3.0]])
    dy = case.inputs["add #2.grad"]
    by_z, by_relu = 2 * dy, dy * np.array([[0, 1, 1]], np.float32)
    np.testing.assert_array_equal(found["add.grad (1)"], by_z)
    np.testing.assert_array_equal(found["add.grad (2)"], by_relu)
    np.testing.assert_array_equal(found["x.grad"], by_z + by_relu)


@pytest.mark.parametrize(
    ("model", "ops"),
    [
        (lambda x: x + x[:, :1], "add move"),
        (lambda x: x + 1, "add"),
        (lambda x: 1 - x, "subtract"),
        (lambda x: x.sub(x[:1]), "subtract move"),
        (lambda x: x * x, "multiply"),
        (lambda x: 3 / (x * x + 1), "divide add multiply"),
        (lambda x: torch.div(x, 3), "divide"),
        (lambda x: torch.div(x, 3, rounding_mode="floor"), "unknown"),
        (lambda x: x.sum((1, -1)), "sum_over"),
        (lambda x: x.mean(2, keepdim=True), "divide sum_over"),
        (lambda x: functional.adaptive_avg_pool2d(x, (2, 4)), "avg_pool2d"),
        (lambda x: functional.adaptive_avg_pool2d(x, 5), "unknown"),
        (lambda x: functional.pixel_shuffle(x, 2), "pixel_shuffle"),
        (lambda x: functional.relu6(4 * x), "relu6"),
        (lambda x: functional.hardtanh(4 * x, 0, 6), "relu6"),
        (lambda x: functional.hardtanh(x), "unknown"),
        (lambda x: torch.sigmoid(x), "sigmoid"),
        (lambda x: x.tanh(), "tanh"),
        (lambda x: functional.silu(x), "silu"),
        (lambda x: functional.gelu(x), "gelu"),
        (lambda x: functional.gelu(x, approximate="tanh"), "gelu"),
        (lambda x: torch.nn.ReLU6(inplace=True)(4 * x), "relu6"),
        (lambda x: functional.interpolate(x, (12, 24)), "upsample"),
        (lambda x: functional.interpolate(x, (9, 18)), "unknown"),
        (lambda x: x.softmax(1), "softmax"),
        (lambda x: functional.mse_loss(x, torch.ones(x.shape)), "l2"),
        (lambda x: functional.l1_loss(x, torch.ones(x.shape), reduction="sum"), "l1"),
        (lambda x: functional.cross_entropy(x[..., 0, 0], torch.tensor([1])), "cross_entropy move"),
    ],
)
def test_a_function_is_read_as_the_operation_that_it_is(model, ops, rng):
    x = torch.randn(1, 4, 6, 12, generator=torch.Generator().manual_seed(1))
    case, found, precision, _ = in_torch.record(model, x, rng=rng)
    assert {one.op for one in case.operations if "backward" not in one.name} >= set(ops.split())
    report = judge([(case, found)], precision=precision)
    assert bool(report.unjudged) == (ops == "unknown") == (not report.ok), "nothing was judged"


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, dy):
        return 2 * dy


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (lambda x: functional.mish(x.relu()), "mish"),
        (lambda x: Twice.apply(x.relu()) + x.relu(), "Twice"),
        (lambda x: functional.dropout(x.relu(), 0.5, training=True), "dropout"),
    ],
)
def test_what_is_not_known_is_taken_as_it_is(model, name, images, rng):
    case, found, precision, _ = in_torch.record(model, images, rng=rng)
    unknown = operation_named(case, name)
    assert unknown.op == "unknown"
    assert name in unknown.options["function"]
    report = judge([(case, found)], precision=precision)
    assert report.ok == (name != "Twice"), "a backward pass of one's own is not passed unjudged"
    assert any(name in text for text in report.unjudged)
    assert any(one.op == "relu" for one in report.verdicts)


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: x.clone(),
        lambda x: x.detach(),
        lambda x: x.detach().clone(),
        lambda x: x.view_as(x),
        lambda x: x,
    ],
)
def test_a_function_with_a_backward_pass_of_its_own_is_not_its_argument(forward, images, rng):
    class Reversed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return forward(x)

        @staticmethod
        def backward(ctx, dy):
            return -dy

    def model(x):
        return (Reversed.apply(x.relu().clone()) * 2).relu()

    case, found, precision, _ = in_torch.record(model, images, rng=rng)
    assert operation_named(case, "Reversed").inputs == {"x1": "relu"}
    assert set(case.tensors()) <= {*case.inputs, *found}
    report = judge([(case, found)], precision=precision)
    assert all(one.verdict == CONSISTENT for one in report.verdicts)
    assert not report.ok
    assert any("Reversed" in text for text in report.own)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (lambda x: x.softmax(0), ()),
        (lambda x: x.softmax(1), (3, 0)),
        (lambda x: x.log_softmax(1), (0, 4)),
        (lambda x: functional.mse_loss(x, 2 * x), (0, 4)),
        (lambda x: functional.cross_entropy(x, torch.zeros(0, dtype=torch.long)), (0, 4)),
    ],
)
def test_losses_and_softmax_of_nothing_are_not_known(model, shape, rng):
    report = in_torch.torch_module(model, torch.zeros(shape), rng=rng)
    judged = [one for one in report.verdicts if one.op not in REPLAYED]
    assert report.unjudged or len(judged) < len(report.verdicts)
    assert report.ok == bool(judged), "where nothing is judged, nothing passes"


def test_a_hook_that_changes_a_gradient_shows():
    def model(x):
        y = x.relu()
        y.register_hook(lambda gradient: 2 * gradient)
        return y * 3

    assert not in_torch.torch_module(model, torch.randn(3, 4)).ok


def test_entries_that_are_moved_are_those_that_the_index_says(images, rng):
    def model(x):
        x = torch.cat([functional.pad(x, (1, 0, 2, 0)), functional.pad(x, (0, 1, 0, 2))], 1)
        return x.permute(0, 2, 3, 1)[:, ::2].reshape(-1, 6)

    case, found, _, _ = in_torch.record(model, images, rng=rng)
    known = {**case.inputs, **found}
    moves = [one for one in case.operations if one.op == "move"]
    assert [one.name for one in moves] == ["pad", "pad #2", "cat", "permute", "getitem", "reshape"]
    for one in moves:
        flat = np.concatenate([*(known[name].ravel() for name in one.inputs.values()), [0]])
        np.testing.assert_array_equal(found[one.outputs["y"]], flat[one.options["index"]])


# Precisions


def small_net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_the_precision_is_that_of_the_model(dtype, rng):
    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    net, x = small_net().to(kind), torch.randn(4, 3, 6, 8).to(kind)
    case, found, precision, _ = in_torch.record(net, x, rng=rng)
    assert precision == dtype
    kept = np.float64 if dtype == "float64" else np.float32
    assert {array.dtype for array in (*case.inputs.values(), *found.values())} == {np.dtype(kept)}
    assert in_torch.torch_module(net, x).ok


def test_under_autocast_factors_are_recorded_as_they_were_rounded(rng):
    torch.manual_seed(0)
    net, x = small_net(), torch.randn(4, 3, 6, 8)
    with torch.autocast("cpu", torch.bfloat16):
        case, _, precision, _ = in_torch.record(net, x, rng=rng)
        assert in_torch.torch_module(net, x).ok
    assert precision == "bfloat16"
    assert operation_named(case, "0").inputs["w"] == "0.weight in bfloat16"
    expected = net[0].weight.detach().bfloat16().float()
    np.testing.assert_array_equal(case.inputs["0.weight in bfloat16"], expected)


# Exact probes


def test_exact_probes_are_exact_and_cover_what_can_be(net, images, rng):
    recording = in_torch.record(net, images, rng=rng)
    probes = in_torch.exact_probes(recording, rng)
    probed = {case.operations[0].op for case, _ in probes}
    assert probed == {"conv2d", "linear", "relu", "max_pool2d", "avg_pool2d"}
    for case, found in probes:
        assert case.exact
        assert case.subject == recording.case.subject
        for operation in case.operations:
            known = {**case.inputs, **found}
            for result, expected in computed_anew(operation, known).items():
                np.testing.assert_array_equal(found[operation.outputs[result]], expected)
                assert np.any(expected.numpy())


def test_an_average_of_nine_is_probed_with_multiples_of_nine(rng):
    recording = in_torch.record(nn.AvgPool2d(3), torch.randn(2, 3, 9, 6), rng=rng)
    ((case, found),) = in_torch.exact_probes(recording, rng)
    assert set(np.unique(case.inputs["x"]) % 9) == {0}
    assert np.all(found["y"] == np.round(found["y"]))


def test_a_range_probe_is_finite_in_float32_and_not_in_float16(rng):
    recording = in_torch.record(nn.Linear(6, 4), torch.randn(5, 6), rng=rng)
    (case, found), *_ = [
        one for one in in_torch.exact_probes(recording, rng) if one[0].name.endswith("range")
    ]
    assert np.isfinite(found["y"]).all()
    assert np.max(np.abs(case.inputs["x"])) > np.finfo(np.float16).max


# Judging


def test_a_right_model_is_consistent(net, images):
    report = in_torch.torch_module(net, images).check()
    judged = {one.op for one in report.verdicts}
    assert judged >= {"conv2d", "conv2d_backward", "linear_backward", "sum", "upsample", "relu"}


def test_a_wrong_entry_is_found_where_it_is(net, images, rng):
    recording = in_torch.record(net, images, rng=rng)
    wrong = dict(recording.results)
    wrong["block.conv1.grad"] = wrong["block.conv1.grad"].copy()
    wrong["block.conv1.grad"].flat[7] += 1
    report = judge([(recording.case, wrong)], precision=recording.precision)
    assert report.first is not None
    assert report.first.tensor == "block.conv1.grad"


# A training step of one's own


def distilled(
    *,
    step="right",
    loss=None,
    steps=2,
    change=lambda student: None,
    before=lambda student, teacher, x: None,
    last=None,
    returned=lambda value: value,
    labels_given=None,
):
    """The report on the last of some steps, which are right, or wrong in one way.

    change: the student before its update; before: what is done first, with both nets; last: a
    module behind the student; returned: what the step makes of the loss.
    """
    torch.manual_seed(0)
    student, teacher = small_net(), small_net().eval().requires_grad_(False)
    x, labels = torch.randn(4, 3, 6, 8), torch.tensor([0, 3, 1, 4])
    if last is not None:
        student.append(last)
    if step == "teacher in training mode":
        teacher = nn.Sequential(*teacher, nn.Dropout(0.25)).train()
    parameters = list(student.parameters())
    if step == "teacher trainable":
        parameters += list(teacher.requires_grad_().parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.01)
    temperature, alpha, squared = 3.0, 0.7, 0.0 if step == "factor T² missing" else 1.0

    def training_step():
        if step != "gradients not zeroed":
            optimizer.zero_grad()
        before(student, teacher, x)
        y, target = student(x), teacher(x)
        if step == "student detached":
            y = y.detach()
        soft = functional.kl_div(
            functional.log_softmax(y / temperature, 1),
            functional.softmax(target / temperature, 1),
            reduction="mean" if step == "KL averaged" else "batchmean",
        )
        hard = functional.cross_entropy(y, labels)
        value = (1 - alpha) * hard + alpha * (temperature**2) ** squared * soft
        if loss is not None:
            value = loss(y, target, labels)
        if value.requires_grad:
            value.backward()
        change(student)
        optimizer.step()
        return returned(value)

    for _ in range(steps - 1):
        training_step()
    objective = Objective(0.3, terms=[Term("kl", options={"temperature": temperature})])
    if loss is not None:
        objective = Objective(0.2, terms=[Term("l2", weight=2.0), Term("l1", weight=0.5)])
    return in_torch.torch_step(
        training_step,
        student,
        teacher=teacher,
        optimizer=optimizer,
        objective=objective,
        labels=labels if labels_given is None else labels_given,
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_a_right_step_is_consistent(steps):
    report = distilled(steps=steps).check()
    assert {"mix", "sgd", "copy", "conv2d_backward"} <= {one.op for one in report.verdicts}
    assert not report.unjudged


def test_a_loss_of_several_terms_is_judged_as_their_sum():
    def loss(y, target, labels):
        soft = 2 * 5 / 2 * functional.mse_loss(y, target) + 0.5 * 5 * functional.l1_loss(y, target)
        return 0.2 * functional.cross_entropy(y, labels) + 0.8 * soft

    report = distilled(loss=loss).check()
    assert {one.tensor for one in report.verdicts} >= {"loss", "step2/student.3.grad"}
    wrong = distilled(loss=lambda *given: 1.001 * loss(*given))
    assert wrong.first is not None
    assert wrong.first.tensor == "loss"


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.parametrize(
    "step",
    [
        "factor T² missing",
        "KL averaged",
        "student detached",
        "gradients not zeroed",
        "teacher trainable",
        "teacher in training mode",
    ],
)
def test_a_wrong_step_is_found_and_its_cause_named(step):
    report = distilled(step=step)
    assert not report.ok
    (cause,) = {name for one in report.causes for name in one.faults}
    assert cause.startswith(step)


def scaled(factor):
    """A change of a student: all of its gradients times a factor."""
    return lambda student: [p.grad.mul_(factor) for p in student.parameters()]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda net: nn.utils.clip_grad_norm_(net.parameters(), 0.05), "shortened by the factor"),
        (
            lambda net: nn.utils.clip_grad_value_(net.parameters(), 0.01),
            "clipped by value, at 0.01",
        ),
        (lambda net: nn.utils.clip_grad_value_(net[0].parameters(), 0.01), "clipped by value"),
        (scaled(0.5), "shortened by the factor 0.5,"),
    ],
)
def test_clipped_gradients_are_taken_as_they_are(change, why):
    (text,) = distilled(change=change).check().unjudged
    assert why in text


@pytest.mark.parametrize(
    "change",
    [
        scaled(0),
        scaled(2),
        scaled(-1),
        lambda net: net[0].weight.grad.zero_(),
        lambda net: (nn.utils.clip_grad_value_(net.parameters(), 0.01), net[0].bias.grad.neg_()),
    ],
)
def test_gradients_that_are_changed_otherwise_are_found(change):
    report = distilled(change=change)
    assert not report.ok
    assert not report.unjudged


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gradients_in_low_precision_are_clipped_too(dtype):
    torch.manual_seed(0)
    net, kind = small_net().to(getattr(torch, dtype)), getattr(torch, dtype)
    optimizer, x = torch.optim.SGD(net.parameters(), lr=0.1), torch.randn(4, 3, 6, 8).to(kind)

    def step():
        net(x).sum().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.05)
        optimizer.step()

    report = in_torch.torch_step(step, net, optimizer=optimizer).check()
    assert any("shortened" in text for text in report.unjudged)


@pytest.mark.parametrize(
    ("net", "before"),
    [
        ("student", lambda student, teacher, x: student(x)),
        ("student", lambda student, teacher, x: student(x).square().mean().backward()),
        ("teacher", lambda student, teacher, x: teacher(x[:2])),
    ],
)
def test_an_objective_is_not_judged_where_a_net_runs_twice(net, before):
    report = distilled(before=before)
    assert not report.ok
    assert any(f"loss (the {net} ran 2 times" in text for text in report.asked)
    assert report.first is None
    assert any(one.op == "sgd" for one in report.verdicts)


def test_gradients_may_be_accumulated():
    torch.manual_seed(0)
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def step():
        for label in (1, 2):
            y = net(torch.randn(1, 3, 6, 8))
            functional.cross_entropy(y, torch.tensor([label])).backward()
        optimizer.step()

    given = {"optimizer": optimizer, "objective": Objective(1.0), "labels": [1, 2]}
    report = in_torch.torch_step(step, net, **given)
    assert report.first is None
    assert any("loss (the student ran 2 times" in text for text in report.asked)
    assert any("several backward passes" in text for text in report.unjudged)


def test_an_objective_is_not_judged_in_several_backward_passes():
    def loss(y, target, labels):
        part = y.square().mean()
        part.backward(retain_graph=True)
        return functional.cross_entropy(y, labels)

    report = distilled(loss=loss)
    assert report.first is None
    assert any(text.split(": ")[-1].startswith("loss (") for text in report.asked)


def test_a_student_may_end_in_a_function_of_its_own():
    class Last(nn.Module):
        def forward(self, x):
            return Twice.apply(x)

    report = distilled(last=Last()).check()
    of_own = [one for one in report.verdicts if one.op == "own_backward"]
    assert [one.verdict for one in of_own] == [UNPROVEN]
    assert "RIGHT" in of_own[0].note
    assert any(one.op == "mix" and one.result == "gradient" for one in report.verdicts)


@pytest.mark.parametrize(
    ("returned", "got"),
    [
        (lambda value: {"loss": value}, "a dict"),
        (lambda value: (value, 1), "a tuple"),
        (lambda value: value.repeat(3), r"a Tensor \(3,\)"),
        (lambda value: "0.5", "a str"),
    ],
)
def test_a_step_that_returns_no_number_is_an_error(returned, got):
    with pytest.raises(ValueError, match=f"step returned {got}, expected the loss as one number"):
        distilled(returned=returned)


@pytest.mark.parametrize(
    "returned", [lambda value: value.item(), lambda value: value[None], lambda value: None]
)
def test_a_step_may_return_a_number_or_nothing(returned):
    assert not distilled(returned=returned).check().unjudged


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 3.0, 1.0, 4.0], r"float32 \(4,\), expected whole numbers \(4,\) from 0 to 4"),
        (np.eye(5, dtype=int)[[0, 3, 1, 4]], r"int64 \(4, 5\)"),
        ([0, 3, 1], r"int64 \(3,\)"),
        ([0, 3, 1, 5], "labels go from 0 to 5, expected whole numbers"),
        ([0, 3, 1, -1], "labels go from -1 to 3"),
        ("0314", "labels are a str"),
    ],
)
def test_labels_that_are_no_classes_are_an_error(labels, message):
    with pytest.raises(ValueError, match=message):
        distilled(labels_given=labels)


def test_a_step_without_its_layers_or_labels_is_an_error():
    student = small_net()
    with pytest.raises(ValueError, match="student was not run"):
        in_torch.torch_step(lambda: None, student, objective=Objective(1.0), labels=[0])
    with pytest.raises(ValueError, match="needs labels"):
        in_torch.torch_step(
            lambda: student(torch.randn(2, 3, 6, 8)).sum(), student, objective=Objective(1.0)
        )


# npkd's own cases in PyTorch; those of nets are as distillation's

NETS = "SmallCNN", "LargeCNN", "distillation"
SUBJECTS = [one for one in subjects.subjects() if one not in NETS]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("subject", SUBJECTS)
def test_cases_are_computed_in_full_and_rightly(subject):
    rng = np.random.default_rng(0)
    found = [(case, asked_torch.results(case)) for case in subjects.cases(rng, [subject])]
    for case, arrays in found:
        assert set(arrays) == set(case.tensors()), case.name
    judge(found).check()


def test_several_updates_of_a_student_are_computed_in_full_and_rightly():
    found = [
        (case, asked_torch.results(case))
        for case in subjects.cases(np.random.default_rng(0), ["distillation"])
        if "document" not in case.name  # whose nets are large
    ]
    assert len(found) > 1
    for case, arrays in found:
        assert set(arrays) == set(case.tensors()), case.name
    judge(found).check()


def test_the_gradient_of_a_use_is_not_that_of_the_tensor():
    """x is used twice, and each of the two backward passes has a dx of its own."""
    x = np.array([[1.0, -2.0]], np.float32)
    operations = (
        Operation("a", "relu", {"x": "x"}, {"y": "a"}),
        Operation("b", "flatten", {"x": "x"}, {"y": "b"}),
        Operation("b.backward", "flatten_backward", {"x": "x", "dy": "db"}, {"dx": "dx of b"}),
        Operation("a.backward", "relu_backward", {"x": "x", "dy": "da"}, {"dx": "dx of a"}),
        Operation("dx", "sum", {"x1": "dx of a", "x2": "dx of b"}, {"y": "dx"}),
    )
    given = {"x": x, "da": 3 * np.ones_like(x), "db": 5 * np.ones_like(x)}
    found = asked_torch.results(Case("uses", "uses", "", given, operations))
    np.testing.assert_array_equal(found["dx of a"], [[3, 0]])
    np.testing.assert_array_equal(found["dx of b"], [[5, 5]])
    np.testing.assert_array_equal(found["dx"], [[8, 5]])


def test_every_operation_of_the_judge_is_known():
    known = {*asked_torch.Torch().operations, *NAMES, *OF_STEPS} - {"distinct", "softplus"}
    assert known == {op.removesuffix("_backward") for op in RULES}


def test_results_have_the_dtype_that_is_asked_for():
    (case, *_) = subjects.cases(np.random.default_rng(0), ["linear"])
    single, double = (asked_torch.results(case, dtype=one) for one in ("float32", "float64"))
    assert double["y"].dtype == np.float64
    np.testing.assert_allclose(single["y"], double["y"], rtol=1e-5, atol=1e-5)
    assert_close(double["db"], case.inputs["dy"].astype(np.float64).sum(axis=0))
