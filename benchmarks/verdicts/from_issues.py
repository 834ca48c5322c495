"""Wrong programs from public issues: each does in PyTorch what an issue tells of.

    for program in WRONG_PROGRAMS: …    # as in `in_torch`, with `source` the issue

The facts are the issues', the code is not. Where an issue is about a step of another kind (a
detector's, a language model's) the mistake is made on the case's own tensors.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.verdicts import in_torch
from benchmarks.verdicts.in_torch import (
    ALONE,
    COUNTED_WHOLE,
    DOUBLE,
    MEAN,
    NO_T2,
    ONE_NET,
    OVER_BATCH,
    RESHUFFLED,
    SAME,
    UNLOGGED,
    OwnOptimiser,
)
from benchmarks.verdicts.programs import UNLISTED, WrongProgram
from npkd.validate.judging.causes import NOT_FINITE

WRONG_PROGRAMS: list[WrongProgram] = []
CONV = ("conv2d",)


def issue(
    source: str, *faults: str, piece: str, subjects: Sequence[str]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enters a function as the wrong piece of programs that come from an issue."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        before = len(in_torch.WRONG_PROGRAMS)
        in_torch.wrong(UNLISTED, *faults, piece=piece, subjects=subjects, source=source)(function)
        WRONG_PROGRAMS.extend(in_torch.WRONG_PROGRAMS[before:])
        del in_torch.WRONG_PROGRAMS[before:]
        return function

    return enter


# Soft targets


@issue("facebookresearch/deit#61", MEAN, piece="kl", subjects=["kl"])
def sum_over_the_number_of_entries(student, teacher, temperature):
    """A sum by log_target, divided by numel(), not by the size of the batch."""
    log_q, log_p = (F.log_softmax(z / temperature, dim=1) for z in (student, teacher))
    total = F.kl_div(log_q, log_p, reduction="sum", log_target=True)
    return total * temperature**2 / student.numel()


@issue("HikariTJU/LD#74", MEAN, piece="kl", subjects=["kl"])
def mean_over_classes(student, teacher, temperature):
    """Terms are averaged over classes, then over samples."""
    p = F.softmax(teacher / temperature, dim=1).detach()
    terms = F.kl_div(F.log_softmax(student / temperature, dim=1), p, reduction="none")
    return (terms.mean(1) * temperature**2).mean()


@issue("yuanli2333/Teacher-free-Knowledge-Distillation#41", MEAN, piece="kl", subjects=["mix kl"])
def kl_div_loss_by_default(student, teacher, temperature):
    """nn.KLDivLoss() as it comes, whose reduction is "mean"."""
    log_q = F.log_softmax(student / temperature, dim=1)
    p = F.softmax(teacher / temperature, dim=1)
    return nn.KLDivLoss()(log_q, p) * temperature**2


@issue("haitongli/knowledge-distillation-pytorch#48", MEAN, piece="kl", subjects=["kl"])
def kl_div_without_batchmean(student, teacher, temperature):
    """The reduction of KLDivLoss is not "batchmean"."""
    log_q = F.log_softmax(student / temperature, dim=1)
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="mean") * temperature * temperature


@issue(
    "GMvandeVen/continual-learning#5",
    MEAN,
    piece="soft_cross_entropy",
    subjects=["soft_cross_entropy"],
)
def mean_without_the_sum_over_classes(student, teacher, temperature):
    """−p log q is averaged over all entries: the sum over classes is left out."""
    targets = F.softmax(teacher / temperature, dim=1)
    log_scores = F.log_softmax(student / temperature, dim=1)
    return (-targets * log_scores).mean() * temperature**2


@issue("IntelLabs/distiller#122", NO_T2, piece="kl", subjects=ALONE)
def no_t_times_t(student, teacher, temperature):
    """The soft loss lacks the factor T · T."""
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(F.log_softmax(student / temperature, dim=1), p, reduction="batchmean")


@issue(
    "yuanli2333/Teacher-free-Knowledge-Distillation#24",
    "temperature for the teacher alone",
    piece="kl",
    subjects=ALONE,
)
def outputs_not_divided_by_t(student, teacher, temperature):
    """The student's outputs are not divided by T."""
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(F.log_softmax(student, dim=1), p, reduction="batchmean") * temperature**2


@issue("sebastian-hofstaetter/matchmaker#18", UNLOGGED, piece="kl", subjects=["kl"])
def softmax_for_both(student, teacher, temperature):
    """Both sides of KLDivLoss are probabilities."""
    q, p = ((z / temperature).softmax(-1) for z in (student, teacher))
    return nn.KLDivLoss(reduction="batchmean")(q, p) * temperature**2


