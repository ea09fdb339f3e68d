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
# # Out of domain
#
# **What you will learn.** What becomes of explanations when a model reads texts of another kind. Why faithfulness scores
# can rise there while the model gets worse, and what to report instead.
#
# **Time.** Half an hour to read. The code takes some minutes on a GPU.
#
# ## The question
#
# You trained on reviews of films. Someone sends *"The hinge broke within a week."* No film has a hinge. Still, the model
# has to choose a class, and it comes with a probability and a heat map as always.
#
# Is its explanation still {term}`faithful`? This is where you need one most: {term}`out of domain`, a model is often wrong,
# and you want to see why.
#
# {cite:t}`chrysostomou-aletras-2022-empirical` measured it, and found something odd: faithfulness scores can be *higher*
# out of domain than in domain. Do explanations get better where the model gets worse? You will see how a score can rise
# for another reason.
#
# ## Settings

# %% tags=["parameters"]
sources: list = ["films", "restaurants", "gadgets"]  # train one model on each
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
recipe: str = "vanilla"
epochs: float = 8
learning_rate: float = 1e-4
max_examples: int = 100  # explain so many texts of each domain
seed: int = 0

# %%
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import f1_score

from regex_lib.attributions import attribute
from regex_lib.book import check_answer
from regex_lib.checks import evaluate_transfer
from regex_lib.data import CATALOGUE, DOMAINS, label_map, load_data, map_labels
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.metrics import normalised_comprehensiveness
from regex_lib.models import load_classifier
from regex_lib.plots import ATTRIBUTION_COLOURS, RECIPE_COLOURS, attribution_switcher, figure_style
from regex_lib.study import read_rows
from regex_lib.training import train

# %% [markdown]
# ## Three domains
#
# `reviews` has three: films, restaurants and gadgets. The name after a colon selects one. The labels mean the same in all
# of them.

# %%
domains = ["films", "restaurants", "gadgets"]
parts = {domain: load_data(f"reviews:{domain}") for domain in domains}
for domain, splits in parts.items():
    example = textwrap.shorten(splits["test"][3]["text"], 48, placeholder=" …")
    print(f"{domain:12} {len(splits['train'])} to train on, {len(splits['test'])} to test on: {example}")

# %% [markdown]
# Train one model for each source, and test it on all three domains. Where source and domain are the same, it is at home.

# %%
models = {}
for source in sources:
    models[source] = load_classifier("minilm", layers=layers, seed=seed)
    train(
        models[source], {"train": parts[source]["train"]}, recipe, epochs=epochs, batch_size=16,
        learning_rate=learning_rate, seed=seed,
    )
quality = pd.DataFrame(
    {to: {source: classify(models[source], parts[to]["test"])["macro_f1"] for source in sources} for to in domains}
)
quality.rename_axis(index="trained on", columns="tested on").round(3)

# %% [markdown]
# Macro-F1 is the mean of the F1 of the classes. A model that gives every text the same answer gets 1/3, if there are two
# classes of the same size.
#
# Look down a column, not along a row. In a column the same texts are read by a model that was trained on such texts, and
# by others: what they lose is due to the domain. Along a row the texts change too, and some domains are simply harder.

# %%
for to in domains:
    elsewhere = quality[to].drop(to, errors="ignore")
    if to in sources and len(elsewhere):
        lost = elsewhere.mean() - quality[to][to]
        print(f"{to}: trained there {quality[to][to]:.3f}, elsewhere {elsewhere.mean():.3f}: {lost:+.3f}")
    else:
        print(f"{to}: no model from {'elsewhere' if to in sources else 'there'} to compare with")

# %% [markdown]
# Here is the sentence from above, as each model reads it. The model of films has never met a hinge. Which words does it
# hold on to?

# %%
text = "The hinge broke within a week."
attribution_switcher({source: attribute(models[source], [text])[0] for source in sources}, ["negative", "positive"])

# %% [markdown]
# ## How a score can rise
#
# Remember the normalised {term}`comprehensiveness` of {doc}`05_measuring_faithfulness`. With $p(x)$ for the probability of
# the predicted class, $p(x \setminus r)$ for the same without the rationale $r$, and $p(\varnothing)$ with everything
# removed, it is
#
# $$
# \text{comprehensiveness} = \frac{\max(0,\; p(x) - p(x \setminus r))}{\max(0,\; p(x) - p(\varnothing)) + \delta}
# $$ (eq-13-comprehensiveness)
#
# clipped to $[0, 1]$. The tiny $\delta = 0.0001$ keeps the denominator above 0.
#
# The denominator is how far this prediction falls when everything goes. (Where what is left speaks against the class it
# can fall further; the score is then clipped.) Out of domain a model may be less sure, and then the denominator of
# {eq}`eq-13-comprehensiveness` is small. Any nudge is a large share of it.
#
# ### From scratch
#
# Take two texts. The model is sure of the first, and not of the second.

