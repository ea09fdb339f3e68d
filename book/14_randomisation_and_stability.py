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
# # Randomisation and stability
#
# **What you will learn.** How to find out whether an explanation depends on what a model has learned: train again from
# another seed, take the training away, take it away layer by layer. And what it is worth that an explanation stays the
# same when its text changes a little.
#
# **Time.** Half an hour to read. The code takes a few minutes on a GPU.
#
# ## The question
#
# *"The plot is thin, but the cast is a joy."* Your classifier says positive, and a heat map marks *joy*. Of course it
# does: so would you.
#
# Now suppose that, behind your back, someone swaps the model for one that has never been trained. Its predictions are
# noise. If the heat map still marks *joy*, it was never about the model. It was about the word.
#
# The metrics of {doc}`05_measuring_faithfulness` remove words and watch the prediction. The tests of this chapter remove
# nothing. They change the **model**, and watch the **explanation**:
#
# - Two models, trained alike from different seeds, decide by much the same evidence. Their explanations should agree.
# - A trained and an untrained model have nothing in common. Their explanations should not agree.
#
# Both are from {cite:t}`zafar-etal-2021-lack`. One without the other proves little. A heat map that is the same for every
# model passes the first test. One that is drawn anew for every model passes the second.
#
# ## Settings

# %% tags=["parameters"]
data: str = "reviews"
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
recipe: str = "vanilla"  # how both models are trained
epochs: float = 5
learning_rate: float = 1e-4
max_train: "Optional[int]" = None  # train on so many texts; None takes all
max_examples: int = 100  # explain so many test texts
samples: int = 3  # how often each text is changed, for stability
seed: int = 0

# %%
import math
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from regex_lib import checks
from regex_lib.attributions import METHODS, attribute, register, score_batch
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import classify
from regex_lib.metrics import expected_jaccard, rank_correlation, top_k_jaccard
from regex_lib.models import load_classifier
from regex_lib.plots import ATTRIBUTION_COLOURS, RECIPE_COLOURS, attribution_switcher, figure_style
from regex_lib.study import read_rows
from regex_lib.training import train

rows = load_data(data)
test = rows["test"].shuffle(seed=seed).select(range(max_examples))
texts = test["text"][:]
markers = dict(zip([*ATTRIBUTION_COLOURS, "lexicon", "by_position"], "osD^vP*", strict=True))

# %% [markdown]
# ## Four models
#
# Two are trained alike. They start from the same pre-trained encoder, but with different random heads, and they read the
# texts in different orders. The third is the first before its training: pre-trained, with a head that has learned
# nothing. The fourth has random weights throughout.


# %%
def fresh(number):
    classifier = load_classifier("minilm", layers=layers, seed=number)
    classifier.label_names = ["negative", "positive"]
    return classifier


models = {"first": fresh(seed), "second": fresh(seed + 1), "not fine-tuned": fresh(seed)}
for offset, name in enumerate(("first", "second")):
    train(
        models[name], {"train": rows["train"]}, recipe, epochs=epochs, batch_size=16,
        learning_rate=learning_rate, max_train=max_train, seed=seed + offset,
    )
models["random weights"] = checks.with_random_weights(models["first"], seed=seed)
quality = {name: classify(model, rows["test"])["accuracy"] for name, model in models.items()}
pd.Series(quality).round(3).to_frame("accuracy")

# %% [markdown]
# Look at the accuracies first, as always. If the two trained models are near chance, nothing below means anything.
#
# Here is one text, explained by Integrated Gradients for each of the four. The explained class is the same for all: the
# one that the first model predicts. Otherwise a disagreement about the answer would look like one about the reasons.

# %%
text = "The plot is thin, but the cast is a joy."
explained = attribute(models["first"], [text])[0].target
attribution_switcher(
    {name: attribute(model, [text], target=explained)[0] for name, model in models.items()},
    models["first"].label_names,
)

