"""The training loop and the six steps."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.special
import studies
import tiny

from npkd import SGD, SmallCNN, data, distill, losses, ops, optim, training, zoo
from npkd.data import Normalisation, low_resolution
from npkd.distill import config, evaluate
from npkd.distill.preparation import LARGE_IMAGES, LARGE_ORDER, SMALL_ORDER
from npkd.distill.tasks.task import brought_back
from npkd.engine import threads
from npkd.objectives import Batch, Objective, Term, from_truth


@pytest.fixture(scope="module")
def finished():
    return tiny.finished(augment=True, versions=2)


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
        training.train(
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
        assert updates[step] == training.Update(
            one.epoch, step, float(value), len(one.x), optimiser.lr
        )
    for name, theta in network.params.items():
        assert theta.tobytes() == by_hand.params[name].tobytes()


def test_train_stops_before_the_update_when_the_loss_is_not_finite():
    network = SmallCNN(0)
    bad = batch(4, 1, 1)
    bad.x[0, 0, 0, 0] = np.nan
    updates = training.train(
        network,
        [batch(4, 0, 0), bad],
        loss=from_truth(losses.cross_entropy),
        optimiser=SGD(0.01),
        schedule=optim.constant(0.01),
    )
    next(updates)
    before = {name: theta.copy() for name, theta in network.params.items()}
    with pytest.raises(
        training.Diverged, match=r"SmallCNN: .* nan at step 2, in epoch 2, .* 0\.01"
    ):
        next(updates)
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, before[name])


def test_train_stops_before_the_update_when_a_gradient_is_not_finite():
    network = SmallCNN(0)
    network.params["fc1.weight"][3, 4] = -7.5
    before = {name: theta.copy() for name, theta in network.params.items()}
    updates = training.train(
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
            training.Diverged,
            match=r"the gradient by \S+ is no longer finite at step 11, in epoch 3, at a learning "
            r"rate of 0\.01; the largest weight is 7\.5, in fc1\.weight",
        ),
    ):
        next(updates)
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, before[name])


@pytest.mark.parametrize("loss", ["l2", "kl"])
def test_underflow_is_rounding_in_updates_even_where_it_should_raise(loss):
    """As where a net is sure of its classes, and its gradients are as small as can be."""
    results = []
    for under in ("ignore", "raise"):
        network, one = SmallCNN(0), batch(6)
        network.params["fc2.weight"] *= 2000
        one.teacher["fc2"] *= 200
        updates = training.train(
            network,
            [one] * 3,
            loss=Objective(0.5, terms=(Term(loss, student=("fc2",), teacher=("fc2",)),)),
            optimiser=SGD(1e-6, momentum=0.9),
            schedule=optim.constant(1e-6),
            clip_norm=1.0,
        )
        with np.errstate(all="raise", under=under):
            losses_of = [update.loss for update in updates]
        results.append((losses_of, {k: theta.tobytes() for k, theta in network.params.items()}))
    assert results[0] == results[1]


def test_a_run_that_diverges_says_what_to_try():
    with (
        np.errstate(all="ignore"),
        pytest.raises(
            training.Diverged, match=r"small: .* epoch .* try --learning-rate below 1e\+20"
        ),
    ):
        tiny.finish(learning_rate=1e20, epochs=3, clip_norm=None)


def test_a_run_whose_last_update_diverges_is_stopped_before_anything_builds_on_it():
    with (
        np.errstate(all="ignore"),
        pytest.raises(
            training.Diverged, match=r"large: outputs .* epoch 1; try --large-learning-rate"
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


def test_the_large_nets_weight_decay_is_of_it_alone_and_the_small_nets_of_them_alone():
    """With the labels alone, so that the large net's weights do not come into the small ones."""
    settings = {"label_weight": 1.0, "epochs": 1, "large_weight_decay": 0.01}
    before = bits(**settings)
    for change, others in (
        ({"large_weight_decay": 0.02}, {"large"}),
        ({"weight_decay": 0.02}, {"small", "small_from_labels"}),
    ):
        after = bits(**settings | change)
        assert {net for net, params in after.items() if params != before[net]} == others


