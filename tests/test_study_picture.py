"""The picture of a study: it is drawn whatever the study found, and however things are called."""

import warnings

import pytest

from npkd.study import page, picture
from npkd.study.analysis import over_seeds

pytest.importorskip("matplotlib")

DIFFERENCES = {"loses": -3.0, "none": 0.0, "beats": 4.0}  # points


NETS = [
    {
        "model": "small",
        "image_shape": [3, 16, 16],
        "parameters": 268_650,
        "macs": 2_000_000,
        "latency_ms": {"1": 0.456, "64": 7.891},
    }
]


def stored(values):
    """As in study.json."""
    if not values:
        return None
    interval = over_seeds(values)
    return {"mean": interval.mean, "half": interval.half, "values": dict(enumerate(values))}


def verdict(difference):
    if not difference or difference["half"] is None:
        return "few"
    if abs(difference["mean"]) <= difference["half"]:
        return "none"
    return "beats" if difference["mean"] > 0 else "loses"


def a_setting(name, small, labels, main, failed=0):
    """A setting with these figures, as study.json has it; None for one from labels alone."""
    pairs = [one - other for one, other in zip(small or [], labels, strict=False)]
    difference = stored(pairs)
    found = {main: stored(small), f"teacher_{main}": stored(small)} if small else {}
    return {
        "name": name,
        "config": {"unlabelled": 0},
        "against": {},
        "small": {main: stored(labels)} if small is None else found,
        "labels": {main: stored(labels)} if labels else {},
        "difference": difference,
        "others": {f"best_{main}": difference} if difference else {},
        "verdict": "same" if small is None else verdict(difference),
        "failed": {
            f"seed {seed}, {net}": "why" for seed in range(failed) for net in ("large", "small")
        },
    }


def a_report(settings, seeds, main="accuracy", name="corners"):
    return {
        "task": "super-resolve" if main == "psnr" else "classify",
        "data": {"name": name, "train": 220, "test": 120, "held_out": main == "psnr"},
        "seeds": list(range(seeds)),
        "figure": main,
        "settings": settings,
    }


def some_settings(seeds, main="accuracy"):
    """One from labels alone, and one for each verdict if there are seeds enough."""
    labels = [0.6 + 0.001 * seed for seed in range(seeds)]
    apart = [0.005, -0.005] * seeds
    return [
        a_setting("labels alone", None, labels, main),
        *(
            a_setting(
                verdict,
                [x + d / 100 + e for x, e in zip(labels, apart, strict=False)],
                labels,
                main,
            )
            for verdict, d in DIFFERENCES.items()
        ),
    ]