# %% [markdown]
# ## How much do two explanations agree?
#
# From each of two explanations, take the quarter of the tokens with the highest scores. Call the two sets $A$ and $A'$.
# Their agreement is the {term}`Jaccard index`: the tokens that are in both, over those that are in either.
#
# $$
# J = \frac{|A \cap A'|}{|A \cup A'|}, \qquad |A| = |A'| = k = \lceil n / 4 \rceil
# $$ (eq-14-jaccard)
#
# Here $n$ counts the {term}`content tokens <content token>`. Two random sets agree a little too. The number $s$ of shared
# tokens then has a hypergeometric distribution, so by chance you expect
#
# $$
# \mathbb{E}[J] = \sum_{s=0}^{k} \frac{s}{2k - s}\, \binom{k}{s} \binom{n-k}{k-s} \Big/ \binom{n}{k}
# $$ (eq-14-chance)
#
# For a long text, $s$ is near $k/4$, and $J$ near $\frac{1/4}{2 - 1/4} = \frac17$. That is the floor of 0.14 that
# {cite:t}`zafar-etal-2021-lack` compare with. For a short text the floor is higher, so compute it for each text.
#
# ### From scratch


# %%
def jaccard(first, second, content):
    found = []
    for a, b, counts in zip(first, second, content, strict=True):
        k = math.ceil(counts.sum().item() / 4)
        tops = [set(s[counts].argsort(descending=True, stable=True)[:k].tolist()) for s in (a, b)]
        found.append(len(tops[0] & tops[1]) / len(tops[0] | tops[1]))
    return torch.tensor(found)


def chance(n):
    k = math.ceil(n / 4)
    ways = [math.comb(k, s) * math.comb(n - k, k - s) for s in range(k + 1)]
    return sum(w * s / (2 * k - s) for s, w in enumerate(ways)) / math.comb(n, k)


print("by chance:", {n: round(chance(n), 3) for n in (4, 8, 20, 100, 400)})

# %% [markdown]
# The package has the same two: {py:func}`regex_lib.metrics.top_k_jaccard` and
# {py:func}`regex_lib.metrics.expected_jaccard`. On the scores of the two trained models they must equal ours:

# %%
batch = models["first"].tokenize(texts[:6])
content = batch.content_mask.cpu()
target = torch.full((len(content),), 1, device=batch.input_ids.device)
first, second = (
    score_batch(models[name], batch, "input_x_gradient", target).cpu() for name in ("first", "second")
)
torch.testing.assert_close(jaccard(first, second, content), top_k_jaccard(first, second, content))
floors = torch.tensor([chance(n) for n in content.sum(dim=1).tolist()], dtype=torch.float64)
torch.testing.assert_close(floors, expected_jaccard(content))
print("agreement", jaccard(first, second, content).numpy().round(2), "chance", floors.numpy().round(2))

# %% [markdown]
# The sets forget the order inside them. So the package has a second measure: Spearman's correlation of the whole
# rankings, {py:func}`regex_lib.metrics.rank_correlation`. By chance it is 0.
#
# ## An explanation that ignores the model
#
# Each test needs something that must fail it. Here it is a lexicon. It counts how often each token occurs in positive
# and in negative training texts, and never asks the model for anything.

# %%
train_rows = rows["train"]
counts = np.ones((2, models["first"].model.config.vocab_size))  # from 1, so that no count is 0
encoded = models["first"].tokenizer(train_rows["text"][:])["input_ids"]
for ids, label in zip(encoded, train_rows["label"][:], strict=True):
    np.add.at(counts[label], ids, 1)
negative, positive = np.log(counts / counts.sum(axis=1, keepdims=True))
log_odds = torch.from_numpy(positive - negative).float()

METHODS.pop("lexicon", None)  # so that this cell can be run twice


@register("lexicon")
def lexicon(_classifier, batch, target):
    sign = (2 * target - 1)[:, None]  # towards the explained class
    return sign * log_odds.to(batch.input_ids.device)[batch.input_ids]


strongest = sorted(attribute(models["first"], [text], "lexicon", target=1)[0].words(), key=lambda pair: -pair[1])
print([word for word, _ in strongest[:2]])

