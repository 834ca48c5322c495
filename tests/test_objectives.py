"""What a net is trained to minimise: losses on any layers, mixed with one to the truth."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import tiny

from npkd import SGD, data, distill, gradcheck, losses, objectives, ops, optim, training
from npkd.data import Augmentation, Augmented
from npkd.distill import checkpoint, evaluate
from npkd.distill.outputs import Features, Outputs, TeacherFeatures
from npkd.distill.tasks.task import with_layers
from npkd.objectives import KINDS, Batch, Objective, Term, from_truth

INNER = [name for name, kind in KINDS.items() if kind.layers != "output"]
HINT = {"loss": (Term("l2"), Term("hint", weight=2.0)), "label_weight": 0.25}


@pytest.fixture(scope="module")
def run():
    return distill.Run(tiny.dataset(), tiny.config())


@pytest.fixture(scope="module")
def finished():
    return tiny.finished(**HINT)[1]


def objective(run, *terms, label_weight=0.0):
    """Of the tiny run's nets, on the layers of its task."""
    terms = [with_layers(term, run.small, run.large) for term in terms]
    params = objectives.trained(terms, run.small, run.large, np.random.default_rng(1))
    return Objective(label_weight, terms=terms, params=params)


def batches(run, count):
    """The same images again and again, with what all layers of the large net make of them."""
    images, labels = run.dataset.train_images[:8], run.dataset.train_labels[:8]
    teacher, _ = run.large.features(run.task.x_back(images), run.large.layers)
    return [Batch(0, run.task.x_low(images), labels, teacher)] * count


# Every loss trains


def test_every_loss_but_those_that_are_none_to_a_teacher_can_be_trained_with():
    others = {"conventions", "cross_entropy", "mix", "standardize"}
    assert set(losses.__all__) - set(KINDS) == others


@pytest.mark.parametrize(
    ("name", "standardized"),
    [
        (name, standardized)
        for name, kind in KINDS.items()
        for standardized in (False, True)[: 1 + (kind.layers == "output")]  # logits alone can be
    ],
)
def test_every_loss_trains_the_small_net(name, standardized, run):
    """On a few images it falls, by more than a fifth of what can fall, in a few updates."""
    one, small = batches(run, 1)[0], run.small.astype(np.float32)
    floor = {
        "soft_cross_entropy": _entropy(one.teacher["fc2"], standardized),
        "vid": np.log(5) / 2,  # where the means are right, at the variance that it starts with
    }.get(name, 0.0)
    loss = objective(run, Term(name, weight=1.0, standardized=standardized))
    first, _, _ = loss(small.features(one.x, loss.layers)[0], one)
    loss = objective(run, Term(name, weight=10 / (first - floor), standardized=standardized))
    updates = training.train(
        small,
        [one] * 30,
        loss=loss,
        optimiser=SGD(0.01, 0.9),
        schedule=optim.constant(0.01),
        clip_norm=1.0,
    )
    *_, last = updates
    assert last.loss * (first - floor) / 10 - floor < 0.8 * (first - floor)


def _entropy(logits, standardized):
    if standardized:
        logits, _ = losses.standardize(logits)
    return losses.soft_cross_entropy(logits, logits)[0]


def test_whole_runs_with_losses_on_inner_layers_end_with_a_report(finished):
    report = finished.report
    assert report["loss"] == "0.25·truth + 0.75·(l2 + 2·hint)"
    assert json.loads(json.dumps(report))["config"]["loss"][1]["loss"] == "hint"
    assert {"accuracy", "agreement"} <= report["models"]["small"].keys()


# Gradients where they belong