def drawn(report, tmp_path):
    """The bytes of the picture, which is drawn without a warning."""
    with warnings.catch_warnings(action="error"):
        picture.draw(tmp_path / "study.png", report)
    data = (tmp_path / "study.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    return data


def looked_at(report, tmp_path, monkeypatch):
    """Title and labels of axes; the text beside the rows; what is called how in which rows."""
    figure = pytest.importorskip("matplotlib.figure")
    kept, save = [], figure.Figure.savefig
    monkeypatch.setattr(
        figure.Figure, "savefig", lambda f, *a, **k: kept.append(f) or save(f, *a, **k)
    )
    drawn(report, tmp_path)
    axes = kept[0].axes
    titles = [kept[0].get_suptitle(), *(one.get_xlabel() for one in axes)]
    beside = [text.get_text() for one in axes for text in one.texts]
    rows = {
        bars.get_label(): [round(row) for row in bars.lines[0].get_ydata()]
        for one in axes
        for bars in one.containers
    }
    return titles, beside, rows


def height(png):
    return int.from_bytes(png[20:24], "big")


def test_two_drawings_of_one_report_have_the_same_bytes(tmp_path):
    report = a_report(some_settings(5), 5)
    assert drawn(report, tmp_path) == drawn(report, tmp_path)


def test_each_setting_has_its_row_and_its_verdict(tmp_path, monkeypatch):
    report = a_report(some_settings(5), 5)
    titles, beside, rows = looked_at(report, tmp_path, monkeypatch)
    assert titles[0] == (
        "corners: 220 images to train, 120 test images\nmean of 5 seeds with its 95 % interval"
    )
    assert titles[1:] == ["accuracy, %", "distilled − from labels, points"]
    assert [text[:4] for text in beside] == ["−2.9", "+0.1", "+4.1"]  # none of labels alone
    assert rows == {
        "small, distilled": [1, 2, 3],
        "small, from labels": [0, 1, 2, 3],
        "LOSES": [1],
        "NO DIFFERENCE FOUND": [2],
        "BEATS": [3],
    }


def test_what_failed_is_said_in_its_row(tmp_path, monkeypatch):
    labels = [0.6, 0.61, 0.6]
    settings = [
        a_setting("two of three", [0.63], labels, "accuracy", failed=2),
        a_setting("all of them", [], labels, "accuracy", failed=3),
        a_setting("no labels either", [], [], "accuracy", failed=3),
    ]
    _, beside, rows = looked_at(a_report(settings, 3), tmp_path, monkeypatch)
    assert beside == ["+3.0", "failed: 2 of 3 seeds", *["failed: 3 of 3 seeds"] * 2]
    assert rows["small, distilled"] == rows["too few seeds"] == [0]
    assert rows["small, from labels"] == [0, 1]


def test_a_study_without_any_figures_is_drawn(tmp_path):
    drawn(a_report([a_setting("wild", [], [], "accuracy", failed=2)], 2), tmp_path)


def test_one_seed_has_no_interval(tmp_path, monkeypatch):
    report = a_report(some_settings(1), 1)
    titles, beside, rows = looked_at(report, tmp_path, monkeypatch)
    assert titles[0].endswith("mean of 1 seed(s); for intervals it takes 3")
    assert rows["too few seeds"] == [1, 2, 3]
    assert beside == ["−2.5", "+0.5", "+4.5"]


def test_psnr_is_in_db_and_held_out_images_are_named(tmp_path, monkeypatch):
    report = a_report(some_settings(3, "psnr"), 3, "psnr")
    titles, _, _ = looked_at(report, tmp_path, monkeypatch)
    assert "120 held-out training images" in titles[0]
    assert titles[1:] == ["PSNR, dB", "distilled − from true images, dB"]


def test_names_of_any_kind_are_drawn(tmp_path):
    odd = "a$b^$ \\frac 猫\n\udcff" + "x" * 300
    settings = [a_setting(odd, [0.5, 0.6], [0.5, 0.5], "accuracy")]
    drawn(a_report(settings, 2, name=odd), tmp_path)


def test_a_name_breaks_at_its_commas_and_a_long_one_keeps_its_end():
    name = "L2 alone, teacher_input low, teacher_views both"
    lines = picture.wrapped(name).split("\n")
    assert [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines] == [
        "L2 alone, teacher_input low,",
        "teacher_views both",
    ]
    long = picture.wrapped("word " * 60 + "end")
    assert long.endswith("end")
    assert max(map(len, long.split("\n"))) <= picture.LINE
    assert len(long) <= picture.MOST_LETTERS
    assert picture.wrapped("x" * 300).count("\n") == 2


def test_more_settings_make_a_higher_picture(tmp_path):
    few = drawn(a_report(some_settings(2), 2), tmp_path)
    many = drawn(a_report(3 * some_settings(2), 2), tmp_path)
    assert height(many) > height(few)


# The page


def a_page(settings, seeds=5, **changes):
    words = {"question": "", "expected": "", "npkd": "0"}
    report = a_report(settings, seeds) | words | changes
    for setting in report["settings"]:
        if setting["difference"] and setting["difference"]["half"] is not None:
            setting["difference"] |= {"p": 0.01, "adjusted_p": 0.02, "smallest": 0.012}
    return page.page(report, NETS), report


def test_the_page_opens_with_question_and_answer():
    text, report = a_page(some_settings(5), question="Does it help?", expected="It does.")
    assert text.index("Does it help?</h1>") < text.index("1 of 3 settings beats the net from")
    assert "Expected before it ran: </em>It does." in text
    assert page.answer(report) == [
        "1 of 3 settings beats the net from labels in accuracy, “beats”, +4.1 ± 0.7 points.",
        "1 loses to it, “loses”, −2.9 ± 0.7 points; of 1 no difference is found, where 1.2 points "
        "would have been, tested alone, in 80 studies of 100; 1 more, the net from labels itself.",
    ]
    assert a_page(some_settings(5))[0].count("<h1>When does a net that is distilled beat") == 1
    assert "Expected" not in a_page(some_settings(5))[0]


def test_the_page_has_the_nets_and_the_differences_of_their_other_figures():
    text, _ = a_page(some_settings(5))
    for cell in ("3×16×16", "268,650", "0.46", "7.89", "difference", "+4.1 ± 0.7"):
        assert f">{cell}</td>" in text, cell


def test_where_nothing_is_decided_the_answer_says_so():
    text, _ = a_page(some_settings(1), seeds=1)
    assert "There are too few seeds to say." in text
    same = a_setting("labels", None, [0.6, 0.61, 0.62], "accuracy")
    assert "Each setting is the net from labels itself." in a_page([same])[0]
    failed = a_setting("a", [], [0.6, 0.61, 0.62], "accuracy", failed=3) | {"verdict": "failed"}
    assert "Nothing can be said, as trainings failed." in a_page([failed])[0]
    assert page.answer(a_page([*some_settings(5), failed])[1])[1].endswith(
        "; 1 more failed; 1 more, the net from labels itself."
    )


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "\x1b[31m\u202e", "&amp; “x”"])
def test_what_somebody_made_up_becomes_no_tag(name):
    labels = [0.6, 0.61, 0.6, 0.62, 0.6]
    settings = [a_setting(name, [x + 0.1 for x in labels], labels, "accuracy", failed=1)]
    text, _ = a_page(settings, question=name, expected=name)
    assert "<script" not in text
    assert "\x1b" not in text