# %% [markdown]
# It looks reasonable. A reader may well find it {term}`plausible`. It may even be {term}`faithful` to a model, by
# luck ({doc}`02_faithful_and_plausible`). But it cannot tell one model from another: whatever the model does, the heat map
# is the same.
#
# ## With the package: two tests
#
# {py:func}`regex_lib.checks.different_initialisations` compares the two trained models.
# {py:func}`regex_lib.checks.untrained_model` compares the first with one that was not trained.
# {py:func}`regex_lib.checks.randomisation_verdict` takes both together: an attribution passes if it agrees more between
# the trained models than with random weights, by more than the uncertainty over texts.

# %%
names = ["lexicon", "random", "attention", "scaled_attention", "input_x_gradient", "integrated_gradients"]
seeds = checks.different_initialisations(models["first"], models["second"], texts, names)
start = checks.untrained_model(models["first"], models["not fine-tuned"], texts, names)
blind = checks.untrained_model(models["first"], models["random weights"], texts, names)
verdict = checks.randomisation_verdict(seeds, blind).set_index("attribution")
agreement = pd.DataFrame(
    {
        "other seed": verdict["trained"],
        "not fine-tuned": start.groupby("attribution")["jaccard"].mean(),
        "random weights": verdict["untrained"],
        "chance": verdict["random"],
        "difference, low": verdict["low"],
        "passes": verdict["passes"],
    }
).loc[names]
print(f"the first two predict the same class for {seeds['same_prediction'].mean():.0%} of the texts")
agreement.round(3)

# %% [markdown]
# Read it by columns:
#
# - **other seed**: higher is better, up to 1.
# - **not fine-tuned**: lower is better. This model knows English, but not the task. What an attribution shows here does
#   not come from the training. A number as high as *other seed* is a warning: the seeds may agree only because both
#   models started from the same encoder.
# - **random weights**: lower is better, down to *chance*.
# - **difference, low**: the lower end of the 95 % interval of *other seed* minus *random weights*. Above 0, it passes.
#
# `lexicon` agrees perfectly in all columns, and so it fails. So does `random`: its numbers are drawn from the tokens of
# the text, the same for every model. Here the floor is not the `random` row, but the *chance* column.

# %%
passed = [name for name in names if agreement["passes"][name]]
failed = [name for name in names if not agreement["passes"][name]]
assert {"lexicon", "random"} <= set(failed)
print("pass:", ", ".join(passed) or "none")
print("fail:", ", ".join(failed))
best = agreement.drop(["lexicon", "random"])["other seed"].idxmax()
print(f"most alike between the seeds: {best}, {agreement['other seed'][best]:.2f} where 1 is perfect")
inherited = agreement["not fine-tuned"] >= agreement["other seed"]
print("no more alike than before the training:", ", ".join(agreement.index[inherited]) or "none")

# %% [markdown]
# Failing has two readings. Where both agreements are high, the attribution shows nothing that would not be there
# without the training. Where both are near chance, the test cannot tell: the explanation changes from seed to seed, or
# there are too few texts. Passing means less than it seems: the training shows, but nobody has said that the right
# words are marked.
#
# ## Layer by layer
#
# Random weights take everything away at once. {cite:t}`adebayo-etal-2018-sanity` take the training away in steps, from the
# head down to the embeddings: each step makes one more layer random. An attribution that shows what the model has learned
# should change early and stay changed.
#
# **Predict before you run.** In the first step only the head becomes random: the pooler and the classification layer.
# Every layer below is as trained. Which attributions cannot notice?

# %%
followed = ["lexicon", "attention", "scaled_attention", "input_x_gradient", "integrated_gradients"]
cascade = checks.parameter_randomisation(
    models["first"], models["random weights"], texts, followed, order="cascading"
)
steps = checks.summarise(cascade)
unmoved = steps[(steps["step"] == 1) & (steps["jaccard"] == 1)]["attribution"].tolist()
print("as before, with a random head:", ", ".join(unmoved))
for row in steps[(steps["step"] == 1) & (steps["jaccard"] < 1)].itertuples():
    print(f"{row.attribution}: Jaccard {row.jaccard:.2f}, Spearman {row.spearman:+.2f}")