# %%
full, without, empty = torch.tensor([[0.95], [0.60]]), torch.tensor([[0.80], [0.53]]), torch.tensor([[0.50], [0.52]])


def comprehensiveness(full, without, empty):
    fallen, could_fall = (full - without).clamp(min=0), (full - empty).clamp(min=0) + 1e-4
    return (fallen / could_fall).clamp(0, 1)


ours = comprehensiveness(full, without, empty)
torch.testing.assert_close(ours, normalised_comprehensiveness(full, without, empty))
print("the probability falls by", (full - without).squeeze(1).numpy().round(2))
print("comprehensiveness       ", ours.squeeze(1).numpy().round(2))

# %% [markdown]
# The second prediction fell less, and scores more. Nothing here depends on *which* words were removed: random ones will
# do. That suggests a remedy. Measure a `random` attribution with the same model on the same texts, and subtract it.
#
# ## With the package
#
# {py:func}`regex_lib.checks.evaluate_transfer` gives you, for each test set, the macro-F1, each attribution's score, and
# `over_random`: how much the attribution scores above the random one, averaged over the texts, with a 95 % interval.
# Removed tokens become `[MASK]` here, as in the study below. A third metric comes along: `eraser_comprehensiveness`, the
# plain drop of the probability, without the denominator of {eq}`eq-13-comprehensiveness`.

# %%
metrics, settings = ["sufficiency", "comprehensiveness", "eraser_comprehensiveness"], {"replacement": "mask"}
tables = []
for source in sources:
    order = sorted(domains, key=lambda name, home=source: name != home)  # the home domain first
    tests = {name: parts[name]["test"] for name in order}
    table = evaluate_transfer(
        models[source], tests, metrics=metrics, max_examples=max_examples, seed=seed, **settings
    )
    tables.append(table.assign(source=source))
found = pd.concat(tables, ignore_index=True)
found["at home"] = found["source"] == found["data"]
first = found[(found["source"] == sources[0]) & (found["metric"] == "comprehensiveness")]
first = first[first["attribution"].isin(["random", "integrated_gradients"])]
columns = {
    "score": "score", "over_random": "over random", "low": "low", "high": "high",
    "macro_f1": "F1", "degenerate_share": "degenerate",
}
first.set_index(["data", "attribution"])[list(columns)].rename(columns=columns).round(3)

# %% [markdown]
# `F1` is the macro-F1, and `degenerate` a share of the texts. Mind that last column. The model gives an answer to an
# empty text too, and it may be as sure of that as of a real text of the same class. Such a text is {term}`degenerate`:
# nothing can fall, and its normalised score means nothing.
#
# From scratch, `over_random` is a mean of differences. Take one model and one domain, and assert that it equals the
# package's:

# %%
source, to = sources[0], next(name for name in domains if name != sources[0])
report = evaluate_faithfulness(
    models[source], parts[to]["test"], ["random", "input_x_gradient"], ["comprehensiveness"],
    max_examples=max_examples, seed=seed, **settings,
)
by_text = report.examples.pivot(index="example", columns="attribution", values="comprehensiveness")
over_random = (by_text["input_x_gradient"] - by_text["random"]).mean()
cell = found.query("source == @source and data == @to and attribution == 'input_x_gradient' and metric == 'comprehensiveness'")
assert np.isclose(over_random, cell["over_random"].item(), atol=1e-3)
print(f"{source} -> {to}: {over_random:.3f} over random, by hand and by the package")

# %% [markdown]
# And is the model less sure away from home? Compare the mean probability of its predictions in both places. If it is not
# less sure, a lower confidence is not what raises scores here, and the degenerate share is the next suspect.

# %%
at_home = evaluate_faithfulness(
    models[source], parts[source]["test"], ["random"], ["comprehensiveness"],
    max_examples=max_examples, seed=seed, **settings,
)
for name, examples in ((source, at_home.examples), (to, report.examples)):
    confidence = examples.drop_duplicates("example")["probability"].mean()
    print(f"{source} -> {name}: the mean probability of the prediction is {confidence:.3f}")

