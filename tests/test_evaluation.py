"""Evaluation against a second implementation: plain loops, one text at a time, attention written out, no planning."""

import json
import math

import datasets
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.unchecked import without_type_checks
from sklearn.metrics import f1_score

from regex_lib.attributions import METHODS, score_batch
from regex_lib.errors import UserError
from regex_lib.evaluation import ATTRIBUTIONS, COLUMNS, Metric, classify, evaluate_faithfulness
from regex_lib.evaluation import METRICS as METRICS_BY_NAME
from regex_lib.masks import ranks

TEXTS = [
    "a fine film",
    "dull and very bad acting but a great plot",
    "never",
    "not great not bad",
    "once the plot of the film never was dull",
    "great great great",
]
LABELS = [1, 0, 0, 1, 0, 1]
RATIOS = (0.1, 0.3, 0.5)
OPTIONS = {"integrated_gradients": {"n_steps": 4, "quadrature": "midpoint"}}
METRICS = ["sufficiency", "comprehensiveness"]
many = settings(deadline=None, max_examples=30)


def rows_of(texts=TEXTS, labels=LABELS):
    return datasets.Dataset.from_dict({"text": list(texts), "label": list(labels)})


@pytest.fixture
def exact(tiny):
    """In double precision, so that rounding cannot change a ranking."""
    return tiny.double()


def by_text(report, texts=TEXTS):
    """The report's rows by text and attribution, whatever their order."""
    frame = report.examples.assign(text=[texts[row] for row in report.examples["example"]])
    return frame.drop(columns="example").sort_values(["text", "attribution"]).reset_index(drop=True)


def assert_same_results(first, second):
    pd.testing.assert_frame_equal(first, second, rtol=0, atol=1e-6)


# The second implementation


class SlowReference:
    """Everything from the definitions, for one text at a time."""

    def __init__(self, classifier, plain, replacement):
        self.classifier, self.plain, tokenizer = classifier, plain, classifier.tokenizer
        self.token = tokenizer.mask_token_id if replacement == "mask" else tokenizer.pad_token_id
        self.pad = tokenizer.pad_token_id

    def logits(self, embeddings, **options):
        return self.plain(inputs_embeds=embeddings, **options)

    def embed(self, ids):
        return self.plain.get_input_embeddings()(torch.tensor([ids]))

    def probability(self, ids, target):
        with torch.no_grad():
            return self.logits(self.embed(ids)).logits[0].softmax(dim=-1)[target].item()

    def gradient(self, embeddings, target):
        point = embeddings.detach().requires_grad_()
        self.logits(point).logits[0, target].backward()
        return point.grad[0]

    def scores(self, name, ids, content, target):
        embeddings = self.embed(ids).detach()
        if name == "random":
            batch = self.classifier.tokenize([self.text])
            return score_batch(self.classifier, batch, "random", torch.tensor([target]), seed=0)[0].tolist()
        if name == "input_x_gradient":
            return (embeddings[0] * self.gradient(embeddings, target)).sum(dim=-1).tolist()
        if name == "integrated_gradients":
            baseline = self.embed([self.pad if i in content else token for i, token in enumerate(ids)]).detach()
            steps = [baseline + (step + 0.5) / 4 * (embeddings - baseline) for step in range(4)]
            mean = sum(self.gradient(point, target) for point in steps) / 4
            return ((embeddings - baseline)[0] * mean).sum(dim=-1).tolist()
        output = self.logits(embeddings.requires_grad_(), output_attentions=True)
        weights = output.attentions[-1]
        weights.retain_grad()
        output.logits[0, target].backward()
        row = weights[0, :, 0] * weights.grad[0, :, 0] if name == "scaled_attention" else weights[0, :, 0]
        return row.mean(dim=0).tolist()

    def evaluate(self, text, attributions, ratios):
        self.text = text
        encoded = self.classifier.tokenizer(text)
        ids = encoded["input_ids"]
        content = [i for i, token in enumerate(ids) if token not in self.classifier.boundary_ids]
        probabilities = self.logits(self.embed(ids)).logits[0].softmax(dim=-1)
        target = int(probabilities.argmax())
        full = probabilities[target].item()
        empty = self.probability([self.token if i in content else t for i, t in enumerate(ids)], target)
        results = {}
        for name in attributions:
            scores = self.scores(name, ids, content, target)
            ranking = sorted(content, key=lambda i: (-scores[i], i))
            curve = []
            for ratio in ratios:
                rationale = ranking[: math.ceil(ratio * len(content) - 1e-9)]
                kept = [t if i not in content or i in rationale else self.token for i, t in enumerate(ids)]
                removed = [self.token if i in rationale else t for i, t in enumerate(ids)]
                curve.append(self.normalised(full, self.probability(kept, target), empty, removed, target))
            results[name] = [sum(values) / len(ratios) for values in zip(*curve, strict=True)]
        return target, full, full - empty < 0.01, results

    def normalised(self, full, kept, empty, removed, target):
        without = self.probability(removed, target)
        sufficiency, sufficiency_of_nothing = 1 - max(0, full - kept), 1 - max(0, full - empty) - 1e-4
        normaliser = 1 - sufficiency_of_nothing
        scores = (sufficiency - sufficiency_of_nothing) / normaliser, max(0, full - without) / normaliser
        return [min(1, max(0, score)) for score in scores]