@issue("pytorch/pytorch#5282", UNLOGGED, piece="kl", subjects=["mix kl"])
def probabilities_into_kl_div(student, teacher, temperature):
    """KLDivLoss is given probabilities, of which it takes no logarithm."""
    q = F.softmax(student / temperature, dim=1)
    return F.kl_div(q, F.softmax(teacher / temperature, dim=1), reduction="batchmean") * (
        temperature**2
    )


@issue(
    "labmlai/annotated_deep_learning_paper_implementations#66",
    ONE_NET,
    piece="kl",
    subjects=["kl"],
)
def large_logits_on_both_sides(student, teacher, temperature):
    """The large net's logits stand where the small one's belong: nothing is distilled."""
    log_q = F.log_softmax(teacher / temperature, dim=1)
    p = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2 + 0 * student.sum()


@issue(
    "PolarisShi/distillation#1",
    "log-probabilities without log_target",
    piece="kl",
    subjects=["kl"],
)
def log_softmax_of_the_teacher(student, teacher, temperature):
    """The teacher's log-softmax is the target, which is to be probabilities."""
    log_q, log_p = (F.log_softmax(z / temperature, dim=1) for z in (student, teacher))
    return nn.KLDivLoss(reduction="batchmean")(log_q, log_p) * temperature**2


@issue("paiml/aprender#2153", "KL reversed", piece="kl", subjects=ALONE)
def kl_of_student_from_teacher(student, teacher, temperature):
    """KL(student ‖ teacher) where KL(teacher ‖ student) is meant."""
    log_q, log_p = (F.log_softmax(z / temperature, dim=1) for z in (student, teacher))
    return (log_q.exp() * (log_q - log_p)).sum(1).mean() * temperature**2


@issue(
    "lucidrains/vit-pytorch#91",
    "α and 1 − α exchanged",
    piece="mix",
    subjects=["mix", "mix kl"],
)
def alpha_at_the_wrong_loss(hard, soft, alpha):
    """α multiplies the labels' loss, 1 − α the teacher's."""
    return hard * alpha + soft * (1 - alpha)


@issue(
    "graytowne/rank_distill#2",
    "share 1 − α of the labels left out",
    piece="mix",
    subjects=["mix kl"],
)
def labels_not_multiplied(hard, soft, alpha):
    """The labels' loss is not multiplied by 1 − α."""
    return hard + soft * alpha


# Labels


@issue("jaehong31/CGES#1", DOUBLE, piece="cross_entropy", subjects=["cross_entropy"])
def softmax_twice(logits, labels):
    """The model returns softmax, and the loss takes it for logits."""
    return F.cross_entropy(F.softmax(logits, dim=-1), labels)


@issue(
    "jindongwang/Deep-learning-activity-recognition#10",
    DOUBLE,
    piece="cross_entropy",
    subjects=["cross_entropy"],
)
def a_softmax_layer_at_the_end(logits, labels):
    """The last layer is nn.Softmax, the criterion nn.CrossEntropyLoss."""
    return nn.CrossEntropyLoss()(nn.Softmax(dim=1)(logits), labels)


@issue("Lackel/DPN#1", OVER_BATCH, piece="kl", subjects=["kl"])
def softmax_in_dim_0(student, teacher, temperature):
    """softmax(dim=0) goes over the batch."""
    log_q, log_p = (F.log_softmax(z / temperature, dim=0) for z in (student, teacher))
    return (log_p.exp() * (log_p - log_q)).sum() / len(student) * temperature**2


@issue(
    "DeepReinforcementLearning/DeepReinforcementLearningInAction#32",
    OVER_BATCH,
    piece="cross_entropy",
    subjects=["cross_entropy"],
)
def probabilities_along_the_batch(logits, labels):
    """A model that ends in Softmax(dim=0) is given a batch."""
    return F.nll_loss(F.log_softmax(logits, dim=0), labels)


# Numbers that overflow


@issue("openai/baselines#761", NOT_FINITE, piece="softmax", subjects=["softmax"])
def exp_over_sum_of_exp(x, axis=-1):
    """exp(300) / Σ exp(301): nothing is taken off before."""
    return x.exp() / x.exp().sum(axis, keepdim=True)


@issue("tenstorrent/tt-metal#9978", NOT_FINITE, piece="log_softmax", subjects=["log_softmax"])
def log_of_sum_of_exp(x, axis=-1):
    """x − log Σ exp(x) overflows for large x."""
    return x - x.exp().sum(axis, keepdim=True).log()


# Layers