# %% [markdown]
# ## What is left
#
# {numref}`fig-13-transfer` has the scores themselves on the left, and on the right what remains of them when the random
# attribution's is subtracted.

# %% mystnb={"image": {"alt": "Two panels of points. For each pair of training and test domain, the comprehensiveness of five attributions on the left, and the difference with the random attribution with intervals on the right."}, "figure": {"name": "fig-13-transfer", "caption": "Comprehensiveness for each pair of domains. Pairs in bold are in domain. On the right with 95 % intervals over texts; 0 is the random attribution."}}
metric = "comprehensiveness"  # or "sufficiency"
rows = found[found["metric"] == metric]
pairs = list(dict.fromkeys(zip(rows["source"], rows["data"], strict=True)))
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(8, 1.6 + 0.42 * len(pairs)), sharey=True, layout="constrained")
    for number, (name, colour) in enumerate(ATTRIBUTION_COLOURS.items()):
        ours = rows[rows["attribution"] == name]
        heights = np.arange(len(pairs)) + (number - 2) * 0.14
        style = {"fmt": "osD^v"[number], "color": colour, "ms": 5, "lw": 1.2}
        axes[0].errorbar(ours["score"], heights, label=name.replace("_", " "), **style)
        errors = np.clip([ours["over_random"] - ours["low"], ours["high"] - ours["over_random"]], 0, None)
        axes[1].errorbar(ours["over_random"], heights, xerr=errors, **style)
    axes[0].set(xlim=(0, 1), xlabel=metric, ylim=(len(pairs) - 0.5, -0.5))
    axes[0].set_yticks(range(len(pairs)), [f"{source} → {to}" for source, to in pairs])
    for label, (source, to) in zip(axes[0].get_yticklabels(), pairs, strict=True):
        label.set_fontweight("bold" if source == to else "normal")
    axes[1].axvline(0, color="black", lw=1)
    axes[1].set_xlabel("minus random")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small")
plt.show()

# %% [markdown]
# Read the figure pair by pair. Where all points on the left move together, `random` among them, it is the scale that
# has moved, not the explanations. On the right, an interval that contains 0 means that the attribution is not shown to be
# better than chance there.
#
# The next cell compares models on the same texts: one from elsewhere with the one from there, for each attribution. It
# counts how often the one from elsewhere has the higher number. Macro-F1 and the degenerate share do not depend on the
# attribution, so they count once for each pair of models. With a single source there is nothing to count.


# %%
def compared(metric, column):
    part = found[found["metric"] == metric]
    home = part[part["at home"]].set_index(["data", "attribution"])[column]
    away = part[~part["at home"] & part["data"].isin(sources) & (part["attribution"] != "random")]
    if column in ("macro_f1", "degenerate_share"):  # the same for all attributions
        away = away.drop_duplicates(["source", "data"])
    return [(getattr(row, column), home[row.data, row.attribution]) for row in away.itertuples()]


print("the same texts: how often a model from elsewhere has more than the one from there")
for title, of_metric, column in (
    ("macro-F1", metric, "macro_f1"),
    (metric, metric, "score"),
    ("the same over random", metric, "over_random"),
    ("plain drop over random", "eraser_comprehensiveness", "over_random"),
    ("degenerate share", metric, "degenerate_share"),
):
    values = compared(of_metric, column)
    print(f"   {title:23} {sum(ours > theirs for ours, theirs in values)} of {len(values)}")
clear = ((rows["low"] > 0) & (rows["attribution"] != "random")).groupby(rows["at home"]).sum()
total = (rows["attribution"] != "random").groupby(rows["at home"]).sum()
print(f"clearly over random: at home {clear[True]} of {total[True]}, away {clear[False]} of {total[False]}")

# %% [markdown]
# If scores are higher where the macro-F1 is lower, do not conclude that explanations got better. Ask three questions:
#
# 1. Does the gain survive the subtraction of `random`?
# 2. Does it survive without the denominator, in the plain drop?
# 3. Is the share of degenerate texts the same? If not, the two means are over different kinds of texts.
#
# Only what survives all three is about explanations. And with one seed and few texts, even that is an anecdote.
#
# ## Labels that mean the same
#
# The three parts of `reviews` share their labels. Real data sets may not. Some of the Amazon sets have a class *neutral*,
# SST, IMDB and Yelp do not. A model of two classes cannot be right about a neutral text.
#
# Match the labels by their names, and leave out the texts that the model has no class for:

# %%
def matched(data_names, model_names):
    return {label: model_names.index(name) for label, name in enumerate(data_names) if name in model_names}


two, three = CATALOGUE["amaz_music_mdsd"].label_names, CATALOGUE["amaz_instr"].label_names
for data_names, model_names in ((two, three), (three, two)):
    assert matched(data_names, model_names) == label_map(data_names, model_names)
    print(f"data {data_names}, model {model_names}: {label_map(data_names, model_names)}")

# %% [markdown]
# {py:func}`regex_lib.data.map_labels` does it for a data set of the catalogue. It is a small step, and forgetting it is a
# large error: label 1 is *neutral* in one set and *positive* in the other.
#
# The last lines show the families of data sets: a model trained on one member is tested on others.

# %%
mapped = map_labels(parts["films"]["test"], "reviews:films", three)
print("labels before:", sorted(set(parts["films"]["test"]["label"])), "after:", sorted(set(mapped["label"])))
for family, members in DOMAINS.items():
    print(f"{family}:", ", ".join(members))

# %% [markdown]
# ## On real data
#
# The study of this book trains on SST, sentences from film reviews, and tests on IMDB, film reviews, and on Yelp,
# reviews of businesses, of which the models read the first 128 tokens. All three have the classes *negative* and
# *positive*. The study's tables come with the package and grow while it runs. Where something is not measured yet, the
# cell says so.
#
# First the question of this chapter, for `vanilla`: what becomes of its scores away from home?

# %%
studied = "comprehensiveness"  # or "sufficiency"
away = read_rows("sst/means", kind="transfer")
if len(away):
    of_vanilla = away[away["recipe"] == "vanilla"]
    means = of_vanilla.pivot_table(index="on", columns=["metric", "attribution"], values="mean", sort=False, dropna=False)
    shown = pd.DataFrame({"degenerate texts": means["degenerate", "random"]})
    for name in ("random", "integrated_gradients"):
        shown[name] = means[studied, name]
    shown["over random"] = shown["integrated_gradients"] - shown["random"]
    shown.insert(0, "macro-F1", of_vanilla[of_vanilla["metric"] == "macro_f1"].set_index("on")["mean"])
    print(f"vanilla: {studied}, up to {of_vanilla['seeds'].max()} seed(s)")
    print(shown.map("{:.3f}".format, na_action="ignore").fillna("not yet").to_string())

# %% [markdown]
# Is it only Integrated Gradients? The next cell counts over all attributions: on how many of the other data sets is a
# number higher than on SST?

# %%
if len(away) and "sst" in shown.index and len(shown) > 1:
    scores = means[studied]
    over_random = scores.sub(scores["random"], axis=0)
    for title, table in (("score", scores), ("score over random", over_random)):
        table = table.drop(columns="random").dropna(axis=1, how="all")
        higher = table.drop("sst") > table.loc["sst"]
        print(f"{title} higher than on SST: {higher.to_numpy().sum()} of {higher.size}")
    lower = shown["macro-F1"].drop("sst") < shown["macro-F1"]["sst"]
    print(f"macro-F1 lower than on SST: {lower.sum()} of {lower.size}")
else:
    print("there is no other data set to compare with yet")

# %% [markdown]
# The texts are not the same here, so this comparison mixes the domain with the length of the texts and all else that
# differs. The next one does not: **each recipe minus `vanilla`, on the same texts.** A recipe that lost accuracy need not
# be compared any further, so the macro-F1 comes first.

# %%
effect = read_rows("sst/table_2_out_of_domain", metric=studied)
effect = effect[effect["attribution"] != "random"]
if len(away):
    f1 = away[away["metric"] == "macro_f1"].pivot_table(index="recipe", columns="on", values="mean", sort=False)
    print("macro-F1, trained on SST")
    print(f1.map("{:.3f}".format, na_action="ignore").fillna("not yet").to_string())
for recipe, rows in effect.groupby("recipe", sort=False):
    print(f"{recipe} - vanilla: {rows['seeds'].max()} seed(s), {rows['examples'].max()} texts of each set explained")