@pytest.mark.parametrize("replacement", ["pad", "mask"])
def test_every_number_is_that_of_plain_loops(exact, eager_copy, replacement):
    report = evaluate_faithfulness(exact, rows_of(), ratios=RATIOS, replacement=replacement, options=OPTIONS)
    reference = SlowReference(exact, eager_copy(exact), replacement)
    found = report.examples.set_index(["example", "attribution"])
    informative = 0
    for example, text in enumerate(TEXTS):
        prediction, probability, degenerate, expected = reference.evaluate(text, ATTRIBUTIONS, RATIOS)
        for name, scores in expected.items():
            row = found.loc[example, name]
            assert [row[metric] for metric in METRICS] == pytest.approx(scores, abs=1e-6), (text, name)
            assert (row["prediction"], row["label"]) == (prediction, LABELS[example])
            assert row["probability"] == pytest.approx(probability, abs=1e-6)
            assert row["degenerate"] == degenerate
            assert not row["truncated"]
            informative += not degenerate and 0 < scores[1] < 1
    assert informative > 5, "the comparison must not be between clipped numbers only"


def test_removed_tokens_keep_their_places(exact, eager_copy):
    """Given ids, RoBERTa counts positions around padding; here a removed token leaves its neighbours where they are."""
    batch = exact.tokenize(["a fine film"])
    ids = batch.input_ids.clone()
    ids[0, 1] = exact.pad_id
    plain = eager_copy(exact)
    with torch.no_grad():
        kept = exact(exact.embed(ids), batch.attention_mask).logits
        recounted = plain(input_ids=ids).logits
    assert torch.allclose(kept, recounted) == (plain.config.model_type != "roberta")


# What the result does not depend on


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_the_batch_size_changes_nothing(exact, batch_size):
    expected = evaluate_faithfulness(exact, rows_of(), ratios=RATIOS)
    found = evaluate_faithfulness(exact, rows_of(), ratios=RATIOS, batch_size=batch_size)
    assert_same_results(found.examples, expected.examples)


def test_the_shard_size_changes_nothing(exact):
    expected = evaluate_faithfulness(exact, rows_of(), ratios=RATIOS)
    found = evaluate_faithfulness(exact, rows_of(), ratios=RATIOS, shard_size=2)
    assert_same_results(found.examples, expected.examples)
    assert_same_results(found.table, expected.table)


def test_the_order_of_the_data_changes_nothing(exact):
    expected = evaluate_faithfulness(exact, rows_of(), ratios=RATIOS)
    found = evaluate_faithfulness(exact, rows_of(TEXTS[::-1], LABELS[::-1]), ratios=RATIOS)
    assert_same_results(by_text(found, TEXTS[::-1]), by_text(expected))
    assert_same_results(found.table, expected.table)


