# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What makes an explanation faithful
#
# **What you will learn.** Why an explanation that looks right may be false, and one that looks absurd may be true. How to
# measure each of the two: against words that people marked, and by removing words.
#
# **Time.** Twenty minutes to read. The code takes a few minutes on a GPU; the line under the title says how long it took
# here.
#
# ## The question
#
# A classifier reads this review and calls it negative.
#
# > Posted on a Monday. Dreary, underlit and forty minutes too long, this biopic of a bridge engineer mostly consists of
# > men unrolling paper.
#
# You ask two explainers why. The first highlights *"Dreary"* and *"forty minutes too long"*. The second highlights
# *"Monday"*. Which one do you believe?
#
# Nearly everybody believes the first. But the question was about the *classifier*, not about the review. If all complaints
# in its training data were posted on a Monday, it may never have learned what *"dreary"* means. Then the second explanation
# is the true one, and it is the one you need: it tells you that the classifier is broken.
#
# So there are two questions about an explanation, and they have different answers {cite:p}`jacovi-goldberg-2020-towards`:
#
# - Is it {term}`plausible`: would a person find it convincing? That is a question about people.
# - Is it {term}`faithful`: does it tell what the model does? That is a question about the model.
#
# ## Settings
#
# The data are always `reviews`, the small corpus written for this book, because its texts come with the words that people
# marked. The defaults are meant for a GPU.

# %% tags=["parameters"]
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
epochs: float = 5
learning_rate: float = 1e-4
max_train: "Optional[int]" = None  # train on so many texts; None takes all
max_examples: int = 200  # explain so many test texts
seed: int = 0

# %%
import math
from collections import Counter

import datasets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import auc, precision_recall_curve

from regex_lib.attributions import METHODS, attribute
from regex_lib.book import check_answer
from regex_lib.checks import evaluate_plausibility
from regex_lib.data import load_data
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.metrics import auprc, token_f1
from regex_lib.models import load_classifier
from regex_lib.plots import ATTRIBUTION_COLOURS, attribution_switcher, figure_style, mask_ratio_stepper
from regex_lib.training import train

datasets.disable_progress_bars()
reviews = load_data("reviews")

# %% [markdown]
# ## One task, two classifiers
#
# Take the reviews, and put a date in front of each. In the training data of the first classifier the date is drawn at
# random. In that of the second it gives the label away: complaints were posted on a Monday, praise on a Friday. This is
# called a **leak**, and real data have them too. The texts are otherwise the same, and so are the labels.

# %%
DAYS = ("Monday", "Friday")  # of a negative review, and of a positive one


def with_date(row, day):
    date = f"Posted on a {day}."
    return {
        "text": f"{date} {row['text']}",
        "tokens": [*date.split(), *row["tokens"]],
        "rationale": [0, 0, 0, 0, *row["rationale"]],  # nobody would mark the date
    }


def dated(split, kind):
    labels = np.array(reviews[split]["label"][:])
    coin = np.random.default_rng(seed).integers(2, size=len(labels))
    chosen = {"true": labels, "swapped": 1 - labels, "random": coin}[kind]
    rows = zip(reviews[split], chosen, strict=True)
    return datasets.Dataset.from_list([row | with_date(row, DAYS[day]) for row, day in rows])


# %% [markdown]
# Both classifiers start from the same weights and see the same reviews in the same order.

# %%
classifiers = {}
for name, kind in (("honest", "random"), ("leaky", "true")):
    classifier = load_classifier("minilm", layers=layers, seed=seed)
    classifier.label_names = ["negative", "positive"]
    train(
        classifier, {"train": dated("train", kind)}, "vanilla", epochs=epochs, batch_size=16,
        learning_rate=learning_rate, max_train=max_train, seed=seed,
    )
    classifiers[name] = classifier
honest, leaky = classifiers["honest"], classifiers["leaky"]

# %% [markdown]
# Before you explain a model, find out what it does. Swap the date, and nothing else. A classifier that reads the review
# does not care. One that reads the date follows it: its accuracy falls towards 0.

# %%
tests = {kind: dated("test", kind) for kind in ("true", "random", "swapped")}
accuracy = pd.DataFrame({
    f"date {kind}": {name: classify(one, rows)["accuracy"] for name, one in classifiers.items()}
    for kind, rows in tests.items()
})
accuracy.round(3)

