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
# # Measuring faithfulness
#
# **What you will learn.** How to measure whether an attribution tells what the model does: remove tokens, put the result on
# a scale, and give it an interval. And, just as important, five ways in which these numbers mislead, each with the check
# that shows it.
#
# **Time.** An hour to read and try. The code takes a few minutes on a GPU, or on two CPU cores with the small sizes.
#
# ## The question
#
# A classifier reads *"A silly plot, yet lovely songs."* An attribution says: the prediction rests on *"lovely"*.
#
# You cannot ask the model whether that is true. But you can take *"lovely"* away and look. If the prediction rested on
# it, the probability falls. If it stays, the attribution told a story.
#
# That is all that this chapter does. What makes it a chapter is the small print. How much must the probability fall? What
# stands in the place of the word? Compared with what? {doc}`02_faithful_and_plausible` said why this is worth asking. Here
# you learn to answer with a number, and when not to trust that number.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU. The data must have
# two classes.

# %% tags=["parameters"]
data: str = "sst"  # a data set's name, or a file or folder of your own
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
max_train: "Optional[int]" = None  # train on so many texts; None takes all
epochs: float = 3
learning_rate: float = 1e-4
max_examples: int = 300  # explain so many test texts
attainable_examples: int = 100  # and so many of them for the costlier NAOPC
seed: int = 0

# %%
from itertools import combinations, permutations, product
from math import ceil, factorial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from regex_lib import metrics
from regex_lib.attributions import METHODS, attribute
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import ATTRIBUTIONS, evaluate_faithfulness
from regex_lib.models import load_classifier
from regex_lib.plots import ATTRIBUTION_COLOURS, figure_style, mask_ratio_stepper
from regex_lib.study import read_table
from regex_lib.training import train

texts = load_data(data)
classifier = load_classifier("minilm", layers=layers, seed=seed)
classifier.label_names = ["negative", "positive"]
run = train(classifier, texts, "vanilla", epochs=epochs, batch_size=16,
            learning_rate=learning_rate, max_train=max_train, seed=seed)
print(f"{data}: trained on {run.settings['train_texts']} texts, "
      f"accuracy on the validation texts {run.validation['accuracy']:.3f}")

# %% [markdown]
# Keep the accuracy in mind. No number of this chapter means anything without it, as you will see.
#
# ## Remove, and look
#
# Take a text $x$ and the class $\hat y$ that the model predicts for it. Write $p(x)$ for the probability of that one
# class. An attribution ranks the $n$ content tokens of the text. The first $k = \lceil \rho n \rceil$ of them are the
# {term}`rationale` $r$; the ratio $\rho$ is yours to choose.
#
# Now make two shorter texts. In $x \setminus r$ the rationale is removed. In $r$ everything else is. The benchmark
# ERASER {cite:p}`deyoung-etal-2020-eraser` asks two questions:
#
# $$
# \mathrm{comp} = p(x) - p(x \setminus r)
# $$ (eq-05-comp)
#
# $$
# \mathrm{suff} = p(x) - p(r)
# $$ (eq-05-suff)
#
# {term}`Comprehensiveness <comprehensiveness>` {eq}`eq-05-comp` is the fall *without* the rationale: high is good.
# {term}`Sufficiency <sufficiency>` {eq}`eq-05-suff` is the fall *with the rationale alone*: here, low is good.
#
# *Removed* means: replaced, in its place, by the padding token `[PAD]`. The text keeps its length. Remember this choice,
# because it will matter.

# %%
@torch.no_grad()
def probabilities(text, removed=()):
    """Class probabilities of a text without some of its content tokens, which are counted from 0."""
    batch = classifier.tokenize([text])
    places = batch.content_mask[0].nonzero().squeeze(1)
    ids = batch.input_ids.clone()
    ids[0, places[list(removed)]] = classifier.pad_id
    return classifier(classifier.embed(ids), batch.attention_mask).logits.softmax(dim=-1)[0]


text = "A silly plot, yet lovely songs."
explanation = attribute(classifier, [text], "integrated_gradients")[0]
tokens, scores, target = explanation.tokens, explanation.scores, explanation.prediction
top = int(np.argmax(scores))
full, without = probabilities(text)[target], probabilities(text, [top])[target]
print(f"predicted {classifier.label_names[target]} with probability {full:.3f}")
print(f"the strongest token is {tokens[top]!r}; without it the probability is {without:.3f}")

# %% [markdown]
# One ratio would be arbitrary, so several are used, and the results are averaged. That average is called {term}`AOPC`, for
# *area over the perturbation curve* {cite:p}`samek-etal-2017-evaluating`. Here are both scores from scratch, for one
# text.

