"""The training loop and the six steps."""

from dataclasses import replace

import numpy as np
import pytest
import tiny

from npkd import SGD, SmallCNN, distill, losses, ops, optim, threads
from npkd.data import low_resolution
from npkd.objectives import Batch, Objective, from_truth
from npkd.tasks import brought_back


@pytest.fixture(scope="module")
def finished():
    return tiny.finish(augment=True, versions=2)


def batch(count=4, epoch=0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 3, 16, 16), dtype=np.float32)
    teacher = {"fc2": rng.random((count, 10), np.float32)}
    return Batch(epoch, x, rng.integers(0, 10, count), teacher)


# The loop


def test_train_does_one_sgd_step_on_every_batch():
    batches = [batch(4, 0, 0), batch(4, 0, 1), batch(3, 1, 2)]
    network, by_hand = SmallCNN(0), SmallCNN(0)
    schedule = optim.stepwise(0.02, every=2, factor=0.5)
    updates = list(
        distill.train(
            network,
            batches,
            loss=Objective(0),
            optimiser=SGD(1.0, momentum=0.9, weight_decay=0.01),
            schedule=schedule,
        )
    )
    optimiser = SGD(1.0, momentum=0.9, weight_decay=0.01)
    for step, one in enumerate(batches):
        y, backward = by_hand(one.x)
        value, dy = losses.l2(y, one.teacher["fc2"])
        optimiser.lr = schedule(step)
        optimiser.step(by_hand.params, backward(dy)[1])
        assert updates[step] == distill.Update(
            one.epoch, step, float(value), len(one.x), optimiser.lr
        )
    for name, theta in network.params.items():
        assert theta.tobytes() == by_hand.params[name].tobytes()


def test_train_stops_before_the_update_when_the_loss_is_not_finite():
    network = SmallCNN(0)
    bad = batch(4, 1, 1)
    bad.x[0, 0, 0, 0] = np.nan
    updates = distill.train(
        network,
        [batch(4, 0, 0), bad],
        loss=from_truth(losses.cross_entropy),
        optimiser=SGD(0.01),
        schedule=optim.constant(0.01),
    )
    next(updates)
    before = {name: theta.copy() for name, theta in network.params.items()}
    with pytest.raises(distill.Diverged, match=r"SmallCNN: .* nan at step 2, in epoch 2, .* 0\.01"):
        next(updates)
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, before[name])


def test_train_stops_before_the_update_when_a_gradient_is_not_finite():
    network = SmallCNN(0)
    network.params["fc1.weight"][3, 4] = -7.5
    before = {name: theta.copy() for name, theta in network.params.items()}
    updates = distill.train(
        network,
        [batch(4, 2)],
        loss=from_truth(lambda y, _: (1.0, np.full_like(y, np.inf))),
        optimiser=SGD(0.01),
        schedule=optim.constant(0.01),
        first_step=10,
    )
    with (
        np.errstate(all="ignore"),
        pytest.raises(
            distill.Diverged,
            match=r"the gradient by \S+ is no longer finite at step 11, in epoch 3, at a learning "
            r"rate of 0\.01; the largest weight is 7\.5, in fc1\.weight",
        ),
    ):
        next(updates)
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, before[name])


def test_a_run_that_diverges_says_what_to_try():
    with (
        np.errstate(all="ignore"),
        pytest.raises(
            distill.Diverged, match=r"small: .* epoch .* try --learning-rate below 1e\+20"
        ),
    ):
        tiny.finish(learning_rate=1e20, epochs=3, clip_norm=None)


def test_a_run_whose_last_update_diverges_is_stopped_before_anything_builds_on_it():
    with (
        np.errstate(all="ignore"),
        pytest.raises(
            distill.Diverged, match=r"large: outputs .* epoch 1; try --large-learning-rate"
        ),
    ):
        tiny.finish(large_learning_rate=1e30, batch_size=50, clip_norm=None, warmup=0.0)