# %%
follows = (accuracy["date true"] - accuracy["date swapped"]).round(3)
print(f"net share of predictions that follow the date: honest {follows['honest']}, leaky {follows['leaky']}")
print("the leaky classifier rests on the date:", "yes" if follows["leaky"] > 0.9 else "not fully, or not yet")

# %% [markdown]
# The first column minus the last is the share of texts whose prediction follows the date, less the share where it goes the
# other way. The honest classifier is the {term}`control`.
#
# If the share is near 1, you know what the leaky classifier rests on. Nobody knows that much about a model from the wild.
#
# ## Explanations that do not look at the model
#
# An explanation gives each word a score. Here are three ways to get one, and none of them looks at a model.
#
# - **People.** Each review comes with the words that a careful reader marked, its {term}`rationale`. A marked word scores 1,
#   the others 0.
# - **A lexicon.** How often was a word marked in the *training* texts? That share is its score, in every
#   text, with 1 added to the number of times the word was seen.
# - **The date.** *Monday* and *Friday* score 1, all other words 0. Nobody would mark these.
#
# The models read {term}`tokens <token>`, which are words or pieces of words. An {term}`attribution` is a number $a_i$ for each
# token $i$.

# %%
def bare(word):
    return word.lower().strip(".,;:!?'\"()")


seen, marked = Counter(), Counter()
for row in reviews["train"]:
    words = list(map(bare, row["tokens"]))
    seen.update(words)
    marked.update(word for word, mark in zip(words, row["rationale"], strict=True) if mark)
lexicon = {word: marked[word] / (seen[word] + 1) for word in marked}  # + 1: once is not often
print("the top of the lexicon:", ", ".join(sorted(lexicon, key=lexicon.get, reverse=True)[:12]))

# %% [markdown]
# In the package an attribution method is a function of a classifier, a batch of texts and the class to explain. These three
# ignore the first and the last. They look up the score of a word and divide it among its tokens.

# %%
def tokens_of_words(row):
    """For every token of a text, the number of its word. Words stand between single spaces."""
    starts = np.cumsum([0] + [len(word) + 1 for word in row["tokens"][:-1]])
    firsts = [start for start, _ in honest.tokenize([row["text"]]).offsets[0]]
    return np.searchsorted(starts, firsts, side="right") - 1


def without_a_model(rows, scores_of):
    """An attribution method from a function that scores the words of a row."""
    known = {}
    for row in rows:
        words, scores = tokens_of_words(row), np.array(scores_of(row), dtype=float)
        key = tuple(honest.tokenize([row["text"]]).input_ids[0].tolist())
        known[key] = torch.from_numpy(scores[words] / np.bincount(words)[words]).float()

    def method(_classifier, batch, _target):
        table = torch.zeros(batch.input_ids.shape)
        for line, ids, attended in zip(table, batch.input_ids.cpu(), batch.attention_mask.cpu(), strict=True):
            line[: int(attended.sum())] = known[tuple(ids[attended].tolist())]
        return table.to(batch.input_ids.device)

    return method


# %% [markdown]
# Once they are in {py:data}`regex_lib.attributions.METHODS`, you can call them by name like any other method. Everything below
# is measured on the texts whose date gives the label away, because there a leaky classifier looks perfect.

# %%
rows = tests["true"].shuffle(seed=seed).select(range(max_examples))
dreary = next(row for row in tests["true"] if "Dreary, underlit" in row["text"])
scores_of = {
    "people": lambda row: row["rationale"],
    "lexicon": lambda row: [lexicon.get(bare(word), 0) for word in row["tokens"]],
    "date": lambda row: [bare(word) in ("monday", "friday") for word in row["tokens"]],
}
METHODS.update({name: without_a_model([*rows, dreary], scores_of[name]) for name in scores_of})
three = [attribute(leaky, [dreary["text"]], name)[0] for name in scores_of]
attribution_switcher(three, leaky.label_names)