def test_other_texts_and_their_padding_change_nothing(exact):
    expected = evaluate_faithfulness(exact, rows_of(TEXTS[:1], LABELS[:1]), ratios=RATIOS)
    found = evaluate_faithfulness(exact, rows_of([TEXTS[0], "film " * 20], [1, 0]), ratios=RATIOS)
    first = found.examples.query("example == 0").reset_index(drop=True)
    assert_same_results(first, expected.examples)


def test_other_attributions_change_nothing(exact):
    every = evaluate_faithfulness(exact, rows_of(), ratios=RATIOS)
    one = evaluate_faithfulness(exact, rows_of(), ["attention"], ratios=RATIOS)
    expected = every.examples.query("attribution == 'attention'").reset_index(drop=True)
    assert_same_results(one.examples, expected)


def test_examples_stand_in_the_order_of_the_data_for_each_attribution_in_turn(tiny):
    report = evaluate_faithfulness(tiny, rows_of(), ["random", "attention"])
    assert report.examples["example"].tolist() == [*range(6), *range(6)]
    assert report.examples["attribution"].tolist() == ["random"] * 6 + ["attention"] * 6
    assert report.table["attribution"].tolist() == ["random", "attention"]


# What it costs


def count_rows(classifier, run):
    """How many inputs go through the model."""
    sizes = []
    handle = classifier.model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs["inputs_embeds"])), with_kwargs=True
    )
    run()
    handle.remove()
    return sum(sizes)


def test_there_is_one_forward_pass_per_distinct_input(make_tiny, monkeypatch):
    """Two rankings that are each other's reverse, so that one's rationale is often the other's rest.

    What is left of two texts may be the same: nothing of two texts of one length, say.
    """
    monkeypatch.setitem(METHODS, "first", lambda classifier, batch, target: -batch.input_ids.cumsum(dim=1).float())
    monkeypatch.setitem(METHODS, "last", lambda classifier, batch, target: batch.input_ids.cumsum(dim=1).float())
    ratios = (0.1, 0.5, 1.0)
    distinct = set()
    for text in TEXTS:
        words = text.split()
        removals = {frozenset(), frozenset(range(len(words)))}
        for order in (list(range(len(words))), list(range(len(words)))[::-1]):
            for ratio in ratios:
                rationale = order[: math.ceil(ratio * len(words) - 1e-9)]
                removals |= {frozenset(rationale), frozenset(order) - frozenset(rationale)}
        distinct |= {tuple("[PAD]" if i in removed else word for i, word in enumerate(words)) for removed in removals}
    classifier = make_tiny()
    planned = len(TEXTS) * (2 + 2 * 2 * len(ratios))
    passed = count_rows(
        classifier, lambda: evaluate_faithfulness(classifier, rows_of(), ["first", "last"], ratios=ratios)
    )
    assert passed == len(distinct) < planned


# The table


def test_the_table_has_these_columns_and_one_row_per_attribution(tiny):
    table = evaluate_faithfulness(tiny, rows_of()).table
    assert tuple(table.columns) == COLUMNS
    assert tuple(table["attribution"]) == ATTRIBUTIONS
    assert table["examples"].tolist() == [6] * 5


def test_the_table_averages_the_examples(tiny):
    report = evaluate_faithfulness(tiny, rows_of())
    means = report.examples.groupby("attribution", sort=False)[[*METRICS, "degenerate"]].mean()
    assert report.table[METRICS].to_numpy() == pytest.approx(means[METRICS].to_numpy())
    assert report.table["degenerate_share"].tolist() == pytest.approx(means["degenerate"].tolist())


def test_the_curves_average_to_the_table(tiny):
    report = evaluate_faithfulness(tiny, rows_of(), ratios=RATIOS)
    assert report.curves["ratio"].tolist() == list(RATIOS) * 5
    means = report.curves.groupby("attribution", sort=False)[METRICS].mean()
    assert report.table[METRICS].to_numpy() == pytest.approx(means.to_numpy())


