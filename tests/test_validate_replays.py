"""What has no rule is called again: a wrong backward pass is found, a right one is no bug."""

import random

import numpy as np
import pytest

from npkd.validate.judging.verdicts import BUG, CONSISTENT, UNPROVEN, summary

F32 = np.float32


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def x(rng):
    """Numbers on both sides of 0, not all of them alike, of a shape drawn at random."""
    return rng.standard_normal(rng.integers(2, 9, 2)).astype(F32)


def of_own(report):
    """The verdicts on backward passes of the user's own."""
    return {one.tensor: one for one in report.verdicts if one.op == "own_backward"}


def require_right(report):
    found = of_own(report)
    assert report.check().own == ()
    assert found
    for one in found.values():
        assert one.verdict == UNPROVEN
        assert "RIGHT" in one.note


def require_wrong(report, what="WRONG"):
    assert not report.ok
    assert [one for one in of_own(report).values() if one.verdict == BUG and what in one.note]


class TestInPyTorch:
    @property
    def torch(self):
        return pytest.importorskip("torch")

    def own(self, forward, backward):
        """A function of one's own, of tensors that it saves."""

        class Own(self.torch.autograd.Function):
            @staticmethod
            def forward(ctx, *args):
                ctx.save_for_backward(*args)
                return forward(*args)

            @staticmethod
            def backward(ctx, *dy):
                return backward(*ctx.saved_tensors, *dy)

        return Own.apply

    def judged(self, function, *args, **options):
        pytest.importorskip("torch")
        from npkd.validate import torch_module

        return torch_module(function, *map(self.torch.tensor, args), **options)

    def test_a_right_backward_pass_fits_at_kinks_too(self, x):
        relu = self.own(lambda x: x.clamp(min=0), lambda x, dy: dy * (x > 0))
        require_right(self.judged(relu, x))
        require_right(self.judged(lambda x: relu(x.relu()), x))

    @pytest.mark.parametrize("slope", [-1.0, 0.0, 0.99, 2.0])
    def test_a_wrong_backward_pass_is_a_bug(self, x, slope):
        sine = self.own(lambda x: x.sin(), lambda x, dy: slope * dy * x.cos())
        require_wrong(self.judged(lambda x: sine(2 * x), x))

    def test_it_is_found_by_which_argument_it_is_wrong(self, x):
        product = self.own(lambda a, b: a * b, lambda a, b, dy: (dy * b, 1.01 * dy * a))
        report = self.judged(lambda a, b: product(a, b), x, x + 1)
        require_wrong(report)
        assert {t: v.verdict for t, v in of_own(report).items()} == {
            "x1.grad": UNPROVEN,
            "x2.grad": BUG,
        }

    def test_a_gradient_that_is_left_out_is_a_bug(self, x):
        product = self.own(lambda a, b: a * b, lambda a, b, dy: (dy * b, None))
        require_wrong(self.judged(lambda a, b: product(a, b), x, x + 1), "leaves out")
        require_right(self.judged(lambda a: product(a, self.torch.full(x.shape, 2.0)), x))

    def test_a_backward_pass_that_is_wrong_in_float32_alone_is_a_bug(self, x):
        def backward(x, dy):
            return dy * x.cos() * (1.5 if x.dtype == self.torch.float32 else 1)

        require_wrong(self.judged(self.own(lambda x: x.sin(), backward), x), "precision")

    def test_digits_that_float32_loses_are_no_bug(self, x):
        variance = self.own(
            lambda x: ((x + 1000) ** 2).mean(1) - (x + 1000).mean(1) ** 2,
            lambda x, dy: dy[:, None] * 2 * (x - x.mean(1, keepdim=True)) / x.shape[1],
        )
        absorbing = self.own(lambda x: x + 1e8 - 1e8, lambda x, dy: dy)
        for function in (variance, absorbing):
            require_right(self.judged(function, x))

    def test_what_was_saved_and_then_changed_is_found(self, x):
        class Square(self.torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.x = x
                return x * x

            @staticmethod
            def backward(ctx, dy):
                return 2 * ctx.x * dy

        def model(x, factor):
            h = 1 * x
            y = Square.apply(h)
            h.data.mul_(factor)
            return y

        require_right(self.judged(lambda x: model(x, 1.0), x))
        require_wrong(self.judged(lambda x: model(x, 1.5), x), "another gradient")

    def test_several_results_and_a_change_in_place(self, x):
        class Several(self.torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, factor):
                ctx.factor, places = factor, x.argmax(1)
                x.mul_(factor)
                ctx.mark_dirty(x)
                ctx.mark_non_differentiable(places)
                return x, places

            @staticmethod
            def backward(ctx, dy, _):
                return dy * ctx.factor, None

        require_right(self.judged(lambda x: Several.apply(x + 1, 3.0)[0] * x, x))

    @pytest.mark.parametrize("kind", ["random", "counts", "raises"])
    def test_what_cannot_be_called_again_does_not_pass(self, x, kind):
        calls = []

        def forward(x):
            calls.append(x)
            if kind == "random":
                return x * self.torch.rand(x.shape)
            if kind == "raises" and len(calls) > 1:
                raise RuntimeError("only once")
            return x * len(calls)

        report = self.judged(self.own(forward, lambda x, dy: dy), x)
        assert not report.ok
        assert any("called again" in text for text in report.unjudged)
        assert len(report.own) == 1

    def test_a_replay_leaves_no_trace(self, x):
        torch = self.torch
        net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 3), torch.nn.BatchNorm1d(3))
        before = {name: one.clone() for name, one in net.state_dict().items()}
        numbers, mish = (torch.get_rng_state(), random.getstate()), torch.nn.functional.mish
        report = self.judged(lambda x: torch.dropout(mish(net(x)), 0.5, train=True), x)
        expected = torch.get_rng_state()
        assert any(one.op == "replayed" for one in report.verdicts)
        assert all(torch.equal(one, before[name]) for name, one in net.state_dict().items())
        assert all(one.grad is None for one in net.parameters())
        assert random.getstate() == numbers[1]
        torch.set_rng_state(numbers[0])
        torch.dropout(torch.ones(len(x), 3), 0.5, train=True)
        assert torch.equal(torch.get_rng_state(), expected), "the model alone drew numbers"

    @pytest.mark.parametrize("name", ["group norm", "layer norm", "attention", "topk", "mish"])
    def test_a_framework_without_a_rule_is_unproven_and_not_counted_as_judged(self, x, name):
        nn, width = self.torch.nn, x.shape[1]
        others = self.torch.eye(width), 1 + self.torch.eye(width)
        model = {
            "group norm": nn.GroupNorm(1, width),
            "layer norm": nn.LayerNorm(width),
            "attention": lambda x: nn.functional.scaled_dot_product_attention(x, *others),
            "topk": lambda x: x.topk(2)[0],
            "mish": nn.functional.mish,
        }[name]
        report = self.judged(model, x, training=True)
        assert {one.verdict for one in report.verdicts} == {UNPROVEN}
        assert all("replayed, no bound" in one.note for one in report.verdicts)
        assert "0 of 2 operations judged, 2 replayed" in summary(report)
        assert not report.ok, "a framework is no judge of itself"
        assert self.judged(lambda x: model(x).relu(), x, training=True).ok

    def test_one_image_and_rows_on_any_axes_are_judged_by_their_rules(self, rng):
        nn = self.torch.nn
        shape = rng.integers(1, 5, rng.integers(0, 4))
        linear = nn.Linear(6, 3, bias=bool(rng.integers(2)))
        report = self.judged(linear, rng.standard_normal((*shape, 6)).astype(F32))
        assert {one.verdict for one in report.check().verdicts} == {CONSISTENT}
        convolution = nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2)
        image = rng.standard_normal((4, *rng.integers(3, 9, 2))).astype(F32)
        report = self.judged(convolution, image)
        assert {one.verdict for one in report.check().verdicts} == {CONSISTENT}
        assert not report.unjudged

    def test_what_leaves_pytorch_is_listed(self, x):
        torch = self.torch

        def model(x):
            return torch.from_numpy(np.maximum(x.detach().numpy(), 0.1)) + x

        report = self.judged(model, x)
        assert any("numpy" in text for text in report.asked)
        assert not report.ok
        own = self.own(lambda x: x.sin(), lambda x, dy: dy * x.cos())
        assert self.judged(torch.nn.Identity(), x).unjudged == ()
        assert self.judged(own, x).unjudged == (), "the recorder's own arrays are no such thing"

    def test_a_view_that_its_own_base_takes_back_is_no_crash(self, x):
        def model(x):
            y = x * 2
            y[:, 0] *= 3
            return y

        assert not [one for one in self.judged(model, x).verdicts if one.verdict == BUG]

    @pytest.mark.parametrize("options", [{"padding_idx": 0}, {"scale_grad_by_freq": True}])
    def test_a_gradient_that_is_documented_as_none_is_not_judged(self, options):
        nn = self.torch.nn
        model = nn.Sequential(nn.Embedding(10, 6, **options), nn.Linear(6, 3))
        report = self.judged(model, np.array([[0, 1, 2], [0, 0, 3]]))
        assert not [one for one in report.verdicts if one.verdict == BUG]
        assert any("documented" in text for text in report.unjudged)

    def test_results_that_are_made_of_others_and_complex_ones_are_not_judged(self, x):
        torch = self.torch
        cell, factors = torch.nn.LSTMCell(x.shape[1], 6), torch.randn(4, dtype=torch.complex64)
        for model in (
            lambda x: torch.add(*cell(x)),
            lambda x: torch.fft.irfft(torch.fft.rfft(x, n=6) * factors, n=6),
        ):
            report = self.judged(model, x)
            assert not [one for one in report.verdicts if one.verdict == BUG]
            assert report.unjudged


