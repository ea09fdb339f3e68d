"""Every metric as evaluate_faithfulness gives it: by hand, against plain loops, and what it must not depend on."""

import functools
import math

import datasets
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import faithfulness
from reference.linear_classifier import LinearClassifier

from regex_lib.attributions import METHODS
from regex_lib.attributions.sampling import example_generators
from regex_lib.errors import UserError
from regex_lib.evaluation import METRICS, Metric, evaluate_faithfulness, perturbed
from regex_lib.evaluation.removals import Features
from regex_lib.masks import ranks
from regex_lib.metrics import scaled_attribution, soft_keep_mask

few = settings(deadline=None, max_examples=12)
ERASURE = [
    *("sufficiency", "comprehensiveness", "eraser_sufficiency", "eraser_comprehensiveness"),
    *("naopc_sufficiency", "naopc_comprehensiveness", "decision_flip", "flip_fraction", "loo_tau", "monotonicity"),
]
LOWER_IS_BETTER = {"eraser_sufficiency", "flip_fraction", "infidelity", "max_sensitivity"}


def rows_of(*texts):
    return datasets.Dataset.from_dict({"text": list(texts), "label": [1] * len(texts)})


@pytest.fixture
def scored(monkeypatch):
    """Registers an attribution that gives each text's content tokens the given scores."""

    def register(name, *scores):
        def method(classifier, batch, target):
            found = torch.zeros(batch.input_ids.shape, dtype=torch.float64)
            for row, content in zip(found, batch.content_mask, strict=True):
                wanted = next(values for values in scores if len(values) == content.sum())
                row[content] = torch.tensor(wanted, dtype=torch.float64)
            return found

        monkeypatch.setitem(METHODS, name, method)
        return name

    return register


def values(classifier, texts, method, metrics=ERASURE, **options):
    """One row of scores for each text."""
    return evaluate_faithfulness(classifier, rows_of(*texts), [method], metrics, **options).examples[list(metrics)]


# By hand. The odds of the full text are 6 x 2 / 4 = 3, its probability 3/4; without anything they are 1 and 1/2.
# Without a, b, c: odds 1/2, 3/2, 12; without ab, ac, bc: 1/4, 2, 6.
FACTORS = {"a": 6.0, "b": 2.0, "c": 0.25}
BY_HAND = {
    "sufficiency": (1 - (3 / 4 - 2 / 3) / 0.2501 + 0) / 2,  # b alone, 2/3; b and c, 1/3, less than nothing gives
    "comprehensiveness": ((3 / 4 - 3 / 5) / 0.2501 + 0) / 2,  # without b, 3/5; without b and c, 6/7
    "eraser_sufficiency": (3 / 4 - 2 / 3 + 3 / 4 - 1 / 3) / 2,
    "eraser_comprehensiveness": (3 / 4 - 3 / 5 + 3 / 4 - 6 / 7) / 2,
    "decision_flip": 0.0,
    "flip_fraction": 1.0,  # at odds of 1 the first class is predicted
    "loo_tau": -1 / 3,  # drops .42, .15, -.17
    "monotonicity": 2 / 3,  # 1/2, 6/7, 3/5, 3/4
}
LOWEST, HIGHEST = (9 / 4 - 12 / 13 - 6 / 7 - 1 / 2) / 3, (9 / 4 - 1 / 3 - 1 / 5 - 1 / 2) / 3
BY_HAND["naopc_comprehensiveness"] = ((9 / 4 - 3 / 5 - 6 / 7 - 1 / 2) / 3 - LOWEST) / (HIGHEST - LOWEST)
BY_HAND["naopc_sufficiency"] = 1 - ((9 / 4 - 1 / 3 - 2 / 3 - 1 / 2) / 3 - LOWEST) / (HIGHEST - LOWEST)


@pytest.mark.parametrize("metric", ERASURE)
def test_a_linear_classifier_as_calculated_by_hand(scored, metric):
    order = scored("b_c_a", [0.0, 2.0, 1.0])
    found = values(LinearClassifier(FACTORS), ["a b c"], order, [metric], ratios=(1 / 3, 2 / 3))
    assert found.loc[0, metric] == pytest.approx(BY_HAND[metric], abs=1e-9)


def test_the_acl_2022_average_divides_by_one_ratio_more(scored):
    order = scored("b_c_a", [0.0, 2.0, 1.0])
    metrics = ["sufficiency", "comprehensiveness"]
    found = values(LinearClassifier(FACTORS), ["a b c"], order, metrics, ratios=(1 / 3, 2 / 3), aopc="acl2022")
    assert found.loc[0].tolist() == pytest.approx([BY_HAND[metric] * 2 / 3 for metric in metrics])


