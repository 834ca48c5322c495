"""Where npkd departs from the source document: a test for each row of the table in npkd/distill."""

import numpy as np
import pytest
import tiny

from npkd import SGD, LargeCNN, SmallCNN, distill, losses, ops
from npkd.data import Augmentation, low_resolution
from npkd.distill.outputs import predictions
from npkd.distill.tasks.task import brought_back


def outputs(seed=0, samples=6, classes=10):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((samples, classes)), rng.standard_normal((samples, classes))


def test_l2_is_the_documents_formula_and_its_mean_is_over_the_batch_only():
    student, teacher = outputs()
    literal = 0.5 * np.linalg.norm(teacher - student) ** 2
    assert losses.l2(student, teacher, reduction="sum")[0] == pytest.approx(literal)
    assert losses.l2(student, teacher)[0] == pytest.approx(literal / 6)
    elementwise_mse = np.mean((student - teacher) ** 2)
    assert losses.l2(student, teacher)[0] == pytest.approx(10 / 2 * elementwise_mse)


def test_the_printed_gradient_is_that_of_the_teacher_and_raises_the_students_loss():
    student, teacher = outputs()
    loss, gradient = losses.l2(student, teacher, reduction="sum")
    printed = teacher - student
    np.testing.assert_array_equal(gradient, -printed)
    assert losses.l2(student - 0.1 * printed, teacher, reduction="sum")[0] > loss
    assert losses.l2(student - 0.1 * gradient, teacher, reduction="sum")[0] < loss


def test_parameters_move_along_the_transposed_jacobian_not_in_output_space():
    rng = np.random.default_rng(0)
    small, x = SmallCNN(0, dtype=np.float64), rng.standard_normal((2, 3, 16, 16))
    teacher = rng.standard_normal((2, 10))
    y, backward = small(x)
    _, grads = backward(losses.l2(y, teacher, reduction="sum")[1])
    # ⟨Jᵀ (y_small − y_large), v⟩ = ⟨y_small − y_large, J v⟩, with J v by the complex step
    v = {name: rng.standard_normal(theta.shape) for name, theta in small.params.items()}
    stepped = small.astype(np.complex128)
    for name, theta in stepped.params.items():
        theta += 1e-30j * v[name]
    jv = stepped(x.astype(np.complex128))[0].imag / 1e-30
    along_v = sum(np.sum(grads[name] * v[name]) for name in grads)
    assert along_v == pytest.approx(np.sum((y - teacher) * jv), rel=1e-12)
    before = {name: theta.copy() for name, theta in small.params.items()}
    SGD(0.01).step(small.params, grads)
    for name, theta in small.params.items():
        np.testing.assert_allclose(theta, before[name] - 0.01 * grads[name], atol=1e-15)


def test_the_large_net_is_the_documents():
    large = LargeCNN(0)
    assert sum(theta.size for theta in large.params.values()) == 8_413_642
    assert large(np.zeros((2, 3, 32, 32), np.float32))[0].shape == (2, 10)
    assert large.params["fc1.weight"].shape == (512, 64 * 16 * 16)


def test_the_small_net_is_the_documents():
    small = SmallCNN(0)
    assert sum(theta.size for theta in small.params.values()) == 268_650
    assert small(np.zeros((2, 3, 16, 16), np.float32))[0].shape == (2, 10)
    assert round(8_413_642 / 268_650, 1) == 31.3


@pytest.mark.parametrize("teacher_input", ["low", "high"])
def test_each_net_is_fed_images_of_its_own_size(teacher_input):
    data = tiny.dataset()
    prepare = distill.Preparation(data, tiny.config(teacher_input=teacher_input))
    x_high = prepare.task.normalise(data.test_images)
    x_low = low_resolution(x_high)
    np.testing.assert_allclose(
        x_low, x_high.reshape(-1, 3, 16, 2, 16, 2).mean(axis=(3, 5)), atol=1e-6
    )
    expected = x_high if teacher_input == "high" else x_low.repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_allclose(prepare.task.x_teaching(data.test_images), expected, atol=1e-6)
    with pytest.raises(ValueError, match="is this x_high"):
        SmallCNN(0)(x_high)
    with pytest.raises(ValueError, match="is this x_low"):
        LargeCNN(0)(x_low)


@pytest.mark.parametrize(("teacher_views", "low"), [("high", []), ("both", [1])])
def test_step_1_trains_on_high_resolution_or_on_both(teacher_views, low):
    data = tiny.dataset()
    prepare = distill.Preparation(data, tiny.config(teacher_views=teacher_views))
    of_low_resolution = [
        step
        for step, batch in enumerate(prepare.large_batches())
        if np.array_equal(batch.x, brought_back(low_resolution(batch.x)))
    ]
    assert of_low_resolution == low


def test_step_1_really_trains_the_large_net():
    run = distill.Run(tiny.dataset(), tiny.config())
    before = {name: theta.copy() for name, theta in run.large.params.items()}
    for event in run.steps():
        if isinstance(event, distill.Stage) and event.number == 2:
            break
    assert all((run.large.params[name] != theta).any() for name, theta in before.items())


def test_the_small_net_is_updated_on_every_batch():
    events, _ = tiny.finished()
    updates = [e for e in events if isinstance(e, distill.Training) and e.net == "small"]
    assert len(updates) == 2 * 3  # epochs times ⌈22 / 8⌉ batches