def test_the_classification_is_the_models(tiny):
    report = evaluate_faithfulness(tiny, rows_of(), ["random"])
    predictions = report.examples["prediction"]
    assert report.classification["accuracy"] == (predictions == report.examples["label"]).mean()
    assert report.classification["macro_f1"] == pytest.approx(
        f1_score(LABELS, predictions, labels=[0, 1], average="macro", zero_division=0.0)
    )
    for name, value in report.classification.items():
        assert report.table[name].tolist() == [value]


def test_the_settings_are_kept(tiny):
    report = evaluate_faithfulness(tiny, rows_of(), ["random"], ratios=RATIOS, replacement="mask", seed=3, max_length=9)
    assert report.settings == {
        "metrics": ["sufficiency", "comprehensiveness"], "ratios": [0.1, 0.3, 0.5], "aopc": "mean", "level": "token",
        "replacement": "mask", "precision": "fp32", "max_length": 9, "seed": 3,
        "options": {"random": {"seed": 3}}, "metric_options": {}, "left_out": 0,
    }  # fmt: skip
    assert report.examples["truncated"].any()


def test_the_options_are_kept_as_json_tells_them(tiny):
    report = evaluate_faithfulness(
        tiny, rows_of(), ["random"], ["loo_tau", "infidelity"], options={"random": {"seed": 5}, "lime": {}},
        metric_options={"infidelity": {"samples": 3}, "naopc_sufficiency": {"method": "beam"}},
    )  # fmt: skip
    assert report.settings["options"] == {"random": {"seed": 5}, "lime": {}}
    assert report.settings["metric_options"] == {"infidelity": {"samples": 3}, "naopc_sufficiency": {"method": "beam"}}
    told = evaluate_faithfulness(tiny, rows_of(), ["random"], options={"random": {"seed": torch.tensor(5).item()},
        "expected_gradients": {"references": torch.zeros(1), "n_samples": (1, 2)}}).settings["options"]  # fmt: skip
    assert told["expected_gradients"] == {"references": [0.0], "n_samples": [1, 2]}
    assert json.loads(json.dumps(told)) == told


def test_a_constant_classifier_gets_defined_numbers_and_is_called_degenerate(make_tiny):
    classifier = make_tiny()
    for parameter in classifier.model.classifier.parameters():
        parameter.data.zero_()
    table = evaluate_faithfulness(classifier, rows_of()).table
    assert table["degenerate_share"].tolist() == [1.0] * 5
    assert table["sufficiency"].tolist() == [1.0] * 5, "any rationale does as well as the text"
    assert table["comprehensiveness"].tolist() == [0.0] * 5
    assert not table.isna().any(axis=None)


def test_texts_without_content_are_left_out_and_counted(make_tiny):
    whole = evaluate_faithfulness(make_tiny(), rows_of(TEXTS[:2], [1, 0]), ["random"])
    report = evaluate_faithfulness(make_tiny(), rows_of([TEXTS[0], "[SEP]", "", TEXTS[1]], [1, 0, 1, 0]), ["random"])
    assert report.settings["left_out"] == 2
    assert report.examples["example"].tolist() == [0, 3]
    assert report.classification == pytest.approx(whole.classification)


def test_data_without_any_content_are_refused(make_tiny):
    with pytest.raises(UserError, match="no text has content tokens"):
        evaluate_faithfulness(make_tiny(), rows_of(["[SEP]", ""], [0, 0]), ["random"])


# Options


def test_a_drawn_sample_depends_on_the_seed_alone(tiny):
    def drawn(seed):
        return evaluate_faithfulness(tiny, rows_of(), ["random"], max_examples=3, seed=seed).examples

    pd.testing.assert_frame_equal(drawn(1), drawn(1))
    samples = {tuple(drawn(seed)["example"]) for seed in range(6)}
    assert len(samples) > 1
    assert all(len(set(sample)) == 3 for sample in samples)


def test_a_sample_larger_than_the_data_is_all_of_it(tiny):
    report = evaluate_faithfulness(tiny, rows_of(), ["random"], max_examples=99)
    assert report.examples["example"].tolist() == list(range(6))


