"""Data sets of one family, for evaluation out of domain, and labels that mean the same in each of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from regex_lib.data.catalogue import find_source
from regex_lib.errors import UserError

if TYPE_CHECKING:
    import datasets

__all__ = ["DOMAINS", "label_map", "map_labels", "other_domains"]

DOMAINS: dict[str, tuple[str, ...]] = {
    "sentiment": ("sst", "imdb", "yelp"),
    "amazon": ("amaz_digimu", "amaz_pantry", "amaz_instr", "amaz_music_mdsd"),
}
"""The families of data sets, as in the ACL 2022 study: a model trained on one member is evaluated on the others.
``amaz_music_mdsd`` has two classes, and stands in for ``amaz_digimu``."""


def other_domains(name: str) -> tuple[str, ...]:
    """The other members of a data set's family.

    Args:
        name: a data set of :data:`DOMAINS`.

    Raises:
        UserError: if it is in no family.

    Example:
        >>> other_domains("sst")
        ('imdb', 'yelp')
    """
    for members in DOMAINS.values():
        if name in members:
            return tuple(member for member in members if member != name)
    known = ", ".join(member for members in DOMAINS.values() for member in members)
    raise UserError(f"{name!r} is in no family of domains: name the other data sets, or take one of {known}")


def label_map(data_names: Sequence[str], model_names: Sequence[str]) -> dict[int, int]:
    """Which class of a model means the same as each label of a data set, by their names.

    Capitals make no difference, as many models of the hub write their classes in them, unless a name is there as it
    stands.

    Args:
        data_names: the meaning of the data's labels 0, 1...
        model_names: those of the model's classes.

    Returns:
        The class of every label that the model has a class for; ``neutral`` of three-way data has none in a model of
        two classes.

    Raises:
        UserError: if fewer than two labels have a class.

    Example:
        >>> label_map(("negative", "positive"), ("negative", "neutral", "positive"))
        {0: 0, 1: 2}
        >>> label_map(("negative", "neutral", "positive"), ("negative", "positive"))
        {0: 0, 2: 1}
        >>> label_map(("negative", "positive"), ("POSITIVE", "NEGATIVE"))
        {0: 1, 1: 0}
    """
    places = {name.casefold(): place for place, name in enumerate(model_names)}
    places |= {name: place for place, name in enumerate(model_names)}
    found = (places.get(name, places.get(name.casefold())) for name in data_names)
    mapped = {label: place for label, place in enumerate(found) if place is not None}
    if len(mapped) < 2:
        raise UserError(
            f"the data's labels {', '.join(data_names)} are not among the model's classes {', '.join(model_names)}: "
            "set classifier.label_names"
        )
    return mapped


def map_labels(dataset: "datasets.Dataset", name: str, model_names: Sequence[str]) -> "datasets.Dataset":
    """A data set of the catalogue with the labels of a model trained on another one.

    Args:
        dataset: rows of ``text`` and ``label``, in any format.
        name: its name in the catalogue, which knows what its labels mean.
        model_names: the names of the model's classes, ``classifier.label_names``.

    Returns:
        The rows whose label the model has a class for, with that class as their label.

    Raises:
        UserError: if the name is not in the catalogue, or the labels cannot be mapped.

    Example:
        >>> from regex_lib.data import load_data
        >>> rows = load_data("reviews")["test"].select(range(4))
        >>> rows["label"][:], map_labels(rows, "reviews", ("negative", "neutral", "positive"))["label"][:]
        ([0, 1, 0, 0], [0, 2, 0, 0])
    """
    source = find_source(name)
    if source is None:
        raise UserError(f"{name!r} is not in the catalogue, so what its labels mean is not known")
    mapped = label_map(source.label_names, model_names)
    labels = dataset.with_format(None)["label"][:]
    if all(label == target for label, target in mapped.items()) and set(labels) <= set(mapped):
        return dataset
    kept = [row for row, label in enumerate(labels) if label in mapped]
    if not kept:
        raise UserError(f"no label of {name!r} has a class in the model: {', '.join(model_names)}")
    classes = [mapped[labels[row]] for row in kept]
    return dataset.select(kept).remove_columns("label").add_column("label", classes)