# Images of which some have labels, and some the large net's outputs alone


PARTLY = {"labelled": 9, "unlabelled": 8, "label_weight": 0.5, "augment": True, "versions": 2}


@pytest.fixture(scope="module")
def partly():
    return bits(**PARTLY)


def bits(dataset=None, state=None, **changes):
    """The three nets of a run, or of one that goes on from a state, right before it is tested."""
    with studies.small_nets():
        run = distill.Run(dataset or tiny.dataset(), tiny.config(**changes), state)
    for event in run.steps():
        if isinstance(event, distill.Stage) and event.number == 6:
            break
    return {
        name: {key: theta.tobytes() for key, theta in network.params.items()}
        for name, network in run.networks.items()
    }


def preparation(**changes):
    return distill.Preparation(tiny.dataset(), tiny.config(**changes))


def which(x, of):
    """The indices of images x among all images, as the nets are shown them."""
    distances = np.abs(x[:, None] - of).max(axis=(2, 3, 4))
    np.testing.assert_allclose(distances.min(axis=1), 0, atol=1e-6)
    return distances.argmin(axis=1)


def test_by_default_all_images_are_labelled_and_each_epoch_shuffles_all_of_them():
    prepare = preparation()
    np.testing.assert_array_equal(prepare.labelled, np.arange(22))
    np.testing.assert_array_equal(prepare.taught, np.arange(22))
    for use in (LARGE_ORDER, SMALL_ORDER):
        found, numbers = zip(*prepare.order(use, 1, prepare.taught, 22), strict=True)
        assert {number for part in numbers for number in part} == {1}
        expected = list(data.batches(22, 8, np.random.default_rng([3, use, 1])))
        assert [part.tolist() for part in found] == [part.tolist() for part in expected]
    assert all(one.labelled is None for one in prepare.large_batches())
    assert all(one.labelled is None for one in prepare.small_batches())


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_a_share_of_the_labels_is_wrong(share):
    true, noisy = tiny.dataset().train_labels, preparation(label_noise=share).labels
    assert np.sum(noisy != true) == round(share * len(true))
    assert set(noisy) <= set(range(tiny.dataset().num_classes))
    few = preparation(label_noise=share, labelled=8)
    wrong = np.flatnonzero(few.labels != true)
    assert len(wrong) == round(share * 8)
    assert set(wrong) <= set(few.labelled)
    if share:
        assert not np.array_equal(noisy, preparation(label_noise=share, seed=4).labels)
    seen = {net: [] for net in ("large", "small")}
    prepare = preparation(label_noise=share, epochs=1, large_epochs=1)
    for net, batches in (("large", prepare.large_batches()), ("small", prepare.small_batches())):
        for batch in batches:
            seen[net] += list(batch.truth)
        assert sorted(seen[net]) == sorted(noisy)


@pytest.mark.parametrize("name", ["label_noise", "label_smoothing"])
def test_labels_are_noisy_or_smoothed_to_classify_alone(name):
    with pytest.raises(ValueError, match=f"{name} is 0.5, expected 0 to super-resolve"):
        tiny.config(task="super-resolve", **{name: 0.5})
    with pytest.raises(ValueError, match=f"{name} is 1.5, expected a share from 0 to 1"):
        tiny.config(**{name: 1.5})


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_smoothed_labels_are_spread_over_all_classes(share):
    """By PyTorch's definition: (1 − ε) of cross-entropy and ε of its mean over all classes."""
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    task = preparation(label_smoothing=share).task
    value, gradient = task.loss_in_distilling(logits, labels)
    log_q = scipy.special.log_softmax(logits, axis=1)
    of_labels = -log_q[np.arange(6), labels]
    assert value == pytest.approx(np.mean((1 - share) * of_labels - share * log_q.mean(axis=1)))
    p = (1 - share) * np.eye(4)[labels] + share / 4
    np.testing.assert_allclose(gradient, (np.exp(log_q) - p) / 6, atol=1e-12)


