import math
from dataclasses import fields

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


@given(recipes(), SHARES)
def test_guidance_is_never_negative_nor_more_than_its_weight(recipe, progress):
    assert 0 <= recipe.guidance_at(progress) <= recipe.kl_weight


@given(recipes(), SHARES, SHARES)
def test_guidance_never_falls(recipe, one, other):
    assert recipe.guidance_at(min(one, other)) <= recipe.guidance_at(max(one, other))


@given(recipes(), st.floats(0, 0.99))
def test_there_is_no_guidance_before_its_time(recipe, share):
    assume(recipe.guidance_from > 0)
    assert recipe.guidance_at(share * recipe.guidance_from) == 0


@given(recipes(), SHARES)
def test_guidance_has_its_full_weight_after_the_warm_up(recipe, later):
    assert recipe.guidance_at(recipe.guidance_from + recipe.guidance_warmup + 1e-9 + later) == recipe.kl_weight


@given(recipes(), SHARES, SHARES)
def test_robustness_does_not_come_back_once_it_has_ended(recipe, one, other):
    assert recipe.robustness_at(min(one, other)) >= recipe.robustness_at(max(one, other))


@given(recipes(), SHARES)
def test_robustness_needs_a_weight(recipe, progress):
    unweighted = recipe.changed(igr_weight=0.0, vat_weight=0.0)
    assert not unweighted.robustness_at(progress)


@given(st.sampled_from(["igr_weight", "vat_weight"]), SHARES)
def test_robustness_lasts_to_the_end_by_default(name, progress):
    assert Recipe(**{name: 0.1}).robustness_at(progress)


def test_the_two_stages_do_not_overlap():
    recipe = RECIPES["regex_two_stage"]
    for progress in (0.0, 0.25, 0.499, 0.5, 0.75, 1.0):
        assert recipe.robustness_at(progress) != (recipe.guidance_at(progress) > 0)


# Validation


@pytest.mark.parametrize("value", [-1e-9, -1.0, math.nan, -math.inf])
@pytest.mark.parametrize("name", ["igr_weight", "vat_weight", "kl_weight", "vat_epsilon", "vat_xi"])
def test_weights_and_sizes_are_not_negative(name, value):
    with pytest.raises(UserError, match=f"{name} must be 0 or more, got {value}"):
        Recipe(**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize("name", ["robust_until", "guidance_from", "guidance_warmup", "mask_ratio"])
def test_shares_lie_between_0_and_1(name, value):
    with pytest.raises(UserError, match=f"{name} must be between 0 and 1, got {value}"):
        Recipe(**{name: value})


def test_attributions_take_a_step_at_least():
    with pytest.raises(UserError, match="attribution_steps must be 1 or more, got 0"):
        Recipe(attribution_steps=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("selector", "selector must be 'lowest' or 'random', got 'none'"),
        ("target", "target must be 'attribution' or 'shuffled', got 'none'"),
    ],
)
def test_choices_are_those_there_are(name, message):
    made = object.__new__(Recipe)  # past the shape checks of the tests, which would object first
    for field in fields(Recipe):
        object.__setattr__(made, field.name, "none" if field.name == name else field.default)
    with pytest.raises(UserError, match=message):
        made.__post_init__()


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


@pytest.mark.parametrize(
    ("name", "weighted"),
    [("vanilla", ()), ("igr", ("igr",)), ("vat", ("vat",)), ("robust", ("igr", "vat")), ("egt", ("kl",)),
     ("regex", ("igr", "vat", "kl")), ("regex_two_stage", ("igr", "vat", "kl"))],
)  # fmt: skip
def test_a_recipe_weighs_what_its_name_says(name, weighted):
    found = [loss for loss in ("igr", "vat", "kl") if getattr(RECIPES[name], f"{loss}_weight") > 0]
    assert tuple(found) == weighted