def test_the_values_at_each_ratio_are_in_the_curves(scored):
    order = scored("b_c_a", [0.0, 2.0, 1.0])
    report = evaluate_faithfulness(
        LinearClassifier(FACTORS), rows_of("a b c"), [order], ["eraser_comprehensiveness"], ratios=(1 / 3, 2 / 3)
    )
    assert report.curves.to_dict("list") == {
        "attribution": [order] * 2,
        "ratio": [1 / 3, 2 / 3],
        "eraser_comprehensiveness": pytest.approx([3 / 4 - 3 / 5, 3 / 4 - 6 / 7]),
    }


def test_infidelity_by_hand(scored, monkeypatch):
    """One removal of a and b: the drop of 3/4 - 1/5 is predicted by 2 + 1, and the scale makes up for all of it."""
    removed = torch.tensor([[[True, True, False]], [[False, False, True]]])
    content = torch.tensor([False, True, True, True, False])
    removals = torch.zeros(1, 2, 5, dtype=torch.bool)
    removals[..., content] = removed[:, 0][None]
    monkeypatch.setattr(perturbed, "_random_removals", lambda *_, **__: removals)
    order = scored("two_one", [2.0, 1.0, 1.0])
    predicted, drops = (3.0, 1.0), (3 / 4 - 1 / 5, 3 / 4 - 12 / 13)
    scale = (3.0 * drops[0] + drops[1]) / 10.0
    expected = sum((scale * p - d) ** 2 for p, d in zip(predicted, drops, strict=True)) / 2
    found = values(LinearClassifier(FACTORS), ["a b c"], order, ["infidelity"])
    assert found.loc[0, "infidelity"] == pytest.approx(expected)


def test_soft_metrics_by_hand(scored):
    """The odds are 6 x 2. One word is kept, or removed, for certain and the other never: nothing is left to chance."""
    order = scored("a_b", [3.0, -1.0])
    metrics = ["soft_sufficiency", "soft_comprehensiveness"]
    found = values(LinearClassifier(FACTORS), ["a b"], order, metrics)
    full, without_a, without_b, span = 12 / 13, 2 / 3, 6 / 7, 12 / 13 - 1 / 2 + 1e-4
    assert found.loc[0].tolist() == pytest.approx([1 - (full - without_b) / span, (full - without_a) / span])


def test_max_sensitivity_by_hand(monkeypatch):
    """InputXGradient of a linear classifier is its input: scores move as far as the embeddings do."""
    noise = torch.zeros(2, 1, 5, 1, dtype=torch.float64)
    noise[:, 0, 1:4, 0] = torch.tensor([[0.3, 0.0, 0.0], [0.0, 0.4, -0.3]])
    monkeypatch.setattr(perturbed.metrics, "random_perturbations", lambda *_, **__: noise)
    metrics = ["comprehensiveness", "max_sensitivity"]
    found = values(LinearClassifier(FACTORS), ["a b c"], "input_x_gradient", metrics)
    length = math.hypot(math.log(6), math.log(2), math.log(4))
    assert found.loc[0, "max_sensitivity"] == pytest.approx(0.5 / length)


def test_the_radius_of_max_sensitivity_is_a_share_of_the_embeddings():
    metrics = ["comprehensiveness", "max_sensitivity"]
    options = {"max_sensitivity": {"samples": 40, "radius": 0.1}}
    found = values(LinearClassifier(FACTORS), ["a b c"], "input_x_gradient", metrics, metric_options=options)
    # Each of three entries moves by less than a tenth of their root mean square: by less than a tenth in all.
    assert 0.05 < found.loc[0, "max_sensitivity"] < 0.1


# Plain loops


class PlainText:
    """One text of a classifier's, with a forward pass for every question, of exactly the tokens that are left."""

    def __init__(self, classifier, text, level, replacement):
        self.classifier, self.replacement = classifier, replacement
        batch = classifier.tokenize([text])
        self.ids = batch.input_ids[0].tolist()
        index = Features.of(batch, [text], level).index[0].tolist()
        self.features = [[i for i, f in enumerate(index) if f == feature] for feature in sorted(set(index) - {-1})]

    def __call__(self, removed):
        gone = {token for feature in removed for token in self.features[feature]}
        ids, attended = list(self.ids), [True] * len(self.ids)
        if self.replacement == "delete":
            ids = [token for i, token in enumerate(ids) if i not in gone]
            attended = [True] * len(ids)
        elif self.replacement == "attention":
            attended = [i not in gone for i in range(len(ids))]
        else:
            tokenizer = self.classifier.tokenizer
            masks = self.replacement == "mask" and tokenizer.mask_token_id is not None  # decoders have no [MASK]
            token = tokenizer.mask_token_id if masks else tokenizer.pad_token_id
            ids = [token if i in gone else old for i, old in enumerate(ids)]
        if not any(attended):
            ids, attended = [self.classifier.tokenizer.pad_token_id], [True]
        with torch.no_grad():
            logits = self.classifier(self.classifier.embed(torch.tensor([ids])), torch.tensor([attended])).logits
        return logits[0].softmax(dim=-1).tolist()


