import math
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from regex_lib.errors import UserError
from regex_lib.training import RECIPES, Recipe, find_recipe

SHARES = st.floats(0, 1)
WEIGHTS = st.floats(0, 100)


@st.composite
def recipes(draw):
    return Recipe(
        igr_weight=draw(WEIGHTS), vat_weight=draw(WEIGHTS), kl_weight=draw(WEIGHTS), robust_until=draw(SHARES),
        guidance_from=draw(SHARES), guidance_warmup=draw(SHARES),
    )  # fmt: skip


# Schedules


def weight_at(recipe, name, progress):
    return recipe.weights_at(progress).get(name, 0.0)


@given(recipes(), SHARES)
def test_guidance_is_never_negative_nor_more_than_its_weight(recipe, progress):
    assert 0 <= weight_at(recipe, "kl", progress) <= recipe.kl_weight


@given(recipes(), SHARES, SHARES)
def test_guidance_never_falls(recipe, one, other):
    assert weight_at(recipe, "kl", min(one, other)) <= weight_at(recipe, "kl", max(one, other))


@given(recipes(), st.floats(0, 0.99))
def test_there_is_no_guidance_before_its_time(recipe, share):
    assume(recipe.guidance_from > 0)
    terms = recipe.changed(saliency_guided_weight=1.0, masked_cross_entropy_weight=1.0).weights_at(
        share * recipe.guidance_from
    )
    assert not {"kl", "kl_masked", "saliency_guided", "masked_cross_entropy"} & terms.keys()


@given(recipes(), SHARES)
def test_guidance_has_its_full_weight_after_the_warm_up(recipe, later):
    after = recipe.guidance_from + recipe.guidance_warmup + 1e-9 + later
    assert weight_at(recipe, "kl", after) == weight_at(recipe, "kl_masked", after) == recipe.kl_weight


def test_guidance_grows_evenly_over_the_warm_up():
    recipe = Recipe(kl_weight=0.4, saliency_guided_weight=2.0, guidance_from=0.2, guidance_warmup=0.4)
    for progress, share in ((0.2, 0.0), (0.3, 0.25), (0.4, 0.5), (0.6, 1.0), (0.9, 1.0)):
        assert weight_at(recipe, "kl", progress) == pytest.approx(0.4 * share)
        assert weight_at(recipe, "saliency_guided", progress) == pytest.approx(2.0 * share)


@given(recipes(), SHARES, SHARES)
def test_robustness_does_not_come_back_once_it_has_ended(recipe, one, other):
    for name in ("igr", "vat"):
        assert weight_at(recipe, name, min(one, other)) >= weight_at(recipe, name, max(one, other))


@given(st.sampled_from(["igr", "vat", "smart", "freelb"]), SHARES)
def test_robustness_lasts_to_the_end_by_default(name, progress):
    assert Recipe(**{f"{name}_weight": 0.1}).weights_at(progress) == {"cross_entropy": 1.0, name: 0.1}


@given(st.sampled_from(["igr", "vat", "smart", "freelb"]), st.floats(0, 0.99), SHARES)
def test_robustness_ends_when_it_is_told_to(name, until, progress):
    recipe = Recipe(**{f"{name}_weight": 0.1}, robust_until=until)
    assert (name in recipe.weights_at(progress)) == (progress < until)


def test_the_two_stages_do_not_overlap():
    recipe = RECIPES["regex_two_stage"]
    for progress in (0.0, 0.25, 0.499, 0.5, 0.75, 1.0):
        terms = recipe.weights_at(progress).keys()
        assert ({"igr", "vat"} <= terms) != ({"kl", "kl_masked"} <= terms)


@pytest.mark.parametrize(
    ("inputs", "terms"), [("both", {"kl", "kl_masked"}), ("clean", {"kl"}), ("masked", {"kl_masked"})]
)
def test_attention_is_guided_on_the_inputs_that_are_asked_for(inputs, terms):
    found = Recipe(kl_weight=0.3, kl_inputs=inputs).weights_at(1.0)
    assert found == {"cross_entropy": 1.0} | dict.fromkeys(terms, 0.3)


@given(recipes(), SHARES)
def test_a_term_is_there_only_with_a_weight_above_0(recipe, progress):
    assert all(weight > 0 for weight in recipe.weights_at(progress).values())


# Validation


NOT_NEGATIVE = [
    *(f"{loss}_weight" for loss in ("cross_entropy", "igr", "vat", "smart", "freelb", "kl", "saliency_guided")),
    "masked_cross_entropy_weight",
    "vat_epsilon",
    "vat_xi",
]


