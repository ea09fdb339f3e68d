"""How an unknown name is told."""

import pytest

from regex_lib.errors import UserError, check_names, unknown_name

RECIPES = ["vanilla", "regex", "regex_two_stage", "robust"]


def test_the_nearest_name_is_proposed():
    assert "did you mean 'vanilla'?" in str(unknown_name("recipe", "vanila", RECIPES))


def test_several_near_names_are_proposed_the_nearest_first():
    assert "did you mean 'regex_two_stage' or 'regex'?" in str(unknown_name("recipe", "regex_two", RECIPES))


def test_at_most_three_names_are_proposed():
    known = [f"name_{number}" for number in range(9)]
    assert str(unknown_name("recipe", "name_", known)).partition("?")[0].count(" or ") == 2


def test_nothing_is_proposed_where_nothing_is_near():
    assert "did you mean" not in str(unknown_name("recipe", "zzz", RECIPES))


def test_every_known_name_is_listed_in_order():
    message = str(unknown_name("recipe", "zzz", RECIPES))
    assert message == "unknown recipe 'zzz': Known: regex, regex_two_stage, robust, vanilla"


def test_names_may_come_from_any_iterable():
    assert "Known: a, b" in str(unknown_name("thing", "c", iter(["b", "a"])))


@pytest.mark.parametrize("name", ["", "two\nlines", "quo'te", "🎉"])
def test_the_message_is_one_line_whatever_the_name(name):
    assert len(str(unknown_name("recipe", name, RECIPES)).splitlines()) == 1


def test_a_user_error_is_a_value_error():
    with pytest.raises(ValueError, match="unknown recipe"):
        raise unknown_name("recipe", "x", RECIPES)
    assert issubclass(UserError, ValueError)


def test_the_first_name_that_is_not_known_is_refused():
    with pytest.raises(UserError, match=r"unknown seed '3': Known: 0, 1$"):
        check_names("seed", [0, 3, 4], [0, 1])


@pytest.mark.parametrize("names", [[], ["regex"], ["robust", "vanilla"]])
def test_known_names_and_none_at_all_are_accepted(names):
    check_names("recipe", names, RECIPES)