TEXTS = ["never", "not great not bad", "dull , never dull-ish"]


@pytest.mark.parametrize("replacement", ["pad", "mask", "delete", "attention"])
@pytest.mark.parametrize(("kind", "level"), [("bert", "token"), ("roberta", "word"), ("gpt2", "token")])
def test_every_erasure_metric_is_that_of_plain_loops(make_tiny, kind, level, replacement):
    classifier = make_tiny(kind, num_labels=3).double()
    ratios = (0.1, 0.3, 0.5)
    report = evaluate_faithfulness(
        classifier, rows_of(*TEXTS), ["random", "input_x_gradient"], ERASURE, ratios=ratios, level=level,
        replacement=replacement,
    )  # fmt: skip
    found = report.examples.set_index(["attribution", "example"])
    for number, text in enumerate(TEXTS):
        plain = PlainText(classifier, text, level, replacement)
        batch = classifier.tokenize([text])
        target = torch.tensor([found.loc[("random", number), "prediction"]])
        for method in ("random", "input_x_gradient"):
            tokens = METHODS[method](classifier, batch, target)[0].tolist()
            counted = [feature[:1] if method == "random" else feature for feature in plain.features]
            scores = [sum(tokens[i] for i in feature) for feature in counted]
            expected = faithfulness.metrics(functools.cache(plain), scores, ratios)
            row = found.loc[(method, number), ERASURE].to_dict()
            assert row == pytest.approx(expected, abs=1e-6, nan_ok=True), (text, method)


def test_soft_metrics_are_those_of_plain_loops(make_tiny):
    classifier = make_tiny().double()
    metrics = ["soft_sufficiency", "soft_comprehensiveness"]
    found = values(classifier, TEXTS, "input_x_gradient", metrics, metric_options={m: {"samples": 2} for m in metrics})
    for number, text in enumerate(TEXTS):
        batch = classifier.tokenize([text])
        embeddings = classifier.embed(batch.input_ids).detach()

        def probabilities(embeddings, batch=batch):
            with torch.no_grad():
                return classifier(embeddings, batch.attention_mask).logits[0].softmax(dim=-1)

        target = int(probabilities(embeddings).argmax())
        scores = METHODS["input_x_gradient"](classifier, batch, torch.tensor([target]))
        keep = scaled_attribution(scores, batch.content_mask)
        full = float(probabilities(embeddings)[target])
        empty = float(probabilities(embeddings * ~batch.content_mask[..., None])[target])
        kinds = {
            metrics[0]: (keep, faithfulness.normalised_sufficiency),
            metrics[1]: (1 - keep, faithfulness.normalised_comprehensiveness),
        }
        for metric, (share, normalised) in kinds.items():
            generators = example_generators(batch, 0)
            drawn = [soft_keep_mask(share, batch.content_mask, 16, generators) for _ in range(2)]
            kept = [float(probabilities(embeddings * mask)[target]) for mask in drawn]
            expected = sum(normalised(full, p, empty) for p in kept) / 2
            assert found.loc[number, metric] == pytest.approx(expected, abs=1e-6)


def test_infidelity_is_that_of_plain_loops(make_tiny, monkeypatch):
    classifier = make_tiny().double()
    drawn, draw = [], perturbed._random_removals
    monkeypatch.setattr(perturbed, "_random_removals", lambda *a, **k: drawn.append(draw(*a, **k)) or drawn[-1])
    found = values(classifier, TEXTS, "input_x_gradient", ["infidelity"])
    sizes = set()
    for number, text in enumerate(TEXTS):  # the texts are in the order of their lengths
        plain, batch = PlainText(classifier, text, "token", "pad"), classifier.tokenize([text])
        classes = plain(frozenset())
        target = classes.index(max(classes))
        scores = METHODS["input_x_gradient"](classifier, batch, torch.tensor([target]))[0][batch.content_mask[0]]
        rows = drawn[0][number][:, 1 : 1 + len(scores)]
        removals = [row.nonzero().flatten().tolist() for row in rows]
        sizes |= {len(removed) / len(scores) for removed in removals}
        expected = faithfulness.infidelity(lambda r, plain=plain, t=target: plain(r)[t], scores.tolist(), removals)
        assert found.loc[number, "infidelity"] == pytest.approx(expected, abs=1e-9)
    assert len(sizes) > 4, "removals of every size"