# %%
def fall(text, scores, ratios, keep=False):
    """ERASER's comprehensiveness for each ratio; with `keep`, its sufficiency."""
    full = probabilities(text)
    target, n = full.argmax(), len(scores)
    ranking = sorted(range(n), key=lambda i: -scores[i])  # of equal scores the earlier comes first
    falls = []
    for ratio in ratios:
        k = ceil(ratio * n - 1e-6)  # the small number is for rounding: 0.07 * 100 is above 7 in Python
        removed = ranking[k:] if keep else ranking[:k]
        falls.append((full[target] - probabilities(text, removed)[target]).item())
    return falls


for name, keep in (("comprehensiveness", False), ("sufficiency", True)):
    falls = fall(text, scores, metrics.RATIOS, keep)
    steps = ", ".join(f"{ratio:g}: {value:+.3f}"
                      for ratio, value in zip(metrics.RATIOS, falls, strict=True))
    print(f"{name}: {steps}; AOPC {np.mean(falls):+.3f}")

# %% [markdown]
# The ratios are 0.02, 0.1, 0.2 and 0.5, those of {cite:t}`chrysostomou-aletras-2022-empirical`. ERASER has five, from 0.01
# to 0.5. On a short text the smallest ratios remove the same number of tokens. Move the slider to see more steps.

# %%
mask_ratio_stepper(classifier, explanation)

# %% [markdown]
# ## Why the plain scores need a scale
#
# Suppose a model gives its prediction the probability 0.95, and an *empty* text 0.90. Removing everything lowers
# the probability by 0.05, and removing a part usually by no more (not always, as you will see). Another model falls from
# 0.95 to 0.50. Its attributions may get nine times the comprehensiveness, and that is not to their credit.
#
# So put the scores on the model's own scale {cite:p}`carton-etal-2020-evaluating`. Let $\emptyset$ be the text with all
# content removed:
#
# $$
# \mathrm{comp}_{norm} = \frac{\max(0,\, p(x) - p(x \setminus r))}{\max(0,\, p(x) - p(\emptyset))},
# \qquad
# \mathrm{suff}_{norm} = 1 - \frac{\max(0,\, p(x) - p(r))}{\max(0,\, p(x) - p(\emptyset))}
# $$ (eq-05-norm)
#
# Both are clipped to lie between 0 and 1, and now higher is better for both. A tiny number (0.0001) is added to the
# denominator, so that it is never 0. Where this book says just *sufficiency* or *comprehensiveness*, it means these;
# the ones above are called *plain*. The functions are {py:func}`regex_lib.metrics.normalised_comprehensiveness` and
# {py:func}`regex_lib.metrics.normalised_sufficiency`.

# %%
def on_the_models_scale(text, scores, ratios):
    """Normalised comprehensiveness and sufficiency, AOPC over the ratios."""
    full = probabilities(text)
    span = max(0.0, (full.max() - probabilities(text, range(len(scores)))[full.argmax()]).item())
    span += 1e-4
    comp = [min(1.0, max(0.0, lost) / span) for lost in fall(text, scores, ratios)]
    suff = [max(0.0, 1.0 - max(0.0, lost) / span) for lost in fall(text, scores, ratios, keep=True)]
    return np.mean(comp), np.mean(suff)


print("comprehensiveness {:.3f}, sufficiency {:.3f}".format(
    *on_the_models_scale(text, scores, metrics.RATIOS)))

# %% [markdown]
# Where both look perfect, be warned. Move the slider to its end: if the model is nearly as sure with all tokens removed
# as with the full text, the denominator is tiny, and almost any fall counts as a complete one. Such a text is all but
# {term}`degenerate`. The table below counts such texts, and *What can go wrong* shows what they do to a score.
#
# ## With the package
#
# {py:func}`regex_lib.evaluation.evaluate_faithfulness` does this for many texts and attributions at once. It never runs
# the same shortened text twice.

# %%
report = evaluate_faithfulness(
    classifier, texts["test"], max_examples=max_examples, seed=seed,
    metrics=["sufficiency", "comprehensiveness", "eraser_sufficiency", "eraser_comprehensiveness",
             "loo_tau", "decision_flip"],
)
examples = report.examples.set_index(["attribution", "example"])

# %% [markdown]
# First: does it compute what you computed? The same four scores, for three texts, from scratch and from the report.

