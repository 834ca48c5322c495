"""Any two networks: by name, from Python, at either resolution, one after the other or in turn."""

from copy import deepcopy
from importlib.util import find_spec

import malformed
import numpy as np
import pytest
import studies
import tiny

from npkd import cli, distill, nets, ops, training, weights, zoo
from npkd.distill import command, teacher
from npkd.distill.outputs import digest_of
from npkd.distill.report import finished
from npkd.distill.tasks.task import with_layers
from npkd.objectives import KINDS, Term

RESNETS = {"large": "resnet8", "small": "resnet8"}


def own_net(image_shape=(3, 16, 16), classes=4):
    layers = {
        "conv1": nets.Conv2d(3, 4, 3, padding=1, bias=False),
        "bn1": nets.BatchNorm(4),
        "relu1": nets.Function(ops.relu),
        "conv2": nets.Conv2d(4, 4, 3, padding=1),
        "add": nets.Add("conv2", "relu1"),
        "dropout": nets.Dropout(0.25),
        "pool": nets.Function(ops.global_avg_pool2d),
        "flatten": nets.Function(ops.flatten),
        "fc": nets.Linear(4, classes),
    }
    return nets.Network(layers, image_shape, rng=0)


@pytest.fixture
def small_nets():
    with studies.small_nets():
        yield


def bits(networks):
    return {
        f"{name}/{key}": value.tobytes()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }


# In Python


@pytest.mark.parametrize("size", [16, 32])
def test_two_nets_of_ones_own_are_distilled(size):
    large, small = own_net((3, 32, 32)), own_net((3, size, size))
    events = []
    before = bits({"large": large, "small": small})
    last = distill.distil(
        large, small, tiny.dataset(), show=events.append, large_epochs=1, epochs=1, batch_size=8
    )
    assert last is events[-1]
    assert last.networks["large"] is large
    assert last.networks["small"] is small
    assert last.report["config"]["small_input"] == ("high" if size == 32 else "low")
    after = bits({"large": large, "small": small})
    assert all(after[key] != before[key] for key in before)
    assert large.is_frozen


def test_nets_for_other_images_are_refused():
    with pytest.raises(ValueError, match="small is a Network for images of 3×20×20, but it is sho"):
        distill.distil(own_net((3, 32, 32)), own_net((3, 20, 20)), tiny.dataset())
    with pytest.raises(ValueError, match="large is a Network for images of 3×16×16, but it is sho"):
        distill.distil(own_net(), own_net((3, 32, 32)), tiny.dataset())


def test_a_frozen_large_net_teaches_as_it_is():
    large, small = own_net((3, 32, 32)), own_net()
    large.freeze()
    before = bits({"large": large})
    few = {"epochs": 1, "batch_size": 8}
    last = distill.distil(large, small, tiny.dataset(), **few)
    assert bits({"large": large}) == before
    assert last.report["models"]["large"]["train_seconds"] == 0
    assert last.report["history"]["large"] == []
    with pytest.raises(ValueError, match="small is frozen, or has arrays of the large net"):
        distill.distil(own_net((3, 32, 32)), large, tiny.dataset(), **few)


def untold():
    net = own_net()
    net.layers["relu1"] = lambda x, params: (x, lambda dy, need_dx=True: (dy, {}))
    net.layers["relu1"].shapes = {}
    return net