def test_all_images_labelled_by_number_are_all_images_labelled():
    some, all_of_them = preparation(labelled=22), preparation()
    np.testing.assert_array_equal(some.labelled, all_of_them.labelled)
    np.testing.assert_array_equal(some.taught, all_of_them.taught)


@pytest.mark.parametrize(
    ("labelled", "unlabelled"), [(1, 0), (1, 21), (9, 0), (9, 8), (21, 1), (22, 0)]
)
def test_labelled_images_are_some_of_the_taught_ones(labelled, unlabelled):
    prepare = preparation(labelled=labelled, unlabelled=unlabelled)
    again = preparation(labelled=labelled, unlabelled=unlabelled)
    for found, count, same in (
        (prepare.labelled, labelled, again.labelled),
        (prepare.taught, labelled + unlabelled, again.taught),
    ):
        assert len(found) == count
        np.testing.assert_array_equal(found, np.unique(found))  # in order, each once
        assert set(found) <= set(range(22))
        np.testing.assert_array_equal(found, same)
    assert set(prepare.labelled) <= set(prepare.taught)


def test_which_images_are_labelled_depends_on_the_seed_and_not_on_how_many_are_not():
    few, many = preparation(labelled=9), preparation(labelled=9, unlabelled=13)
    np.testing.assert_array_equal(few.labelled, many.labelled)
    np.testing.assert_array_equal(few.labelled, few.taught)
    other = preparation(labelled=9, unlabelled=8, seed=4)
    assert set(other.labelled) != set(few.labelled)
    assert set(other.taught) != set(preparation(labelled=9, unlabelled=8).taught)