@issue("taehoonlee/tensornets#25", SAME, piece="conv2d", subjects=CONV)
def two_cells_more_at_the_end(x, w, b=None, *, stride=1, padding=0):
    """Padding of a strided convolution as TensorFlow's SAME has it, kernel // 2 at the end."""
    return in_torch.conv2d_as_tensorflow_pads(x, w, b, stride=stride, padding=padding)


@issue(
    "sonos/tract#2851",
    "pool divisor under ceil_mode: all taps, where padding is counted",
    piece="avg_pool2d",
    subjects=["avg_pool2d"],
)
def overhang_in_the_divisor(x, kernel_size, *, ceil_mode=False, **options):
    """Where padding is counted, a last window's divisor is the whole kernel's."""
    if ceil_mode and options.get("count_include_pad", True):
        taps = torch.ones(kernel_size if isinstance(kernel_size, tuple) else [kernel_size] * 2)
        options["divisor_override"] = taps.numel()
    return F.avg_pool2d(x, kernel_size, ceil_mode=ceil_mode, **options)


@issue(
    "Theano/Theano#5248",
    "gradient at max ties: to all cells",
    piece="max_pool2d",
    subjects=["max_pool2d"],
)
def to_all_that_equal_the_maximum(x, *args, **options):
    """The gradient goes to every cell that is equal to the maximum of its window."""
    return in_torch.max_pool2d_by_mask(x, *args, **options)


@issue(
    "microsoft/MMdnn#595",
    "flattened as (N, H, W, C)",
    piece="flatten",
    subjects=["flatten"],
)
def flatten_of_nhwc(x):
    """What is flattened lies as (N, H, W, C)."""
    return torch.flatten(x.movedim(1, 3), 1)


# Data


@issue(
    "chainer/chainer#7429", "resized with align_corners", piece="smooth", subjects=["preparation"]
)
def resize_images(images):
    """Bilinear by aligned corners, which OpenCV's is not."""
    return F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=True)


@issue(
    "tensorflow/tensorflow#19627",
    "resized without half-pixel centres",
    piece="smooth",
    subjects=["preparation"],
)
def resize_bilinear_of_tf_1(images):
    """TensorFlow 1 puts the first centres upon each other, and so the last cells stand out."""
    return in_torch.smooth_without_half_pixels(images)


@issue(
    "tensorflow/tensorflow#6720",
    "resized with antialiasing",
    piece="low",
    subjects=["preparation"],
)
def antialias_when_reducing(images):
    """tf.image.resize with antialias=True widens the kernel when it reduces."""
    return F.interpolate(images, scale_factor=0.5, mode="bilinear", antialias=True)


@issue(
    "tensorflow/tensorflow#18112",
    in_torch.BICUBIC,
    piece="smooth",
    subjects=["preparation"],
)
def opencvs_bicubic(images):
    """OpenCV's bicubic resize, of which the parameter is −0.75."""
    return F.interpolate(images, scale_factor=2, mode="bicubic", align_corners=False)


def _standardised(images, mean, std):
    mean, std = (torch.tensor(one).view(-1, 1, 1) for one in (mean, std))
    return (images / 255 - mean) / std


