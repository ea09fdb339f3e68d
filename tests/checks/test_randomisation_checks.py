"""Randomisation tests of explanations: against one text at a time, and on attributions that must fail them."""

import copy

import datasets
import pandas as pd
import pytest
import scipy.stats
import torch
import transformers
from reference import randomisation as reference
from reference.unchecked import without_type_checks

from regex_lib.attributions import METHODS, attribute, register
from regex_lib.checks import (
    different_initialisations,
    layer_parameters,
    parameter_randomisation,
    permuted_label_training,
    randomisation_verdict,
    summarise,
    untrained_model,
    with_permuted_labels,
    with_random_weights,
)
from regex_lib.checks.parameters import _randomised
from regex_lib.errors import UserError
from regex_lib.metrics import bootstrap_interval, paired_bootstrap
from regex_lib.models import FAMILIES

TEXTS = [
    "a fine film",
    "dull and very bad acting but a great plot",
    "never",
    "",
    "once the plot of the film never was dull not great not bad",
    "great great great",
]
NAMES = ["random", "attention", "input_x_gradient"]
MANY = [" ".join((TEXTS[1] + " " + TEXTS[4]).split()[start : start + 8]) for start in range(12)]


@pytest.fixture
def methods():
    """Attributions that are built to fail, for the time of a test."""

    @register("by_position")
    def by_position(classifier, batch, target):
        """Ignores the model."""
        return -batch.attention_mask.double().cumsum(dim=1)

    @register("noise")
    def noise(classifier, batch, target):
        """Independent of everything."""
        return torch.rand(batch.input_ids.shape)

    @register("target")
    def target(classifier, batch, target):
        """Shows what it was asked to explain."""
        return (2.0 * target[:, None] - 1) * batch.attention_mask.double().cumsum(dim=1)

    @register("undefined")
    def undefined(classifier, batch, target):
        return torch.full(batch.input_ids.shape, torch.nan)

    yield
    for name in ("by_position", "noise", "target", "undefined"):
        METHODS.pop(name)


@pytest.fixture
def pair(make_tiny):
    """Two models that differ in their seed, in double precision, so that rounding cannot change a ranking."""
    return make_tiny(seed=10).double(), make_tiny(seed=11).double()


# Agreement of two models