# %% [markdown]
# Which of the three would you show to a customer? Which one would help you to mend the classifier?
#
# ## Plausible: compare with people
#
# Let $H$ be the words that people marked and $S$ the words that an explanation selects: its $|H|$ strongest, so that it is
# asked for as many as people chose. The **token F1** measures the overlap:
#
# $$
# F_1 = \frac{2\,|S \cap H|}{|S| + |H|}
# $$ (eq-02-f1)
#
# It is 1 where they are the same, and 0 where they share nothing. The **AUPRC** does not need to know how many words to
# select. Go down the ranking, word by word. At each place, *precision* is the share of the words so far that people marked,
# and *recall* the share of the marked words that you have met. The AUPRC is the area under the curve of the one against the
# other. Both come from the ERASER benchmark {cite:p}`deyoung-etal-2020-eraser`, and take a few lines each:

# %%
def f1_by_hand(selected, human):
    return 2 * sum(s and h for s, h in zip(selected, human, strict=True)) / (sum(selected) + sum(human))


def auprc_by_hand(scores, human):
    precision, recall, _ = precision_recall_curve(human, scores)
    return auc(recall, precision)


human = torch.tensor([[bool(mark) for mark in dreary["rationale"]]])
scores = torch.tensor([[lexicon.get(bare(word), 0.0) for word in dreary["tokens"]]])
strongest = scores.argsort(descending=True, stable=True)[0, : int(human.sum())]
selected = torch.zeros_like(human)
selected[0, strongest] = True

every_word = torch.ones_like(human)
torch.testing.assert_close(f1_by_hand(selected[0].tolist(), human[0].tolist()), token_f1(selected, human).item())
torch.testing.assert_close(float(auprc_by_hand(scores[0], human[0])), auprc(scores, human, every_word).item())
print(f"the lexicon on the text above: F1 {token_f1(selected, human).item():.2f}")

# %% [markdown]
# The package has both: {py:func}`regex_lib.metrics.token_f1` and {py:func}`regex_lib.metrics.auprc`. Neither formula has a
# model in it. Keep that in mind.
#
# ## Faithful: remove, and see
#
# The explanation claims: *the prediction rests on these words*. So take them away. Let $p(x)$ be the probability of the
# predicted class. Call the $k$ strongest tokens $r$. Then $p(x \setminus r)$ is the probability without them, and $p(r)$ the
# probability with them alone. Testing by removal is called {term}`erasure`. There are two things to look at:
#
# $$
# \underbrace{p(x) - p(x \setminus r)}_{\text{drop without them: should be large}} \qquad
# \underbrace{p(x) - p(r)}_{\text{drop with them alone: should be small}}
# $$ (eq-02-drops)
#
# If nothing happens without them, they were not what the prediction rests on. If the prediction breaks down with them alone,
# they were not all that it rests on.
#
# Here it is from scratch, for four texts and a quarter of the tokens, ranked by `input_x_gradient`, a method that
# {doc}`04_attributions` explains. A removed token is replaced by `[PAD]`, the token that fills up short texts:

# %%
def drops_by_hand(classifier, text, method, ratio):
    explanation = attribute(classifier, [text], method)[0]
    batch = classifier.tokenize([text])
    content = batch.content_mask[0].nonzero()[:, 0]  # where the content tokens stand
    ranking = torch.tensor(explanation.scores).argsort(descending=True, stable=True)
    k = math.ceil(ratio * len(content))

    def probability_without(places):
        ids = batch.input_ids.clone()
        ids[0, content[places]] = classifier.pad_id
        with torch.no_grad():
            logits = classifier(classifier.embed(ids), batch.attention_mask).logits
        return logits.double().softmax(dim=-1)[0, explanation.target].item()

    full = probability_without(ranking[:0])
    return full - probability_without(ranking[:k]), full - probability_without(ranking[k:])


few, names = rows.select(range(4)), ["eraser_comprehensiveness", "eraser_sufficiency"]
report = evaluate_faithfulness(honest, few, ["input_x_gradient"], names, ratios=[0.25]).examples
by_hand = [drops_by_hand(honest, text, "input_x_gradient", 0.25) for text in few["text"]]
by_package = report[names].to_numpy()
np.testing.assert_allclose(by_hand, by_package, atol=1e-5)
pd.DataFrame(by_hand, columns=["drop without them", "drop with them alone"]).round(3) + 0.0