@issue(
    "akamaster/pytorch_resnet_cifar10#9",
    "mean and std of ImageNet",
    piece="normalise",
    subjects=["preparation"],
)
def imagenets_constants(images, mean, std):
    """ImageNet's mean and standard deviation for CIFAR-10's images."""
    return _standardised(images, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@issue(
    "AidenDurrant/SimCLR-Pytorch#3",
    "std for the mean too",
    piece="normalise",
    subjects=["preparation"],
)
def std_for_mean(images, mean, std):
    """The standard deviation is subtracted where the mean is to be."""
    return (images / 255 - std) / std


@issue(
    "chenyaofo/pytorch-cifar-models#8",
    "mean and std ½",
    piece="normalise",
    subjects=["preparation"],
)
def a_half_for_all(images, mean, std):
    """Constants of ½, as a tutorial has them, for a net that was trained with others."""
    return _standardised(images, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@issue(
    "mks0601/3DMPPE_POSENET_RELEASE#69",
    "no division by 255",
    piece="normalise",
    subjects=["preparation"],
)
def pixels_as_they_are(images, mean, std):
    """Images are not divided by 255 before they are normalised."""
    return (images.float() - mean) / std


@issue(
    "imatge-upc/detection-2016-nipsws#11",
    "channel order reversed",
    piece="normalise",
    subjects=["preparation"],
)
def the_order_of_opencv(images, mean, std):
    """Images in the order blue, green, red, for a net that takes the other one."""
    return (images[:, [2, 1, 0]] / 255 - mean) / std


@issue(
    "fchollet/deep-learning-models#41",
    "channel order reversed, after normalising",
    piece="normalise",
    subjects=["preparation"],
)
def channels_exchanged_behind_the_mean(images, mean, std):
    """Each channel's mean is subtracted before red and blue change places."""
    return ((images / 255 - mean) / std)[:, [2, 1, 0]]


@issue("open-mmlab/OpenPCDet#886", "repeated worker seed", piece="seed", subjects=["workers"])
def numpys_seed_in_every_worker(worker):
    """Forked workers have the same state of NumPy's generator."""
    return 886


# The teacher


@issue(
    "haitongli/knowledge-distillation-pytorch#4",
    f"{RESHUFFLED}first epoch",
    piece="cached",
    subjects=["teacher cache"],
)
def outputs_by_the_number_of_the_batch(cache, index, place, earlier):
    """The teacher's outputs of an epoch are kept by batch; the next epoch is shuffled anew."""
    return cache[earlier]


@issue(
    "yxuansu/TaCL#11",
    "teacher in training mode",
    piece="mode",
    subjects=["evaluation mode"],
)
def eval_not_called(teacher):
    """The teacher's dropout is at work: eval() is not called."""
    teacher.train()


# Updates


@issue(
    "karpathy/nanoGPT#168",
    "accumulated gradients not divided",
    piece="average",
    subjects=["accumulation"],
)
def loss_of_each_part_in_full(parts):
    """The loss of each part is not divided by the number of parts."""
    for part in parts:
        part.backward()


@issue("keras-team/keras#20241", COUNTED_WHOLE, piece="mean_of_batches", subjects=["ragged batch"])
def a_last_batch_that_counts_more(sums, counts):
    """Batches count equally, the shorter last one too."""
    return torch.stack([total / count for total, count in zip(sums, counts, strict=True)]).mean()


@issue(
    "IDEA-Research/DAB-DETR#58",
    "gradients not zeroed",
    piece="zero_grad",
    subjects=["distillation"],
)
def zero_grad_not_called(optimiser):
    """optimizer.zero_grad() is not called."""


@issue("zju3dv/NeuralRecon#51", "schedule a step early", piece="step", subjects=["sgd"])
def scheduler_first(optimiser, schedule):
    """lr_scheduler.step() comes before optimizer.step(): the first rate is skipped."""
    schedule.step()
    optimiser.step()


@issue(
    "torch/optim#163",
    "momentum with a factor (1 − μ), but at the first step",
    piece="optimiser",
    subjects=["sgd"],
)
def dampening_by_default(student, teacher, lr, momentum, weight_decay):
    """Torch's optim.sgd takes the momentum for dampening, if none is given."""
    return torch.optim.SGD(
        student.parameters(), lr, momentum, dampening=momentum, weight_decay=weight_decay
    )


@issue("ml-explore/mlx#87", "momentum with a factor (1 − μ)", piece="optimiser", subjects=["sgd"])
def gradient_times_one_minus_momentum(student, teacher, **constants):
    """v ← μ v + (1 − μ) g, at the first step too."""

    def update(theta, g, v, lr, momentum, weight_decay):
        v = momentum * v + (1 - momentum) * (g + weight_decay * theta)
        return theta - lr * v, v

    return OwnOptimiser(student, update, **constants)


@issue(
    "pytorch/pytorch#13801",
    "weight decay past the velocity, times the rate",
    piece="optimiser",
    subjects=["sgd"],
)
def decay_after_momentum(student, teacher, **constants):
    """The decay is added behind the momentum."""

    def update(theta, g, v, lr, momentum, weight_decay):
        v = momentum * v + g
        return theta - lr * (v + weight_decay * theta), v

    return OwnOptimiser(student, update, **constants)


@issue(
    "pytorch/pytorch#22466",
    "weight decay past the velocity, without the rate",
    piece="optimiser",
    subjects=["sgd"],
)
def decay_by_multiplication(student, teacher, **constants):
    """θ is multiplied by 1 − λ, whatever the rate."""

    def update(theta, g, v, lr, momentum, weight_decay):
        v = momentum * v + g
        return theta * (1 - weight_decay) - lr * v, v

    return OwnOptimiser(student, update, **constants)


@issue("ultralytics/yolov5#4104", "biases not decayed", piece="optimiser", subjects=["sgd"])
def groups_of_weights_and_biases(student, teacher, lr, momentum, weight_decay):
    """Biases are in a parameter group without decay."""
    optimiser = torch.optim.SGD(
        [theta for theta in student.parameters() if theta.ndim == 1], lr, momentum
    )
    weights = [theta for theta in student.parameters() if theta.ndim > 1]
    optimiser.add_param_group({"params": weights, "weight_decay": weight_decay})
    return optimiser