# %% mystnb={"image": {"alt": "Lines of the top-quarter Jaccard of five attributions, one point per step of the cascade from the head to the embeddings. The lexicon stays at 1; a thin line near 0.2 shows chance."}, "figure": {"name": "fig-14-cascade", "caption": "Agreement with the explanations of the trained model, as its layers become random from the head down. Bars are 95 % intervals over texts. The thin line without points is chance."}}
with figure_style():
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    dashes = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]
    for shift, name, dash in zip(np.linspace(-0.12, 0.12, len(followed)), followed, dashes, strict=True):
        line = steps[steps["attribution"] == name]
        errors = [line["jaccard"] - line["jaccard_low"], line["jaccard_high"] - line["jaccard"]]
        axis.errorbar(
            line["step"] + shift, line["jaccard"], yerr=np.clip(errors, 0, None), marker=markers[name],
            color=ATTRIBUTION_COLOURS.get(name, "black"), ls=dash, label=name.replace("_", " "),
        )
    axis.axhline(steps["random_jaccard"].mean(), color="black", lw=0.8, label="chance")
    axis.set_xticks(steps["step"].unique(), steps["layer"].unique())
    axis.set(ylim=(0, 1.05), ylabel="top-quarter Jaccard", xlabel="random from the head down to this layer")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small")
plt.show()

# %% [markdown]
# {numref}`fig-14-cascade` has its own control: `lexicon` stays at the top to the end.
#
# Attention is computed before the head reads anything. So no change of the head can move it. Scaled attention
# multiplies it by its gradient, which comes through the head. That is a limit of plain attention as an explanation: it
# cannot see what the head has learned.
#
# Can an attribution fall *below* chance? The explained class is always the one that the trained model predicts, and the
# scores keep their signs. A random head may put this class at the other side. Where Spearman's correlation is negative
# above, that is probably what happened: what spoke for the class now speaks against it, and the top tokens become the
# bottom ones.
#
# ## Stability
#
# Now keep the model, and change the text. If the prediction stays, should the explanation not stay too?
#
# {py:func}`regex_lib.checks.stability` changes each text in four ways, and compares the scores of the tokens that survive:
#
# - **insertion**: a tenth more tokens, at random places;
# - **removal**: a tenth fewer;
# - **typo**: one slip in one word;
# - **noise** on the embeddings, a twentieth of their norm.
#
# One more explanation takes part. It ranks the tokens by their place: the first is the most important, then the second,
# and so on.
#
# **Predict before you run.** Which explanations will be the most stable?

# %%
METHODS.pop("by_position", None)


@register("by_position")
def by_position(_classifier, batch, _target):
    places = torch.arange(batch.input_ids.shape[1], device=batch.input_ids.device)
    return -places.expand(batch.input_ids.shape).float()


studied = ["lexicon", "by_position", *ATTRIBUTION_COLOURS]
stable = checks.stability(models["first"], texts, studied, samples=samples, seed=seed)
summary = checks.summarise(stable)
table = summary.pivot(index="attribution", columns="perturbation", values="jaccard").loc[studied]
table["comprehensiveness"] = summary.groupby("attribution")["comprehensiveness"].mean()
kept = summary.groupby("perturbation")["same_prediction"].mean()
print("prediction kept:", ", ".join(f"{name} {share:.0%}" for name, share in kept.items()))
table.round(2)

# %% mystnb={"image": {"alt": "Scatter plot of seven attributions: normalised comprehensiveness on the horizontal axis, stability on the vertical axis. Lexicon and by position are at the top."}, "figure": {"name": "fig-14-stability", "caption": "Stability (mean Jaccard over insertion, removal and typo) against comprehensiveness, of the same model and texts."}}
tokens_changed = table[["insertion", "removal", "typo"]].mean(axis=1)
with figure_style():
    figure, axis = plt.subplots(figsize=(6.5, 4), layout="constrained")
    for name in studied:
        colour = ATTRIBUTION_COLOURS.get(name, "black")
        axis.scatter(
            table["comprehensiveness"][name], tokens_changed[name], s=80, marker=markers[name],
            color=colour, label=name.replace("_", " "),
        )
    axis.set(xlim=(0, 1), ylim=(0, 1.05), xlabel="normalised comprehensiveness", ylabel="stability")
    figure.legend(loc="outside right upper", fontsize="small")