class TestInJax:
    @property
    def jax(self):
        return pytest.importorskip("jax")

    def own(self, forward, backward):
        function = self.jax.custom_vjp(forward)
        function.defvjp(lambda *args: (forward(*args), args), lambda args, dy: backward(*args, dy))
        return function

    def judged(self, function, *args):
        from npkd.validate import jax_function

        return jax_function(function, *args)

    def test_a_right_custom_vjp_fits_at_kinks_too(self, x):
        np_ = self.jax.numpy
        relu = self.own(lambda x: np_.maximum(x, 0), lambda x, dy: (dy * (x > 0),))
        require_right(self.judged(relu, x))
        require_right(self.judged(lambda x: relu(self.jax.nn.relu(x)), x))

    def test_a_wrong_one_is_found_by_the_argument_that_it_is_wrong_by(self, x):
        product = self.own(lambda a, b: a * b, lambda a, b, dy: (dy * b, 1.01 * dy * a))
        report = self.judged(lambda a, b: product(a, b), x, x + 1)
        require_wrong(report)
        assert [one.verdict for one in of_own(report).values()] == [UNPROVEN, BUG]

    def test_a_custom_vjp_that_is_wrong_in_float32_alone_is_a_bug(self, x):
        np_ = self.jax.numpy

        def backward(x, dy):
            return (dy * np_.cos(x) * (1.5 if x.dtype == np_.float32 else 1),)

        require_wrong(self.judged(self.own(lambda x: np_.sin(x), backward), x))

    @pytest.mark.parametrize("slope", [1.0, 1.01])
    def test_a_custom_jvp(self, x, slope):
        np_ = self.jax.numpy
        sine = self.jax.custom_jvp(lambda x: np_.sin(x))
        sine.defjvp(lambda x, dx: (np_.sin(x[0]), slope * np_.cos(x[0]) * dx[0]))
        (require_right if slope == 1 else require_wrong)(self.judged(lambda x: sine(x), x))

    def test_loops_and_what_decides_are_replayed(self, x):
        np_, lax = self.jax.numpy, self.jax.lax
        w = np.eye(x.shape[1], dtype=F32)

        def function(w, x):
            rows = lax.scan(lambda c, row: (np_.tanh(c @ w + row), c), x[0], x)[1]
            return lax.top_k(lax.cond(x[0, 0] > 0, np_.sin, np_.cos, rows), 2)[0]

        report = self.judged(function, w, x)
        replayed = [one for one in report.verdicts if one.op.startswith("replayed")]
        assert {"scan", "cond", "top_k"} <= {one.tensor.split()[0] for one in replayed}
        assert {one.verdict for one in replayed} == {UNPROVEN}
        alone = self.judged(lambda x: lax.scan(lambda c, _: (2 * c, None), x, None, 2)[0], x)
        assert not alone.ok, "a framework is no judge of itself"

    @pytest.mark.parametrize("offset", [0.0, 100.0])
    def test_a_normalisation_primitive_by_primitive_is_no_bug(self, x, offset):
        np_, nn = self.jax.numpy, self.jax.nn

        def by_hand(x):
            variance = (x * x).mean(1, keepdims=True) - x.mean(1, keepdims=True) ** 2
            return (x - x.mean(1, keepdims=True)) / np_.sqrt(variance + 1e-2)

        function = by_hand if offset else lambda x: nn.standardize(x, axis=1)
        report = self.judged(function, x + F32(offset))
        assert BUG not in {one.verdict for one in report.verdicts}