# %%
for row in examples.loc["integrated_gradients"].index[:3]:
    chosen = texts["test"][row]["text"]
    ours = attribute(classifier, [chosen], "integrated_gradients")[0].scores
    comp, suff = on_the_models_scale(chosen, ours, metrics.RATIOS)
    plain = [np.mean(fall(chosen, ours, metrics.RATIOS, keep)) for keep in (False, True)]
    names = ["comprehensiveness", "sufficiency", "eraser_comprehensiveness", "eraser_sufficiency"]
    theirs = examples.loc[("integrated_gradients", row), names].to_numpy(dtype=float)
    torch.testing.assert_close(
        torch.tensor([comp, suff, *plain]), torch.tensor(theirs), atol=1e-4, rtol=1e-3)
print("the package gives the same numbers")

# %% [markdown]
# Then the table. The first column is the {term}`control`: random scores. `degenerate_share` is the share of texts that are
# {term}`degenerate`: an empty text gets nearly the same prediction, so that {eq}`eq-05-norm` divides by almost nothing.

# %%
shown = report.table.set_index("attribution").drop(columns=["ece", "macro_f1", "loo_tau_undefined"])
shown.rename(columns=lambda name: name.replace("eraser_", "plain ")).T.round(3)

# %% [markdown]
# Two rows are new, and ask other questions of the same attributions.
#
# **`loo_tau`.** Leave out one token at a time, and note how far the probability falls each time. Does the attribution put
# the tokens in the same order as these falls? Count the pairs of tokens on which the two orders agree ($C$) and disagree
# ($D$). Kendall's $\tau$ is
#
# $$
# \tau = \frac{C - D}{\sqrt{(C + D + T_a)\,(C + D + T_d)}}
# $$ (eq-05-tau)
#
# where $T_a$ and $T_d$ count the pairs that are tied in one of the two only. It is 1 for the same order, 0 on average for
# a random one {cite:p}`jain-wallace-2019-attention`.
#
# **`decision_flip`.** For how many texts does the predicted class change when only the top token goes
# {cite:p}`serrano-smith-2019-attention`?

# %%
def kendall(first, second):
    """Kendall's tau-b, from all pairs."""
    signs = [(np.sign(first[i] - first[j]), np.sign(second[i] - second[j]))
             for i, j in combinations(range(len(first)), 2)]
    agreement = sum(a * b for a, b in signs)
    return agreement / np.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))


drops = [(full - probabilities(text, [i])[target]).item() for i in range(len(tokens))]
ours = torch.tensor([kendall(scores, drops)])
theirs = metrics.leave_one_out_tau(
    torch.tensor([scores]).double(), torch.tensor([drops]).double(), torch.ones(1, len(tokens)) > 0)
torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
flipped = bool(metrics.decision_flip(probabilities(text)[None], probabilities(text, [top])[None]))
assert flipped == bool(probabilities(text).argmax() != probabilities(text, [top]).argmax())
print(f"tau {ours.item():.3f}; the decision {'flips' if flipped else 'does not flip'} "
      f"without {tokens[top]!r}")

# %% [markdown]
# Be careful with both. Leave-one-out is itself an attribution, and so `loo_tau` measures how far you agree with a rival.
# And flips depend on how brittle the model is: that is why the random scores stand there too.
#
# ## How sure are these numbers?
#
# The table shows means over some texts. Other texts would give other means. The bootstrap asks how other: draw as many
# texts again from those you have, with replacement, take the mean, and repeat
# {cite:p}`hesterberg-2015-bootstrap`.
#
# Draw **pairs**. Both attributions were scored on the same texts, and a text that is hard for one is often hard for the
# other. In the difference of the two scores of one text, that hardness cancels.

# %%
def bootstrap(values, resamples=2000):
    """A 95 % interval of the mean, from resampled means."""
    draws = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    return np.quantile(values[draws].mean(axis=1), [0.025, 0.975])


table = report.examples.pivot(index="example", columns="attribution", values="comprehensiveness")
ours, random = (table[name].to_numpy() for name in ("integrated_gradients", "random"))
paired = bootstrap(ours - random)
separate = [bootstrap(ours)[i] - bootstrap(random)[1 - i] for i in (0, 1)]
packaged = metrics.paired_bootstrap(torch.tensor(ours), torch.tensor(random), seed=seed)
assert abs(packaged.estimate - (ours - random).mean()) < 1e-6
for name, (low, high) in {"from scratch, paired": paired, "the package": (packaged.low, packaged.high),
                          "two intervals, subtracted": separate}.items():
    print(f"{name:>26}: {packaged.estimate:+.3f}, from {low:+.3f} to {high:+.3f}, width {high - low:.3f}")

# %% [markdown]
# The package's interval, {py:func}`regex_lib.metrics.paired_bootstrap`, is corrected for small samples, and can take
# several seeds at once. The third one is what you do when you look whether two error bars overlap. It answers another
# question: it ignores that the texts are the same. Compare the widths.
#
# {numref}`fig-05-gains` is the result of this chapter so far: each attribution minus the control, on the same texts. An
# interval that contains 0 has not shown anything.