def test_the_seed_is_that_of_the_random_attribution(exact):
    first, again, other = (
        evaluate_faithfulness(exact, rows_of(), ["random"], seed=seed).examples for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(first, again)
    assert not first[METRICS].equals(other[METRICS])


def test_options_reach_their_method(make_tiny, monkeypatch):
    def constant(classifier, batch, target, *, value=1.0):
        values.append(value)
        return torch.full(batch.input_ids.shape, value)

    values = []
    monkeypatch.setitem(METHODS, "constant", constant)
    for options in (None, {"constant": {"value": 2.0}}, {"random": {"seed": 3}}):
        evaluate_faithfulness(make_tiny(), rows_of(), ["constant"], options=options)
    assert values == [1.0, 2.0, 1.0]


@many
@given(st.text("abcdefgh_", min_size=1), st.sampled_from(sorted(METHODS)), st.sampled_from(sorted(METRICS_BY_NAME)))
def test_no_option_that_nothing_takes_is_accepted(make_tiny, option, method, metric):
    classifier = make_tiny()
    for given_options, name in (("options", method), ("metric_options", metric)):
        with pytest.raises(UserError, match=f"{name}.* {option!r}"):
            evaluate_faithfulness(classifier, rows_of(), **{given_options: {name: {option: 1}}})


def test_a_method_or_metric_of_ones_own_may_take_any_option(make_tiny, monkeypatch):
    def method(*inputs, **options):
        taken.append(options)
        return inputs[1].input_ids.float()

    def compute(explained, *, shift=0.0):
        return explained.scores.sum(dim=1) + shift

    taken = []
    monkeypatch.setitem(METHODS, "mine", method)
    monkeypatch.setitem(METRICS_BY_NAME, "sum", Metric(compute))
    table = evaluate_faithfulness(
        make_tiny(), rows_of(), ["mine"], ["sum"], options={"mine": {"any": 1}}, metric_options={"sum": {"shift": -1e9}}
    ).table
    assert taken == [{"any": 1}]
    assert table["sum"][0] < -1e8


def test_an_option_of_a_planned_metric_is_one_that_its_plan_takes_as_well(make_tiny, monkeypatch):
    def plan(explained, *, top=1):
        return ranks(explained.scores, explained.chunk.removals.features.mask)[:, None] < top

    def compute(explained, answers, *, top=1, power=1.0):
        return answers[:, 0, 0] ** power

    monkeypatch.setitem(METRICS_BY_NAME, "without_top", Metric(compute, plan=plan))
    evaluate_faithfulness(
        make_tiny(), rows_of(), ["random"], ["without_top"], metric_options={"without_top": {"top": 2}}
    )
    with pytest.raises(UserError, match=r"unknown without_top option 'power': .*Known: top"):
        evaluate_faithfulness(
            make_tiny(), rows_of(), ["random"], ["without_top"], metric_options={"without_top": {"power": 2.0}}
        )


def test_a_method_of_ones_own_that_differentiates_is_evaluated(tiny, monkeypatch):
    def gradient_norm(classifier, batch, target):
        embeddings = classifier.embed(batch.input_ids).detach().requires_grad_()
        explained = classifier(embeddings, batch.attention_mask).logits.gather(1, target[:, None]).sum()
        (gradient,) = torch.autograd.grad(explained, embeddings)
        return gradient.norm(dim=-1)

    monkeypatch.setitem(METHODS, "mine", gradient_norm)
    table = evaluate_faithfulness(tiny, rows_of(), ["random", "mine"]).table
    assert table["attribution"].tolist() == ["random", "mine"]


@pytest.mark.parametrize("mode", [True, False])
def test_the_model_stays_in_its_mode(tiny, mode):
    tiny.train(mode)
    evaluate_faithfulness(tiny, rows_of(), ["random"])
    assert all(module.training is mode for module in tiny.modules())


def test_dropout_plays_no_part(tiny):
    expected = evaluate_faithfulness(tiny.eval(), rows_of()).examples
    pd.testing.assert_frame_equal(evaluate_faithfulness(tiny.train(), rows_of()).examples, expected)


def test_progress_adds_up_to_the_number_of_examples(make_tiny):
    finished = []
    evaluate_faithfulness(make_tiny(), rows_of(), ["random"], shard_size=4, progress=finished.append)
    assert finished == [4, 2]


def test_a_progress_bar_is_shown_when_asked_for(make_tiny, capsys):
    evaluate_faithfulness(make_tiny(), rows_of(), ["random"])
    assert not capsys.readouterr().err
    evaluate_faithfulness(make_tiny(), rows_of(), ["random"], progress=True)
    assert "6/6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributions": ["attentions"]}, "unknown attribution 'attentions': did you mean 'attention'"),
        ({"attributions": []}, "attributions must be one or more different names, got none"),
        ({"attributions": "random"}, r"attributions must be a list of names, got 'random': put it into brackets"),
        ({"metrics": "loo_tau"}, "metrics must be a list of names, got 'loo_tau': put it into brackets"),
        ({"options": {"lmie": {}}}, "unknown attribution 'lmie': did you mean 'lime'"),
        ({"options": {"n_steps": 5}}, "unknown attribution 'n_steps'"),
        (
            {"options": {"integrated_gradients": {"n_step": 5}}},
            "unknown integrated_gradients option 'n_step': did you mean 'n_steps'",
        ),
        ({"options": {"random": {"seeds": 1}}}, "unknown random option 'seeds': did you mean 'seed'.* Known: seed$"),
        ({"options": {"attention": {"layer": 1}}}, "attention has no options, got 'layer'"),
        ({"options": {"lime": {"batch": None}}}, "unknown lime option 'batch'"),
        (
            {
                "attributions": ["leave_one_out"],
                "replacement": "mask",
                "options": {"leave_one_out": {"replace": "pad"}},
            },
            "unknown leave_one_out option 'replace': did you mean 'replacement'",
        ),
        ({"metric_options": {"naopc_suficiency": {}}}, "unknown metric 'naopc_suficiency': did you mean"),
        (
            {"metric_options": {"naopc_sufficiency": {"beam": 3}}},
            "unknown naopc_sufficiency option 'beam': did you mean 'beam_size'",
        ),
        ({"metric_options": {"sufficiency": {"ratios": [0.1]}}}, "sufficiency has no options, got 'ratios'"),
        ({"attributions": ["random", "random"]}, "one or more different names, got random, random"),
        ({"ratios": []}, r"ratios must lie above 0 and at most at 1, got \[\]"),
        ({"ratios": [0.0, 0.5]}, "ratios must lie above 0"),
        ({"ratios": [0.5, 1.1]}, "ratios must lie above 0"),
        ({"ratios": [math.nan]}, "ratios must lie above 0"),
        ({"max_examples": 0}, "max_examples must be 1 or more, got 0"),
        ({"max_length": 2}, "max_length must be between 3 and the model's 32, got 2"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"shard_size": 0}, "shard_size must be 1 or more, got 0"),
        ({"metrics": ["loo_taus"]}, "unknown metric 'loo_taus': did you mean 'loo_tau'"),
        ({"metrics": []}, "metrics must be one or more different names, got none"),
        ({"metrics": ["loo_tau", "loo_tau"]}, "one or more different names, got loo_tau, loo_tau"),
        ({"aopc": "sum"}, "aopc must be 'mean' or 'acl2022', got 'sum'"),
        ({"level": "letter"}, "level must be 'token' or 'word', got 'letter'"),
        ({"replacement": "unk"}, "replacement must be 'pad', 'mask', 'delete' or 'attention', got 'unk'"),
        ({"precision": "fp8"}, "precision must be 'fp32' or 'bf16', got 'fp8'"),
    ],
)
def test_what_is_wrong_is_said(make_tiny, options, message):
    with without_type_checks(), pytest.raises(UserError, match=message):
        evaluate_faithfulness(make_tiny(), rows_of(), **options)