@pytest.mark.parametrize(
    ("small", "settings", "message"),
    [
        (
            own_net(classes=5),
            {},
            r"small is a Network that gives \(5,\) for an image, expected \(4,\)",
        ),
        (own_net().astype(np.float64), {}, "small is of float64, expected float32"),
        ("resnet8", {}, "small is 'resnet8', expected a Network; zoo.make makes some"),
        (own_net(), {"epoch": 3}, "epoch: no setting of distil"),
        (untold(), {}, "relu1 is a function, which does not say its macs"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(small, settings, message):
    with pytest.raises(ValueError, match=message):
        distill.distil(own_net((3, 32, 32)), small, tiny.dataset(), **settings)


def test_losses_on_inner_layers_want_those_of_a_net_of_ones_own_named():
    small, large = own_net(), zoo.resnet8(rng=0)
    with pytest.raises(
        ValueError, match=r"attention is on inner layers, and Network and ResNet do"
    ):
        with_layers(Term("attention"), small, large)
    term = Term("attention", student=("relu1",), teacher=("layer2.0",))
    assert with_layers(term, small, large) is term
    small.stages, small.vector = ("relu1", "add"), "flatten"
    assert with_layers(Term("attention"), small, large).student == ("add",)
    assert with_layers(Term("attention"), small, large).teacher == ("layer2.0",)


# By name


def test_the_layers_of_the_documents_pair():
    small, large = zoo.make("small", 0), zoo.make("large", 0)
    for loss, of_small, of_large in (
        ("hint", ("relu2",), ("pool",)),
        ("fsp", ("relu1", "relu2"), ("relu1", "relu2")),
        ("rkd_distance", ("relu3",), ("relu3",)),
        ("kl", (), ()),
    ):
        term = with_layers(Term(loss), small, large)
        assert (term.student, term.teacher) == (of_small, of_large)


@pytest.mark.parametrize("size", [16, 32])
def test_every_loss_fits_a_pair_of_residual_nets_of_other_widths(size):
    small = zoo.resnet8(rng=0, image_size=size, num_classes=4)
    large = zoo.wrn_16_1(rng=1, num_classes=4)
    for loss in KINDS:
        settings = tiny.config(loss=(Term(loss),), label_weight=0.5, small_input="high")
        if size == 16:
            settings = tiny.config(loss=(Term(loss),), label_weight=0.5)
        run = distill.Run(tiny.dataset(), settings, networks=(large, small))
        batch = next(run.prepare.small_batches([run.teacher_outputs(0)]))
        outputs, _ = small.features(batch.x, run.objective.layers)
        value, gradients, _ = run.objective(outputs, batch)
        assert np.isfinite(value)
        assert any(g.any() for g in gradients.values()), loss


def test_the_nets_of_a_run_are_those_named():
    run = distill.Run(tiny.dataset(), tiny.config(large="wrn_16_1", small="resnet8"))
    assert isinstance(run.large, zoo.WideResNet)
    assert run.small.image_shape == (3, 16, 16)
    run = distill.Run(tiny.dataset(), tiny.config(**RESNETS, small_input="high"))
    assert run.small.image_shape == (3, 32, 32)
    assert next(run.prepare.small_batches()).x.shape == (8, 3, 32, 32)


def test_a_batch_of_one_image_is_refused_beforehand_where_batch_norms_would_have_single_numbers():
    single = {"large": "mobilenetv2", "small": "mobilenetv2", "batch_size": 7}  # of 22 images
    with pytest.raises(
        ValueError, match=r"batch_size is 7, which leaves a batch of one image, and"
    ):
        distill.Run(tiny.dataset(), tiny.config(**single))
    distill.Run(tiny.dataset(), tiny.config(**single, small_input="high"))  # of 2×2 cells
    distill.Run(tiny.dataset(), tiny.config(**single | {"batch_size": 8}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"large": "resnet9"}, "large is 'resnet9', expected one of"),
        ({"small_input": "both"}, "small_input is 'both', expected one of"),
        (
            {"task": "super-resolve", "teacher_views": "high", "small": "resnet8"},
            "to super-resolve",
        ),
        (
            {"alternating": True},
            "epochs is 2, expected the large net's 1: they are trained in turn",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny.config(**settings)


def test_the_command_lists_the_nets(capsys):
    assert cli.main(["models", "--size", "16", "--classes", "7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(zoo.MODELS)
    parameters = sum(theta.size for theta in zoo.resnet8(0, num_classes=7).params.values())
    assert f"{parameters:,}" in next(line for line in lines if line.startswith("resnet8 "))


def test_the_command_trains_nets_of_the_field_in_turn_and_says_which(tmp_path, capsys):
    data, out = tiny.file(tmp_path), str(tmp_path / "run")
    arguments = ["--large", "resnet8", "--small", "mobilenetv2", "--small-input", "high"]
    arguments += ["--preset", "document-alternating", "--large-epochs", "2", "--epochs", "2"]
    assert cli.main(["distill", "--data", data, "--out", out, *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    nets = [line.split(", epoch")[0].strip() for line in lines if ", epoch" in line]
    assert nets == ["large", "small, distilled"] * 2 + ["small, from labels"] * 2
    (low,) = (line for line in lines if line.startswith("test accuracy, low resolution"))
    assert low.split()[-2:] == ["–", "–"]
    report, _, of_nets = finished.read(tmp_path / "run")
    assert report["config"]["small"] == "mobilenetv2"
    assert of_nets["small"]["conv1.1.num_batches_tracked"] == 2
    if find_spec("matplotlib"):
        assert (tmp_path / "run" / "report.html").exists()


# With a large net that was trained before

QUICK = {"--large": "resnet8", "--epochs": "2", "--batch-size": "8", "--seed": "3"}


def arguments(*more, **options):
    chosen = QUICK | {f"--{name}": str(value) for name, value in options.items()}
    return ["distill", *(str(text) for pair in chosen.items() for text in pair), *map(str, more)]


def held(folder):
    names = ("large", "small", "small_from_labels", "samples")
    return {name: (folder / f"{name}.npz").read_bytes() for name in names}


@pytest.mark.usefixtures("small_nets")
def test_a_run_with_its_teacher_from_a_file_gives_the_bits_of_the_run_that_trained_it(
    tmp_path, capsys, monkeypatch
):
    data, trained, given = tiny.file(tmp_path), tmp_path / "trained", tmp_path / "given"
    with monkeypatch.context() as patch:
        patch.setattr(command, "_draw", print)
        assert cli.main(arguments("--large-epochs", "1", data=data, out=trained)) == 0
    wrapped = {f"module.{k}": w for k, w in weights.load_weights(trained / "large.npz").items()}
    path = tmp_path / "teacher.pth"
    path.write_bytes(malformed.state_dict(wrapped))
    capsys.readouterr()
    assert cli.main(arguments(data=data, out=given, teacher=path)) == 0
    shown = capsys.readouterr().out
    assert (
        "step 1 of 6: left out: the large net is frozen, and teaches as it is, with the weights of "
        f"{path.name}" in shown
    )
    assert "train the large net" not in shown
    assert "had other" not in shown
    assert "large, epoch" not in shown
    assert held(given) == held(trained)
    report, _, _ = finished.read(given)
    large = zoo.make("resnet8", 0, num_classes=4)
    large.load(wrapped)
    counted = {k: w for k, w in large.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert report["teacher"] == {"file": path.name, "sha256": digest_of(counted)}
    assert report["history"]["large"] == []
    before, _, _ = finished.read(trained)
    assert report["teacher_against_truth"] == before["teacher_against_truth"]
    (training,) = (line for line in shown.splitlines() if line.startswith("training, s"))
    assert training.split()[2] == "–"
    if find_spec("matplotlib"):
        text = (given / "report.html").read_text()
        assert f"had been trained before: its weights are those of {path.name}" in text
        assert "large epochs" not in text


@pytest.mark.usefixtures("small_nets")
def test_a_run_goes_on_with_the_same_teacher_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "_draw", print)
    data, whole, folder = tiny.file(tmp_path), tmp_path / "whole", tmp_path / "stopped"
    paths = [tmp_path / f"{seed}.npz" for seed in (1, 2)]
    for seed, path in enumerate(paths):
        weights.save_weights(path, zoo.make("resnet8", seed, num_classes=4).state_dict())
    assert cli.main(arguments(data=data, out=whole, teacher=paths[0])) == 0
    steps = distill.Run.steps

    def stopped(run):
        for event in steps(run):
            yield event
            if isinstance(event, distill.Epoch):
                raise training.Diverged("stopped here")

    with monkeypatch.context() as patch:
        patch.setattr(distill.Run, "steps", stopped)
        assert cli.main(arguments(data=data, out=folder, teacher=paths[0])) == 2
    for other in ({}, {"teacher": paths[1]}):
        capsys.readouterr()
        assert cli.main(arguments("--resume", data=data, out=folder, **other)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--teacher is {other['teacher'].name if other else None}, but the run in" in line
        assert "has 1.npz; go on with that" in line
    moved = paths[0].rename(tmp_path / "moved.npz")
    paths[1].rename(paths[0])
    assert cli.main(arguments("--resume", data=data, out=folder, teacher=paths[0])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has other weights: 1.npz has been changed" in line
    same = {  # in another form
        f"module.{name}": theta.astype(float)
        for name, theta in weights.load_weights(moved).items()
        if not name.endswith("num_batches_tracked")
    }
    weights.save_weights(moved, same)
    assert cli.main(arguments("--resume", data=data, out=folder, teacher=moved)) == 0
    assert held(folder) == held(whole)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            ["--preset", "document-alternating", "--epochs", "10"],
            "preset is document-alternating, w",
        ),
        (["--large-epochs", "3"], "--large-epochs means nothing with --teacher"),
        (["--teacher-views", "high"], "--teacher-views means nothing with --teacher"),
        (["--large", "large"], "that are not its; --large says which net it is of\n"),
        (["--large", "resnet14"], "--large says which net it is of\n"),
        (
            ["--large", "large", "--task", "super-resolve"],
            "; --task super-resolve has no other large net\n",
        ),
        (["--teacher", "not/there.npz"], "not/there.npz: No such file or directory"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused_before_anything_is_run(
    more, words, tmp_path, capsys
):
    data, path = tiny.file(tmp_path), tmp_path / "large.npz"
    weights.save_weights(path, zoo.make("resnet8", 0, num_classes=4).state_dict())
    out = tmp_path / "run"
    assert cli.main(arguments(*["--teacher", path, *more], data=data, out=out)) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert words in line
    assert not out.exists()


NEGATIVE = {"bn1.running_var": -np.ones(16)}


@pytest.mark.parametrize(
    ("net", "options", "other", "words"),
    [
        ("resnet8", {"num_classes": 100}, {}, "the file has 100 classes, the data 4\n"),
        ("resnet8", {"in_channels": 1}, {}, "the file is for 1 channels, the data have 3\n"),
        ("large", {"image_size": 64}, {}, "the file is for images of 64×64; see --size\n"),
        ("resnet20", {}, {}, "; --large says which net it is of\n"),
        ("resnet8x4", {}, {}, "; --large says which net it is of\n"),
        ("resnet8", {}, NEGATIVE, "bn1.running_var holds negative values, expected variances\n"),
        ("resnet8", {}, {"fc.bias": np.full(4, np.nan)}, "values that are not finite float32\n"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_what_to_do(
    net, options, other, words, tmp_path, capsys
):
    data, path = tiny.file(tmp_path), tmp_path / "t.npz"
    taught = zoo.make(net, 0, **{"num_classes": 4, **options}).state_dict() | other
    weights.save_weights(path, taught)
    large = "large" if net == "large" else "resnet8"
    given = arguments("--teacher", path, "--large", large, data=data, out=tmp_path / "run")
    assert cli.main(given) == 2
    assert capsys.readouterr().err.endswith(words)


@pytest.mark.usefixtures("small_nets")
def test_a_teacher_whose_outputs_overflow_is_named_with_its_file(tmp_path, capsys):
    data, path = tiny.file(tmp_path), tmp_path / "t.npz"
    state = zoo.make("resnet8", 0, num_classes=4).state_dict()
    weights.save_weights(path, {k: w if w.ndim < 2 else w + 1e30 for k, w in state.items()})
    assert cli.main(arguments("--teacher", path, data=data, out=tmp_path / "run")) == 2
    line = capsys.readouterr().err
    assert "large, with the weights of t.npz: outputs are no longer finite" in line


def test_a_report_beside_a_teacher_says_what_it_was_trained_on(tmp_path, monkeypatch):
    report = {"data": {"mean": [0.5], "std": [0.25]}, "class_names": ["a", "b"]}
    monkeypatch.setattr(teacher, "read_json", lambda path: report)
    given = teacher.Teacher(tmp_path / "large.npz", {})
    same = report["data"] | {"class_names": ["a", "b"]}
    assert given.differences(same) == ""
    differences = given.differences(same | {"std": [0.5], "class_names": ["b", "a"]})
    assert differences == f"the run of {tmp_path / 'report.json'} had other std and class_names"
    monkeypatch.undo()
    assert given.differences(same) == ""  # none is there
    (tmp_path / "report.json").write_text("{}")
    assert given.differences(same) == ""


# In turn

IN_TURN = {"alternating": True, "large_epochs": 2, "epochs": 2, "small": "small"}


def test_in_turn_each_net_gets_an_epoch_and_the_teacher_is_the_large_net_as_it_is_then():
    events, last = tiny.finished(**IN_TURN)
    epochs = [(e.net, e.epoch) for e in events if isinstance(e, distill.Epoch)]
    assert epochs[:4] == [("large", 0), ("small", 0), ("large", 1), ("small", 1)]
    assert [net for net, _ in epochs[4:]] == ["small_from_labels"] * 2
    stages = [e.number for e in events if isinstance(e, distill.Stage)]
    assert stages == [1, 2, 3, 4, 5, 6]
    _, after = tiny.finished(large_epochs=2, epochs=2)
    labels, others = (bits({"labels": f.networks["small_from_labels"]}) for f in (last, after))
    assert labels == others  # it has no teacher
    assert bits({"large": last.networks["large"]}) == bits({"large": after.networks["large"]})
    assert bits({"small": last.networks["small"]}) != bits({"small": after.networks["small"]})


@pytest.mark.usefixtures("small_nets")
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_run_in_turn_is_gone_on_with_from_anywhere_to_the_same_bits(optimiser):
    changes = IN_TURN | {"optimiser": optimiser, "learning_rate": 1e-3}
    dataset, config = tiny.dataset(), tiny.config(**changes)
    states, run = [], distill.Run(dataset, config)
    for event in run.steps():
        if isinstance(event, distill.Training):
            states.append(deepcopy(run.state()))
        if isinstance(event, distill.Finished):
            expected = bits(event.networks)
    assert len(states) == 3 * 2 * 3
    for state in states[1::5]:
        *_, last = distill.Run(dataset, config, state).steps()
        assert bits(last.networks) == expected


def test_a_state_that_no_run_in_turn_has_is_refused():
    dataset, config = tiny.dataset(), tiny.config(**IN_TURN)
    run = distill.Run(dataset, config)
    steps = run.steps()
    while run.state().updates.get("small", 0) < 2:
        next(steps)
    state = deepcopy(run.state())
    assert distill.Run(dataset, config, state)
    state.updates["large"] = 2  # an epoch of the large net has three
    with pytest.raises(ValueError, match="large has had 2 updates, expected 3 to 3"):
        distill.Run(dataset, config, state)