# What a perfect ranking, and its reverse, get from a linear classifier

FACTOR = st.sampled_from([1.25, 1.5, 2.0, 3.0, 5.0])


@st.composite
def linear_texts(draw):
    """Texts of different words that all speak for class 1, each with another factor: nothing is tied."""
    factors = draw(st.lists(FACTOR, min_size=2, max_size=5, unique=True))
    words = [f"w{number}" for number in range(len(factors))]
    return LinearClassifier(dict(zip(words, factors, strict=True))), " ".join(words)


@few
@given(linear_texts())
def test_a_perfect_ranking_is_best_and_its_reverse_worst(case):
    classifier, text = case
    try:
        METHODS["best"] = lambda classifier, batch, target: classifier.embed(batch.input_ids)[..., 0]
        METHODS["worst"] = lambda classifier, batch, target: -classifier.embed(batch.input_ids)[..., 0]
        report = evaluate_faithfulness(
            classifier, rows_of(text), ["best", "worst", "random"], ERASURE, ratios=(0.3, 0.6)
        )
    finally:
        METHODS.pop("best"), METHODS.pop("worst")
    best, worst, other = (report.examples.loc[i] for i in range(3))
    for metric in ("loo_tau", "naopc_sufficiency", "naopc_comprehensiveness"):
        assert best[metric] == pytest.approx(1.0)
        assert worst[metric] == pytest.approx(-1.0 if metric == "loo_tau" else 0.0)
    assert best["monotonicity"] == worst["monotonicity"] == 1.0, "each word speaks for the class"
    for metric in ERASURE:
        better, poorer = (worst, best) if metric in LOWER_IS_BETTER else (best, worst)
        assert poorer[metric] - 1e-9 <= other[metric] <= better[metric] + 1e-9
        low, high = (-1, 1) if metric == "loo_tau" or metric.startswith("eraser") else (0, 1)
        assert low <= other[metric] <= high