def test_every_image_is_labelled_as_often_as_any_other_and_as_often_taught():
    """Over seeds: within five standard deviations of the binomial distribution."""
    seeds, labelled, taught = 300, np.zeros(22), np.zeros(22)
    for seed in range(seeds):
        prepare = preparation(labelled=7, unlabelled=5, seed=seed)
        labelled[prepare.labelled] += 1
        taught[prepare.taught] += 1
    for counts, share in ((labelled, 7 / 22), (taught, 12 / 22)):
        assert counts.sum() == pytest.approx(seeds * 22 * share)
        assert np.abs(counts - seeds * share).max() < 5 * np.sqrt(seeds * share * (1 - share))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labelled": 23}, "labelled is 23, but corners has 22 images to train"),
        (
            {"labelled": 23, "unlabelled": 1},
            "labelled is 23, but corners has 22 images to train",
        ),
        (
            {"labelled": 9, "unlabelled": 14},
            "unlabelled is 14, but corners has 22 images to train, and 9 of them are labelled",
        ),
        (
            {"unlabelled": 1},
            "unlabelled is 1, but corners has 22 images to train, and 22 of them are labelled",
        ),
    ],
)
def test_more_images_than_there_are_are_refused_in_one_line(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        distill.Run(tiny.dataset(), tiny.config(**change))


@pytest.mark.parametrize("labelled", [9, 16])
def test_step_1_shows_labelled_images_alone_as_many_as_there_are_images(labelled):
    """Each in a version of its own each time, and none again before all have been."""
    prepare = preparation(
        labelled=labelled, unlabelled=5, augment=True, large_epochs=2, teacher_views="high"
    )
    batches = list(prepare.large_batches())
    assert [len(one.x) for one in batches] == [8, 8, 6] * 2
    passes = math.ceil(22 / labelled)
    for epoch in range(2):
        ours = [one for one in batches if one.epoch == epoch]
        x, truth = (np.concatenate([getattr(one, what) for one in ours]) for what in ("x", "truth"))
        for number in range(passes):
            part = slice(number * labelled, (number + 1) * labelled)
            of = prepare.task.x_high(prepare.version(LARGE_IMAGES, passes * epoch + number)[:])
            indices = which(x[part], of)
            assert len(set(indices)) == len(indices)
            assert set(indices) <= set(prepare.labelled)
            np.testing.assert_array_equal(truth[part], prepare.dataset.train_labels[indices])
        assert all(one.labelled is None for one in ours)
    for first in range(5):
        later = prepare.large_batches(first)
        assert [one.x.tobytes() for one in later] == [one.x.tobytes() for one in batches[first:]]


def test_step_5_shows_each_taught_image_once_an_epoch_with_the_labels_that_are_known():
    run = distill.Run(tiny.dataset(), tiny.config(**PARTLY))
    prepare, labels = run.prepare, run.dataset.train_labels
    teacher = [run.teacher_outputs(version) for version in range(2)]
    batches = list(prepare.small_batches(teacher))
    assert [len(one.x) for one in batches] == [8, 8, 1] * 2
    for epoch in range(2):
        of = prepare.task.x_low(prepare.small_version(epoch)[:])
        seen = []
        for one in (one for one in batches if one.epoch == epoch):
            indices = which(one.x, of)
            known = [row for row, index in enumerate(indices) if index in prepare.labelled]
            assert one.labelled.tolist() == known
            assert one.truth.tolist() == labels[indices[known]].tolist()
            expected = run.large(brought_back(one.x))[0]
            np.testing.assert_allclose(one.teacher["fc2"], expected, rtol=1e-4, atol=1e-5)
            seen += indices.tolist()
        np.testing.assert_array_equal(np.sort(seen), prepare.taught)
    for first in range(7):
        later = [one.x.tobytes() for one in prepare.small_batches(teacher, first)]
        assert later == [one.x.tobytes() for one in batches[first:]]


@pytest.mark.parametrize(("labelled", "unlabelled"), [(9, 8), (5, 12), (8, 8), (1, 9)])
def test_from_labels_alone_there_are_as_many_batches_and_of_labelled_images_only(
    labelled, unlabelled
):
    run = distill.Run(tiny.dataset(), tiny.config(labelled=labelled, unlabelled=unlabelled))
    prepare = run.prepare
    teacher = [run.teacher_outputs(version) for version in range(prepare.versions)]
    batches = list(prepare.small_batches())
    sizes = [(one.epoch, len(one.x)) for one in prepare.small_batches(teacher)]
    assert [(one.epoch, len(one.x)) for one in batches] == sizes
    passes = math.ceil((labelled + unlabelled) / labelled)
    for epoch in range(2):
        ours = [one for one in batches if one.epoch == epoch]
        x = np.concatenate([one.x for one in ours])
        indices = []
        for number in range(passes):
            version = (epoch * passes + number) % min(2, 2 * passes)
            of = prepare.task.x_low(prepare.small_version(version)[:])
            indices += which(x[number * labelled : (number + 1) * labelled], of).tolist()
        indices = np.array(indices)
        assert set(indices) == set(prepare.labelled)
        times, more = divmod(labelled + unlabelled, labelled)
        counts = np.bincount(indices, minlength=22)[prepare.labelled]
        assert sorted(counts) == [times] * (labelled - more) + [times + 1] * more
        for start in range(0, times * labelled, labelled):  # none again before all have been
            passed = indices[start : start + labelled]
            np.testing.assert_array_equal(np.sort(passed), prepare.labelled)
        truth = np.concatenate([one.truth for one in ours])
        np.testing.assert_array_equal(truth, prepare.dataset.train_labels[indices])
        assert all(one.labelled is None and one.teacher is None for one in ours)


def test_to_super_resolve_the_truth_is_of_the_labelled_images_alone():
    run = distill.Run(
        tiny.dataset(),
        tiny.config(task="super-resolve", teacher_views="high", labelled=9, unlabelled=8),
    )
    teacher = [run.teacher_outputs(version) for version in range(run.prepare.versions)]
    batches = list(run.prepare.small_batches(teacher))
    assert sum(len(one.truth) for one in batches) == 9 * run.config.epochs
    for one in batches:
        np.testing.assert_array_equal(low_resolution(one.truth), one.x[one.labelled])


def test_the_labels_of_unlabelled_images_never_matter(partly):
    """To the bit, for all three nets; that of a labelled image does, for all three."""
    dataset, known = tiny.dataset(), preparation(**PARTLY).labelled
    for changed in (np.setdiff1d(np.arange(22), known), known[:1]):
        labels = dataset.train_labels.copy()
        labels[changed] = (labels[changed] + 1) % 4
        after = bits(replace(dataset, train_labels=labels), **PARTLY)
        differ = {net for net, params in after.items() if params != partly[net]}
        assert differ == (set(partly) if changed[0] in known else set())


def test_the_pixels_of_unlabelled_images_matter_to_the_distilled_net_alone(partly):
    """And those of images that are not taught to none: exchanged, so that the mean stays."""
    dataset, prepare = tiny.dataset(), preparation(**PARTLY)
    for images, others in (
        (np.setdiff1d(prepare.taught, prepare.labelled), {"small"}),
        (np.setdiff1d(np.arange(22), prepare.taught), set()),
    ):
        exchanged = dataset.train_images.copy()
        exchanged[images] = exchanged[images[::-1]]
        after = bits(replace(dataset, train_images=exchanged), **PARTLY)
        assert {net for net, params in after.items() if params != partly[net]} == others


@pytest.mark.parametrize(
    ("net", "step"), [("large", 0), ("large", 1), ("small", 3), ("small_from_labels", 1)]
)
def test_a_run_with_unlabelled_images_that_was_stopped_ends_with_the_same_bits(partly, net, step):
    """Two updates are an epoch of the large net, three are one of the small ones."""
    with studies.small_nets():
        run = distill.Run(tiny.dataset(), tiny.config(**PARTLY))
    for event in run.steps():
        if isinstance(event, distill.Training) and (event.net, event.update.step) == (net, step):
            break
    assert run.state().updates[net] == step + 1
    assert bits(state=run.state(), **PARTLY) == partly


# Reports and settings


def test_the_report_holds_what_it_promises(finished):
    _, last = finished
    report = last.report
    assert report["task"] == "classify"
    about = {"name": "corners", "train": 22, "test": 12, "image_shape": [3, 32, 32], "border": 0}
    normalise = Normalisation.of(tiny.dataset().train_images)
    shown = {name: list(getattr(normalise, name)) for name in ("mean", "std")}
    assert report["data"] == about | shown
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


def test_presets_know_their_names_and_one_is_for_nets_of_the_field():
    assert tuple(distill.PRESETS) == config.PRESET_NAMES
    assert all(preset.preset == name for name, preset in distill.PRESETS.items())
    run = distill.Run(tiny.dataset(), distill.PRESETS["resnet20-resnet8"])
    assert run.large.image_shape == run.small.image_shape == (3, 32, 32)
    assert (len(run.large.layers), len(run.small.layers)) == (
        len(zoo.resnet20(rng=0).layers),
        len(zoo.resnet8(rng=0).layers),
    )
    few = distill.PRESETS["few-labels"].labelled
    labels = np.arange(few + 7) % 4
    images = np.zeros((few + 7, 3, 32, 32), np.uint8)
    more = replace(tiny.dataset(), train_images=images, train_labels=labels)
    assert distill.preset("few-labels", more).unlabelled == 7
    with pytest.raises(ValueError, match="preset is 'best', expected one of default, document"):
        distill.preset("best", tiny.dataset())


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
        {"labelled": 0},
        {"labelled": 2.5},
        {"unlabelled": -1},
        {"unlabelled": None},
        {"batch_size": 2.5},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"large_weight_decay": -1.0},
        {"warmup": 1.0},
        {"clip_norm": 0.0},
        {"optimiser": "lion"},
        {"decay_biases": 1},
        {"nesterov": True, "momentum": 0.0},
        {"nesterov": True, "optimiser": "adam"},
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        tiny.config(**change)


def test_figures_too_large_to_reckon_with_are_a_divergence():
    figures = {"small": {"accuracy": 0.5, "mse": float("inf")}, "large": {"mse": 0.0}}
    with pytest.raises(training.Diverged, match="small: mse is inf"):
        evaluate.require_finite(figures)