def test_the_large_net_is_trained_to_the_end_before_it_teaches():
    run = distill.Run(tiny.dataset(), tiny.config(large_epochs=2))
    order, taught_by = [], set()
    for event in run.steps():
        if isinstance(event, distill.Stage) and event.number == 6:
            break
        if isinstance(event, distill.Training):
            order.append(event.net)
            if event.net == "small":
                taught_by.add(run.large.params["fc2.weight"].tobytes())
    assert order == ["large"] * 6 + ["small"] * 6 + ["small_from_labels"] * 6
    assert len(taught_by) == 1


@pytest.mark.parametrize("preset", ["default", "document", "document-alternating"])
def test_the_small_net_learns_by_l2_as_in_the_text_not_by_cross_entropy(preset):
    run = distill.Run(tiny.dataset(), distill.PRESETS[preset])
    versions = [run.teacher_outputs(version) for version in range(run.prepare.versions)]
    batch = next(run.prepare.small_batches(versions))
    teacher, y = batch.teacher["fc2"], run.small(batch.x)[0]
    value, gradients, _ = run.objective({"fc2": y}, batch)
    expected, gradient = losses.l2(y, teacher)
    assert value == expected
    np.testing.assert_array_equal(gradients["fc2"], gradient)
    assert abs(losses.soft_cross_entropy(y, teacher)[0] - expected) > 0.1


def test_step_3_reports_the_large_net_against_the_truth_and_trains_nothing():
    run = distill.Run(tiny.dataset(), tiny.config())
    seen = {}
    for event in run.steps():
        if isinstance(event, distill.Stage):
            seen[event.number] = {n: theta.tobytes() for n, theta in run.large.params.items()}
        if isinstance(event, distill.Finished):
            truth = event.report["teacher_against_truth"]
            logits, labels = event.samples["logits/large_low"], event.samples["labels"]
    assert seen[3] == seen[4]
    assert truth["cross_entropy"] == pytest.approx(float(losses.cross_entropy(logits, labels)[0]))
    assert truth["accuracy"] == np.mean(predictions(logits) == labels)


def test_logits_are_no_labels():
    student, teacher = outputs()
    with pytest.raises(ValueError, match="expected integers"):
        losses.cross_entropy(student, teacher)
    # What a framework makes of them, −Σ_c teacher_c log softmax(student)_c, has no minimum where
    # student = teacher: its gradient there is not zero, as it is for L2.
    _, backward = ops.log_softmax(teacher)
    assert np.abs(backward(-teacher)).max() > 0.1
    assert np.abs(losses.l2(teacher, teacher)[1]).max() == 0


def test_all_of_it_runs_with_progress_throughout():
    events, last = tiny.finished()
    updates = [event for event in events if isinstance(event, distill.Training)]
    assert len(updates) == 3 + 6 + 6
    assert all(np.isfinite(event.update.loss) for event in updates)
    assert events[-1] is last


def test_the_task_is_a_setting_and_the_code_s_task_is_classification():
    assert distill.PRESETS["document"].task == "classify"
    with pytest.raises(ValueError, match="task"):
        tiny.config(task="generate")


def test_augmentation_is_seeded_and_switchable():
    images = tiny.dataset().train_images
    augment = Augmentation(shift=4, flip=True)
    once, again = (augment(images, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert (once != images).any()
    on, off = (distill.Preparation(tiny.dataset(), tiny.config(augment=a)) for a in (True, False))
    first_on, first_off = next(on.large_batches()), next(off.large_batches())
    np.testing.assert_array_equal(first_on.truth, first_off.truth)
    assert (first_on.x != first_off.x).any()


def test_images_are_normalised_by_the_training_images_with_the_documents_preset_too():
    data = tiny.dataset()
    x_high = np.concatenate(
        [
            batch.x
            for batch in distill.Preparation(data, distill.PRESETS["document"]).large_batches()
            if batch.epoch == 0
        ]
    )
    np.testing.assert_allclose(x_high.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(x_high.std(axis=(0, 2, 3)), 1, atol=1e-5)
    of_training = data.train_images.astype(np.float64).transpose(0, 2, 3, 1).reshape(-1, 3)
    expected = data.test_images - of_training.mean(axis=0)[:, None, None]
    expected /= of_training.std(axis=0)[:, None, None]
    found = distill.Preparation(data, distill.PRESETS["document"]).task.normalise(data.test_images)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_report_holds_quality_size_speed_and_cost_beside_the_net_from_labels():
    report = tiny.finished()[1].report
    for name in ("large", "small", "small_from_labels"):
        assert {
            "accuracy",
            "train_accuracy",
            "mse",
            "agreement",
            "parameters",
            "bytes",
            "macs",
            "latency_ms",
            "train_seconds",
        } <= set(report["models"][name])
    assert set(report["compression"]) == {"parameters", "bytes", "macs", "latency"}


def test_the_preset_document_is_plain_sgd_at_001_for_10_epochs_with_l2_alone():
    preset = distill.PRESETS["document"]
    assert (preset.large_learning_rate, preset.learning_rate) == (0.01, 0.01)
    assert (preset.large_epochs, preset.epochs, preset.batch_size) == (10, 10, 64)
    assert (preset.momentum, preset.weight_decay, preset.clip_norm) == (0.0, 0.0, None)
    assert (preset.schedule, preset.label_weight) == ("constant", 0.0)
    assert distill.PRESETS["default"].label_weight == 0.0