@few
@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(0.1, 10))
def test_shifting_and_scaling_scores_changes_nothing(seed, shift, scale):
    factors = dict(zip("abcde", (3.0, 0.5, 2.0, 0.7, 1.5), strict=True))
    scores = torch.randn(7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(4).round()
    try:
        METHODS["plain"] = lambda classifier, batch, target: scores[None]
        METHODS["moved"] = lambda classifier, batch, target: (scale * scores + shift)[None]
        metrics = [*ERASURE, "soft_sufficiency", "soft_comprehensiveness"]
        report = evaluate_faithfulness(LinearClassifier(factors), rows_of("a b c d e"), ["plain", "moved"], metrics)
    finally:
        METHODS.pop("plain"), METHODS.pop("moved")
    first, second = (report.examples.loc[i, metrics].to_dict() for i in range(2))
    assert first == pytest.approx(second, abs=1e-6, nan_ok=True)


def test_of_equal_scores_the_earlier_token_is_the_more_important_in_every_metric(scored):
    classifier = LinearClassifier({"a": 6.0, "b": 2.0, "c": 0.25, "d": 3.0})
    tied, ordered = scored("tied", [1.0, 2.0, 1.0, 1.0]), scored("ordered", [3.0, 4.0, 2.0, 1.0])
    metrics = [name for name in ERASURE if name != "loo_tau"]
    for level in ("token", "word"):
        first, second = (values(classifier, ["a b c d"], method, metrics, level=level) for method in (tied, ordered))
        pd.testing.assert_frame_equal(first, second)


EVERY = [*ERASURE, "soft_sufficiency", "soft_comprehensiveness", "infidelity", "max_sensitivity"]


@pytest.mark.parametrize("level", ["token", "word"])
def test_padding_batches_and_order_change_no_metric(make_tiny, level):
    classifier = make_tiny().double()
    texts = [*TEXTS, "a fine film", "great"]
    options = {"metrics": EVERY, "level": level, "ratios": (0.3, 0.6)}
    expected = evaluate_faithfulness(classifier, rows_of(*texts), ["input_x_gradient"], **options).examples[EVERY]
    alone = [
        evaluate_faithfulness(classifier, rows_of(text), ["input_x_gradient"], **options).examples[EVERY]
        for text in texts
    ]
    pd.testing.assert_frame_equal(pd.concat(alone, ignore_index=True), expected, rtol=0, atol=1e-6)
    turned = evaluate_faithfulness(
        classifier, rows_of(*texts[::-1]), ["input_x_gradient"], batch_size=2, shard_size=3, **options
    ).examples[EVERY]
    pd.testing.assert_frame_equal(turned[::-1].reset_index(drop=True), expected, rtol=0, atol=1e-6)


# What is asked for


def test_every_metric_says_which_direction_is_better():
    assert {name for name, metric in METRICS.items() if not metric.higher_is_better} == LOWER_IS_BETTER
    for name in METRICS:
        assert f"``{name}``" in evaluate_faithfulness.__doc__


def test_words_take_the_sum_of_their_tokens():
    features = Features(torch.tensor([[-1, 0, 0, 1, -1]]), torch.tensor([[True, True]]))
    assert features.scores(torch.tensor([[9.0, 1.0, 2.0, 4.0, 9.0]])).tolist() == [[3.0, 4.0]]
    gone = features.tokens(torch.tensor([0, 0]), torch.tensor([[True, False], [False, True]]))
    assert gone.tolist() == [[False, True, True, False, False], [False, False, False, True, False]]


def test_max_sensitivity_is_never_alone(make_tiny):
    with pytest.raises(UserError, match=r"max_sensitivity says nothing of faithfulness.*such as comprehensiveness"):
        evaluate_faithfulness(make_tiny(), rows_of("a film"), ["random"], ["max_sensitivity"])


def test_max_sensitivity_of_what_does_not_look_at_the_model_is_zero(make_tiny):
    found = values(make_tiny(), TEXTS, "random", ["loo_tau", "max_sensitivity"])
    assert found["max_sensitivity"].tolist() == [0.0] * 3


def test_max_sensitivity_refuses_what_removes_tokens(make_tiny):
    with pytest.raises(UserError, match="which 'leave_one_out' does not read: it removes tokens"):
        values(make_tiny(), TEXTS, "leave_one_out", ["loo_tau", "max_sensitivity"])


def test_leave_one_out_agrees_with_itself_and_costs_nothing_more():
    classifier = LinearClassifier({"a": 6.0, "b": 2.0, "c": 0.25})
    found = values(classifier, ["a b c"], "leave_one_out", ["loo_tau"], replacement="mask")
    assert found["loo_tau"].tolist() == [1.0]
    assert sum(classifier.passes) == 5  # the full text, nothing, and three without a word


def test_scores_in_double_precision_keep_their_order(scored):
    """Apart by less than single precision tells."""
    classifier = LinearClassifier({"a": 6.0, "b": 2.0, "c": 0.25})
    close = scored("close", [1.0, 1.0 + 1e-12, 1.0 + 2e-12])
    assert values(classifier, ["a b c"], close, ["loo_tau"])["loo_tau"].tolist() == [-1.0]


def test_the_tau_of_many_texts_is_that_of_each(make_tiny):
    """More texts than are compared at once."""
    classifier = make_tiny().double()
    texts = [" ".join(["a", "fine", "dull", "film", "never"][: 2 + i % 4]) + " not" * (i // 4) for i in range(20)]
    found = values(classifier, texts, "input_x_gradient", ["loo_tau"])["loo_tau"]
    alone = [values(classifier, [text], "input_x_gradient", ["loo_tau"]).loc[0, "loo_tau"] for text in texts[::7]]
    assert found[::7].tolist() == pytest.approx(alone)


def test_a_metric_of_ones_own_is_one_entry(make_tiny, monkeypatch):
    def plan(explained, *, places=1):
        mask = explained.chunk.removals.features.mask
        return ((ranks(explained.scores, mask) < places) & mask)[:, None]

    def compute(explained, answers, *, places=1):
        return answers[:, 0].gather(1, explained.chunk.removals.target[:, None]).squeeze(1)

    monkeypatch.setitem(METRICS, "mine", Metric(compute, plan))
    classifier = make_tiny().double()
    metrics = ["mine", "eraser_comprehensiveness"]
    report = evaluate_faithfulness(
        classifier,
        rows_of("a fine film"),
        ["attention"],
        metrics,
        ratios=(0.6,),
        metric_options={"mine": {"places": 2}},
    )
    row = report.examples.loc[0]
    assert row["mine"] == pytest.approx(row["probability"] - row["eraser_comprehensiveness"])
    assert list(report.table)[:3] == ["attribution", *metrics]