def by_hand(classifier, other, names):
    """One text at a time, in plain Python."""
    rows = []
    for name in names:
        for number, text in enumerate(TEXTS):
            if not text:
                continue
            (ours,) = attribute(classifier, [text], name)
            (theirs,) = attribute(other, [text], name, target=ours.target)
            content = [True] * len(ours.scores)
            several = len(set(ours.scores)) > 1 and len(set(theirs.scores)) > 1
            rows.append({
                "example": number, "attribution": name, "tokens": len(content),
                "same_prediction": ours.prediction == theirs.prediction,
                "jaccard": float(reference.jaccard(ours.scores, theirs.scores, content, "0.25")),
                "random_jaccard": float(reference.expected_jaccard(len(content), -(-len(content) // 4))),
                "spearman": scipy.stats.spearmanr(ours.scores, theirs.scores).statistic if several else float("nan"),
            })  # fmt: skip
    return pd.DataFrame(rows)


def test_the_frame_is_that_of_one_text_at_a_time(pair):
    found = different_initialisations(*pair, TEXTS, NAMES)
    pd.testing.assert_frame_equal(found, by_hand(*pair, NAMES), rtol=0, atol=1e-9)
    assert 0 < found["jaccard"].mean() < 1


@pytest.mark.parametrize("batch_size", [1, 4])
def test_it_does_not_depend_on_the_batches(pair, batch_size):
    found, expected = (different_initialisations(*pair, TEXTS, NAMES, batch_size=size) for size in (batch_size, 32))
    pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-9)


def test_a_column_of_texts_is_taken_in_its_order_whatever_its_index(pair):
    with without_type_checks():
        found = different_initialisations(*pair, pd.Series(TEXTS).iloc[::-1], NAMES)
    pd.testing.assert_frame_equal(found, different_initialisations(*pair, TEXTS[::-1], NAMES))


def test_the_same_model_agrees_with_itself(pair):
    found = different_initialisations(pair[0], copy.deepcopy(pair[0]), TEXTS, NAMES)
    assert (found["jaccard"] == 1.0).all()
    assert (found["spearman"].dropna() == 1.0).all()
    assert found["same_prediction"].all()


def test_both_explain_the_class_that_the_first_predicts(pair, methods):
    opposite = copy.deepcopy(pair[0])
    with torch.no_grad():
        for parameter in opposite.model.classifier.parameters():
            parameter.neg_()
    found = different_initialisations(pair[0], opposite, TEXTS, ["target"])
    assert not found["same_prediction"].any()
    assert (found["jaccard"] == 1.0).all()


def test_options_reach_their_methods(pair):
    name = "integrated_gradients"
    few, many = (different_initialisations(*pair, TEXTS, [name], options={name: {"n_steps": n}}) for n in (1, 20))
    assert not few["spearman"].equals(many["spearman"])
    with pytest.raises(UserError, match="unknown integrated_gradients option 'n_stepz': did you mean 'n_steps'"):
        different_initialisations(*pair, TEXTS, [name], options={name: {"n_stepz": 1}})
    with pytest.raises(UserError, match="unknown attribution 'integrated_gradient': did you mean 'integrated_grad"):
        different_initialisations(*pair, TEXTS, [name], options={"integrated_gradient": {"n_steps": 1}})


def test_two_random_attributions_overlap_as_chance_says(pair, methods):
    texts = [text + f" {'a ' * (number % 7)}" for number, text in enumerate(MANY * 20)]
    summary = summarise(different_initialisations(*pair, texts, ["noise"])).iloc[0]
    assert summary["above_random_low"] < 0 < summary["above_random_high"]
    assert summary["jaccard_low"] < summary["random_jaccard"] < summary["jaccard_high"]
    assert summary["spearman_low"] < 0 < summary["spearman_high"]
    assert summary["jaccard_high"] - summary["jaccard_low"] < 0.1


@pytest.mark.parametrize("families", [("bert", "roberta"), ("roberta", "bert")])
def test_other_tokens_cannot_be_compared(make_tiny, families):
    with pytest.raises(UserError, match="the models have different vocabularies"):
        different_initialisations(*map(make_tiny, families), TEXTS, NAMES)


def test_other_classes_cannot_be_compared(make_tiny):
    with pytest.raises(UserError, match="the models have 2 and 3 classes: they must have the same"):
        different_initialisations(make_tiny(), make_tiny(num_labels=3), TEXTS, NAMES)


def test_what_cannot_be_explained_is_refused(pair, methods):
    cases = [
        (TEXTS, ["attenton"], "unknown attribution 'attenton': did you mean"),
        (TEXTS, [], "one or more different names, got none"),
        (TEXTS, ["random", "random"], "one or more different names, got random, random"),
        (TEXTS, ["undefined"], "attribution 'undefined' gives scores for example 2 that are not numbers"),
        (["", "[SEP]"], NAMES, "no text has content tokens"),
        ([], NAMES, "no text has content tokens"),
        ("a film", NAMES, "texts must be a list of texts"),
        (TEXTS, "random", "attributions must be a list of names, got 'random': put it into brackets"),
    ]
    for texts, names, message in cases:
        with pytest.raises(UserError, match=message), without_type_checks():
            different_initialisations(*pair, texts, names, batch_size=1)
    with pytest.raises(ValueError, match="ratio must be above 0"):
        different_initialisations(*pair, TEXTS, NAMES, ratio=0.0)


# Random weights


@pytest.mark.parametrize("family", FAMILIES)
def test_random_weights_are_those_that_the_architecture_draws(make_tiny, monkeypatch, family):
    classifier = make_tiny(family)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    state = torch.get_rng_state()
    with monkeypatch.context() as without_gpu:
        without_gpu.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("a GPU has been seeded"))
        untrained = with_random_weights(classifier, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(7)
    config = type(classifier.model.config).from_dict(classifier.model.config.to_dict())
    expected = transformers.AutoModelForSequenceClassification.from_config(config).state_dict()
    for name, value in untrained.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert not torch.equal(
        untrained.model.get_input_embeddings().weight, classifier.model.get_input_embeddings().weight
    )
    assert not any(module.training for module in untrained.modules())


def test_random_weights_keep_precision_and_classes(pair):
    untrained = with_random_weights(pair[0])
    assert untrained.model.dtype == torch.float64
    assert untrained.label_names == pair[0].label_names
    assert untrained.tokenizer is pair[0].tokenizer


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_belongs_to_one_layer(make_tiny, family):
    model = (classifier := make_tiny(family, layers=3)).model
    layers = layer_parameters(classifier)
    names = [name for part in layers.values() for name in part]
    assert sorted(names) == sorted(dict(model.named_parameters()))
    numbers = [0] if family == "albert" else [2, 1, 0]
    assert list(layers) == ["head", *(f"layer_{number}" for number in numbers), "embeddings"]
    assert all(f".{number}." in name for number in numbers for name in layers[f"layer_{number}"])
    assert all(layers.values())
    outside = {name for name in names if not name.startswith(model.base_model_prefix + ".")}
    assert outside <= set(layers["head"])
    embeddings = {name for name, p in model.named_parameters() if p is model.get_input_embeddings().weight}
    assert embeddings <= set(layers["embeddings"])


# The untrained model


def test_an_attribution_that_ignores_the_model_fails_the_untrained_model_test(pair, methods):
    names = ["by_position", "random", "attention", "input_x_gradient"]
    untrained = untrained_model(pair[0], None, MANY, names)
    summary = summarise(untrained).set_index("attribution")
    for name in ("by_position", "random"):
        assert summary.loc[name, ["jaccard", "jaccard_low", "spearman", "spearman_low"]].tolist() == [1.0] * 4
    for name in ("attention", "input_x_gradient"):
        assert summary.loc[name, "jaccard_high"] < 1.0
        assert summary.loc[name, "spearman_high"] < 1.0
    # A twin that was trained alike has all but the same weights.
    twin = copy.deepcopy(pair[0])
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(1.001)
    verdict = randomisation_verdict(different_initialisations(pair[0], twin, MANY, names), untrained)
    assert verdict["attribution"].tolist() == names
    assert verdict["passes"].tolist() == [False, False, True, True]


def test_a_given_model_is_the_untrained_one(pair):
    found = untrained_model(*pair, TEXTS, NAMES)
    pd.testing.assert_frame_equal(found, different_initialisations(*pair, TEXTS, NAMES))


def test_the_seed_decides_the_random_weights(pair):
    one, same, other = (untrained_model(pair[0], None, MANY, ["attention"], seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one["spearman"].equals(other["spearman"])


# Parameter randomisation


@pytest.mark.parametrize("order", ["cascading", "independent", "full"])
def test_each_step_randomises_what_it_says(pair, order):
    classifier, other = pair
    layers = layer_parameters(classifier)
    trained = {name: value.clone() for name, value in classifier.model.named_parameters()}
    replaced, gone = dict(other.model.named_parameters()), set()
    steps = []
    for layer, randomised in _randomised(classifier, other, order):
        steps.append(layer)
        names = set(trained) if layer == "all" else set(layers[layer])
        gone = gone | names if order == "cascading" else names
        for name, value in randomised.model.named_parameters():
            assert torch.equal(value, (replaced if name in gone else trained)[name]), (layer, name)
    assert steps == (["all"] if order == "full" else list(layers))
    assert all(torch.equal(value, trained[name]) for name, value in classifier.model.named_parameters())


def test_a_cascade_ends_with_a_model_that_has_learned_nothing(pair):
    cascade = parameter_randomisation(pair[0], None, TEXTS, NAMES, seed=3)
    full = parameter_randomisation(pair[0], None, TEXTS, NAMES, seed=3, order="full")
    untrained = untrained_model(pair[0], None, TEXTS, NAMES, seed=3)
    last = cascade[cascade["step"] == cascade["step"].max()].drop(columns=["step", "layer"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(last, untrained)
    pd.testing.assert_frame_equal(full.drop(columns=["step", "layer"]), untrained)
    assert cascade["layer"].unique().tolist() == ["head", "layer_1", "layer_0", "embeddings"]
    assert cascade["step"].unique().tolist() == [1, 2, 3, 4]


def test_attention_does_not_depend_on_the_head(pair):
    frame = parameter_randomisation(pair[0], None, MANY, ["attention", "input_x_gradient"], order="independent")
    summary = summarise(frame).set_index(["attribution", "layer"])
    assert summary.loc[("attention", "head"), "spearman"] == 1.0
    assert summary.loc[("attention", "layer_1"), "spearman"] < 1.0
    assert summary.loc[("input_x_gradient", "head"), "spearman"] < 1.0


def test_an_attribution_that_ignores_the_model_survives_every_step(pair, methods):
    for order in ("cascading", "independent", "full"):
        frame = parameter_randomisation(pair[0], None, TEXTS, ["by_position", "random"], order=order)
        assert (frame["jaccard"] == 1.0).all()


def test_what_cannot_be_randomised_is_refused(make_tiny):
    with pytest.raises(UserError, match="the models have different architectures"):
        parameter_randomisation(make_tiny(), make_tiny(layers=1), TEXTS, NAMES)
    message = "order must be 'cascading', 'independent' or 'full', got 'top'"
    with pytest.raises(UserError, match=message), without_type_checks():
        parameter_randomisation(make_tiny(), None, TEXTS, NAMES, order="top")


# Permuted labels


def test_permuted_labels_are_the_same_labels_of_other_texts():
    labels = datasets.ClassLabel(names=["bad", "good", "so"])
    features = datasets.Features({"label": labels, "text": datasets.Value("string")})
    rows = datasets.Dataset.from_dict(
        {"label": [number % 3 for number in range(60)], "text": [f"text {number}" for number in range(60)]}, features
    )
    found, same, other = (with_permuted_labels(rows, seed=seed) for seed in (1, 1, 2))
    assert found.features == rows.features
    assert found.column_names == rows.column_names
    assert found["text"][:] == rows["text"][:]
    assert sorted(found["label"]) == sorted(rows["label"])
    assert found["label"][:] == same["label"][:] != other["label"][:]
    agreeing = sum(a == b for a, b in zip(found["label"], rows["label"], strict=True))
    assert 10 <= agreeing <= 30  # 20 by chance


def test_the_test_of_permuted_labels_compares_two_models(pair):
    found = permuted_label_training(*pair, TEXTS, NAMES, ratio=0.5)
    pd.testing.assert_frame_equal(found, different_initialisations(*pair, TEXTS, NAMES, ratio=0.5))


# Verdict and summary


def frame_of(**columns):
    return pd.DataFrame(
        {"attribution": "a", "example": range(4), "random_jaccard": 0.2, "same_prediction": True} | columns
    )


def test_a_verdict_is_the_paired_difference():
    trained, blind = frame_of(jaccard=[0.9, 0.8, 1.0, 0.7]), frame_of(jaccard=[0.2, 0.3, 0.1, 0.2]).iloc[::-1]
    verdict = randomisation_verdict(trained, blind).iloc[0]
    expected = paired_bootstrap(
        torch.tensor([0.9, 0.8, 1.0, 0.7]).double(), torch.tensor([0.2, 0.3, 0.1, 0.2]).double()
    )
    assert verdict[["difference", "low", "high"]].tolist() == pytest.approx(
        [expected.estimate, expected.low, expected.high]
    )
    assert verdict[["trained", "untrained", "random"]].tolist() == pytest.approx([0.85, 0.2, 0.2])
    assert verdict["passes"]
    assert not randomisation_verdict(blind, trained)["passes"].item()


def test_a_verdict_needs_the_same_examples():
    whole = frame_of(jaccard=0.5)
    cascade = pd.concat([whole.assign(layer=layer) for layer in ("head", "embeddings")])  # of parameter_randomisation
    for part in (whole.iloc[:3], whole.assign(attribution="b"), cascade):
        with pytest.raises(UserError, match="the two frames must be of the same attributions and examples"):
            randomisation_verdict(whole, part)


def test_a_summary_averages_a_texts_rows_before_it_draws_texts():
    once = frame_of(jaccard=[0.9, 0.8, 1.0, 0.7], spearman=[0.5, float("nan"), 0.1, 0.3])
    summary = summarise(once).iloc[0]
    interval = bootstrap_interval(torch.tensor([0.9, 0.8, 1.0, 0.7]).double())
    assert summary[["jaccard", "jaccard_low", "jaccard_high"]].tolist() == pytest.approx(
        [interval.estimate, interval.low, interval.high]
    )
    assert summary["above_random"] == pytest.approx(0.65)
    assert summary[["spearman", "spearman_undefined", "examples"]].tolist() == pytest.approx([0.3, 0.25, 4])
    thrice = pd.concat([once] * 3)
    pd.testing.assert_frame_equal(summarise(thrice), summarise(once))


# Real weights


def test_on_real_weights(minilm):
    texts = [
        "A touching, unhurried film that earns every one of its tears.",
        "The plot is as thin as the paper it was hardly written on.",
        "Nobody in this cast seems to have read the script, and who could blame them?",
        "Gorgeous to look at and a bore to sit through.",
    ]
    other_head = copy.deepcopy(minilm)
    with torch.no_grad():
        other_head.model.classifier.weight.normal_()
    heads = different_initialisations(minilm, other_head, texts, ["random", "attention"])
    assert (heads["jaccard"] == 1.0).all()
    frame = parameter_randomisation(minilm, None, texts, ["random", "attention", "input_x_gradient"])
    assert (frame.loc[frame["attribution"] == "random", "spearman"] == 1.0).all()
    assert (frame.loc[frame["attribution"] == "attention"].groupby("layer")["spearman"].mean()[["head"]] == 1.0).all()
    last = summarise(frame[frame["layer"] == "embeddings"]).set_index("attribution")
    assert (last.loc[["attention", "input_x_gradient"], "spearman"] < 0.6).all()