def test_gradients_of_inner_layers_go_into_the_backward_pass_where_they_stand(run):
    """By the complex step through the whole net, from every parameter to the one number."""
    loss = objective(run, Term("l2"), Term("rkd_distance"), Term("hint"), label_weight=0.25)
    loss.params = {name: theta.astype(np.float64) for name, theta in loss.params.items()}
    small = run.small.astype(np.float64)
    (one,) = batches(run, 1)

    def function(params):
        other = small.astype(np.float64)
        other.params = {name: params[name] for name in small.params}
        loss.params = {name: params[name] for name in loss.params}
        dtype = params["fc2.bias"].dtype
        teacher = {name: y.astype(dtype) for name, y in one.teacher.items()}
        outputs, backward = other.features(one.x.astype(dtype), loss.layers)
        value, gradients, grads = loss(outputs, Batch(0, one.x, one.truth, teacher))
        return value, backward(gradients)[1] | grads

    rng = np.random.default_rng(0)
    params = small.params | loss.params
    gradcheck.check(function, params, rng=rng)
    gradcheck.check(function, params, rng=rng, entrywise=True, sample=2)


def test_two_losses_on_one_layer_add_up(run):
    one = batches(run, 1)[0]
    y = run.small(one.x)[0]
    both = objective(run, Term("l2", weight=0.5), Term("kl", weight=3.0))
    value, gradients, _ = both({"fc2": y}, one)
    l2, kl = losses.l2(y, one.teacher["fc2"]), losses.kl(y, one.teacher["fc2"])
    np.testing.assert_allclose(value, 0.5 * l2[0] + 3 * kl[0], rtol=1e-6)
    np.testing.assert_allclose(gradients["fc2"], 0.5 * l2[1] + 3 * kl[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_an_objective_is_continuous_in_the_labels_share_at_both_ends(end, run):
    one = batches(run, 1)[0]
    outputs, _ = run.small.features(one.x, ["fc2", "relu2"])
    near = abs(end - 1e-7)
    at, beside = (
        objective(run, Term("l2"), Term("attention"), label_weight=share)(outputs, one)
        for share in (end, near)
    )
    np.testing.assert_allclose(beside[0], at[0], rtol=1e-4)
    for layer, gradient in at[1].items():
        np.testing.assert_allclose(beside[1][layer], gradient, atol=1e-5)
    for layer in beside[1].keys() - at[1].keys():
        np.testing.assert_allclose(beside[1][layer], 0, atol=1e-5)


def test_standardized_logits_pass_their_gradient_on(run):
    one = batches(run, 1)[0]
    y = run.small(one.x)[0]
    loss = objective(run, Term("kl", standardized=True, options={"temperature": 2.0}))
    value, gradients, _ = loss({"fc2": y}, one)
    z, backward = losses.standardize(y)
    expected, dz = losses.kl(z, losses.standardize(one.teacher["fc2"])[0], temperature=2.0)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(gradients["fc2"], backward(dz))


# Batches of which some images have labels


ROWS = [[], [5], [1, 4, 6], [6, 1, 4], list(range(8))]


def labelled(one, rows):
    """The batch with the labels of these rows alone."""
    rows = np.array(rows, int)
    return replace(one, truth=one.truth[rows], labelled=rows)


@pytest.mark.parametrize("rows", ROWS, ids=str)
@pytest.mark.parametrize("label_weight", [0.0, 0.25, 0.5, 1.0])
def test_the_loss_to_the_truth_is_the_mean_over_all_images_0_of_those_without(
    label_weight, rows, run
):
    """Written as Σ_b mask_b · (−log softmax(y)_b[truth_b]) / B."""
    loss, rng = objective(run, Term("l2"), label_weight=label_weight), np.random.default_rng(2)
    y, of_teacher = 3 * rng.standard_normal((2, 8, 4))
    one = replace(batches(run, 1)[0], teacher={"fc2": of_teacher})
    value, _, _ = loss({"fc2": y}, labelled(one, rows))
    mask = np.isin(np.arange(8), rows)
    hard = -ops.log_softmax(y)[0][np.arange(8), one.truth]
    soft, _ = losses.l2(y, of_teacher)
    expected = label_weight * np.mean(mask * hard) + (1 - label_weight) * soft
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("rows", ROWS, ids=str)
@pytest.mark.parametrize("label_weight", [0.25, 0.75])
def test_its_gradient_is_right_by_the_complex_step(label_weight, rows, run):
    loss = objective(run, Term("l2"), label_weight=label_weight)
    one = labelled(batches(run, 1)[0], rows)
    rng = np.random.default_rng(3)

    def function(y):
        teacher = {"fc2": one.teacher["fc2"].astype(y.dtype)}
        value, gradients, _ = loss({"fc2": y}, replace(one, teacher=teacher))
        return value, gradients["fc2"]

    y = 3 * rng.standard_normal((8, 4))
    gradcheck.check(function, y, rng=rng)
    gradcheck.check(function, y, rng=rng, entrywise=True)


def test_images_without_a_label_get_the_teachers_gradient_alone(run):
    one, loss = batches(run, 1)[0], objective(run, Term("l2"), label_weight=0.5)
    y = run.small(one.x)[0]
    _, of_teacher = losses.l2(y, one.teacher["fc2"])
    for rows in ROWS:
        _, gradients, _ = loss({"fc2": y}, labelled(one, rows))
        without = np.setdiff1d(np.arange(8), rows)
        np.testing.assert_array_equal(gradients["fc2"][without], 0.5 * of_teacher[without])
        assert (gradients["fc2"][rows] != 0.5 * of_teacher[rows]).all()
        assert gradients["fc2"].dtype == y.dtype == np.float32


def test_of_no_labels_at_all_nothing_but_the_teachers_part_is_left(run):
    one = batches(run, 1)[0]
    y = run.small(one.x)[0]
    soft, of_teacher = losses.l2(y, one.teacher["fc2"])
    for label_weight, left in ((0.25, 0.75), (1.0, 0.0)):
        loss = objective(run, Term("l2"), label_weight=label_weight)
        value, gradients, _ = loss({"fc2": y}, labelled(one, []))
        np.testing.assert_allclose(value, left * soft, rtol=1e-7)
        np.testing.assert_array_equal(gradients["fc2"], np.float32(left) * of_teacher)


def test_all_images_labelled_by_their_indices_are_all_images_labelled(run):
    """To the bit."""
    one, loss = batches(run, 1)[0], objective(run, Term("l2"), label_weight=0.25)
    y = run.small(one.x)[0]
    value, gradients, _ = loss({"fc2": y}, one)
    again, by_indices, _ = loss({"fc2": y}, labelled(one, range(8)))
    assert again == value
    assert by_indices["fc2"].tobytes() == gradients["fc2"].tobytes()


# What a trainer must keep


def test_the_teacher_is_byte_identical_whatever_the_loss():
    run = distill.Run(tiny.dataset(), tiny.config(**HINT))
    for event in run.steps():
        if isinstance(event, distill.Stage) and event.number == 2:
            before = {name: theta.tobytes() for name, theta in run.large.params.items()}
    assert before == {name: theta.tobytes() for name, theta in run.large.params.items()}


def test_evaluating_a_net_leaves_it_as_it_was():
    """A network has no mode that could be forgotten: all that it holds stays, to the bit."""
    run = distill.Run(tiny.dataset(), tiny.config())
    small = run.small
    held = {name: id(value) for name, value in vars(small).items()}
    before = {name: theta.tobytes() for name, theta in small.params.items()}
    x = run.task.x_low(run.dataset.train_images[:4])
    y = small(x)[0].tobytes()
    outputs = Outputs(small, run.dataset.test_images, run.task.x_low)
    evaluate.measured(run.task, outputs, run.dataset.test_labels)
    evaluate.latency_ms(small, 2)
    assert {name: id(value) for name, value in vars(small).items()} == held
    assert {name: theta.tobytes() for name, theta in small.params.items()} == before
    assert small(x)[0].tobytes() == y


def kept(run, images):
    return TeacherFeatures(run.large, images, run.task.x_teaching, ["fc2"])


def test_kept_outputs_are_refused_for_images_augmented_otherwise(run):
    images, moves = run.dataset.train_images, Augmentation(shift=2)
    version = Augmented(images, moves, np.random.default_rng(0))
    kept(run, version).require(Augmented(images, moves, np.random.default_rng(0)))
    for others in (images, Augmented(images, moves, np.random.default_rng(1))):
        with pytest.raises(ValueError, match="for other images, of another data set or augmented"):
            kept(run, version).require(others)


def test_kept_outputs_are_refused_for_another_data_set(run):
    other = run.dataset.train_images.copy()
    other[3, 1, 4, 5] ^= 1
    with pytest.raises(ValueError, match="for other images"):
        kept(run, run.dataset.train_images).require(other)
    assert data.digest(other) != data.digest(run.dataset.train_images)


def test_kept_outputs_are_refused_once_the_teacher_has_changed():
    run = distill.Run(tiny.dataset(), tiny.config())
    outputs = kept(run, run.dataset.train_images)
    run.large.params["conv1.bias"][0] += 1
    with pytest.raises(ValueError, match="the teacher has changed"):
        outputs.require(run.dataset.train_images)


def test_step_5_refuses_kept_outputs_of_another_version():
    run = distill.Run(tiny.dataset(), tiny.config(augment=True, versions=2))
    versions = [run.teacher_outputs(version) for version in (1, 0)]
    with pytest.raises(ValueError, match="for other images"):
        next(run.prepare.small_batches(versions))


def test_outputs_of_several_layers_are_kept_where_they_are_few_numbers(run):
    images = run.dataset.test_images
    for layers, few in ((["relu3", "fc2"], True), (["pool", "fc2"], False)):
        outputs = Features(run.large, images, run.task.x_teaching, layers)
        assert (outputs.kept is not None) == few
        expected, _ = run.large.features(run.task.x_teaching(images[2:5]), layers)
        for name in layers:
            found = outputs[np.array([2, 3, 4])][name]
            np.testing.assert_allclose(found, expected[name], rtol=1e-4, atol=1e-5)


def test_a_run_stopped_in_the_middle_goes_on_with_what_its_losses_train(finished, tmp_path):
    """With the same bits as one that was never stopped."""
    run = distill.Run(tiny.dataset(), tiny.config(**HINT))
    for event in run.steps():
        at = isinstance(event, distill.Training) and (event.net, event.update.step)
        if at == ("small", 3):
            break
    state = run.state()
    about = {name: value for name, value in vars(state).items() if name != "arrays"}
    checkpoint.save(tmp_path, 1, about, state.arrays)
    about, arrays = checkpoint.load(checkpoint.found(tmp_path)[0])
    assert {"loss/hint.weight", "optimiser/small/velocity/hint.bias"} <= arrays.keys()
    resumed = distill.State(**about, arrays=arrays)
    *_, last = distill.Run(tiny.dataset(), tiny.config(**HINT), resumed).steps()
    for name, network in finished.networks.items():
        for key, theta in network.params.items():
            assert theta.tobytes() == last.networks[name].params[key].tobytes()


def test_what_losses_train_starts_as_a_layer_does(run):
    terms = [
        with_layers(Term(name), run.small, run.large) for name in ("hint", "vid", "fsp", "hint")
    ]
    params = objectives.trained(terms, run.small, run.large, np.random.default_rng(0))
    assert params["hint.weight"].shape == params["hint2.weight"].shape == (64, 32)
    assert params["fsp.weight_first"].shape == (32, 16)
    assert params["fsp.weight_second"].shape == (64, 32)
    assert np.abs(params["hint.weight"]).max() == pytest.approx(1 / np.sqrt(32), rel=0.01)
    variance = np.log1p(np.exp(params["vid.scale"])) + 1e-5
    np.testing.assert_allclose(variance, 5, rtol=1e-5)
    assert all(theta.dtype == np.float32 for theta in params.values())


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Term("l3"), "loss is 'l3', expected one of l2, l1"),
        (lambda: Term("kl", weight=-1.0), "loss kl: weight is -1.0, expected a number above 0"),
        (lambda: Term("kl", options={"heat": 2}), "loss kl has no option 'heat', expected one of"),
        (lambda: Term("kl", options={"temperature": "hot"}), "temperature is 'hot', expected a f"),
        (lambda: Term("kl", options={"temperature_squared": 1}), "temperature_squared is 1, ex"),
        (lambda: Term("cc", options={"order": 1.5}), "loss cc: order is 1.5, expected a int"),
        (lambda: Term("hint", standardized=True), "True for losses on logits only"),
        (
            lambda: Term("hint", student="relu2"),
            "student is 'relu2', expected a tuple of",
        ),
        (lambda: Term("fsp", teacher=("relu1",)), "expected a tuple of the names of 2 layer"),
        (lambda: Objective(2.0), "label_weight is 2.0, expected a number from 0 to 1"),
        (lambda: Objective(0.5, terms=[Term("hint")]), r"params lack \['hint.bias', 'hint.weight'"),
        (lambda: Objective(0.0)({"fc2": None}, Batch(0, None, None)), "which l2 needs"),
        (lambda: tiny.config(loss=()), r"loss is \(\), expected a tuple of objectives.Term"),
        (lambda: tiny.config(loss="l2"), "loss is 'l2', expected a tuple"),
    ],
)
def test_a_loss_or_an_option_that_there_is_not_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (
            (Term("hint"),),
            "loss does not fit: 100·hint alone leave the layers",
        ),
        ((Term("kl", options={"reduction": "none"}),), "reduction is 'none'"),
        ((Term("l2", options={"reduction": "mean"}),), "not fit: l2: reduction is 'mean'"),
        (
            (Term(), Term("attention", student=("pool",))),
            "not fit: attention: .* the same H and W",
        ),
        (
            (Term(), Term("hint", student=("conv9",))),
            r"not fit: SmallCNN: layers .* \['conv9'\]",
        ),
        ((Term("l2", teacher=("relu3",)),), "not fit: l2: student is .* teacher"),
    ],
)
def test_losses_that_do_not_fit_the_nets_are_refused_before_anything_is_trained(terms, message):
    with pytest.raises(ValueError, match=message):
        distill.Run(tiny.dataset(), tiny.config(loss=terms))