@pytest.mark.parametrize("label", [2, -1])
def test_a_label_that_the_model_does_not_have_is_refused(make_tiny, label):
    with pytest.raises(UserError, match=f"the data has label {label}, but the model has 2 classes"):
        evaluate_faithfulness(make_tiny(), rows_of(TEXTS[:2], [0, label]), ["random"])


# Data as users have them


def same_data():
    """The same rows as tables, and with a format."""
    rows = rows_of()
    frame = rows.to_pandas()
    numbered = frame.assign(label=frame["label"].astype("object"), more="x").set_index(pd.Index(range(7, 13)))
    yes_or_no = rows.cast_column("label", datasets.Value("bool"))
    return {
        "frame": frame,
        "frame with other columns": numbered,
        "frame of booleans": frame.assign(label=frame["label"].astype(bool)),
        "booleans": yes_or_no,
        "formatted booleans": yes_or_no.with_format("numpy"),
        "floats": rows.cast_column("label", datasets.Value("float64")),
        "names": rows.cast_column("label", datasets.ClassLabel(names=["bad", "good"])),
        **{kind: rows.with_format(kind) for kind in ("torch", "numpy", "pandas", "arrow")},
    }


@pytest.mark.parametrize("kind", same_data())
def test_the_same_data_have_the_same_results_however_they_are_held(make_tiny, kind, tmp_path):
    classifier, data = make_tiny(), same_data()[kind]
    expected = evaluate_faithfulness(classifier, rows_of(), ["random"])
    with without_type_checks():
        for folder in (None, tmp_path):
            report = evaluate_faithfulness(classifier, data, ["random"], output_dir=folder)
            pd.testing.assert_frame_equal(report.examples, expected.examples)
            assert report.classification == expected.classification
        assert classify(classifier, data) == classify(classifier, rows_of())


