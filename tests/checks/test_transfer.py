"""Out of domain: the numbers are those of the evaluation engine, minus the random attribution's."""

import datasets
import pytest
import torch
from reference.unchecked import without_type_checks
from sklearn.metrics import f1_score

from regex_lib.checks import evaluate_transfer
from regex_lib.data import map_labels
from regex_lib.errors import UserError
from regex_lib.evaluation import evaluate_faithfulness

FILMS = ["a fine film", "dull and very bad acting", "great plot", "never once", "not great not bad", "a dull film"]
OTHERS = ["the acting of the plot", "never a great film but fine", "very bad", "the very fine plot and acting"]


def rows_of(texts, labels):
    return datasets.Dataset.from_dict({"text": texts, "label": labels})


TESTS = {"films": rows_of(FILMS, [1, 0, 1, 0, 1, 0]), "others": rows_of(OTHERS, [1, 1, 0, 1])}


def test_each_set_has_a_row_for_each_attribution_and_metric(make_tiny):
    table = evaluate_transfer(make_tiny(), TESTS, ["attention", "input_x_gradient"])
    assert table[["data", "metric", "attribution"]].to_numpy().tolist() == [
        [data, metric, name]
        for data in TESTS
        for metric in ("sufficiency", "comprehensiveness")
        for name in ("random", "attention", "input_x_gradient")
    ]
    assert table.groupby("data", sort=False)["examples"].first().to_dict() == {"films": 6, "others": 4}


def test_scores_are_those_of_the_evaluation_and_the_differences_are_paired(make_tiny):
    classifier = make_tiny()
    table = evaluate_transfer(classifier, TESTS, ["attention"], replacement="mask", seed=3)
    for data, test in TESTS.items():
        report = evaluate_faithfulness(classifier, test, ["random", "attention"], replacement="mask", seed=3)
        means = report.table.set_index("attribution")
        for row in table[table["data"] == data].itertuples():
            assert row.score == pytest.approx(means.loc[row.attribution, row.metric])
            assert row.over_random == pytest.approx(row.score - means.loc["random", row.metric], abs=1e-9)
            assert row.low <= row.over_random <= row.high
            assert row.degenerate_share == means.loc[row.attribution, "degenerate_share"]
    random = table[table["attribution"] == "random"]
    assert (random[["over_random", "low", "high"]] == 0).all(axis=None)


def predictions(classifier, texts):
    batch = classifier.tokenize(texts)
    with torch.no_grad():
        return classifier(classifier.embed(batch.input_ids), batch.attention_mask).logits.argmax(dim=1).tolist()


def test_macro_f1_is_over_the_classes_that_the_texts_have(make_tiny):
    classifier = make_tiny(num_labels=3, seed=1)
    classifier.label_names = ("negative", "neutral", "positive")
    two = rows_of(FILMS + OTHERS, [1, 0, 1, 0, 1, 0, 1, 1, 0, 1])
    mapped = map_labels(two, "sst", classifier.label_names)
    predicted = predictions(classifier, mapped["text"][:])
    table = evaluate_transfer(classifier, {"sst": mapped}, ["attention"], ["sufficiency"])
    true = mapped["label"][:]
    per_class = f1_score(true, predicted, labels=[0, 2], average=None, zero_division=0.0)
    assert table["macro_f1"].tolist() == pytest.approx([per_class.mean()] * 2)
    accuracy = sum(a == b for a, b in zip(true, predicted, strict=True)) / len(true)
    assert table["accuracy"].tolist() == pytest.approx([accuracy] * 2)


def test_accuracy_is_of_all_texts_and_explanations_of_some(make_tiny):
    table = evaluate_transfer(make_tiny(), {"films": TESTS["films"]}, ["attention"], max_examples=2)
    assert set(table["explained"]) == {2}
    assert set(table["examples"]) == {6}
    right = [a == b for a, b in zip(predictions(make_tiny(), FILMS), TESTS["films"]["label"], strict=True)]
    assert table["accuracy"][0] == pytest.approx(sum(right) / 6)


@pytest.mark.parametrize("form", [lambda rows: rows.with_format("torch"), lambda rows: rows.to_pandas().iloc[::-1]])
def test_a_set_may_have_any_format(make_tiny, form):
    forms = {"films": form(TESTS["films"])}
    given = {"films": TESTS["films"]}
    table, plain = (evaluate_transfer(make_tiny(), tests, ["attention"]) for tests in (forms, given))
    columns = ["score", "macro_f1", "accuracy"]
    assert table[columns].dtypes.eq("float64").all()
    assert table[columns].to_numpy() == pytest.approx(plain[columns].to_numpy())


def test_wrong_input_is_refused(make_tiny):
    with pytest.raises(UserError, match="there is no test set"):
        evaluate_transfer(make_tiny(), {})
    with pytest.raises(UserError, match="attributions must be a list of names, got 'attention'"):
        evaluate_transfer(make_tiny(), TESTS, "attention")
    with pytest.raises(UserError, match="the data has label 2, but the model has 2 classes"):
        evaluate_transfer(make_tiny(), {"mine": rows_of(["a film"], [2])})
    with pytest.raises(UserError, match="the data has no rows"):
        evaluate_transfer(make_tiny(), {**TESTS, "mine": TESTS["films"].select([])})
    with without_type_checks(), pytest.raises(UserError, match="the data has splits: name one of train, test, as in"):
        evaluate_transfer(make_tiny(), {"mine": datasets.DatasetDict(train=TESTS["films"], test=TESTS["others"])})