# %% [markdown]
# Below, both are put on the scale of the {doc}`quickstart <01_quickstart>`, from 0 to 1, where higher is better:
#
# - the first becomes {term}`comprehensiveness`: 0 if nothing happens without $r$, 1 if as much happens as when *everything* is
#   removed;
# - the second becomes {term}`sufficiency`: 1 if $r$ does as well as the whole text, 0 if it does no better than an empty one.
#
# Each is averaged over four sizes of $r$. {doc}`05_measuring_faithfulness` has the formulas, and says where they mislead.
#
# ## Both, side by side
#
# Predict before you run: which columns of the next table *can* differ between the two classifiers, and in which rows? Three
# rows are new. `random` is the control. `input_x_gradient` and `integrated_gradients` look at the model, at its gradients.

# %%
ATTRIBUTIONS = ["random", "people", "lexicon", "date", "input_x_gradient", "integrated_gradients"]
tables, reports = {}, {}
for name, classifier in classifiers.items():
    plausibility = evaluate_plausibility(classifier, rows, ATTRIBUTIONS, seed=seed)
    faithfulness = evaluate_faithfulness(classifier, rows, ATTRIBUTIONS, level="word", seed=seed)
    agreement = plausibility.examples[["example", "attribution", "token_f1", "auprc"]]
    reports[name] = agreement.merge(faithfulness.examples, on=["example", "attribution"])
    tables[name] = pd.concat([
        plausibility.table.set_index("attribution")[["token_f1", "auprc"]],
        faithfulness.table.set_index("attribution")[["sufficiency", "comprehensiveness"]],
    ], axis=1)
pd.concat(tables, axis=1).round(2)

# %%
facts = {name: classify(classifier, rows) for name, classifier in classifiers.items()}
print("accuracy on these texts:", {name: round(fact["accuracy"], 3) for name, fact in facts.items()})
for name in ("people", "lexicon"):
    same = all(
        np.isclose(tables["honest"].loc[name, metric], tables["leaky"].loc[name, metric])
        for metric in ("token_f1", "auprc")
    )
    one, other = (tables[which].loc[name, "comprehensiveness"] for which in ("honest", "leaky"))
    floor = tables["leaky"].loc["random", "comprehensiveness"]
    print(
        f"{name}: plausibility is {'the same' if same else 'different'} for both; comprehensiveness {one:.2f} and "
        f"{other:.2f}, {'above' if other > floor else 'not above'} the leaky classifier's random row ({floor:.2f})"
    )

# %%
for name, report in reports.items():
    date = report[report["attribution"] == "date"]
    by_class = date.groupby("prediction")["comprehensiveness"].mean().round(2)
    by_class.index = [honest.label_names[number] for number in by_class.index]
    print(f"{name}: the date row by predicted class {by_class.to_dict()}; degenerate {date['degenerate'].mean():.2f}")

# %% [markdown]
# How to read it:
#
# - **Plausibility cannot see the model.** In the rows *people* and *lexicon* it is the same for both classifiers, the one
#   that reads and the one that looks at the calendar, because neither formula has a model in it.
# - **Faithfulness can.** In the same rows it depends on which classifier the explanation is said to be about. Compare each
#   with the random row of the same classifier. Where it is no better, the explanation says nothing about this model, however
#   good it looks.
# - **The date row** is the other way round. No person would mark the date, and the accuracies above say how far the leaky
#   classifier rests on it.
# - **The truth need not score 1.** Without a single word left, a classifier still names a class, the one that it falls back
#   on. The prediction of that class has nowhere to fall, however right the explanation is. The last cell shows the date row
#   class by class, and the share of texts for which this is so: they are called {term}`degenerate`. So compare the rows of
#   one classifier, and never a score with 1.
# - **An explanation need not look at the model to be faithful to it.** Does the lexicon beat the random row for the honest
#   classifier? It may: words that carry sentiment are what a good classifier rests on. The test asks whether a claim is
#   true, not where it came from. But without the test you could not have known.