plt.show()

# %% [markdown]
# In {numref}`fig-14-stability` the two that rank by the words or their places alone are the control. Where are they?

# %%
perfect = [name for name in studied if tokens_changed[name] > 0.999]
leader = table["comprehensiveness"].idxmax()
print("perfectly stable:", ", ".join(perfect))
print(f"most comprehensive: {leader}; its stability is {tokens_changed[leader]:.2f}")
assert {"lexicon", "by_position"} <= set(perfect)

# %% [markdown]
# `lexicon` and `by_position` never look at the model, and do not move at all. **Stability alone is worth nothing.** That
# is why the function puts {py:func}`comprehensiveness <regex_lib.metrics.normalised_comprehensiveness>` into the same
# table and will not leave it out. Of two attributions that are equally comprehensive, prefer the more stable one. Go no
# further.
#
# The `random` row warns of something else. Its numbers are drawn from the tokens of a text, so that one inserted token
# changes all of them. Under noise the tokens are the same, and nothing changes: a check with noise alone would call
# `random` perfectly stable.
#
# ## In the study
#
# The authors of REGEX report gains on two randomisation tests {cite:p}`li-etal-2023-regex`. Their abstract does not say
# which two. That they are the two of this chapter is our reading. The study of this book measures both on SST, for
# several recipes and seeds. Its tables come with the package and grow while it runs. Where something is not measured yet,
# the cell says so.
#
# First the numbers themselves, for one attribution, with the accuracy beside them:

# %%
chosen = "integrated_gradients"  # or another attribution
accuracy = read_rows("sst/means", kind="quality", metric="accuracy", split="test").set_index("recipe")["mean"]
randomised = read_rows("sst/means", kind="randomisation", attribution=chosen)
if len(randomised):
    by_metric = randomised.pivot_table(index="recipe", columns=["metric", "against"], values="mean", sort=False)
    levels = by_metric["jaccard"][["other_seed", "pretrained", "random weights"]]
    levels = levels.assign(chance=by_metric["random_jaccard", "other_seed"])
    levels.insert(0, "accuracy", accuracy)
    print(f"top-quarter Jaccard of {chosen}, up to {randomised['seeds'].max()} seed(s)")
    print(levels.map("{:.3f}".format, na_action="ignore").fillna("not yet").to_string())

# %% [markdown]
# The columns are those of the table above: `pretrained` is the model that is not fine-tuned. Now each recipe minus
# `vanilla`. To gain, a recipe has to be to the **right** of 0 in the left panel of {numref}`fig-14-study`, and not in the
# others.

# %%
effect = read_rows("sst/table_3_randomisation")
panels = {
    "other_seed": "another seed:\nhigher is better",
    "pretrained": "not fine-tuned:\nlower is better",
    "random weights": "random weights:\nlower is better",
}
for recipe_name, part in effect.groupby("recipe", sort=False):
    print(f"{recipe_name} - vanilla: {part['seeds'].max()} seed(s), {part['examples'].max()} texts")