def test_the_loss_of_step_5_is_l2_alone_or_mixed_with_labels():
    one = batch()
    y = SmallCNN(0)(one.x)[0]
    l2, cross_entropy = losses.l2(y, one.teacher["fc2"]), losses.cross_entropy(y, one.truth)
    for share in (0.0, 0.3, 1.0):
        value, gradients, _ = Objective(share)({"fc2": y}, one)
        np.testing.assert_allclose(value, share * cross_entropy[0] + (1 - share) * l2[0], 1e-6)
        np.testing.assert_allclose(
            gradients["fc2"], share * cross_entropy[1] + (1 - share) * l2[1], atol=1e-6
        )


# The six steps


def test_a_run_goes_through_the_six_steps_in_order(finished):
    events, _ = finished
    stages = [event for event in events if isinstance(event, distill.Stage)]
    assert [(stage.number, stage.title) for stage in stages] == list(distill.STEPS.items())


def test_the_three_nets_get_their_updates_each_batch_one(finished):
    events, _ = finished
    steps = {"large": 3, "small": 6, "small_from_labels": 6}  # ⌈22 / 8⌉ batches an epoch
    for net, count in steps.items():
        updates = [e.update for e in events if isinstance(e, distill.Training) and e.net == net]
        assert [update.step for update in updates] == list(range(count))
        assert [update.samples for update in updates] == [8, 8, 6] * (count // 3)


def test_an_epochs_loss_is_the_mean_over_its_samples_ragged_batch_included(finished):
    events, _ = finished
    updates = [e.update for e in events if isinstance(e, distill.Training) and e.net == "large"]
    (epoch,) = [e for e in events if isinstance(e, distill.Epoch) and e.net == "large"]
    assert epoch.loss == pytest.approx(sum(u.loss * u.samples for u in updates) / 22)


def test_the_teacher_is_frozen_after_step_1_and_byte_identical_at_the_end():
    run = distill.Run(tiny.dataset(), tiny.config())
    after_step_1 = None
    for event in run.steps():
        if isinstance(event, distill.Stage) and event.number == 2:
            after_step_1 = {name: theta.tobytes() for name, theta in run.large.params.items()}
            with pytest.raises(ValueError, match="read-only"):
                SGD(0.1).step(run.large.params, run.large.params)
    assert after_step_1 == {name: theta.tobytes() for name, theta in run.large.params.items()}


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(finished):
    _, first = finished
    _, again = tiny.finish(augment=True, versions=2)
    _, other = tiny.finish(augment=True, versions=2, seed=4)
    for name, network in first.networks.items():
        for key, theta in network.params.items():
            assert theta.tobytes() == again.networks[name].params[key].tobytes()
            assert theta.tobytes() != other.networks[name].params[key].tobytes()


def test_a_run_does_not_depend_on_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(threads, "WORK_OF_A_PART", 100_000)  # so that its small batches are shared
    before = threads._num_threads
    weights = []
    for number in (1, 3):
        threads.set_num_threads(number)
        with threads.one_blas_thread():
            _, last = tiny.finish(epochs=1)
        weights.append({name: net.params for name, net in last.networks.items()})
    threads._num_threads = before
    for name, params in weights[0].items():
        for key, theta in params.items():
            assert theta.tobytes() == weights[1][name][key].tobytes()


def test_both_small_nets_start_from_the_same_weights_in_arrays_of_their_own():
    run = distill.Run(tiny.dataset(), tiny.config())
    for name, theta in run.small.params.items():
        other = run.small_from_labels.params[name]
        assert theta.tobytes() == other.tobytes()
        assert not np.shares_memory(theta, other)


@pytest.mark.parametrize("teacher_input", ["low", "high"])
def test_the_teachers_outputs_are_those_for_the_very_images_of_the_batch(teacher_input):
    run = distill.Run(tiny.dataset(), tiny.config(teacher_input=teacher_input, versions=2))
    teacher = [run.teacher_outputs(version) for version in range(2)]
    batches = list(run.prepare.small_batches(teacher))
    for one in batches:
        assert one.x.shape[1:] == (3, 16, 16)
        if teacher_input == "low":
            expected = run.large(brought_back(one.x))[0]
            np.testing.assert_allclose(one.teacher["fc2"], expected, rtol=1e-4, atol=1e-5)
    versions = [run.prepare.small_version(number) for number in range(2)]
    assert versions[0] is run.dataset.train_images
    for number, images in enumerate(versions):
        seen = run.task.x_teaching(images[:])
        expected = run.large(seen)[0]
        np.testing.assert_allclose(teacher[number][:]["fc2"], expected, rtol=1e-4, atol=1e-5)
    assert {one.epoch for one in batches} == {0, 1}


def test_teacher_views_both_alternates_high_and_low_resolution():
    run = distill.Run(tiny.dataset(), tiny.config(teacher_views="both", augment=False))
    for step, one in enumerate(run.prepare.large_batches()):
        repeated = np.array_equal(one.x, brought_back(low_resolution(one.x)))
        assert repeated == (step % 2 == 1)


def test_without_augmentation_there_is_one_version_and_it_is_unaltered():
    prepare = distill.Preparation(tiny.dataset(), tiny.config(augment=False, teacher_views="high"))
    assert prepare.versions == 1
    images = np.concatenate([one.x for one in prepare.large_batches()])
    unaltered = prepare.task.normalise(tiny.dataset().train_images)
    np.testing.assert_array_equal(np.sort(images.ravel()), np.sort(unaltered.ravel()))


def test_brought_back_is_the_inverse_of_averaging_on_images_of_low_resolution():
    x_low = np.random.default_rng(0).standard_normal((2, 3, 16, 16))
    assert brought_back(x_low).shape == (2, 3, 32, 32)
    np.testing.assert_array_equal(ops.avg_pool2d(brought_back(x_low), 2)[0], x_low)


def test_the_report_holds_what_it_promises(finished):
    _, last = finished
    report = last.report
    assert report["task"] == "classify"
    assert report["data"] == {"name": "corners", "train": 22, "test": 12}
    assert report["seed"] == report["config"]["seed"] == 3
    for name, parameters in (("large", 8_410_564), ("small", 267_876)):  # four classes
        model = report["models"][name]
        assert model["parameters"] == parameters
        assert model["bytes"] == 4 * parameters
        assert set(model["latency_ms"]) == {"1", "64"}
        for key in ("accuracy", "train_accuracy", "agreement"):
            assert 0 <= model[key] <= 1
        assert model["train_seconds"] > 0
    assert report["models"]["large"]["mse"] == 0
    assert report["models"]["large"]["agreement"] == 1
    assert report["models"]["small"]["mse"] > 0
    assert "accuracy_low" in report["models"]["large"]
    assert report["compression"]["parameters"] == pytest.approx(8_410_564 / 267_876)
    assert [entry["epoch"] for entry in report["history"]["small"]] == [1, 2]


def test_the_default_preset_trains_longer_on_photographs_and_else_is_the_same():
    digits = tiny.dataset()
    photographs = replace(digits, photographs=True)
    assert distill.preset("default", digits) == distill.Config()
    longer = distill.preset("default", photographs)
    assert longer.large_epochs > distill.Config().large_epochs
    assert longer.batch_size == distill.Config().batch_size
    assert distill.preset("document", photographs) == distill.preset("document", digits)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": -1.0},
        {"large_learning_rate": float("nan")},
        {"label_weight": 1.5},
        {"label_weight": float("nan")},
        {"teacher_input": "middle"},
        {"task": "generate"},
        {"seed": -1},
        {"batch_size": 2.5},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"warmup": 1.0},
        {"clip_norm": 0.0},
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        tiny.config(**change)


def test_figures_too_large_to_reckon_with_are_a_divergence():
    figures = {"small": {"accuracy": 0.5, "mse": float("inf")}, "large": {"mse": 0.0}}
    with pytest.raises(distill.Diverged, match="small: mse is inf"):
        distill._require_finite(figures)