# %% mystnb={"image": {"alt": "Points with horizontal intervals: for four attributions, the gain over random scores in sufficiency and in comprehensiveness, beside a vertical line at zero."}, "figure": {"name": "fig-05-gains", "caption": "Gain of each attribution over random scores on the same texts and model, with 95 % intervals by the paired bootstrap."}}
markers = {"sufficiency": "o", "comprehensiveness": "s"}
with figure_style():
    figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for shift, (metric, marker) in zip((0.12, -0.12), markers.items(), strict=True):
        table = report.examples.pivot(index="example", columns="attribution", values=metric)
        random = torch.tensor(table["random"].to_numpy())
        fill = "full" if metric == "sufficiency" else "none"
        axis.plot([], [], marker=marker, fillstyle=fill, color="black", linestyle="", label=metric)
        for place, name in enumerate(ATTRIBUTIONS[1:]):
            gain = metrics.paired_bootstrap(torch.tensor(table[name].to_numpy()), random, seed=seed)
            axis.errorbar(gain.estimate, place + shift, fmt=marker, color=ATTRIBUTION_COLOURS[name],
                          xerr=[[gain.estimate - gain.low], [gain.high - gain.estimate]],
                          fillstyle=fill, capsize=3)
    axis.axvline(0, color="black", linestyle="--", linewidth=1)
    axis.set_yticks(range(4), [name.replace("_", " ") for name in ATTRIBUTIONS[1:]])
    axis.set(xlabel="gain over random scores")
    axis.legend(loc="best", fontsize="small")
plt.show()

# %% [markdown]
# ## The best that any ranking could do
#
# The scale of {eq}`eq-05-norm` ends at the empty text. But is that end within reach? Perhaps no ranking of *this* text
# does better than 0.6. And perhaps none does worse than 0.2: some score comes for free.
#
# {cite:t}`edin-etal-2025-normalized` take the scale from the rankings themselves. Remove one token after the other until
# none is left, and average the falls over all $n$ steps:
#
# $$
# \mathrm{AOPC} = \frac{1}{n} \sum_{k=1}^{n} \big( p(x) - p(x \setminus r_k) \big),
# \qquad
# \mathrm{NAOPC} = \frac{\mathrm{AOPC} - \min}{\max - \min}
# $$ (eq-05-naopc)
#
# The minimum and the maximum are over all $n!$ rankings. For a short text you can simply try them all. A ranking is a way
# through sets of removed tokens, and there are only $2^n$ of these: look each up once.

# %%
batch = classifier.tokenize([text])
places, n = batch.content_mask[0].nonzero().squeeze(1).cpu(), len(tokens)


@torch.no_grad()
def probability_without(_text, removed):
    """Of the predicted class, for each row of `removed`: true where a content token is gone."""
    gone = torch.zeros(len(removed), batch.input_ids.shape[1], dtype=torch.bool)
    gone[:, places] = removed
    ids = torch.where(gone.to(classifier.device), classifier.pad_id, batch.input_ids)
    logits = classifier(classifier.embed(ids), batch.attention_mask.expand_as(ids)).logits
    return logits.double().softmax(dim=-1)[:, target].cpu()


codes = torch.arange(2**n)  # a set of removed tokens as a number: token i counts 2 ** i
known = probability_without(codes, (codes[:, None] >> torch.arange(n)) % 2 == 1)
rankings = torch.tensor(list(permutations(range(n))))
areas = known[0] - known[(2**rankings).cumsum(dim=1)].mean(dim=1)
print(f"{len(rankings)} rankings of {n} tokens, {len(known)} removals; "
      f"AOPC from {areas.min():+.3f} to {areas.max():+.3f}")

# %% [markdown]
# {py:func}`regex_lib.metrics.aopc_bounds` finds the same two numbers. For longer texts, where trying all is hopeless,
# it searches for them: by a beam, which keeps the best few sets of each size and goes on from them, as the authors do,
# or by exchanging neighbours in a good ranking (`"local"`). A search can miss the best ranking. It can never report one
# that does not exist.

# %%
features = torch.ones(1, n, dtype=torch.bool)
exact = metrics.aopc_bounds(probability_without, features, method="exhaustive")
torch.testing.assert_close(
    torch.stack([exact.lower, exact.upper]).squeeze(1), torch.stack([areas.min(), areas.max()]),
    atol=1e-5, rtol=0)