# %% mystnb={"image": {"alt": "Three panels: agreement with another seed, with the model that is not fine-tuned, and with random weights. In each, for four attributions, the difference of REGEX, robustness alone and two controls from vanilla with its interval, and a line at zero."}, "figure": {"name": "fig-14-study", "caption": "Top-quarter Jaccard of a recipe minus that of vanilla, with 95 % intervals over seeds and texts, or over the texts alone where a recipe has one seed. In the left panel higher is better, in the others lower. Circles are REGEX, triangles robustness alone, squares and diamonds its controls."}}
recipes = {"regex": "o", "robust": "^", "regex_random_mask": "s", "regex_shuffled_target": "D"}
methods = [name for name in ATTRIBUTION_COLOURS if name != "random"]
with figure_style():
    figure, axes = plt.subplots(1, 3, figsize=(8, 4), sharey=True, layout="constrained")
    for axis, (against, title) in zip(axes, panels.items(), strict=True):
        for shift, (name, marker) in zip((-0.27, -0.09, 0.09, 0.27), recipes.items(), strict=True):
            part = effect[(effect["against"] == against) & (effect["recipe"] == name)]
            for row in part[part["attribution"].isin(methods)].itertuples():
                height = methods.index(row.attribution) + shift
                axis.plot([row.low, row.high], [height] * 2, color="black", lw=1)
                axis.plot(row.difference, height, marker, mfc=RECIPE_COLOURS[name], mec="black")
        if not axis.lines:
            axis.text(0.5, 0.55, "not measured yet", ha="center", transform=axis.transAxes)
            axis.set_xlim(-0.25, 0.25)
        axis.axvline(0, color="black", lw=1)
        axis.set_title(title, fontsize="small")
        axis.tick_params(labelsize="small")
    axes[0].set_ylim(len(methods) - 0.5, -0.5)
    axes[0].set_yticks(range(len(methods)), [name.replace("_", " ") for name in methods])
    style = {"ls": "", "mec": "black"}
    marks = [plt.Line2D([], [], marker=mark, mfc=RECIPE_COLOURS[name], **style) for name, mark in recipes.items()]
    figure.legend(marks, [name.replace("_", " ") for name in recipes], loc="outside upper center", ncols=4, fontsize="small")
    figure.supxlabel("top-quarter Jaccard, minus that of vanilla", fontsize="small")
plt.show()

# %% [markdown]
# Each seed is compared with the next, and the last with the first, so each model is in two of the pairs. They are not
# independent. The intervals of the left panel allow for that: with three seeds, they are about twice as wide as they would
# be without ({py:func}`regex_lib.metrics.bootstrap_interval`, `ring`). What `robust` gains too needs no guidance. What the
# two controls gain too does not need the choice of the masked tokens, or the target. By the rule of {doc}`12_in_domain`,
# over all attributions:

# %%
for sentence in read_rows("sst/verdicts", table="3_randomisation").get("sentence", []):
    print(textwrap.fill(sentence, 90))

# %% [markdown]
# And stability, with the comprehensiveness of the same models and texts, which may not be left out:

# %%
moved = read_rows("sst/means", kind="stability", attribution=chosen)
if len(moved):
    jaccard = moved[moved["metric"] == "jaccard"]
    levels = jaccard.pivot_table(index="recipe", columns="perturbation", values="mean", sort=False)
    fidelity = moved[moved["metric"] == "comprehensiveness"]
    levels["comprehensiveness"] = fidelity.groupby("recipe")["mean"].mean()
    levels.insert(0, "accuracy", accuracy)
    print(f"stability of {chosen}, up to {moved['seeds'].max()} seed(s)")
    print(levels.map("{:.3f}".format, na_action="ignore").fillna("not yet").to_string())

# %% [markdown]
# If a robust recipe is more stable, that is what it was trained for: read the first point below before you call it a gain.
#
# ## What can go wrong
#
# - **Robust training raises stability by construction.** A model that hardly reacts to small changes has gradients
#   that hardly change ({doc}`06_fragile_explanations`). The score then describes the training, not the explanation.
# - **Both models are bad.** Two models at chance may agree on anything. Put the accuracy beside the test.
# - **Different reasons, both right.** Two seeds may use different words that are equally good. Then a faithful
#   attribution *should* disagree. A low score in *other seed* is a question, not a verdict.
# - **Ties.** Where all scores are equal, the first tokens count as the top ones, and the Jaccard index is perfect.
#   Spearman's correlation is undefined there, and the package reports how often that happens.
# - **Signs.** Signed scores rank first what speaks *for* the class. Their magnitudes give another ranking. Say which you
#   use.
#
# ## Strengths and limitations
#
# The randomisation tests remove no words, so no input is unlike what the model was trained on. They need no labels and no
# people. And they find what erasure cannot: that an explanation would have been the same without the training.
#
# They are necessary, not sufficient. An attribution that passes may still mark the wrong words. For that you need to
# know the right ones: see {doc}`16_planted_shortcuts`.
#
# ## Summary
#
# An explanation should agree between two models trained alike, and disagree with an untrained one. The agreement of
# the top quarter has a floor that you can compute. A lexicon, which never looks at the model, fails these tests, and is
# perfectly stable. So stability is worth something only beside faithfulness.
#
# ## Exercises
#
# ```{exercise} The floor of a short text
# :label: ex-14-1
#
# A text has six content tokens. Two explanations rank them at random. What Jaccard index of the top quarter do you
# expect? Set `answer` to the number.
# ```

