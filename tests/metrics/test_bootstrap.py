"""Confidence intervals over seeds and examples: their coverage, their scale, and where there is little to go by."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import paired
from reference.unchecked import without_type_checks

from regex_lib.metrics import bootstrap_interval, paired_bootstrap

many = settings(deadline=None, max_examples=30)
SHAPES = st.tuples(st.integers(1, 4), st.integers(2, 20))


def scores(shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def simulated(random, seeds, examples, between_seeds, between_examples, noise):
    """Paired differences whose true mean is .3."""
    return torch.tensor(
        0.3
        + between_seeds * random.normal(size=(seeds, 1))
        + between_examples * random.normal(size=examples)
        + noise * random.normal(size=(seeds, examples))
    )


# Coverage: of 300 intervals 285 should hold the true mean; a binomial's three standard errors are .038.


@pytest.mark.parametrize(
    ("seeds", "examples", "between_seeds", "between_examples", "noise"),
    [
        (1, 50, 0, 1, 0.5),
        (5, 50, 0.3, 1, 0.5),
        (5, 50, 0.5, 0.5, 0.5),
        (5, 50, 0.1, 0.3, 1),
        (2, 50, 1, 0.3, 0.5),
        (3, 50, 1, 0.3, 0.5),
    ],
)
def test_95_percent_intervals_hold_the_true_difference_95_times_in_100(
    seeds, examples, between_seeds, between_examples, noise
):
    random, held = np.random.default_rng(1), 0
    for repetition in range(300):
        differences = simulated(random, seeds, examples, between_seeds, between_examples, noise)
        theirs = torch.rand(differences.shape, dtype=torch.float64)
        interval = paired_bootstrap(theirs + differences, theirs, resamples=400, seed=repetition)
        held += interval.low <= 0.3 <= interval.high
    assert held / 300 == pytest.approx(0.95, abs=0.038)


@pytest.mark.parametrize("seeds", [3, 4, 5])
def test_intervals_of_pairs_of_models_allow_for_the_models_that_pairs_share(seeds):
    random, held = np.random.default_rng(1), {True: 0, False: 0}
    for repetition in range(600):
        models = random.normal(size=seeds)
        pairs = models + np.roll(models, -1)  # of each and the next; of the last and the first
        differences = 0.3 + pairs[:, None] + 0.3 * random.normal(size=(seeds, 50))
        for ring in held:
            interval = bootstrap_interval(differences, resamples=400, seed=repetition, ring=ring)
            held[ring] += interval.low <= 0.3 <= interval.high
    assert held[True] / 600 == pytest.approx(0.95, abs=0.025)
    assert held[False] / 600 < 0.9


@pytest.mark.parametrize("seeds", [3, 4, 5, 9])
def test_a_ring_has_the_degrees_of_freedom_of_its_eigenvalues(seeds):
    ring = np.roll(np.eye(seeds), 1, axis=0) + np.eye(seeds)
    centred = np.eye(seeds) - 1 / seeds
    eigenvalues = np.linalg.eigvalsh(centred @ ring @ ring.T @ centred)
    freedom = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()  # Satterthwaite
    rows = np.random.default_rng(0).normal(size=seeds)
    error = rows.std(ddof=1) * np.sqrt(2 * (seeds - 1) / (seeds - 2) / seeds)
    expected = 2 * scipy.stats.t.sf(abs(rows.mean()) / error, freedom)
    assert bootstrap_interval(rows[:, None], ring=True).p_value == pytest.approx(expected)


def test_two_models_make_one_pair():
    interval = bootstrap_interval([[0.1, 0.2], [0.3, 0.4]], ring=True)
    assert interval.estimate == pytest.approx(0.25)
    assert math.isnan(interval.low)
    assert math.isnan(interval.p_value)
    three = [[0.1], [0.2], [0.6]]  # of one example: twice as wide with three
    alone, shared = (bootstrap_interval(three, ring=ring) for ring in (False, True))
    assert shared.high - shared.low == pytest.approx(2 * (alone.high - alone.low))


@pytest.mark.parametrize(("seeds", "rate"), [(3, 0.002), (5, 0.002), (1, 0.01)])
def test_rare_differences_without_any_effect_seldom_decide(seeds, rate):
    random, decided = np.random.default_rng(0), 0
    for _ in range(300):
        rare = random.choice([-1.0, 0.0, 1.0], p=[rate / 2, 1 - rate, rate / 2], size=(seeds, 200))
        interval = bootstrap_interval(torch.tensor(rare), resamples=400)
        decided += interval.low > 0 or interval.high < 0
    assert decided / 300 <= 0.05 + 0.038


def test_intervals_of_skewed_scores_lean_to_the_long_tail():
    skewed = torch.tensor(np.random.default_rng(0).exponential(size=40))
    interval = bootstrap_interval(skewed, resamples=5000)
    assert interval.high - interval.estimate > 1.05 * (interval.estimate - interval.low)


# Against other computations


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_many_examples_of_one_seed_have_the_interval_of_the_t_distribution(level):
    values = torch.tensor(np.random.default_rng(0).normal(size=400))
    interval = bootstrap_interval(values, level=level, resamples=20_000)
    low, high = scipy.stats.t.interval(level, 399, values.mean(), scipy.stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.004)


def test_the_p_value_of_one_seed_is_that_of_the_t_test():
    values = torch.randn(30, generator=torch.Generator().manual_seed(0)) + 0.3
    expected = scipy.stats.ttest_1samp(values, 0.0).pvalue
    assert bootstrap_interval(values).p_value == pytest.approx(expected, rel=1e-6)


def test_the_p_value_of_seeds_that_alone_differ_is_that_of_the_t_test_of_their_means():
    means = torch.tensor([0.1, 0.5, 0.2, 0.4], dtype=torch.float64)
    expected = scipy.stats.ttest_1samp(means, 0.0).pvalue
    assert bootstrap_interval(means[:, None].expand(-1, 50)).p_value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "p_value"), [([0.0, 0.0], 1.0), ([0.2, 0.2], 0.0), ([0.2], math.nan), ([], math.nan)]
)
def test_the_p_value_where_nothing_varies(values, p_value):
    assert bootstrap_interval(torch.tensor(values)).p_value == pytest.approx(p_value, nan_ok=True)


@many
@given(st.integers(2, 4), st.integers(2, 30), st.floats(-1, 1), st.integers(0, 2**32 - 1))
def test_an_interval_that_does_not_hold_0_has_a_small_p_value(seeds, examples, shift, seed):
    grid = torch.randn(seeds, examples, generator=torch.Generator().manual_seed(seed)) + shift
    interval = bootstrap_interval(grid, resamples=200)
    if interval.low > 0 or interval.high < 0:
        assert interval.p_value < 0.05


def test_many_examples_of_one_seed_have_the_interval_of_scipys_bootstrap():
    values = np.random.default_rng(1).exponential(size=300)
    expected = scipy.stats.bootstrap((values,), np.mean, n_resamples=9999, random_state=np.random.default_rng(0))
    interval = bootstrap_interval(torch.tensor(values), resamples=20_000)
    ends = expected.confidence_interval
    assert (interval.low, interval.high) == pytest.approx((ends.low, ends.high), abs=0.02)


@many
@given(st.tuples(st.integers(5, 8), st.integers(25, 40)), st.integers(0, 100))
def test_the_width_is_that_of_the_two_way_layout(shape, seed):
    grid = scores(shape, seed) + scores((shape[0], 1), seed + 1) + scores((1, shape[1]), seed + 2)
    interval = bootstrap_interval(grid, level=0.6827, resamples=4000)  # one standard error on either side
    half = (interval.high - interval.low) / 2
    error = paired.standard_error(grid.tolist())
    assert 0.9 * error < half < 1.3 * error  # widened for few seeds


def test_seeds_that_differ_widen_the_interval_beyond_that_of_their_mean():
    grid = scores((5, 100)) + torch.tensor([[0.0], [0.5], [1.0], [1.5], [2.0]])
    over_both, over_examples = bootstrap_interval(grid), bootstrap_interval(grid.mean(dim=0))
    assert over_both.estimate == pytest.approx(over_examples.estimate)
    assert over_both.high - over_both.low > 5 * (over_examples.high - over_examples.low)


def test_pairing_removes_what_both_systems_share():
    hard = scores((3, 50))
    better = hard + 0.01 * scores((3, 50), seed=1)
    paired_width = paired_bootstrap(better, hard)
    assert paired_width.low > 0
    assert bootstrap_interval(better).low < bootstrap_interval(hard).high


# What scores are given as


@pytest.mark.parametrize(("ours", "theirs"), [((30,), (30, 1)), ((5, 30), (30,)), ((5, 30), (1, 30)), ((30,), ())])
def test_systems_with_scores_of_other_shapes_are_refused(ours, theirs):
    with without_type_checks(), pytest.raises(ValueError, match=r"must have the same shape, got \("):
        paired_bootstrap(torch.rand(ours), torch.rand(theirs))
    with without_type_checks(), pytest.raises(ValueError, match=r"must have the same shape, got \("):
        paired_bootstrap(torch.rand(ours).numpy(), torch.rand(theirs).numpy())


@many
@given(SHAPES, st.integers(0, 100))
def test_arrays_tables_and_lists_are_scores_as_well(shape, seed):
    ours, theirs = scores(shape, seed), scores(shape, seed + 1)
    expected = paired_bootstrap(ours, theirs, resamples=50)
    for kind in (np.asarray, pd.DataFrame, torch.Tensor.tolist):
        assert paired_bootstrap(kind(ours), kind(theirs), resamples=50) == expected
        assert bootstrap_interval(kind(ours), resamples=50) == bootstrap_interval(ours, resamples=50)
    table = pd.DataFrame({"ours": ours[0], "theirs": theirs[0]})
    column = paired_bootstrap(table["ours"], theirs[0], resamples=50)
    assert column == paired_bootstrap(ours[0], theirs[0], resamples=50)


def test_right_and_wrong_answers_are_scores_of_1_and_0():
    ours, theirs = torch.tensor([True, True, False]), torch.tensor([False, True, False])
    expected = paired_bootstrap(ours.double(), theirs.double())
    assert paired_bootstrap(ours, theirs) == paired_bootstrap(ours.tolist(), theirs.numpy()) == expected


# Guarantees


@many
@given(SHAPES, st.integers(0, 100))
def test_the_estimate_lies_in_its_interval_and_swapping_the_systems_mirrors_it(shape, seed):
    ours, theirs = scores(shape, seed), scores(shape, seed + 1)
    there, back = paired_bootstrap(ours, theirs), paired_bootstrap(theirs, ours)
    assert there.estimate == pytest.approx((ours - theirs).mean().item())
    assert there.low <= there.estimate <= there.high
    assert (back.estimate, back.low, back.high) == pytest.approx((-there.estimate, -there.high, -there.low))
    assert (there.seeds, there.examples) == shape


@many
@given(SHAPES, st.integers(0, 100), st.floats(-3, 3), st.sampled_from([0.5, 4.0]))
def test_moving_and_stretching_all_scores_moves_and_stretches_the_interval(shape, seed, shift, scale):
    grid = scores(shape, seed)
    interval, moved = bootstrap_interval(grid), bootstrap_interval(scale * grid + shift)
    assert (moved.estimate, moved.low, moved.high) == pytest.approx(
        (scale * interval.estimate + shift, scale * interval.low + shift, scale * interval.high + shift), abs=1e-9
    )


@many
@given(SHAPES, st.integers(0, 100))
def test_a_higher_level_gives_a_wider_interval(shape, seed):
    narrow, wide = (bootstrap_interval(scores(shape, seed), level=level) for level in (0.5, 0.95))
    assert wide.low <= narrow.low <= narrow.high <= wide.high


def test_the_seed_decides_and_global_random_states_are_left_alone():
    grid = torch.tensor(np.random.default_rng(0).exponential(size=(1, 10)))
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert bootstrap_interval(grid, seed=1) == bootstrap_interval(grid, seed=1) != bootstrap_interval(grid, seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert numpy_before == np.random.get_state()[1].tolist()  # noqa: NPY002


def test_a_vector_is_one_seed_and_precision_does_not_matter():
    row = scores(12)
    assert bootstrap_interval(row) == bootstrap_interval(row[None])
    single = bootstrap_interval(row.float())
    assert single.low == pytest.approx(bootstrap_interval(row).low, abs=1e-6)


# At the edge


def test_no_number_has_no_interval():
    for shape in ((0,), (3, 0), (0, 3)):
        interval = bootstrap_interval(torch.zeros(shape))
        assert all(map(math.isnan, (interval.estimate, interval.low, interval.high)))


def test_one_number_has_no_spread():
    interval = bootstrap_interval(torch.tensor([0.25]))
    assert interval.estimate == 0.25
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (2, 2), (5, 1), (1, 7), (3, 7)])
def test_few_numbers_have_a_finite_interval(shape):
    interval = bootstrap_interval(scores(shape))
    assert math.isfinite(interval.low)
    assert interval.low < interval.high


@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (5, 30)])
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_systems_that_always_differ_by_the_same_have_an_interval_without_width(shape, value):
    interval = paired_bootstrap(torch.full(shape, value, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64))
    assert (interval.low, interval.high) == pytest.approx((value, value), abs=1e-12)


def test_examples_without_a_score_under_any_seed_are_left_out():
    grid = scores((3, 10))
    gaps = torch.cat([grid, torch.full((3, 2), 9.0)], dim=1)
    gaps[0, 10], gaps[2, 11] = torch.nan, torch.nan
    assert bootstrap_interval(gaps) == bootstrap_interval(grid)


@pytest.mark.parametrize("options", [{"level": 0.0}, {"level": 1.0}, {"level": 95.0}, {"resamples": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="level must be between 0 and 1 and resamples 1 or more"):
        bootstrap_interval(scores(5), **options)


def test_grids_too_large_for_their_weights_to_be_kept_have_the_same_interval(monkeypatch):
    grid = scores((3, 20))
    kept = bootstrap_interval(grid, resamples=600, seed=3)
    monkeypatch.setattr("regex_lib.metrics.bootstrap._KEPT", 0)
    assert bootstrap_interval(grid, resamples=600, seed=3) == kept