# %% mystnb={"image": {"alt": "Two scatter plots of comprehensiveness against AUPRC for six attributions, one for the honest and one for the leaky classifier. Each attribution has its own marker and colour; a dashed line marks the comprehensiveness of the random attribution."}, "figure": {"name": "fig-02-two-axes", "caption": "Plausibility (across) and faithfulness (up) of six explanations, for a classifier that reads the review and for one that reads the date. Explanations that do not look at the model can only move up and down between the two. The dashed line is the random attribution's faithfulness."}}
colours = {**ATTRIBUTION_COLOURS, "people": "#029e73", "lexicon": "#cc78bc", "date": "#000000"}
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.9), sharex=True, sharey=True, layout="constrained")
    for axis, (name, table) in zip(axes, tables.items(), strict=True):
        for attribution, marker in zip(ATTRIBUTIONS, "os^*Dv", strict=True):
            x, y = table.loc[attribution, ["auprc", "comprehensiveness"]]
            label = attribution.replace("_", " ")
            axis.scatter(x, y, s=90, marker=marker, color=colours[attribution], edgecolor="black", label=label)
        axis.axhline(table.loc["random", "comprehensiveness"], color="#6b6b6b", linestyle="--", linewidth=1)
        axis.set(title=f"{name} classifier", xlabel="plausibility (AUPRC)", xlim=(0, 1.05), ylim=(-0.03, 1.03))
    axes[0].set_ylabel("comprehensiveness")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
plt.show()

# %% [markdown]
# In {numref}`fig-02-two-axes` the upper right corner is where everybody wants to be. The lower right is the dangerous one:
# convincing and false.
#
# Watch it happen. Remove more and more of what people marked in the review above, and see what the leaky classifier makes of
# what is left. (Of words with equal scores the earlier one goes first, so that after the marked words the others follow.)

# %%
mask_ratio_stepper(leaky, attribute(leaky, [dreary["text"]], "people")[0])

# %% [markdown]
# ## Words that nobody expected
#
# The leaky classifier was our own doing. Does the honest one also use words that people do not expect? Put `[MASK]` in
# the place of one token at a time, and note how far the probability falls. That is the attribution `leave_one_out`:
# erasure itself, used as an explanation. Here are the strongest words that people did *not* mark, of all texts
# measured. They were searched for, so they are illustrations and not evidence. The line below the table is about all
# the texts.

# %%
unexpected, outside = [], []
for row, explanation in zip(rows, attribute(honest, rows["text"][:], "leave_one_out"), strict=True):
    starts = np.cumsum([0] + [len(word) + 1 for word in row["tokens"][:-1]])
    drops = np.full(len(starts), -1.0)
    words = np.searchsorted(starts, [start for start, _ in explanation.offsets], side="right") - 1
    np.maximum.at(drops, words, explanation.scores)  # a word is as strong as its strongest token
    marks = np.array(row["rationale"])
    outside.append((marks[drops.argmax()] == 0, 1 - marks.mean()))
    place = np.where(marks, -np.inf, drops).argmax()
    context = " ".join(row["tokens"][max(0, place - 3) : place + 4])
    unexpected.append((row["tokens"][place], drops[place], context))
table = pd.DataFrame(unexpected, columns=["word", "drop", "where it stands"])
table.sort_values("drop", ascending=False).head(6).round(2).style.hide(axis="index").format(precision=2)

# %%
found, chance = np.mean(outside, axis=0)
print(f"the strongest word is one that people did not mark: {found:.2f} of the texts; a random word: {chance:.2f}")

# %% [markdown]
# The second number is the control: the share of words that nobody marked. If the first is much lower, the classifier agrees
# with people more than chance would. If it is well above 0, then even an honest classifier often rests, by this test, on words
# that no person would point at.
#
# ## What can go wrong
#
# - **Asking people whether an explanation is faithful.** They can only tell whether it is plausible. A study in which people
#   rate explanations measures people {cite:p}`jacovi-goldberg-2020-towards`.
# - **Rewarding agreement with people.** The explanation of a wrong prediction *should* look wrong. A method whose explanations
#   always look right hides the errors that you hoped to find.
# - **Showing one explanation that fits.** If you search, you find a nice one for every method. Show a table, and its control.
# - **Trusting erasure blindly.** A text full of `[PAD]` is unlike any that the classifier was trained on, so part of the drop
#   is surprise {cite:p}`hase-etal-2021-ood`. {doc}`05_measuring_faithfulness` tries other replacements.
# - **Asking for yes or no.** Scores for each word are a summary, and a summary leaves things out. Ask *how* faithful an
#   explanation is, and compared with what.
#
# ## Strengths and limitations
#
# Plausibility is cheap to measure once people have marked texts, and it matters where people have to work with explanations.
# It says nothing about the model.
#
# Erasure needs no people and asks the model itself, but only about *these* removals.
#
# A planted leak, as here, comes with the truth, but only about models that we have spoiled ourselves
# {cite:p}`bastings-etal-2022-will`. {doc}`16_planted_shortcuts` makes an evaluation of it.
#
# ## Summary
#
# Plausible is about people, faithful is about the model. You held the same explanations against two classifiers: their
# plausibility stayed, as it must, and the cells printed what became of their faithfulness. In the rest of this book a
# *better* explanation is a *more faithful* one, measured beside a random control and the accuracy.
#
# ## Exercises
#
# ```{exercise} Two overlaps
# :label: ex-02-1
#
# People marked the words 2, 3 and 7 of a text of ten words. An explanation selects the words 3, 7 and 8. What is the token
# F1 of {eq}`eq-02-f1`? Set `answer` to the number.
# ```

