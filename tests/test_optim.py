"""Optimisers beside their proofs (npkd.proofs), and rates against values worked by hand."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npkd
from npkd import SGD, Adam, AdamW, optim
from npkd.engine import threads

SHAPES = {"conv.weight": (3, 2, 2, 1), "conv.bias": (3,), "fc.weight": (2, 5), "scale": ()}
HYPERPARAMETERS = {"momentum": st.floats(0, 0.99), "weight_decay": st.floats(0, 0.1)}


def random_arrays(rng, shapes=SHAPES, dtype=np.float64):
    return {name: np.asarray(rng.standard_normal(s), dtype) for name, s in shapes.items()}


def copies(arrays):
    return {name: array.copy() for name, array in arrays.items()}


def assert_equal(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name in arrays:
        np.testing.assert_array_equal(arrays[name], expected[name])


# SGD


def test_without_momentum_and_decay_a_step_is_the_documents():
    rng = np.random.default_rng(0)
    params, grads = random_arrays(rng), random_arrays(rng)
    expected = {name: params[name] - 0.01 * grads[name] for name in params}
    SGD(0.01).step(params, grads)
    assert_equal(params, expected)


def test_a_step_is_in_place_and_leaves_the_gradients_as_they_are():
    rng = np.random.default_rng(0)
    params, grads = random_arrays(rng), random_arrays(rng)
    same_arrays, grads_before = dict(params), copies(grads)
    sgd = SGD(0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        sgd.step(params, grads)
    assert all(params[name] is same_arrays[name] for name in params)
    assert_equal(grads, grads_before)


def test_a_rate_of_zero_changes_no_parameter_yet_gathers_velocity():
    rng = np.random.default_rng(0)
    params, grads = random_arrays(rng), random_arrays(rng)
    before = copies(params)
    sgd = SGD(0.0, momentum=0.5)
    sgd.step(params, grads)
    assert_equal(params, before)
    assert_equal(sgd.velocity, grads)


@pytest.mark.parametrize("shape", [(1200, 1000), (1_200_000,), (3, 400_000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_parameter_updated_in_pieces_has_the_bits_of_the_formula(dtype, shape):
    rng = np.random.default_rng(0)
    theta, v = rng.standard_normal(shape).astype(dtype), np.zeros(shape, dtype)
    params = {"fc.weight": theta.copy()}
    sgd = SGD(0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(2):
        g = rng.standard_normal(shape).astype(dtype)
        sgd.step(params, {"fc.weight": g})
        v = 0.9 * v + (g + 0.01 * theta)
        theta = theta - 0.1 * v
    np.testing.assert_array_equal(params["fc.weight"], theta)


def test_a_large_parameter_is_shared_among_threads_and_a_small_one_is_not(monkeypatch):
    numbers_of_parts = []
    run = threads.run

    def counting_run(work, over):
        numbers_of_parts.append(len(over))
        return run(work, over)

    monkeypatch.setattr(threads, "run", counting_run)
    for shape in ((1000, 1000), (10, 10)):
        SGD(0.1).step({"w": np.ones(shape)}, {"w": np.ones(shape)})
    assert numbers_of_parts[0] > 1
    assert numbers_of_parts[1] == 1


def test_hyperparameters_by_numpy_give_the_bits_of_pythons_numbers():
    results = []
    for number in (float, np.float64):
        rng = np.random.default_rng(0)
        params = random_arrays(rng, {"fc.weight": (50, 40)}, np.float32)
        sgd = SGD(number(0.1), number(0.9), number(0.01))
        for _ in range(3):
            sgd.step(params, random_arrays(rng, {"fc.weight": (50, 40)}, np.float32))
        results.append(params)
    assert_equal(*results)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_and_velocity_keep_their_dtype(dtype):
    rng = np.random.default_rng(0)
    params, grads = random_arrays(rng, dtype=dtype), random_arrays(rng, dtype=dtype)
    sgd = SGD(0.1, momentum=0.9, weight_decay=0.1)
    sgd.step(params, grads)
    kept = [*params.values(), *sgd.velocity.values()]
    assert {array.dtype for array in kept} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fc.weight": np.zeros((5, 2))}, r"SGD: fc.weight is float64 \(2, 5\), .* \(5, 2\)"),
        ({"fc.weight": np.zeros((1, 5))}, r"SGD: fc.weight is float64 \(2, 5\), .* \(1, 5\)"),
        ({"fc.weight": np.zeros((2, 5), np.float32)}, "its gradient float32"),
        ({"fc.bias": np.zeros(2)}, "SGD: params and grads have different names: fc.bias"),
    ],
)
def test_gradients_that_do_not_fit_are_refused_and_nothing_is_updated(wrong, message):
    rng = np.random.default_rng(0)
    params, grads = random_arrays(rng), random_arrays(rng)
    before = copies(params)
    sgd = SGD(0.1, momentum=0.9)
    with pytest.raises(ValueError, match=message):
        sgd.step(params, grads | wrong)
    assert_equal(params, before)
    assert sgd.velocity == {}


def test_a_gradient_that_was_pickled_is_taken():
    params = {"fc": np.zeros(3)}
    grads = pickle.loads(pickle.dumps({"fc": np.ones(3)}))  # of an equal dtype, another object
    SGD(0.1).step(params, grads)
    np.testing.assert_array_equal(params["fc"], -0.1)


def test_a_gradient_of_more_precision_is_refused():
    with pytest.raises(ValueError, match=r"fc is float32 \(3,\), its gradient float64"):
        SGD(0.1).step({"fc": np.zeros(3, np.float32)}, {"fc": np.zeros(3)})


def test_a_missing_gradient_is_refused():
    params = random_arrays(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"different names: conv\.bias, conv\.weight, fc\.weight"):
        SGD(0.1).step(params, {"scale": params["scale"]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -0.1}, r"SGD: lr is -0.1, expected a number in \[0, inf\)"),
        ({"lr": math.nan}, "SGD: lr is nan"),
        ({"lr": math.inf}, "SGD: lr is inf"),
        ({"lr": 0.1, "momentum": 1.0}, r"SGD: momentum is 1.0, expected a number in \[0, 1.0\)"),
        ({"lr": 0.1, "momentum": 1.5}, "SGD: momentum is 1.5"),
        ({"lr": 0.1, "momentum": -0.1}, "SGD: momentum is -0.1"),
        ({"lr": 0.1, "weight_decay": -1e-4}, "SGD: weight_decay is -0.0001"),
        ({"lr": 0.1, "weight_decay": math.inf}, "SGD: weight_decay is inf"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SGD(**options)


def test_a_velocity_that_fades_away_is_no_error():
    params, grads = {"dead": np.ones(3, np.float32)}, {"dead": np.full(3, 1e-30, np.float32)}
    sgd = SGD(0.1, momentum=0.5)
    with np.errstate(all="raise"):
        for _ in range(80):
            sgd.step(params, grads)
            grads["dead"][:] = 0
    np.testing.assert_array_equal(sgd.velocity["dead"], 0)


# Every optimiser

OPTIMISERS = {
    "SGD": lambda lr, **options: SGD(lr, **options),
    "momentum": lambda lr, **options: SGD(lr, 0.9, **options),
    "Nesterov": lambda lr, **options: SGD(lr, 0.9, nesterov=True, **options),
    "Adam": lambda lr, **options: Adam(lr, (0.8, 0.95), 1e-3, **options),
    "AdamW": lambda lr, **options: AdamW(lr, (0.8, 0.95), 1e-3, **options),
}
every_optimiser = pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS)


def steps(optimiser, params, rng, count=3):
    """So many steps by random gradients, some of them 0."""
    for _ in range(count):
        grads = random_arrays(rng, {name: p.shape for name, p in params.items()})
        optimiser.step(params, {k: g.astype(params[k].dtype) for k, g in grads.items()})
    return params


@every_optimiser
def test_one_that_takes_over_what_another_remembers_goes_on_with_the_same_bits(make):
    rng = np.random.default_rng(0)
    first, params = make(0.1, weight_decay=0.1), random_arrays(rng)
    steps(first, params, rng)
    second, copied = make(0.1, weight_decay=0.1), copies(params)
    second.load(first.state(), first.updates)
    assert (second.updates, list(second.state())) == (3, list(first.state()))
    before = copies(first.state())
    steps(second, copied, np.random.default_rng(1))
    assert_equal(first.state(), before)  # it has copies
    assert_equal(copied, steps(first, params, np.random.default_rng(1)))
    assert_equal(second.state(), first.state())


@every_optimiser
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_bits_are_the_same_for_any_number_of_threads_and_dtypes_are_kept(make, dtype, monkeypatch):
    monkeypatch.setattr(threads, "_num_threads", None)
    results = []
    for number in (1, 2, 5):
        npkd.set_num_threads(number)
        rng = np.random.default_rng(0)
        params = random_arrays(rng, {"w": (700, 601), "b": (601,)}, dtype)
        optimiser = make(np.float64(0.1), weight_decay=np.float64(0.1))
        results.append(steps(optimiser, params, rng, 2) | optimiser.state())
        assert {array.dtype for array in results[-1].values()} == {np.dtype(dtype)}
    assert_equal(results[0], results[1])
    assert_equal(results[0], results[2])


@every_optimiser
def test_nan_stays_in_its_entry_and_gradients_as_they_are(make):
    rng = np.random.default_rng(0)
    params, grads = random_arrays(rng), random_arrays(rng)
    grads["fc.weight"][1, 2] = np.nan
    before, optimiser = copies(grads), make(0.1, weight_decay=0.1)
    for _ in range(2):
        optimiser.step(params, grads)
    assert_equal(grads, before)
    for name, theta in params.items():
        np.testing.assert_array_equal(np.isnan(theta), np.isnan(grads[name]))


@every_optimiser
def test_biases_are_not_decayed_where_they_are_not_to_be(make):
    rng = np.random.default_rng(0)
    start = random_arrays(rng)
    results = {}
    for decay, biases in ((0.1, False), (0.1, True), (0.0, True)):
        optimiser = make(0.1, weight_decay=decay, decay_biases=biases)
        results[decay, biases] = steps(optimiser, copies(start), np.random.default_rng(1))
    for name, theta in results[0.1, False].items():
        like = results[0.1 if theta.ndim > 1 else 0.0, True]
        np.testing.assert_array_equal(theta, like[name])
        assert (results[0.1, True][name] != results[0.0, True][name]).any()


@every_optimiser
def test_what_cannot_be_gone_on_from_is_refused(make):
    rng = np.random.default_rng(0)
    optimiser, params = make(0.1), random_arrays(rng)
    steps(optimiser, params, rng)
    state = optimiser.state()
    wrong = [(state, -1), (state, 2.0), (state, True), (state, 10**400)]
    wrong += [(state | {"w/fc.weight": np.zeros(3)}, 3)]
    wrong += [({}, 3)] * bool(state)
    wrong += [({k: x for k, x in state.items() if k != "m/scale"}, 3)] * ("m/scale" in state)
    for arrays, updates in wrong:
        with pytest.raises(ValueError, match=r"updates|after 3"):
            make(0.1).load(arrays, updates)
    make(0.1).load({}, 0)
    if state:
        for other in ({"fc.weight": np.ones((2, 5))}, params | {"new": np.ones(2)}):
            with pytest.raises(ValueError, match="of another network, with its own"):
                optimiser.step(other, copies(other))
    assert optimiser.updates == 3


# Adam


@pytest.mark.parametrize("shape", [(1200, 1000), (1_200_000,), (3, 400_000)])
@pytest.mark.parametrize("make", [Adam, AdamW])
def test_a_parameter_updated_by_adam_in_pieces_has_the_bits_of_the_formula(make, shape):
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(shape)
    params, m, v = {"fc.weight": theta.copy()}, np.zeros(shape), np.zeros(shape)
    adam = make(0.1, (0.9, 0.99), 1e-4, 0.01)
    for t in (1, 2):
        g = rng.standard_normal(shape)
        adam.step(params, {"fc.weight": g})
        if make is AdamW:
            theta = theta * (1 - 0.1 * 0.01)
        else:
            g = g + 0.01 * theta
        m = m * 0.9 + (1 - 0.9) * g
        v = v * 0.99 + (1 - 0.99) * (g * g)
        root = np.sqrt(v) / math.sqrt(1 - 0.99**t) + 1e-4
        theta = theta - 0.1 / (1 - 0.9**t) * (m / root)
    np.testing.assert_array_equal(params["fc.weight"], theta)


@given(size=st.floats(-12, 12), seed=st.integers(0, 2**32 - 1))
def test_adams_first_step_has_the_length_of_the_rate_whatever_the_gradient(size, seed):
    g = np.random.default_rng(seed).choice([-1, 1], 5) * 10.0**size
    params = {"w": np.zeros(5)}
    Adam(0.5, epsilon=0.0).step(params, {"w": g})
    np.testing.assert_allclose(params["w"], -0.5 * np.sign(g), rtol=1e-12)


@pytest.mark.parametrize("make", [Adam, AdamW])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -0.1}, r"lr is -0.1, expected a number in \[0, inf\)"),
        ({"betas": (0.9, 1.0)}, r"beta2 is 1.0, expected a number in \[0, 1.0\)"),
        ({"betas": (math.nan, 0.9)}, "beta1 is nan"),
        ({"betas": 0.9}, r"betas is 0.9, expected two numbers in \[0, 1\)"),
        ({"betas": (0.9,)}, r"betas is \(0.9,\), expected two"),
        ({"epsilon": -1e-8}, "epsilon is -1e-08"),
        ({"weight_decay": math.inf}, "weight_decay is inf"),
    ],
)
def test_adams_numbers_out_of_range_are_refused(make, options, message):
    with pytest.raises(ValueError, match=f"{make.__name__}: {message}"):
        make(**options)


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValueError, match="SGD: momentum is 0, expected more with nesterov"):
        SGD(0.1, nesterov=True)


# Schedules


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (optim.constant(0.5), {0: 0.5, 1: 0.5, 10**6: 0.5}),
        (optim.constant(0.5, warmup=4), {0: 0.1, 1: 0.2, 3: 0.4, 4: 0.5, 5: 0.5}),
        (optim.stepwise(0.8, every=3), {0: 0.8, 2: 0.8, 3: 0.08, 5: 0.08, 6: 0.008}),
        (optim.stepwise(0.8, every=2, factor=0.5), {1: 0.8, 2: 0.4, 4: 0.2, 7: 0.1}),
        (optim.stepwise(0.8, every=1, factor=0.5), {0: 0.8, 1: 0.4, 2: 0.2}),
        (optim.stepwise(0.8, every=3, warmup=1), {0: 0.4, 1: 0.8, 2: 0.8, 3: 0.08}),
        (
            optim.cosine(0.8, steps=12),
            {0: 0.8, 3: 0.4 * (1 + math.sqrt(0.5)), 4: 0.6, 6: 0.4, 8: 0.2, 12: 0.0, 99: 0.0},
        ),
        (
            optim.cosine(0.8, steps=16, warmup=4),
            {0: 0.16, 3: 0.64, 4: 0.8, 8: 0.6, 10: 0.4, 12: 0.2, 16: 0.0, 17: 0.0},
        ),
        (optim.warmed_up(lambda t: 10.0 + t, 2), {0: 4.0, 1: 8.0, 2: 12.0, 3: 13.0}),
    ],
)
def test_rates_at_chosen_steps(schedule, rates):
    assert {step: schedule(step) for step in rates} == pytest.approx(rates, rel=1e-12, abs=1e-15)


@given(rate=st.floats(1e-4, 1.0), warmup=st.integers(0, 9))
def test_the_warm_up_ends_at_the_very_rate(rate, warmup):
    assert optim.constant(rate, warmup=warmup)(warmup) == rate


@given(steps=st.integers(1, 60), data=st.data())
def test_cosine_rises_to_its_rate_at_the_end_of_the_warm_up_and_falls_from_there(steps, data):
    warmup = data.draw(st.integers(0, steps - 1))
    schedule = optim.cosine(0.3, steps=steps, warmup=warmup)
    rates = [schedule(step) for step in range(steps + 1)]
    assert rates[warmup] == max(rates) == 0.3
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[steps] == 0


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: optim.stepwise(0.1, every=0), "stepwise: every is 0, expected at least 1"),
        (lambda: optim.cosine(0.1, steps=0), "cosine: warmup is 0 of 0 steps"),
        (lambda: optim.cosine(0.1, steps=5, warmup=5), "cosine: warmup is 5 of 5 steps"),
        (lambda: optim.cosine(0.1, steps=5, warmup=6), "cosine: warmup is 6 of 5 steps"),
        (lambda: optim.cosine(0.1, steps=5, warmup=-1), "cosine: warmup is -1 of 5 steps"),
        (lambda: optim.constant(0.1, warmup=-1), "warm-up is -1 steps, expected at least 0"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake()


def test_clipping_shortens_all_gradients_alike_to_the_norm_and_only_then():
    rng = np.random.default_rng(0)
    grads = {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal(5)}
    norm = np.sqrt(sum(np.sum(g**2) for g in grads.values()))
    before = {name: g.copy() for name, g in grads.items()}
    half = optim.clipped(grads, norm / 2)
    for name, g in before.items():
        np.testing.assert_allclose(half[name], g / 2, rtol=1e-14)
        np.testing.assert_array_equal(grads[name], g)
        assert optim.clipped(grads, 2 * norm)[name] is grads[name]


def test_gradients_of_just_the_norm_are_not_copied():
    grads = {"a": np.array([3.0, 4.0])}
    assert optim.clipped(grads, 5.0)["a"] is grads["a"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_gradients_of_any_size_are_clipped_as_their_multiples_are(dtype, data, seed):
    """Powers of two round nothing: 2ᵉ g clipped to 2ᵉ norm is 2ᵉ (g clipped to norm)."""
    rng = np.random.default_rng(seed)
    grads = random_arrays(rng, dtype=dtype) | {"zero": np.zeros(3, dtype)}
    norm = data.draw(st.floats(0.1, 30))
    info = np.finfo(dtype)  # all that is normal, up to the largest number
    exponent = data.draw(st.integers(info.minexp + info.nmant, info.maxexp - 6))
    multiples = {name: np.ldexp(g, exponent) for name, g in grads.items()}
    with np.errstate(all="raise", under="ignore"):
        found = optim.clipped(multiples, math.ldexp(norm, exponent))
    for name, expected in optim.clipped(grads, norm).items():
        assert found[name].dtype == dtype
        np.testing.assert_allclose(
            np.ldexp(found[name], -exponent), expected, rtol=8 * info.eps, atol=info.eps
        )


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        *((np.float32, size) for size in (1e20, 3e38, 1e-22, 1e-30, 1e-38, 1e-44)),
        *((np.float64, size) for size in (1e200, 1.7e308, 1e-170, 1e-300, 1e-320)),
    ],
)
def test_gradients_whose_squares_overflow_or_are_lost_are_clipped(dtype, size):
    """To a norm of 1 or, where they are smaller, to a tenth of their size."""
    grads = {"a": np.full((2, 3), size, dtype), "b": np.array(-size / 2, dtype)}
    norm = min(1.0, size / 10)
    with np.errstate(all="raise", under="ignore"):
        found = optim.clipped(grads, norm)
    exact = {name: g.astype(np.longdouble) / np.longdouble(size) for name, g in grads.items()}
    length = np.sqrt(sum(np.sum(g**2) for g in exact.values()))
    for name, g in exact.items():
        assert found[name].dtype == dtype
        np.testing.assert_allclose(
            found[name].astype(np.longdouble),
            g * (np.longdouble(norm) / length),
            rtol=4 * np.finfo(dtype).eps,
            atol=np.finfo(dtype).smallest_subnormal,
        )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_gradients_that_are_not_finite_are_left_as_they_are(bad):
    grads = {"a": np.array([1.0, bad]), "b": np.array([1e200])}
    with np.errstate(all="raise"):
        clipped = optim.clipped(grads, 1.0)
    assert all(clipped[name] is g for name, g in grads.items())


def test_tiny_gradients_below_the_norm_are_not_copied():
    grads = {"a": np.full(4, 1e-30, np.float32), "b": np.zeros(2, np.float32)}
    assert all(optim.clipped(grads, 3e-30)[name] is g for name, g in grads.items())


@pytest.mark.parametrize("norm", [0.0, -1.0, math.nan])
def test_clipping_to_a_norm_that_is_not_positive_is_refused(norm):
    with pytest.raises(ValueError, match="norm"):
        optim.clipped({"a": np.ones(3)}, norm)


def test_the_velocity_of_another_network_is_refused():
    sgd = SGD(0.1, momentum=0.9)
    sgd.step({"a": np.ones(3)}, {"a": np.ones(3)})
    for other in (np.ones(4), np.ones(2)):
        with pytest.raises(ValueError, match="another network"):
            sgd.step({"a": other}, {"a": other})


def test_clipping_keeps_the_dtype():
    clipped = optim.clipped({"a": np.full(4, 9, np.float32)}, np.float64(1))
    assert clipped["a"].dtype == np.float32