for method in ("exhaustive", "beam", "local"):
    found = metrics.aopc_bounds(probability_without, features, method=method)
    assert found.lower >= exact.lower - 1e-5  # but for rounding in single precision
    assert found.upper <= exact.upper + 1e-5
    print(f"{method:>10}: {found.lower.item():+.4f} to {found.upper.item():+.4f} "
          f"with {found.evaluations.item()} removals")

# %% [markdown]
# Where do the attributions stand among all rankings of this text? {numref}`fig-05-rankings` shows the crowd that they have
# to beat. The random scores are one draw from it, and may be a lucky one: never judge by one text.

# %% mystnb={"image": {"alt": "Histogram of the AOPC of all rankings of the tokens of one text, with a vertical line for each of five attributions, between the lowest and the highest value."}, "figure": {"name": "fig-05-rankings", "caption": "The AOPC of every ranking of one short text, and of five attributions of it. NAOPC is the place between the left and the right end."}}
memo = metrics.RemovalMemo(probability_without, examples=1)
lines = {}
for name in ATTRIBUTIONS:
    given = torch.tensor([attribute(classifier, [text], name, target=target)[0].scores])
    lines[name] = metrics.removal_curve_area(metrics.removal_curve(memo, given, features)).item()
styles = (":", "--", "-.", (0, (6, 1, 1, 1, 1, 1)), "-")
with figure_style():
    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    axis.hist(areas.numpy(), bins=50, color="#d0d0d0", edgecolor="white")
    for (name, area), style in zip(lines.items(), styles, strict=True):
        place = metrics.normalised_aopc(torch.tensor(area), areas.min(), areas.max()).item()
        beaten = (areas < area).double().mean().item()
        label = f"{name.replace('_', ' ')}: NAOPC {place:.2f}, beats {beaten:.1%}"
        axis.axvline(area, color=ATTRIBUTION_COLOURS[name], linestyle=style, linewidth=2, label=label)
    axis.set(xlabel="AOPC of a ranking", ylabel="rankings")
    axis.locator_params(axis="x", nbins=6)
    figure.legend(loc="outside lower center", fontsize="x-small", ncols=2)
plt.show()

# %% [markdown]
# For a data set, ask for `naopc_sufficiency` and `naopc_comprehensiveness`. Both are turned so that higher is better. The
# authors rank whole words and replace them by `[MASK]`, and so do you here. For sufficiency the *least* important token
# goes first, and a low area is good, so that it is 1 minus the place. The bounds differ between texts; where they
# are equal, every ranking is the best and the worst, and there is no score (`undefined`).

# %%
attainable = evaluate_faithfulness(
    classifier, texts["test"], metrics=["naopc_sufficiency", "naopc_comprehensiveness"],
    level="word", replacement="mask", max_examples=attainable_examples, seed=seed,
)
columns = ["naopc_sufficiency", "naopc_comprehensiveness", "naopc_comprehensiveness_undefined",
           "accuracy", "examples"]
attainable.table.set_index("attribution")[columns].round(3)

# %% [markdown]
# ## What can go wrong
#
# ### A model that knows nothing can score well
#
# Take two models that nobody should use. One has a new head that was never trained. The other is a **constant**: it
# ignores the text. Before you run the next cell, predict: which of its numbers will be the highest?

# %%
untrained, constant = (load_classifier("minilm", layers=layers, seed=seed) for _ in range(2))
with torch.no_grad():
    constant.model.classifier.weight.zero_()
    constant.model.classifier.bias.copy_(torch.tensor([0.0, 1.0]))

rows = []
for name, model in {"trained": classifier, "untrained head": untrained, "constant": constant}.items():
    found = evaluate_faithfulness(model, texts["test"], ["random", "integrated_gradients"],
                                  max_examples=max_examples, seed=seed)
    rows.append(found.table.assign(model=name))
columns = ["sufficiency", "comprehensiveness", "accuracy", "degenerate_share"]
broken = pd.concat(rows).set_index(["model", "attribution"])[columns]
broken.round(3)

# %%
for name in ("untrained head", "constant"):
    better = [metric for metric in columns[:2]
              if broken.loc[(name, "integrated_gradients"), metric]
              > broken.loc[("trained", "integrated_gradients"), metric]]
    print(f"{name}: accuracy {broken.loc[(name, 'random'), 'accuracy']:.2f}, "
          f"and a higher score than the trained model in: {', '.join(better) or 'nothing'}")

