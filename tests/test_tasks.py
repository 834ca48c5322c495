"""npkd.distill.tasks: both are the same six steps, with other nets, views, truths and figures."""

import json

import numpy as np
import pytest
import tiny

from npkd import distill, losses
from npkd.data import low_resolution
from npkd.distill import config, evaluate
from npkd.distill.outputs import Outputs
from npkd.distill.tasks import TASKS, quality
from npkd.distill.tasks.super_resolve import (
    UPSAMPLINGS,
    LargeSuperResolver,
    SmallSuperResolver,
)
from npkd.distill.tasks.task import brought_back
from npkd.objectives import Objective


@pytest.fixture(scope="module")
def resolved():
    return tiny.finished(**tiny.RESOLVE)


def task(name):
    return TASKS[name](tiny.dataset(), distill.Config(task=name, teacher_views="high"))


def test_the_settings_name_the_tasks():
    assert tuple(TASKS) == config.TASK_NAMES


@pytest.mark.parametrize("name", TASKS)
def test_outputs_and_truth_go_together(name):
    of, images, labels = task(name), tiny.dataset().test_images, tiny.dataset().test_labels
    large, small = of.networks(4, 0, 1)
    truth = of.truth(images, labels)
    for network, view in ((large, of.x_large), (large, of.x_back), (small, of.x_low)):
        y, _ = network(view(images))
        value, dy = of.loss(y, truth)
        assert np.isfinite(value)
        assert dy.shape == y.shape
        figures = of.measure(y, truth)
        assert tuple(figures) == of.figures
        assert all(values.shape == (len(images),) for values in figures.values())
    compared = of.compare(y, y)
    assert (compared.pop("mse") == 0).all()
    assert {name: values.mean() for name, values in compared.items()} == of.same


def test_the_truth_has_the_best_figures_there_are():
    of, images, labels = task("super-resolve"), tiny.dataset().test_images, None
    truth = of.truth(images, labels)
    figures = of.measure(truth, truth)
    np.testing.assert_array_equal(figures["psnr"], quality.HIGHEST_PSNR)
    np.testing.assert_allclose(figures["ssim"], 1)
    np.testing.assert_allclose(of.pictures(truth), images / 255, atol=1e-6)


def test_both_super_resolvers_take_x_low_and_make_x_high():
    x_low = np.zeros((2, 3, 16, 16), np.float32)
    for network, parameters in ((LargeSuperResolver(0), 26_796), (SmallSuperResolver(0), 3_252)):
        assert network(x_low)[0].shape == (2, 3, 32, 32)
        assert evaluate.size(network)["parameters"] == parameters


def test_upsampling_keeps_the_mean_of_what_is_smooth():
    x_low = np.linspace(0, 1, 16)[:, None] + np.linspace(0, 1, 16)
    for upsample in UPSAMPLINGS.values():
        x_up = upsample(x_low[None, None])
        assert x_up.shape == (1, 1, 32, 32)
        inside = low_resolution(x_up)[0, 0, 2:-2, 2:-2]
        np.testing.assert_allclose(inside, x_low[2:-2, 2:-2], atol=0.03)
    np.testing.assert_array_equal(
        UPSAMPLINGS["nearest"](x_low[None, None]), brought_back(x_low[None, None])
    )


def test_super_resolution_goes_through_the_same_six_steps(resolved):
    events, last = resolved
    stages = [event for event in events if isinstance(event, distill.Stage)]
    assert [stage.number for stage in stages] == list(distill.STEPS)
    assert [stage.title for stage in stages][1:] == list(distill.STEPS.values())[1:]
    report = last.report
    json.dumps(report, allow_nan=False)
    assert report["task"] == "super-resolve"
    for model in report["models"].values():
        assert {"psnr", "ssim", "mse", "train_psnr", "parameters", "latency_ms"} <= model.keys()
        assert "accuracy" not in model
    assert set(report["upsampling"]) == {"nearest", "bilinear", "bicubic"}
    assert report["measured_on"] == {"channel": "Y", "crop": 2}
    assert report["teacher_against_truth"].keys() == {"l2", "psnr", "ssim"}


def test_the_distilled_net_learns_from_the_large_nets_images_and_the_other_from_the_true_ones():
    run = distill.Run(tiny.dataset(), tiny.config(**tiny.RESOLVE))
    teacher = [run.teacher_outputs(version) for version in range(run.prepare.versions)]
    for batch in run.prepare.small_batches(teacher):
        np.testing.assert_array_equal(batch.x, low_resolution(batch.truth))
        of_teacher = batch.teacher["shuffle"]
        np.testing.assert_allclose(of_teacher, run.large(batch.x)[0], rtol=1e-4, atol=1e-4)
    y, _ = run.small(batch.x)
    for share, expected in (
        (0.0, losses.l2(y, of_teacher)),
        (1.0, losses.l2(y, batch.truth)),
    ):
        loss = Objective(share, run.task.loss, output="shuffle", teacher_output="shuffle")
        value, gradients, _ = loss({"shuffle": y}, batch)
        np.testing.assert_allclose(value, expected[0], rtol=1e-6)
        np.testing.assert_allclose(gradients["shuffle"], expected[1], rtol=1e-5, atol=1e-6)


def test_what_is_super_resolved_cannot_be_shown_in_full_resolution():
    with pytest.raises(ValueError, match="teacher_input is 'high', expected 'low'"):
        tiny.config(task="super-resolve", teacher_input="high")


@pytest.mark.parametrize("name", TASKS)
def test_the_samples_are_of_the_test_images(name, resolved):
    data = tiny.dataset()
    last = resolved[1] if name == "super-resolve" else tiny.finished()[1]
    samples = last.samples
    np.testing.assert_array_equal(samples["x_high"], data.test_images[samples["chosen"]])
    assert set(samples["firsts"]) <= set(samples["chosen"])
    assert len(set(samples["chosen"])) == len(samples["chosen"])
    of_all = [v for key, v in samples.items() if key.startswith(("logits/", "psnr/"))]
    assert len(of_all) == (4 if name == "classify" else 3)
    assert all(len(values) == len(data.test_labels) for values in of_all)


def test_where_nothing_is_augmented_there_is_one_version():
    """Digits are not flipped, and what is super-resolved is not shifted."""
    assert distill.Preparation(tiny.dataset(), tiny.config(**tiny.RESOLVE)).versions == 1
    assert distill.Preparation(tiny.dataset(), tiny.config(versions=2)).versions == 2


def test_the_documents_preset_is_not_for_super_resolution():
    with pytest.raises(ValueError, match="preset is document, expected default"):
        distill.preset("document", tiny.dataset(), "super-resolve")


def test_outputs_are_kept_where_they_are_few_numbers_and_else_made_again():
    data = tiny.dataset()
    for name, kept in (("classify", True), ("super-resolve", False)):
        of = task(name)
        network, _ = of.networks(4, 0, 1)
        outputs = Outputs(network, data.test_images, of.x_back)
        assert (outputs.features.kept is not None) == kept
        assert len(outputs) == len(data.test_labels)
        everything, _ = network(of.x_back(data.test_images))
        some = np.array([3, 0, 7])
        np.testing.assert_allclose(outputs[some], everything[some], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(outputs[2:5], everything[2:5], rtol=1e-4, atol=1e-5)
