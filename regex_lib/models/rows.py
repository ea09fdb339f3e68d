"""Rows of text and label, as training and evaluation take them."""

import datasets
import pandas as pd

from regex_lib.errors import UserError
from regex_lib.models.classifier import TextClassifier

__all__ = ["labelled_texts"]


def labelled_texts(dataset: datasets.Dataset | pd.DataFrame, classifier: TextClassifier) -> datasets.Dataset:
    """The columns ``text`` and ``label`` of a data set of any format, or of a table: strings and whole numbers.

    Raises:
        UserError: if it has no such column, no rows or several splits, a text is no string, or a label is not one of
            the model's classes.
    """
    if isinstance(dataset, dict):
        names = list(dataset)
        raise UserError(f"the data has splits: name one of {', '.join(names)}, as in data[{names[-1]!r}]")
    table = isinstance(dataset, pd.DataFrame)
    names = list(dataset.columns) if table else dataset.column_names
    for column in ("text", "label"):
        if column not in names:
            raise UserError(f"the data has no column {column!r}, only: {', '.join(map(str, names))}; rename one")
    if not len(dataset):
        raise UserError("the data has no rows")
    rows = dataset if table else dataset.with_format(None).select_columns(["text", "label"])
    for row, text in enumerate(rows["text"]):
        if not isinstance(text, str):
            raise UserError(f"the text in row {row} is no string: {text!r}")
    labels = list(rows["label"])
    classifier.check_labels(labels)
    if table:
        return datasets.Dataset.from_dict({"text": list(rows["text"]), "label": [int(label) for label in labels]})
    whole = rows.features["label"].dtype.startswith(("int", "uint"))
    return rows if whole else rows.cast_column("label", datasets.Value("int64"))
