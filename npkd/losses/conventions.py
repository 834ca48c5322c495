"""Who has a loss how: the arguments that give another implementation's, and the factor between.

Facts read in the named projects' public code and threads, not run, and not always in the newest
version (KD-Zoo's in a fork).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Convention:
    """How one implementation has a loss.

    loss       its name in npkd.losses
    where      who has it so
    factor     their value, and gradient, in units of what npkd's defaults give at the same
               temperature T (and the same δ); in B, C, T, δ, and N, the number of entries that are
               compared. "" where no factor leads from one to the other: it is another loss
    arguments  with which npkd's loss is theirs; T stands for the temperature that they have
    note       what differs
    """

    loss: str
    where: str
    factor: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return given.replace("'T'", "T").replace("'δ'", "δ").replace("'", '"')


def conventions() -> tuple[Convention, ...]:
    """All that is known, loss by loss.

    Example
        >>> [(one.where, one.factor) for one in losses.conventions() if one.loss == "l1"]
        [('PyTorch l1_loss', '1/C')]
    """
    return _CONVENTIONS


_MEAN = {"reduction": "elementmean", "half": False}
_ENTRIES = {"reduction": "elementmean"}
_NO_T2 = {"temperature_squared": False}

_CONVENTIONS = (
    Convention("l2", "Ba and Caruana 2014", "1"),
    Convention("l2", "the source document", "B", {"reduction": "sum"}, "a sum"),
    Convention("l2", "PyTorch mse_loss; KD-Zoo; Kim et al.'s code", "2/C", _MEAN, "no ½, over C"),
    Convention(
        "l2", "TextBrewer kd_mse_loss", "2/(C·T²)", _MEAN | {"temperature": "T"}, "logits / T"
    ),
    Convention(
        "l2",
        "KD_Lib VanillaKD",
        "",
        _MEAN | {"temperature": "T", "temperature_squared": True, "variant": "probabilities"},
        "of probabilities, where KL is meant",
    ),
    Convention(
        "l2",
        "KD_Lib TAKD",
        "",
        _MEAN | {"temperature": "T", "temperature_squared": True, "variant": "log-probabilities"},
        "of their logarithms",
    ),
    Convention("l1", "PyTorch l1_loss", "1/C", _ENTRIES, "over C too"),
    Convention("huber", "PyTorch huber_loss", "1/C", _ENTRIES, "over C too"),
    Convention(
        "huber",
        "PyTorch smooth_l1_loss (beta=δ)",
        "1/(C·δ)",
        _ENTRIES | {"variant": "smooth", "delta": "δ"},
        "divided by δ",
    ),
    Convention("kl", "RepDistiller KD; KD-Zoo st; mdistiller KD; keras-io today", "1"),
    Convention(
        "kl",
        "PyTorch KLDivLoss() by default, or likewise: haitongli, deit, Teacher-free-KD, "
        "HikariTJU/LD, neural-compressor",
        "1/C",
        _ENTRIES,
        "over C too",
    ),
    Convention(
        "kl",
        "keras-io before #869; IntelLabs/distiller; torchdistill KDLoss with alpha=0",
        "1/T²",
        _NO_T2,
        "no T²",
    ),
    Convention(
        "kl", "paiml/aprender before PR 2153", "", {"variant": "reversed"}, "KL(student‖teacher)"
    ),
    Convention(
        "kl", "microsoft/ProDA #20", "", {"variant": "unlogged"}, "probabilities for logarithms"
    ),
    Convention(
        "kl", "KD_Lib LSR", "", {"variant": "reversed unlogged"}, "both, where the teacher is right"
    ),
    Convention("kl", "DistiLLM skewed KL", "", {"skew": 0.1}, "from a mixture with the student"),
    Convention(
        "kl",
        "DistiLLM skewed reversed KL",
        "",
        {"skew": 0.1, "variant": "reversed"},
        "from a mixture with the teacher",
    ),
    Convention("js", "the paper; TRL GKDTrainer today, with labels, at T = 1", "1"),
    Convention("js", "TRL GKDTrainer today, with labels", "1/T²", _NO_T2, "no T²"),
    Convention(
        "js",
        "TRL 0.11.4 and 0.15.2 (#2202, #3043)",
        "",
        {"variant": "exchanged", "beta": 0.25, "reduction": "sum"},
        "shares of the mixture exchanged; tokens of a sequence summed",
    ),
    Convention(
        "js",
        "TRL 0.24.0 without labels (#4105), a sequence",
        "B",
        {"reduction": "sum"},
        "tokens of a sequence summed",
    ),
    Convention("soft_cross_entropy", "Hinton et al.", "1"),
    Convention(
        "soft_cross_entropy",
        "TextBrewer kd_ce_loss; passalis",
        "1/T²",
        _NO_T2,
        "no T²",
    ),
    Convention("dkd", "mdistiller DKD", "1", {}, "α 1, β 8, T 4; its weight rises over 20 epochs"),
    Convention("dist", "hunto/DIST_KD", "1", {"epsilon": 1e-8}, "at T = 1, but for ε"),
    Convention("dist", "torchdistill DISTLoss", "1", {}, "but for a floor of 1e-8"),
    Convention(
        "standardize",
        "sunshangquan/logit-standardization-KD; torchdistill",
        "√((C−1)/C)",
        {"ddof": 1},
        "torch.std divides by C − 1",
    ),
    Convention("hint", "RepDistiller; mdistiller; KD-Zoo; torchdistill with MSELoss", "1"),
    Convention("hint", "FitNets paper", "N/2", {"half": True, "reduction": "sum"}, "½, a sum"),
    Convention(
        "hint",
        "passalis hint_transfer",
        "N/B",
        {"reduction": "batchmean"},
        "over B alone; by default of the teacher, projected",
    ),
    Convention(
        "attention", "szagoruyko/attention-transfer; RepDistiller; mdistiller; torchdistill", "1"
    ),
    Convention("attention", "KD-Zoo at", "1", {"epsilon": 1e-6}, "but for ε"),
    Convention(
        "attention",
        'the paper (times β/2); torchdistill ATLoss mode="paper"',
        "",
        {"variant": "norm", "reduction": "batchmean"},
        "the norm, not its square: some 140 times on random 8×8 maps",
    ),
    Convention("similarity", "RepDistiller SP; mdistiller SP; KD-Zoo sp", "1"),
    Convention(
        "similarity",
        "torchdistill SPKDLoss",
        "",
        {"variant": "l1"},
        "rows divided by their sum: about 1/28 at B = 32 behind a ReLU",
    ),
    Convention("rkd_distance", "lenscloth/RKD", "1"),
    Convention("rkd_distance", "RepDistiller; mdistiller; KD-Zoo", "1", {}, "weight 25"),
    Convention("rkd_distance", "KD_Lib RKD", "1", {}, "weight ½; but for ε"),
    Convention("rkd_angle", "lenscloth/RKD", "1"),
    Convention("rkd_angle", "RepDistiller; mdistiller; KD-Zoo", "1", {}, "weight 50"),
    Convention("rkd_angle", "KD_Lib RKD", "1", {}, "weight ½; but for ε"),
    Convention("pkt", "passalis/probabilistic_kt; RepDistiller; mdistiller; torchdistill", "1"),
    Convention("pkt", "KD-Zoo pkt", "1", {"epsilon": 1e-6}, "but for ε"),
    Convention("nst", "RepDistiller NST; mdistiller NST; KD-Zoo nst", "1"),
    Convention("fsp", "RepDistiller FSP; KD-Zoo fsp; TextBrewer fsp_loss", "1"),
    Convention("fsp", "the paper", "N/B", {"reduction": "batchmean"}, "a sum over C'·D'"),
    Convention(
        "fsp",
        "torchdistill FSPLoss",
        "",
        {"variant": "norms", "reduction": "batchmean"},
        "norms of columns, after a max-pool",
    ),
    Convention("cc", "the paper; KD-Zoo cc", "1", {}, "γ 0.4, order 2"),
    Convention(
        "cc", "torchdistill CCKDLoss", "", {"variant": "norm"}, "lengths kept, norm not squared"
    ),
    Convention(
        "cc",
        "RepDistiller CC",
        "",
        {"variant": "consecutive"},
        "neighbours; no kernel",
    ),
    Convention("vid", "RepDistiller VID; torchdistill VIDLoss", "1"),
    Convention("vid", "KD-Zoo vid", "1", {"epsilon": 1e-6}, "but for ε"),
    Convention("vid", "the paper", "N/B", {"reduction": "batchmean"}, "a sum over entries"),
    Convention("vid", "mdistiller VID", "1", {"variant": "fixed"}, "σ is never trained"),
)