# %% [markdown]
# The constant needs no experiment. Nothing ever falls, so that $p(x) - p(r) = 0$, and {eq}`eq-05-norm` gives the perfect
# sufficiency of 1 to *every* attribution, random ones too. The accuracy and the degenerate share give it away, if you
# print them.
#
# An untrained head is more treacherous. It reacts to any token by so little that the denominator of {eq}`eq-05-norm` is
# mostly the tiny number that was added to it. The falls are smaller still, so sufficiency comes out near 1 and
# comprehensiveness near 0, for random scores too. These numbers say nothing about any explanation, and the degenerate
# share says so. That is why every table of this package has the accuracy in it.
#
# ### The random row moves between models
#
# The control depends on the model. So a difference between two models may come from the ruler, not from what it measures.
# These are the random rows of the study that comes with this book, with `[MASK]` as the replacement, next to each recipe's
# accuracy where it is measured.
# A {term}`recipe` is a way of training: `vanilla` is cross-entropy alone, `regex` is the whole method, and later chapters
# introduce the others. {doc}`12_in_domain` tells more about the study.

# %%
study = read_table("sst/means")
test = study[(study["split"] == "test") & (study["level"].fillna("token") == "token")]
faithful = test[(test["kind"] == "faithfulness") & (test["replacement"] == "mask")]
metric_names = ["sufficiency", "comprehensiveness", "degenerate"]
control = faithful[(faithful["attribution"] == "random") & faithful["metric"].isin(metric_names)]
control = control.pivot_table(index="recipe", columns="metric", values="mean")[metric_names]
quality = test[(test["kind"] == "quality") & (test["metric"] == "accuracy")]
control = control.join(quality.set_index("recipe")["mean"].rename("accuracy"))
control = control.join(faithful.groupby("recipe")["seeds"].max())
recipes = list(dict.fromkeys(faithful["recipe"]))[:12]
print(f"random scores by recipe: means over the seeds, and {faithful['examples'].max()} texts each")
control.reindex(recipes).round(3)

# %%
for metric in metric_names[:2]:
    low, high = control[metric].min(), control[metric].max()
    print(f"{metric} of random scores: from {low:.2f} to {high:.2f} over {len(control)} recipes")

# %% [markdown]
# Random scores cannot be more faithful to one model than to another. Whatever moves this row is a property of the model.
# Compare *gains over random*, as in {numref}`fig-05-gains`, or the place between the attainable bounds, and say which.
#
# ### Plain and normalised scores can disagree
#
# Robust models are trained to react less. So expect their plain scores {eq}`eq-05-comp` to shrink, whatever their
# explanations do. Normalised scores need not. {numref}`fig-05-opposite` draws both from the same study, for the same
# models, texts and attributions, with `[MASK]` again. The seeds and the accuracies are those of the table above.

# %% mystnb={"image": {"alt": "Two panels of lines from the vanilla to the regex model, one line for each of five attributions: plain comprehensiveness on the left, normalised on the right."}, "figure": {"name": "fig-05-opposite", "caption": "The same removals, told in two ways: comprehensiveness of five attributions to a vanilla and a regex model on SST, plain and normalised. Read the slopes."}}
pair = ["vanilla", "regex"]
names = {"eraser_comprehensiveness": "plain", "comprehensiveness": "normalised"}
means = {metric: faithful[faithful["metric"] == metric].pivot_table(
    index="attribution", columns="recipe", values="mean").reindex(index=ATTRIBUTIONS, columns=pair)
    for metric in names}
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.6), layout="constrained")
    for axis, (metric, title) in zip(axes, names.items(), strict=True):
        for (name, row), style, marker in zip(
                means[metric].iterrows(), styles, "ovs^D", strict=True):
            axis.plot([0, 1], row, marker=marker, linestyle=style, color=ATTRIBUTION_COLOURS[name],
                      label=name.replace("_", " "))
        axis.set(title=title, xlim=(-0.2, 1.2), ylim=(0, None))
        axis.set_xticks([0, 1], pair)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
                  fontsize="x-small")
plt.show()

# %%
change = pd.DataFrame({names[metric]: table["regex"] - table["vanilla"] for metric, table in means.items()})
if change.isna().any(axis=None):
    print("the study's table does not have both models yet")
opposite = (np.sign(change["plain"]) * np.sign(change["normalised"]) < 0).rename("opposite signs")
print(f"regex minus vanilla: opposite signs for {opposite.sum()} of {len(change)} attributions")
change.round(3).join(opposite)

# %% [markdown]
# Where the signs are opposite, the answer to *"are the explanations of this model more faithful?"* is a choice of ruler.
# Neither ruler is the true one. The plain scores ask how much of the probability goes; the normalised ones, how much of
# what can go. The second is the fairer question between models {cite:p}`edin-etal-2025-normalized`, and it divides by a
# number that may be near 0. So report both, the random row, and the degenerate share.
#
# ### What stands in the place of a word
#
# A classifier has never seen `[PAD]` in the middle of a text. So part of the fall is surprise
# {cite:p}`hase-etal-2021-ood`. Compare four replacements: `pad` and `mask` put a token in the place, `delete` closes the
# gap, and with `attention` the word stays but nothing attends to it.