@pytest.mark.parametrize("work", [evaluate_faithfulness, classify])
def test_data_that_cannot_be_used_are_told_at_once(make_tiny, work):
    rows = rows_of()
    frame = rows.to_pandas()
    for data, message in (
        (rows_of([], []), "the data has no rows"),
        (frame.iloc[:0], "the data has no rows"),
        (frame.drop(columns="label"), "the data has no column 'label', only: text; rename one"),
        (
            datasets.DatasetDict(train=rows, test=rows),
            r"the data has splits: name one of train, test, as in data\['test'\]",
        ),
        ({"test": rows}, r"the data has splits: name one of test, as in data\['test'\]"),
        (rows_of(["a film", None], [0, 1]), "the text in row 1 is no string: None"),
        (pd.DataFrame({"text": ["a film", 3.5], "label": [0, 1]}), "the text in row 1 is no string: 3.5"),
        (pd.DataFrame({"text": ["a film", "dull"], "label": [0, math.nan]}), "the data has label nan"),
        (pd.DataFrame({"text": ["a film", "dull"], "label": ["bad", "good"]}), "the data has label 'bad'"),
    ):
        with without_type_checks(), pytest.raises(UserError, match=message):
            work(make_tiny(), data)


# Files


@pytest.fixture
def report(make_tiny):
    return evaluate_faithfulness(make_tiny(), rows_of(), ["random", "attention"])


@pytest.mark.parametrize(
    ("ending", "read"), [(".parquet", pd.read_parquet), (".csv", pd.read_csv), (".json", pd.read_json)]
)
def test_a_written_table_reads_back_the_same(report, tmp_path, ending, read):
    path = tmp_path / f"table{ending}"
    report.to_file(path)
    pd.testing.assert_frame_equal(read(path), report.table, rtol=1e-9)


@pytest.mark.parametrize("name", ["table.xlsx", "table"])
def test_another_ending_is_refused(report, tmp_path, name):
    with pytest.raises(UserError, match=r"the ending must be \.parquet, \.csv or \.json"):
        report.to_file(tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".json"])
def test_a_folder_that_is_not_there_is_said(report, tmp_path, ending):
    with pytest.raises(UserError, match=r"cannot write '.*': "):
        report.to_file(tmp_path / "nowhere" / f"table{ending}")