# %%
answer = ...  # replace the dots
check_answer(answer, expected_jaccard(torch.ones(1, 6, dtype=torch.bool)).item(), tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# A quarter of six, rounded up, is two. There are 15 pairs of tokens. One of them shares both tokens with yours, eight
# share one.
# ```
#
# ````{solution-start} ex-14-1
# :class: dropdown
# ````
#
# Sharing both gives 1; sharing one of the three different tokens gives 1/3.

# %%
answer = (1 * 1 + 8 * (1 / 3) + 6 * 0) / 15
check_answer(answer, expected_jaccard(torch.ones(1, 6, dtype=torch.bool)).item(), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} The other order
# :label: ex-14-2
#
# Someone turns a ranking upside down: the highest score becomes the lowest. Write a tensor `answer` of shape (1, 8)
# whose Spearman correlation with `ranking` is -1 and whose top-quarter Jaccard is 0.
# ```

# %%
ranking, content = torch.tensor([[0.8, 0.1, 0.5, 0.3, 0.9, 0.2, 0.7, 0.4]]), torch.ones(1, 8, dtype=torch.bool)


def both(scores):
    return [measure(ranking, scores, content).item() for measure in (rank_correlation, top_k_jaccard)]


answer = ...  # replace the dots
check_answer(answer if answer is ... else both(answer), [-1.0, 0.0])

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Both measures see nothing but the order. What turns an order around?
# ```
#
# ````{solution-start} ex-14-2
# :class: dropdown
# ````
#
# A minus sign is enough. Any other scores in the opposite order will do as well.

# %%
answer = -ranking
check_answer(both(answer), [-1.0, 0.0])

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Labels at random
# :label: ex-14-3
#
# {cite:t}`adebayo-etal-2018-sanity` have another test: train a model on *permuted* labels, so that it can only memorise.
# What share of the labels is still right after a permutation? Let $q$ be the share of positive training texts. Set
# `answer` to what you expect. The check allows for chance.
# ```

# %%
shuffled = checks.with_permuted_labels(train_rows, seed=seed)
still_right = np.mean(np.array(train_rows["label"][:]) == np.array(shuffled["label"][:]))
answer = ...  # replace the dots
check_answer(answer, still_right, tolerance=0.05)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# The new label of a text is positive with probability $q$, whatever the old one was.
# ```
#
# ````{solution-start} ex-14-3
# :class: dropdown
# ````
#
# Positive stays positive with probability $q$, and negative stays negative with $1 - q$. So the share is
# $q^2 + (1 - q)^2$. For balanced data that is one half, as if each label had been drawn by a coin: a model can fit these
# labels only by memorising texts. {py:func}`regex_lib.checks.permuted_label_training` trains such a model and compares
# its explanations.

# %%
q = np.mean(train_rows["label"][:])
answer = q**2 + (1 - q) ** 2
check_answer(answer, still_right, tolerance=0.05)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`adebayo-etal-2018-sanity` brought randomisation to saliency maps of images. {cite:t}`zafar-etal-2021-lack` brought
# it to text classifiers. {cite:t}`yeh-etal-2019-infidelity` measure sensitivity, how far an explanation moves when its
# input does, beside infidelity, how badly it predicts what the model does.