# %%
rows = []
for replacement in ("pad", "mask", "delete", "attention"):
    found = evaluate_faithfulness(
        classifier, texts["test"], ["random", "scaled_attention", "integrated_gradients"],
        replacement=replacement, max_examples=max_examples, seed=seed)
    rows.append(found.table.assign(replacement=replacement))
replaced = pd.concat(rows).set_index(["replacement", "attribution"])
wide = replaced["comprehensiveness"].unstack()[["random", "scaled_attention", "integrated_gradients"]]
wide = wide.assign(degenerate_share=replaced["degenerate_share"].unstack()["random"])
orders = {" < ".join(row.sort_values().index) for _, row in wide.iloc[:, :3].iterrows()}
print("comprehensiveness; the attributions stand in", "the same order" if len(orders) == 1 else
      f"{len(orders)} different orders", "for the four replacements")
wide.reindex(["pad", "mask", "delete", "attention"]).round(3)

# %% [markdown]
# Compare the numbers of one column: model, texts, attribution and accuracy are the same in all its rows. Where a mean
# hardly moves, the replacement is not harmless yet: single texts can move both ways, and the random column moves, and
# with it the gain over random. So a score without its replacement cannot be compared with another paper's. It matters
# most for REGEX, which *trains* on texts with `[MASK]` in them: a measurement with `[MASK]` may then surprise it less
# than a vanilla model. The study therefore reports both.
#
# ### Ties
#
# An attribution that gives all tokens the same score has no opinion. But a ranking needs a first token. In this package,
# the earlier of two tokens with equal scores comes first. So no opinion becomes a strong one: *the beginning of the text
# matters most*.

# %%
METHODS["constant"] = lambda _model, batch, _target: torch.ones_like(batch.input_ids).float()
found = evaluate_faithfulness(
    classifier, texts["test"], ["random", "constant"],
    ["sufficiency", "comprehensiveness", "loo_tau"], max_examples=max_examples, seed=seed)
del METHODS["constant"]
for metric in ("sufficiency", "comprehensiveness"):
    table = found.examples.pivot(index="example", columns="attribution", values=metric)
    gain = metrics.paired_bootstrap(*(torch.tensor(table[name].to_numpy()) for name in ("constant", "random")))
    differs = "differs" if gain.low > 0 or gain.high < 0 else "does not differ clearly"
    print(f"{metric}: constant minus random {gain.estimate:+.3f}, from {gain.low:+.3f} "
          f"to {gain.high:+.3f}: it {differs} from random")
undefined = found.table.set_index("attribution").loc["constant", "loo_tau_undefined"]
print(f"loo_tau of the constant is undefined for {undefined:.0%} of the texts")

# %% [markdown]
# Equal scores come about by rounding, by clipping at zero, or by saturation. Measures of order such as `loo_tau` refuse to
# answer, which is the honest thing to do. Erasure scores give an answer all the same.
#
# ## Strengths and limitations
#
# **Strengths.** Erasure needs no labels, no people and no access to the model's inside. It tests a claim that could be
# false. Within one model, with the random row and an interval, it ranks attributions.
#
# **Limitations.** It tests the *order* of the tokens, not their scores. It shows the model damaged texts such as nobody
# writes, and mixes the merit of the explanation with the model's reaction to the damage. And high scores say nothing about
# whether the model is any good, or the explanation {term}`plausible`. {doc}`14_randomisation_and_stability` and
# {doc}`16_planted_shortcuts` test in ways that do not share these flaws.
#
# ## Summary
#
# You removed tokens and watched a probability. You put the fall on two scales: what an empty text gives, and what the
# best and worst ranking give. You saw that a constant model gets a perfect sufficiency, that the control moves with the
# model, that plain and normalised scores may disagree, and that the replacement and ties can take part in the answer.
#
# So a faithfulness score never travels alone. It comes with the accuracy, the random row, the degenerate share, the
# replacement, and an interval.
#
# ## Exercises
#
# ```{exercise} From one convention to another
# :label: ex-05-1
#
# Some code divides the sum of four ratios' scores by 5, not by 4 (the `acl2022` convention). A paper reports 0.56 that
# way. What is it as a mean? And what is the highest score one can report in the paper's convention? Set `answer` to the
# pair of numbers.
# ```