def test_a_loss_that_takes_labels_is_refused_where_images_have_none(run):
    """By a run before anything is trained."""
    one = batches(run, 1)[0]
    y = run.small(one.x)[0]
    message = "dkd takes labels, which some images of the batch have not"
    for rows in ([], [1, 4, 6]):
        with pytest.raises(ValueError, match=f"^{message}$"):
            objective(run, Term("dkd"), label_weight=0.5)({"fc2": y}, labelled(one, rows))
    settings = {"loss": (Term("l2"), Term("dkd")), "labelled": 9}
    with pytest.raises(ValueError, match=f"^loss does not fit: {message}$"):
        distill.Run(tiny.dataset(), tiny.config(**settings, unlabelled=8))
    distill.Run(tiny.dataset(), tiny.config(**settings))
    distill.Run(tiny.dataset(), tiny.config(**settings, unlabelled=8, label_weight=1.0))


@pytest.mark.parametrize("name", INNER)
def test_losses_on_inner_layers_also_serve_super_resolution(name):
    config = tiny.config(task="super-resolve", teacher_views="high", loss=(Term(), Term(name)))
    distill.Run(tiny.dataset(), config)


def test_losses_on_logits_are_not_for_images():
    config = tiny.config(task="super-resolve", teacher_views="high", loss=(Term("kl"),))
    with pytest.raises(ValueError, match=r"not fit: kl: student has shape .*, expected \(B, C\)"):
        distill.Run(tiny.dataset(), config)


def test_a_term_says_all_of_itself_in_json_and_in_words():
    term = Term("kl", weight=2.0, standardized=True, options={"temperature": 3.0})
    assert str(term) == "2·kl(temperature=3.0, standardized)"
    assert json.loads(json.dumps(asdict(term)))["options"] == {"temperature": 3.0}
    assert str(from_truth(losses.cross_entropy)) == "truth"
    assert isinstance(from_truth(losses.cross_entropy), Objective)
    assert replace(term, weight=1.0) != term