# %% mystnb={"image": {"alt": "One panel for each test set. For each of four attributions, the difference from vanilla over the random attribution with its interval, for REGEX, robustness alone and two controls, and a line at zero."}, "figure": {"name": "fig-13-study", "caption": "Trained on SST, tested on three data sets: the score of a recipe minus that of vanilla, each over its own random attribution, with 95 % intervals over seeds and texts. Circles are REGEX, triangles robustness alone, squares and diamonds its controls."}}
recipes = {"regex": "o", "robust": "^", "regex_random_mask": "s", "regex_shuffled_target": "D"}
names = [name for name in ATTRIBUTION_COLOURS if name != "random"]
panels = list(effect["on"].unique()) or [""]
with figure_style():
    figure, axes = plt.subplots(1, len(panels), figsize=(8, 4), sharey=True, squeeze=False, layout="constrained")
    for axis, on in zip(axes[0], panels, strict=True):
        for shift, (recipe, marker) in zip((-0.27, -0.09, 0.09, 0.27), recipes.items(), strict=True):
            rows = effect[(effect["on"] == on) & (effect["recipe"] == recipe)]
            for row in rows[rows["attribution"].isin(names)].itertuples():
                height = names.index(row.attribution) + shift
                axis.plot([row.low_over_random, row.high_over_random], [height] * 2, color="black", lw=1)
                axis.plot(row.difference_over_random, height, marker, mfc=RECIPE_COLOURS[recipe], mec="black")
        if not axis.lines:
            axis.text(0.5, 0.55, "not measured yet", ha="center", transform=axis.transAxes)
            axis.set_xlim(-0.25, 0.25)
        axis.axvline(0, color="black", lw=1)
        axis.set_title(on, fontsize="small")
        axis.tick_params(labelsize="small")
    axes[0][0].set(ylim=(len(names) - 0.5, -0.5))
    axes[0][0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    style = {"ls": "", "mec": "black"}
    marks = [plt.Line2D([], [], marker=mark, mfc=RECIPE_COLOURS[name], **style) for name, mark in recipes.items()]
    figure.legend(marks, [name.replace("_", " ") for name in recipes], loc="outside upper center", ncols=4, fontsize="small")
    figure.supxlabel(f"{studied} over random, minus that of vanilla", fontsize="small")
plt.show()

# %% [markdown]
# In {numref}`fig-13-study`, an interval right of 0 is a gain over `vanilla`. The authors report more faithful explanations
# in and out of domain {cite:p}`li-etal-2023-regex`. Look at the other marks too. What `robust` gains as well needs no
# guidance. What `regex_random_mask` gains as well does not need the choice of the masked tokens, and what
# `regex_shuffled_target` gains as well does not need the target.

# %%
studied_over = [f"{name}_over_random" for name in ("low", "high")]
for recipe, rows in effect[effect["recipe"].isin(recipes)].groupby("recipe", sort=False):
    low, high = (rows[name] for name in studied_over)
    print(f"{recipe} - vanilla, over random: of {len(rows)} intervals {(low > 0).sum()} above 0 and {(high < 0).sum()} below")

# %% [markdown]
# By the rule of {doc}`12_in_domain`, over both metrics, all attributions and all data sets but SST itself:

# %%
for sentence in read_rows("sst/verdicts", table="2_out_of_domain").get("sentence", []):
    print(textwrap.fill(sentence, 90))

# %% [markdown]
# Does the *guidance* add anything to robustness alone? Here is REGEX minus `robust`, which has the same robustness losses
# and no guidance, on the two other data sets:

# %%
beside = read_rows("sst/differences", kind="transfer", recipe="regex", base="robust", minus="random")
beside = beside[(beside["on"] != "sst") & beside["metric"].isin(["sufficiency", "comprehensiveness"])]
for metric, rows in beside.groupby("metric", sort=False):
    above, below = (rows["low"] > 0).sum(), (rows["high"] < 0).sum()
    print(f"{metric} over random: of {len(rows)} intervals {above} above 0 and {below} below;"
          f" estimates from {rows['difference'].min():+.3f} to {rows['difference'].max():+.3f}")

# %% [markdown]
# There are more directions: from IMDB and Yelp to the other two, and the Amazon sets among themselves, with their
# labels mapped. The models are those of smaller trainings on each data set.

# %%
columns = {
    "data": "trained on", "on": "tested on", "base_macro_f1": "F1 vanilla", "macro_f1": "F1 regex", "base_mean": "vanilla",
    "mean": "regex", "difference_over_random": "over random", "low_over_random": "low", "high_over_random": "high",
}
directions = read_rows(
    "other_data/table_2_out_of_domain", metric=studied, attribution="integrated_gradients", recipe="regex"
)
if len(directions):
    print(f"{studied} of Integrated Gradients, {directions['seeds'].min()} to {directions['seeds'].max()} seed(s)")
    print(directions.reindex(columns=list(columns)).rename(columns=columns).round(2).to_string(index=False))

# %% [markdown]
# Read a row from the left. Is the model any good on these texts? Do the two recipes agree
# about that? Only then look at the scores, and at what is left of their difference over random. `low` and `high` are
# the ends of its 95 % interval.
#
# ## What can go wrong
#
# - **Only the scores are reported.** They can rise because the model got worse. Without macro-F1 and `random` beside
#   them, nobody can tell.
# - **Different texts are compared.** Another domain has texts of another length. Two words of ten are not the same as sixty
#   of three hundred. Compare models on the same texts where you can.
# - **Long texts are cut.** A model that reads the first part of a long review is explained on that part only. Say how
#   many tokens it reads.
# - **The predicted class is wrong.** It is explained all the same, as it should be. But a mean over right and wrong
#   predictions mixes two questions.
# - **A large `degenerate_share`.** Where an empty text gives the predicted class almost the same probability, or
#   a higher one, the score says nothing.
# - **Subtraction does not cure everything.** Where `random` is near 1, nothing can be far above it
#   {cite:p}`edin-etal-2025-normalized`.
#
# ## Strengths and limitations
#
# A test in another domain shows what a test set from the same source hides, and it needs no labels for the explanations.
#
# `over_random` gives models and data sets the same zero. It does not give them the same unit: a difference of 0.1 may be
# much for one model and little for another. And the domains of `reviews` are close relatives, written for one book.
#
# ## Summary
#
# Where a model is less sure, a normalised score can rise for that reason alone. Report macro-F1 beside the score, subtract
# the random attribution on the same texts, and compare models on the same texts. Map labels by their names.
#
# ## Exercises
#
# ```{exercise} A score without an explanation
# :label: ex-13-1
#
# A model predicts a class with the probability 0.56. For an empty text the probability of this class is 0.54, and for the
# text without some random words it is 0.55. What is the normalised comprehensiveness? Set `answer` to the number.
# ```

# %%
numbers = torch.tensor([[0.56]]), torch.tensor([[0.55]]), torch.tensor([[0.54]])
answer = ...  # replace the dots
check_answer(answer, normalised_comprehensiveness(*numbers).item(), tolerance=0.01)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# How far did the probability fall, and how far could it have fallen? Leave out $\delta$; the check allows for it.
# ```
#
# ````{solution-start} ex-13-1
# :class: dropdown
# ````
#
# It fell half of the way, by random words, and the prediction was hardly one to begin with.

# %%
answer = (0.56 - 0.55) / (0.56 - 0.54)
check_answer(answer, normalised_comprehensiveness(*numbers).item(), tolerance=0.01)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Three classes, two of them there
# :label: ex-13-2
#
# A model knows *negative*, *neutral* and *positive* (0, 1, 2). The texts are only negative or positive. `truth` and `said`
# are below. Compute the macro-F1 over the classes **that the texts have**, as the package does out of domain. Set `answer`
# to the number.
# ```

# %%
truth, said = [0, 0, 2, 2], [0, 1, 2, 2]
answer = ...  # replace the dots
check_answer(answer, f1_score(truth, said, labels=[0, 2], average="macro"), tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# The F1 of a class is $2 h / (2 h + f + u)$ with $h$ hits, $f$ false alarms and $u$ misses.
# ```
#
# ````{solution-start} ex-13-2
# :class: dropdown
# ````
#
# *Negative* has one hit and one miss, *positive* two hits. To say *neutral* was an error all the same.

# %%
answer = (2 / (2 + 0 + 1) + 4 / 4) / 2
check_answer(answer, f1_score(truth, said, labels=[0, 2], average="macro"), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Labels in another order
# :label: ex-13-3
#
# The labels 0 to 2 of some data mean *positive*, *mixed* and *negative*. The model's classes are *negative* and *positive*.
# Set `answer` to the dictionary from labels to classes.
# ```

# %%
answer = ...  # replace the dots
check_answer(answer, label_map(("positive", "mixed", "negative"), ("negative", "positive")))

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Go by the names. A label without a class is left out.
# ```
#
# ````{solution-start} ex-13-3
# :class: dropdown
# ````

# %%
answer = {0: 1, 2: 0}
check_answer(answer, label_map(("positive", "mixed", "negative"), ("negative", "positive")))

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`chrysostomou-aletras-2022-empirical` study explanations out of domain. {cite:t}`blitzer2007biographies` collected
# reviews from several domains early on. {cite:t}`edin-etal-2025-normalized` show why scores of different models do not
# share a scale.