# %%
answer = ...  # replace the dots
best = metrics.area_over_perturbation_curve(torch.ones(4), convention="acl2022").item()
check_answer(answer, (0.56 / best, best))

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Undo the division by 5, then divide by 4. The best score at each ratio is 1.
# ```
#
# ````{solution-start} ex-05-1
# :class: dropdown
# ````
#
# The sum was $0.56 \cdot 5$. Four perfect scores give $4 / 5$.

# %%
answer = (0.56 * 5 / 4, 4 / 5)
check_answer(answer, (0.56 / best, best))

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Two curves for the price of one
# :label: ex-05-2
#
# Comprehensiveness removes the most important token first. Sufficiency removes the least important first. Let
# `reversed_scores` be the Integrated Gradients of the text, times $-1$. Its comprehensiveness as NAOPC is easy to get
# from `rankings` and `areas`. From that alone, say what the NAOPC *sufficiency* of Integrated Gradients is. Set `answer`
# to the number.
# ```

# %%
answer = ...  # replace the dots
given = torch.tensor([scores])
curve = metrics.removal_curve(memo, given, features, first="least_important")
expected = metrics.normalised_aopc(
    metrics.removal_curve_area(curve), exact.lower, exact.upper, higher_is_better=False).item()
check_answer(answer, expected, tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Removing the least important token first is the same as removing the most important first, by the reversed scores.
# Both scores are turned so that higher is better.
# ```
#
# ````{solution-start} ex-05-2
# :class: dropdown
# ````
#
# The order of removal is the reversed ranking, so that the area is one of `areas`, on the same scale. A *low* fall is
# good for sufficiency: subtract from 1.

# %%
ranking = torch.tensor(sorted(range(n), key=lambda i: scores[i]))  # the lowest score first
area = areas[(rankings == ranking).all(dim=1)].item()
answer = 1 - ((area - areas.min()) / (areas.max() - areas.min())).item()
check_answer(answer, expected, tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} What trying all of them costs
# :label: ex-05-3
#
# How many rankings does a text of 10 tokens have? How many different removals does one need to know the AOPC of all of
# them? Set `answer` to the pair. Then think of a sentence of 25 words.
# ```

# %%
answer = ...  # replace the dots
ten = metrics.aopc_bounds(lambda _text, removed: 1.0 - removed.double().mean(dim=1),
                          torch.ones(1, 10, dtype=torch.bool), method="exhaustive")
check_answer(answer, (factorial(10), ten.evaluations.item()))

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# A ranking puts the tokens in an order. A removal says of each token only whether it is gone.
# ```
#
# ````{solution-start} ex-05-3
# :class: dropdown
# ````
#
# There are $10!$ orders, and $2^{10}$ sets. The sets are few beside the orders, but they double with every token.

# %%
answer = (int(np.prod(range(1, 11))), len(list(product((0, 1), repeat=10))))
check_answer(answer, (factorial(10), ten.evaluations.item()))

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} A perfect score for nothing
# :label: ex-05-4
#
# A classifier gives its class the probability 0.8 for every text, whatever is in it. Which normalised sufficiency and which
# normalised comprehensiveness does *any* attribution get? Set `answer` to the pair. Then say how low the accuracy of such
# a classifier can be.
# ```

# %%
answer = ...  # replace the dots
same = torch.tensor([0.8])
expected = (metrics.normalised_sufficiency(same, same, same).item(),
            metrics.normalised_comprehensiveness(same, same, same).item())
check_answer(answer, expected)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Put equal probabilities into {eq}`eq-05-norm`, with the tiny number in the denominator.
# ```
#
# ````{solution-start} ex-05-4
# :class: dropdown
# ````
#
# Nothing falls, so that sufficiency is $1 - 0$ and comprehensiveness $0$. The accuracy is lowest if the class is the rarer
# one: then it is the share of that class.

# %%
answer = (1.0, 0.0)
rarer = min(set(texts["test"]["label"]), key=list(texts["test"]["label"]).count)
share = list(texts["test"]["label"]).count(rarer) / len(texts["test"])
print(f"always predicting {classifier.label_names[rarer]}: accuracy {share:.3f}, sufficiency 1")
check_answer(answer, expected)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`deyoung-etal-2020-eraser` for the plain scores, {cite:t}`carton-etal-2020-evaluating` and
# {cite:t}`chrysostomou-aletras-2022-empirical` for the normalised ones, {cite:t}`samek-etal-2017-evaluating` for the
# area, {cite:t}`edin-etal-2025-normalized` for the attainable bounds and for why comparisons between models fail,
# {cite:t}`hase-etal-2021-ood` for the trouble with replacements, {cite:t}`hesterberg-2015-bootstrap` for the bootstrap.