@pytest.mark.parametrize("value", [-1e-9, -1.0, math.nan, -math.inf])
@pytest.mark.parametrize("name", NOT_NEGATIVE)
def test_weights_and_sizes_are_not_negative(name, value):
    with pytest.raises(UserError, match=f"{name} must be 0 or more, got {value}"):
        Recipe(**{name: value})


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("name", ["igr_step", "kl_temperature"])
def test_a_divisor_is_above_0(name, value):
    with pytest.raises(UserError, match=f"{name} must be above 0, got {value}"):
        Recipe(**{name: value})


def test_without_smoothing_the_divergence_would_be_infinite():
    with pytest.raises(UserError, match="kl_smoothing must be above 0"):
        Recipe(kl_smoothing=0.0)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize(
    "name", ["robust_until", "guidance_from", "guidance_warmup", "attribution_noise", "mask_ratio"]
)
def test_shares_lie_between_0_and_1(name, value):
    with pytest.raises(UserError, match=f"{name} must be between 0 and 1, got {value}"):
        Recipe(**{name: value})


@pytest.mark.parametrize("name", ["attribution_steps", "freelb_steps"])
def test_there_is_a_step_at_least(name):
    with pytest.raises(UserError, match=f"{name} must be 1 or more, got 0"):
        Recipe(**{name: 0})


CHOICES = [name for name, hint in get_type_hints(Recipe).items() if get_args(hint)]


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_those_there_are(name):
    made = object.__new__(Recipe)  # past the shape checks of the tests, which would object first
    for field in fields(Recipe):
        object.__setattr__(made, field.name, "none" if field.name == name else field.default)
    with pytest.raises(UserError, match=f"{name} must be one of '{getattr(Recipe(), name)}'.*, got 'none'"):
        made.__post_init__()


@pytest.mark.parametrize("options", [{}, {"kl_weight": 0.1}, {"vat_weight": 0.1, "robust_until": 0.5}])
def test_every_step_has_something_to_train_for(options):
    with pytest.raises(UserError, match="a part of the training has nothing to train for"):
        Recipe(cross_entropy_weight=0.0, **options)


# The named recipes


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_named_recipe_is_found_and_can_be_changed(name):
    recipe = find_recipe(name)
    assert recipe.changed() == recipe
    assert recipe.changed(kl_weight=0.5).kl_weight == 0.5


def test_an_unknown_recipe_comes_with_the_nearest():
    with pytest.raises(UserError, match="unknown recipe 'regx': did you mean 'regex'"):
        find_recipe("regx")


def test_an_unknown_option_comes_with_the_nearest():
    with pytest.raises(UserError, match="unknown recipe option 'igr_wieght': did you mean 'igr_weight'"):
        Recipe().changed(igr_wieght=1.0)


def test_changed_options_are_checked_too():
    with pytest.raises(UserError, match="mask_ratio must be between 0 and 1, got 2"):
        Recipe().changed(mask_ratio=2.0)


def test_the_controls_differ_from_regex_in_one_option_each():
    regex = RECIPES["regex"]
    assert RECIPES["regex_random_mask"] == regex.changed(selector="random")
    assert RECIPES["regex_shuffled_target"] == regex.changed(target="shuffled")


def test_the_fast_recipe_has_the_weights_of_regex():
    fast, regex = RECIPES["regex_fast"], RECIPES["regex"]
    assert [fast.weights_at(progress) for progress in (0.0, 1.0)] == [regex.weights_at(p) for p in (0.0, 1.0)]


ROBUST, GUIDED = {"igr", "vat"}, {"kl", "kl_masked"}


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("vanilla", set()), ("igr", {"igr"}), ("vat", {"vat"}), ("robust", ROBUST), ("egt", GUIDED),
        ("regex", ROBUST | GUIDED), ("regex_two_stage", ROBUST | GUIDED), ("regex_fast", ROBUST | GUIDED),
        ("regex_random_mask", ROBUST | GUIDED), ("regex_shuffled_target", ROBUST | GUIDED),
        ("random_mask_only", {"masked_cross_entropy"}), ("igr_random_mask", {"igr", "masked_cross_entropy"}),
        ("saliency_guided", {"saliency_guided"}), ("saloss", {"kl"}), ("smart", {"smart"}), ("freelb", {"freelb"}),
    ],
)  # fmt: skip
def test_a_recipe_weighs_what_its_name_says(name, terms):
    found = set().union(*(RECIPES[name].weights_at(progress) for progress in (0.0, 1.0)))
    assert found == terms | ({"cross_entropy"} if name != "freelb" else set())


def test_every_recipe_is_tested_by_name():
    (parameters,) = (mark for mark in test_a_recipe_weighs_what_its_name_says.pytestmark)
    assert {name for name, _ in parameters.args[1]} == RECIPES.keys()