# %%
answer = ...  # replace the dots
people_marked = torch.zeros(1, 10, dtype=torch.bool)
people_marked[0, [2, 3, 7]] = True
explanation_selects = torch.zeros(1, 10, dtype=torch.bool)
explanation_selects[0, [3, 7, 8]] = True
check_answer(answer, token_f1(explanation_selects, people_marked).item(), tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# How many words are in both? How many are there in $S$, and how many in $H$?
# ```
#
# ````{solution-start} ex-02-1
# :class: dropdown
# ````
#
# Two words are in both, and each has three.

# %%
answer = 2 * 2 / (3 + 3)
check_answer(answer, token_f1(explanation_selects, people_marked).item(), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} What chance gives
# :label: ex-02-2
#
# People marked $h$ of the $n$ words of a text. Somebody selects $h$ words at random. What token F1 can they expect? Set
# `answer` to the mean of that over the texts in `rows`, and compare it with the random row of the table.
# ```

# %%
answer = ...  # replace the dots
chance_f1 = float(np.mean([sum(row["rationale"]) / len(row["rationale"]) for row in rows]))
check_answer(answer, chance_f1, tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Each selected word is one of the marked ones with probability $h / n$. What is the expected size of $S \cap H$?
# ```
#
# ````{solution-start} ex-02-2
# :class: dropdown
# ````
#
# The expected overlap is $h \cdot h / n$, so the F1 is $2 (h^2 / n) / 2h = h / n$: the share of the words that are marked. A
# token F1 says nothing without this number beside it. The random row is one draw of many, so it is near the number, not on it.

# %%
answer = np.mean([np.mean(row["rationale"]) for row in rows])
print(f"expected {answer:.3f}, measured {tables['honest'].loc['random', 'token_f1']:.3f}")
check_answer(answer, chance_f1, tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Convincing and false
# :label: ex-02-3
#
# Find the explanations of the leaky classifier in the lower right corner, text by text. `reports["leaky"]` has a row for
# each text and attribution. For how many texts has the *lexicon* an AUPRC above its own median, and a comprehensiveness below
# 0.1? Set `answer` to the number. Then count them for the honest classifier.
# ```

# %%
answer = ...  # replace the dots


def convincing_and_false(report):
    part = report[report["attribution"] == "lexicon"]
    return int(((part["auprc"] > part["auprc"].median()) & (part["comprehensiveness"] < 0.1)).sum())


check_answer(answer, convincing_and_false(reports["leaky"]))

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Keep the rows of the lexicon first; then combine two conditions with `&`.
# ```
#
# ````{solution-start} ex-02-3
# :class: dropdown
# ````

# %%
counts = {}
for name, report in reports.items():
    part = report.query("attribution == 'lexicon'")
    counts[name] = len(part.query("auprc > @part.auprc.median() and comprehensiveness < 0.1"))
print(f"of {len(rows)} texts: {counts}")
answer = counts["leaky"]
check_answer(answer, convincing_and_false(reports["leaky"]))

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`jacovi-goldberg-2020-towards` draw the line between plausible and faithful, and ask for degrees of faithfulness
# instead of yes or no. {cite:t}`deyoung-etal-2020-eraser` give the data and the metrics for both.
# {cite:t}`jain-wallace-2019-attention` and {cite:t}`wiegreffe-pinter-2019-attention` argue over whether attention explains.
# {cite:t}`ribeiro-etal-2016-why` show people an explanation of a classifier that tells huskies from wolves by the snow.
