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
# # In domain: are the explanations more faithful?
#
# **What you will learn.** How to compare the faithfulness of two *models*, with an interval that is honest about seeds
# and texts. Which runs belong in such a comparison. And what the study of this book says about REGEX on the kind of text
# it was trained on.
#
# **Time.** Half an hour of reading. The code takes some minutes on a GPU.
#
# ## The question
#
# *"A wonderful cast cannot save this boring mess."* You train one classifier with cross-entropy and one with
# {doc}`REGEX <11_regex>`. Both say *negative*. For each, Integrated Gradients highlights *boring* and *mess*. You remove
# these words, and the REGEX model's prediction falls further. Is it explained more faithfully?
#
# Not so fast. The two models differ in more than their explanations. One may lose its prediction whatever you remove.
# With another seed or another text, the order may be the reverse. And if REGEX does better, is it because attribution
# guided the attention, or would *any* masking during training have done the same?
#
# A claim about a *method* needs several seeds, many texts, and the {term}`control` runs that could refute it.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU, and train as the study does. On
# a CPU, take fewer seeds and texts.

# %% tags=["parameters"]
data: str = "sst"  # or "reviews", the corpus that comes with the library
layers: "Optional[int]" = 3  # the study keeps three layers; None keeps all
max_train: "Optional[int]" = 2000
epochs: float = 3
batch_size: int = 32
learning_rate: float = 2e-4
seeds: int = 3
max_examples: "Optional[int]" = 200  # explain so many test texts
simulations: int = 400

# %%
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy import stats

from regex_lib.attributions import attribute
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.metrics import paired_bootstrap, win_rate
from regex_lib.models import load_classifier
from regex_lib.plots import RECIPE_COLOURS, attribution_switcher, figure_style
from regex_lib.study import NO_TAU, read_table, verdict
from regex_lib.training import train

# %% [markdown]
# ## What is compared
#
# *In domain* means: trained on a data set, and explained on its test texts. {doc}`13_out_of_domain` asks the other
# question.
#
# The study trains each of these recipes, on the same texts, with the same seeds:
#
# | recipe | what it adds to cross-entropy | what it is here for |
# | --- | --- | --- |
# | `vanilla` | nothing | the base of every difference |
# | `igr`, `vat`, `robust` | {doc}`one or both robustness terms <07_input_gradient_regularisation>` | is robustness enough? |
# | `egt` | the guidance alone | is guidance enough? |
# | `regex` | all three | the method |
# | `regex_fast` | the same, with a cheaper attribution and direction | does the price matter? |
# | `regex_random_mask` | all three, but *any* tokens are masked | control of the mask |
# | `regex_shuffled_target` | all three, but the target of the attention is shuffled; the mask is not | control of the target |
# | `random_mask_only` | cross-entropy on a copy with *any* tokens masked | how far do masked texts alone get? |
# | `igr_random_mask` | the same, and `igr` | how far, with no attribution at all? |
# | `saliency_guided`, `saloss`, `smart` | losses of others | rivals |
#
# The rivals in a sentence each. {py:func}`regex_lib.losses.saliency_guided_loss` asks for the same prediction on a text and
# on its masked copy {cite:p}`ismail-etal-2021-improving`. {py:func}`regex_lib.losses.saloss` pulls attention towards words
# that are central in the text, by a method that does not look at the model {cite:p}`chrysostomou-aletras-2021-enjoy`.
# {py:func}`regex_lib.losses.smart_loss` is a cousin of {doc}`virtual adversarial training <08_virtual_adversarial_training>`.
#
# The two controls matter most. They cost as much as REGEX, and run the same code. If one of them does as well, then what
# it lacks is not shown to help.
#
# The tables of the study come with the package and grow while it runs. The next cell shows what is there. Accuracy comes
# first: a {term}`faithful` explanation of a model that has learned nothing is worth nothing.

# %%
means = read_table("sst/means")
means = means.query("data == 'sst' and model == 'minilm' and on == 'sst' and split == 'test'")
differences = read_table("sst/differences").query("base == 'vanilla'")
differences = differences.query("data == 'sst' and model == 'minilm' and on == 'sst' and split == 'test'")
faithful = differences.query("kind == 'faithfulness'")
PLAN = [
    *("vanilla", "igr", "vat", "robust", "egt", "regex", "regex_fast"),
    *("regex_random_mask", "regex_shuffled_target", "random_mask_only", "igr_random_mask"),
    *("saliency_guided", "saloss", "smart"),
]
done = means.query("kind == 'faithfulness' and metric == 'sufficiency' and replacement == 'mask'")
overview = done.groupby("recipe")["seeds"].max().to_frame()
quality = means.query("kind == 'quality'").pivot_table(index="recipe", columns="metric", values="mean")
quality = quality.reindex(columns=["accuracy", "ece"]).map("{:.3f}".format, na_action="ignore")
overview = overview.join(quality)
recipes = [name for name in PLAN if name in overview.index]
print("not measured yet:", ", ".join(name for name in PLAN if name not in recipes) or "nothing")
overview.loc[recipes].fillna("not yet")

# %% [markdown]
# `seeds` is how many models of a recipe are measured, and `ece` the {term}`calibration` error, where lower is better.
#
# ## How to compare two models
#
# Within one model you can compare attributions directly. Between models there are three traps, and an answer to each.
#
# **Trap 1: the scale.** Say the first model is at 0.99 for the full text and at 0.5 for an empty one, and the second goes
# from 0.8 to 0.7. An attribution of the second model has far less to take away. So the raw drop of the probability
# is no fair score between models {cite:p}`edin-etal-2025-normalized`. There are two remedies:
#
# - *normalise by the empty text*: {term}`sufficiency` and {term}`comprehensiveness` as in
#   {doc}`05_measuring_faithfulness`, where 0 is nothing and 1 is all that an empty text does. It is simple, but it breaks
#   where the empty text gets the same prediction. Such texts are {term}`degenerate`, and their share belongs beside the score;
# - *normalise by what is attainable*: {term}`NAOPC` puts the area under the whole removal curve on a scale from the lowest
#   to the highest area that any order of the words attains.
#
# **Trap 2: every explanation moves.** A recipe may raise the score of *any* attribution, even of random numbers, because
# masked texts look less strange to it {cite:p}`hase-etal-2021-ood`. So subtract each model's own `random` row first
# {cite:p}`chrysostomou-aletras-2022-empirical`. For the score $f$ of an attribution $a$ on text $n$ with seed $s$:
#
# $$
# d_{sn} = \big(f^{\text{regex}}_{sn}(a) - f^{\text{regex}}_{sn}(\text{random})\big)
#        - \big(f^{\text{vanilla}}_{sn}(a) - f^{\text{vanilla}}_{sn}(\text{random})\big)
# $$ (eq-12-over-random)
#
# **Trap 3: erasure asks about strange texts.** A text with many holes is unlike those that the model was trained on. So
# ask for a second opinion that removes just one token at a time: **leave-one-out tau**, Kendall's rank correlation between
# the attribution and the drops that single tokens cause. A rank correlation has no scale to fight about. The drops have a
# sign, so it can be asked only of attributions that have one too, and not of attention or the length of the gradient.
#
# No remedy is perfect. A finding that holds under all of them is worth something. One that holds under a single one
# is a finding about that metric.
#
# ## An interval for seeds and texts
#
# The mean of $d_{sn}$ over $S$ seeds and $N$ texts is an estimate. How far off may it be? Both seeds and texts are drawn
# by chance: with other seeds or other texts it would come out differently. So there are three sources of noise:
#
# $$
# d_{sn} = \mu + u_s + v_n + \varepsilon_{sn}
# $$ (eq-12-layout)
#
# $\mu$ is what you want to know. $u_s$ is luck of the seed, the same for all texts. $v_n$ is luck of the text, the
# same for all seeds. The rest is $\varepsilon_{sn}$. Who takes the $S N$ numbers for independent ones forgets the first
# two, and then 600 numbers from three seeds look like far more evidence than they are.
#
# The standard error of the mean follows from the mean squares of the rows (seeds), columns (texts) and rest of the table
# of all $d_{sn}$:
#
# $$
# \mathrm{SE}^2 = \frac{1}{S N} \max\big(M_{\text{seeds}} + M_{\text{texts}} - M_{\text{rest}},\; M_{\text{rest}}\big)
# $$ (eq-12-error)
#
# with $M_{\text{seeds}} = \frac{N}{S-1} \sum_s (\bar d_{s} - \bar d)^2$, $M_{\text{texts}}$ likewise, and
# $M_{\text{rest}}$ the sum of squares of what is left, divided by $(S-1)(N-1)$.
#
# The *shape* of the distribution comes from a {term}`bootstrap` over both. Draw $S$ seeds with replacement, and $N$
# texts with replacement, the same texts for all seeds, and take the mean. Do this many times. The quantiles of these
# means are then scaled to the standard error {eq}`eq-12-error`, and read further out, where the t distribution would
# have them, because with three seeds the standard error itself is uncertain. With so few seeds the resampled means have
# too few different values for that. So neither side may be shorter than $t \cdot \mathrm{SE}$, where $t$ is the quantile
# of the t distribution: 4.3 instead of 2 where three seeds are all that varies.
#
# ## From scratch
#
# First the standard error, with its degrees of freedom by Satterthwaite's formula. Then the bootstrap.

# %%
def two_way_error(grid):
    """Standard error of the mean of seeds x texts, and its degrees of freedom."""
    S, N = grid.shape
    mean, by_seed, by_text = grid.mean(), grid.mean(axis=1, keepdims=True), grid.mean(axis=0)
    rest = grid - by_seed - by_text + mean
    freedom = np.array([S - 1, N - 1, (S - 1) * (N - 1)])
    squares = [N * ((by_seed - mean) ** 2).sum(), S * ((by_text - mean) ** 2).sum(), (rest**2).sum()]
    M = np.array(squares) / freedom
    total = max(M[0] + M[1] - M[2], M[2])
    return np.sqrt(total / (S * N)), max(total**2 / (M**2 / freedom).sum(), 1.0)


def interval_by_hand(grid, resamples=2000, seed=0):
    """A 95 % interval of the mean for new seeds and new texts."""
    generator, means = np.random.default_rng(seed), []
    for _ in range(resamples // 250):
        # How often each seed and each text is drawn, in 250 resamples at once.
        rows, columns = (generator.multinomial(n, np.full(n, 1 / n), 250) / n for n in grid.shape)
        means.append(((rows @ grid) * columns).sum(axis=1))
    means, (error, freedom) = np.concatenate(means), two_way_error(grid)
    tail = stats.norm.cdf(stats.t.ppf(0.025, freedom))
    low, high = (np.quantile(means, [tail, 1 - tail]) - grid.mean()) * error / means.std()
    half = stats.t.ppf(0.975, freedom) * error  # no side is shorter
    return grid.mean() + np.array([min(low, -half), max(high, half)])

# %% [markdown]
# Try it on a made-up study whose truth you know: three seeds, 100 texts, and the two recipes do *not* differ. The
# package's {py:func}`regex_lib.metrics.paired_bootstrap` must give the same numbers as the code above.

# %%
def made_up(random, seeds=3, texts=100):
    """Differences whose true mean is 0."""
    luck_of_seed, luck_of_text = random.normal(0, 0.04, (seeds, 1)), random.normal(0, 0.15, texts)
    return luck_of_seed + luck_of_text + random.normal(0, 0.15, (seeds, texts))


grid = made_up(np.random.default_rng(0))
ours = torch.tensor(grid)
theirs = torch.zeros_like(ours)
package = paired_bootstrap(ours, theirs)
by_hand = torch.tensor(interval_by_hand(grid))
torch.testing.assert_close(by_hand, torch.tensor([package.low, package.high], dtype=torch.float64))
print(f"by hand [{by_hand[0]:.4f}, {by_hand[1]:.4f}], package [{package.low:.4f}, {package.high:.4f}]")

# %% [markdown]
# Is it worth the trouble? A 95 % interval should contain the truth in 95 of 100 studies. Repeat the made-up study many
# times, and count. The rivals are two simpler intervals: one that takes all numbers for independent, and one that averages
# over the seeds and then draws texts only.
#
# **Predict before you run.** Which of the three is the worst?

# %%
random = np.random.default_rng(1)
hits = {"all independent": 0, "texts only": 0, "seeds and texts": 0}
for _ in range(simulations):
    grid = made_up(random)
    by_text = torch.tensor(grid.mean(axis=0))
    half = 1.96 * grid.std(ddof=1) / np.sqrt(grid.size)
    texts_only = paired_bootstrap(by_text, torch.zeros_like(by_text), resamples=500)
    both = paired_bootstrap(torch.tensor(grid), torch.zeros(grid.shape).double(), resamples=500)
    hits["all independent"] += abs(grid.mean()) < half
    hits["texts only"] += texts_only.low < 0 < texts_only.high
    hits["seeds and texts"] += both.low < 0 < both.high
coverage = pd.Series(hits) / simulations
for name, share in coverage.items():
    print(f"{name:16s} contains the truth in {share:.0%} of {simulations} made-up studies")

# %% [markdown]
# An interval that misses the truth too often is too narrow: it calls a difference "significant" that is nothing but the
# luck of three seeds. And do not ask too much of the last one either: from three seeds no interval can know much about
# seeds. More seeds cure that, and nothing else does.
#
# ## With the package
#
# Now real models, at the sizes that you have set: `vanilla` and `regex`, for each seed. Both start from the same weights
# and see the same texts in the same order.

# %%
corpus = load_data(data)
settings = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "max_train": max_train}
classifiers, seconds = {}, {}
for seed in range(seeds):
    for recipe in ("vanilla", "regex"):
        classifier = load_classifier("minilm", layers=layers, seed=seed)
        classifier.label_names = ["negative", "positive"]
        run = train(classifier, {"train": corpus["train"]}, recipe, seed=seed, **settings)
        classifiers[recipe, seed] = classifier
        accuracy = classify(classifier, corpus["test"])["accuracy"]
        print(f"{recipe}, seed {seed}: accuracy {accuracy:.3f}, {run.seconds:.0f} s on {run.device}")

# %% [markdown]
# Here is the sentence from above, explained by both. Which explanation is more faithful? You cannot see it. That is why
# it has to be measured. And your models may mark other words than those of the story.

# %%
text = "A wonderful cast cannot save this boring mess."
explanations = {recipe: attribute(classifiers[recipe, 0], [text])[0] for recipe in ("vanilla", "regex")}
attribution_switcher(explanations, ["negative", "positive"])

# %% [markdown]
# All models explain the same test texts. Removed tokens become `[MASK]`. The training was guided by Integrated Gradients;
# `deep_lift` guided none. The two with attention guided none either, but attention is what the guidance pulls.

# %%
METHODS = ["random", "attention", "scaled_attention", "integrated_gradients", "deep_lift"]
METRICS = ["sufficiency", "comprehensiveness", "eraser_comprehensiveness", "loo_tau"]
examples = pd.concat(
    evaluate_faithfulness(
        classifier, corpus["test"], METHODS, METRICS, replacement="mask", max_examples=max_examples, seed=0
    ).examples.assign(recipe=recipe, seed=seed)
    for (recipe, seed), classifier in classifiers.items()
)


def grid_of(recipe, attribution, metric, rows=examples):
    """Scores of seeds x texts."""
    rows = rows[(rows["recipe"] == recipe) & (rows["attribution"] == attribution)]
    return torch.tensor(rows.pivot(index="seed", columns="example", values=metric).to_numpy())


def over_random(recipe, attribution, metric, rows=examples):
    """The same, minus those of the random attribution."""
    return grid_of(recipe, attribution, metric, rows) - grid_of(recipe, "random", metric, rows)

# %% [markdown]
# The next cell has the difference {eq}`eq-12-over-random` with its interval, and beside it the study's. They need not
# agree to the digit: the sizes differ, unless you run the defaults. Do the intervals overlap?

# %%
def measured(metric, attribution, minus="random", recipe="regex", replacement="mask", level="token"):
    """The study's row of a comparison with vanilla; None if it is not measured yet."""
    names = ["metric", "attribution", "minus", "recipe", "replacement", "level"]
    values = [metric, attribution, minus, recipe, replacement, level]
    found = faithful[(faithful[names] == values).all(axis=1)]
    return None if found.empty else found.iloc[0]


def on_one_line(estimate, low, high):
    return f"{estimate:+.2f} [{low:+.2f}, {high:+.2f}]".replace(" ", "\u00a0")  # spaces that do not break


def shown(row):
    return "not yet" if row is None else on_one_line(row.difference, row.low, row.high)

# %%
rows = []
for metric in ("sufficiency", "comprehensiveness", "loo_tau"):
    for method in [name for name in METHODS[1:] if metric != "loo_tau" or name not in NO_TAU]:
        live = paired_bootstrap(over_random("regex", method, metric), over_random("vanilla", method, metric))
        here = on_one_line(live.estimate, live.low, live.high)
        name = method.replace("integrated_gradients", "IG")
        rows.append([metric, name, here, shown(measured(metric, method))])
print("regex - vanilla, over random; IG is Integrated Gradients")
print(f"here: {data}, {seeds} seed(s), {max_train} training texts, {examples['example'].nunique()} explained")
columns = ["metric", "attribution", "here", "study"]
pd.DataFrame(rows, columns=columns).set_index(columns[:2])

# %% [markdown]
# With one seed the interval *here* is over texts alone: it knows nothing of the luck of the seed, and the made-up studies
# have shown what that does.
#
# **How often does it win?** A few texts with huge gains can carry a mean. The **win rate** is the share of the texts on
# which the REGEX model scores higher, where ties count as halves. The sign test asks how often a fair coin would come
# out at least as one-sided, in either direction. It needs independent texts, so average over seeds first. `random` is
# the control: if the REGEX model wins there too, it wins by its scale. Like an interval over texts, this
# {term}`p-value` knows nothing of the luck of the seed. The function is {py:func}`regex_lib.metrics.win_rate`.

# %%
rows = []
for metric in ("comprehensiveness", "eraser_comprehensiveness", "loo_tau"):
    for method in ("random", "integrated_gradients", "deep_lift"):
        pair = [grid_of(recipe, method, metric).nanmean(dim=0) for recipe in ("regex", "vanilla")]
        result = win_rate(*pair)
        name = method.replace("integrated_gradients", "IG")
        rows.append([metric, name, result.wins, result.losses, result.ties, result.rate, result.p_value])
columns = ["metric", "attribution", "regex wins", "vanilla wins", "ties", "win rate", "p (sign test)"]
pd.DataFrame(rows, columns=columns).set_index(columns[:2]).round(3)

# %% [markdown]
# Compare `comprehensiveness`, which is normalised, with `eraser_comprehensiveness`, the raw drop of the probability. Where
# they point in different directions, you have met trap 1.
#
# **How many texts say anything?** The normalised score of a degenerate text is a tiny number, divided by almost nothing.
# Leave out each text that is degenerate for either recipe with any seed, and see whether the difference stays.

# %%
share = examples[examples["attribution"] == "random"].groupby("recipe")["degenerate"].mean()
for recipe, value in share.items():
    print(f"{recipe}: {value:.0%} of the texts are degenerate")
bad = examples.groupby("example")["degenerate"].transform("max").astype(bool)
kept = examples[~bad]
print(f"{kept['example'].nunique()} of {examples['example'].nunique()} texts are degenerate for no model")
for method in ("random", "integrated_gradients", "deep_lift"):
    for name, rows in (("all", examples), ("kept", kept)):
        if rows.empty:
            continue
        pair = [grid_of(recipe, method, "comprehensiveness", rows) for recipe in ("regex", "vanilla")]
        gain = paired_bootstrap(*pair)
        print(f"{method:20s} {name:4s} texts: {gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]")

# %% [markdown]
# ## What the study says
#
# {numref}`fig-12-forest` is a **forest plot**: a dot for each estimate, a line for its 95 % interval. What crosses the
# zero line is not settled. Three metrics stand side by side, because one alone would tell a third of the story. The
# accuracies of the same models are in the table with the column `ece`, above.

# %%
ATTRIBUTIONS = [
    *("integrated_gradients", "input_x_gradient", "deep_lift", "smooth_grad", "gradient_norm"),
    *("attention", "scaled_attention", "attention_rollout", "leave_one_out"),
]


def interval(axis, row, place, colour, marker="o"):
    """A dot with its interval; filled if the interval leaves out 0."""
    axis.plot([row.low, row.high], [place, place], color="black", lw=1.2)
    fill = colour if row.low > 0 or row.high < 0 else "white"
    axis.plot(row.difference, place, marker, ms=10 if marker == "*" else 7, mfc=fill, mec="black")

# %% mystnb={"image": {"alt": "Forest plot with three panels: for each attribution the difference between REGEX and vanilla in sufficiency, comprehensiveness and leave-one-out tau, each over the random attribution, with its 95 % interval and a line at zero."}, "figure": {"name": "fig-12-forest", "caption": "REGEX minus vanilla in the study, each over its own random attribution, with 95 % intervals over seeds and texts. A filled dot's interval leaves out 0. Stars mark the attribution that guided the training."}}
with figure_style():
    figure, axes = plt.subplots(1, 3, figsize=(7.5, 4), sharey=True, layout="constrained")
    for axis, metric in zip(axes, ("sufficiency", "comprehensiveness", "loo_tau"), strict=True):
        for place, method in enumerate(ATTRIBUTIONS):
            row = measured(metric, method)
            if row is not None and (metric != "loo_tau" or method not in NO_TAU):
                interval(axis, row, place, RECIPE_COLOURS["regex"], "*" if place == 0 else "o")
        axis.axvline(0, color="#6b6b6b", lw=1)
        axis.set_title(metric.replace("_", " "), fontsize="small")
        axis.tick_params(labelsize="small")
        axis.locator_params(axis="x", nbins=4)
    axes[0].set_yticks(range(len(ATTRIBUTIONS)), [name.replace("_", " ") for name in ATTRIBUTIONS])
    axes[0].invert_yaxis()
    figure.supxlabel("difference between regex and vanilla", fontsize="small")
plt.show()

# %% [markdown]
# (Four have no dot in the last panel: leave-one-out, which has a tau of 1 with itself in every model, and the three
# without a sign.)
#
# Then the controls and rivals. {numref}`fig-12-recipes` shows all recipes for the guide of the training and for
# `deep_lift`, which guided none. **If a control's square lies where the dot of REGEX lies, the gain is not due to what the
# control lacks.** The number of seeds is in brackets. An interval from a single seed is over texts alone, and too narrow.

# %% mystnb={"image": {"alt": "Forest plot with two panels: for each recipe the difference from vanilla in comprehensiveness of integrated gradients and of DeepLift over random, with 95 % intervals. Controls have square markers."}, "figure": {"name": "fig-12-recipes", "caption": "Every recipe that is measured, minus vanilla: comprehensiveness over random, for the attribution that guides REGEX and for one that guides none. Squares are controls, seeds are in brackets. A filled marker's interval leaves out 0."}}
with figure_style():
    height = 1.3 + 0.36 * (len(recipes) - 1)
    figure, axes = plt.subplots(1, 2, figsize=(7, height + 0.3), sharey=True, layout="constrained")
    others = [name for name in recipes if name != "vanilla"]
    for axis, method in zip(axes, ("integrated_gradients", "deep_lift"), strict=True):
        for place, recipe in enumerate(others):
            row = measured("comprehensiveness", method, recipe=recipe)
            marker = "s" if recipe in ("regex_random_mask", "regex_shuffled_target") else "o"
            if row is not None:
                interval(axis, row, place, RECIPE_COLOURS[recipe], marker)
        axis.axvline(0, color="#6b6b6b", lw=1)
        axis.set_title(method.replace("_", " "), fontsize="small")
        axis.tick_params(labelsize="small")
    labels = [f"{name.replace('_', ' ')} ({overview.loc[name, 'seeds']:.0f})" for name in others]
    axes[0].set_yticks(range(len(others)), labels)
    axes[0].set_ylim(len(others) - 0.5, -0.5)
    figure.supxlabel("comprehensiveness over random, minus vanilla", fontsize="small")
plt.show()

# %%
for method in ("integrated_gradients", "deep_lift"):
    found = {recipe: measured("comprehensiveness", method, recipe=recipe) for recipe in others}
    above = [name for name, row in found.items() if row is not None and row.low > 0]
    below = [name for name, row in found.items() if row is not None and row.high < 0]
    print(f"{method}: above vanilla {', '.join(above) or 'none'}; below it {', '.join(below) or 'none'}")

# %% [markdown]
# **Is it the metric?** Ask the same question about REGEX in five ways. *Raw* is the plain drop of the probability. *NAOPC*
# is at word level. `[PAD]` is what the protocol of {cite:t}`chrysostomou-aletras-2022-empirical` replaces removed tokens by.

# %%
ways = {
    "normalised, [MASK]": {"metric": "comprehensiveness"},
    "normalised, [PAD]": {"metric": "comprehensiveness", "replacement": "pad"},
    "raw, [MASK]": {"metric": "eraser_comprehensiveness"},
    "NAOPC, [MASK], words": {"metric": "naopc_comprehensiveness", "level": "word"},
    "leave-one-out tau": {"metric": "loo_tau"},
}
rows = []
for way, what in ways.items():
    plain = [measured(attribution=name, minus="", **what) for name in ("integrated_gradients", "random")]
    over = measured(attribution="integrated_gradients", **what)
    rows.append([way, *map(shown, plain), shown(over), 0 if over is None else over.seeds])
columns = ["regex - vanilla", "IG", "random (the control)", "IG over random", "seeds"]
pd.DataFrame(rows, columns=columns).set_index("regex - vanilla")

# %% [markdown]
# Last, the share of degenerate texts in the study, by recipe. Where it differs much between two recipes, their normalised
# scores are averages over different things.

# %%
degenerate = means.query("kind == 'faithfulness' and metric == 'degenerate' and level == 'token'")
degenerate = degenerate.query("attribution == 'random'")
degenerate = degenerate.pivot_table(index="recipe", columns="replacement", values="mean")
if {"vanilla", "regex"} <= set(degenerate.index):
    few = degenerate.loc[["vanilla", "regex"], "mask"]
    print(f"with [MASK], {few['vanilla']:.0%} of the texts are degenerate for vanilla, {few['regex']:.0%} for regex:")
    print("a normalised score of one gives much weight to other texts than one of the other")
degenerate.reindex(recipes).map("{:.3f}".format, na_action="ignore").fillna("not yet")

# %% [markdown]
# ## What may be concluded
#
# Fix the rule before you read the numbers. The study has one rule for all claims, {py:func}`regex_lib.study.verdict`.
# Take all *cells* that a claim is about: here, one for each attribution. A cell is **for** the claim if its whole
# interval is on the claim's side of 0, **against** it if the whole interval is on the other side, and undecided if not. A
# cell of fewer than three seeds is left out: its interval knows too little of the luck of the seed. Together the cells
#
# - **support** the claim if more than half of them are for it, and none is against it;
# - **contradict** it if more than half are against it, and none is for it;
# - **leave it open** in all other cases.

# %%
def cells(metric, minus="random", recipe="regex"):
    """The study's rows of one metric, for all attributions."""
    names = [name for name in ATTRIBUTIONS if metric != "loo_tau" or name not in NO_TAU]
    rows = [measured(metric, name, minus, recipe) for name in names]
    return pd.DataFrame([row for row in rows if row is not None], columns=faithful.columns)


def say(claim, table):
    print(textwrap.fill(str(verdict(claim, table)), 90))


for metric in ("sufficiency", "comprehensiveness", "eraser_comprehensiveness", "loo_tau"):
    say(f"regex gains in {metric}, over random", cells(metric))

# %% [markdown]
# Then ask the controls: for how many attributions does REGEX gain more than they do? These are counts of estimates
# without intervals, and all attributions explain the same few models, so nine of nine is not nine times as much
# evidence. {doc}`17_what_reproduced` has the paired intervals of Integrated Gradients, and counts all others.

# %%
for control in ("regex_random_mask", "regex_shuffled_target", "robust"):
    for metric in ("sufficiency", "comprehensiveness"):
        pairs = cells(metric).merge(cells(metric, recipe=control), on="attribution")
        more = (pairs["difference_x"] > pairs["difference_y"]).sum()
        if len(pairs):
            print(f"{metric}: regex gains more than {control} for {more} of {len(pairs)} attributions")
    if pairs.empty:
        print(f"{control}: not measured yet")
if overview["seeds"].nunique() > 1:
    print("Mind the seeds: not all recipes have the same number of them yet.")

# %% [markdown]
# Last, the scale and the price: the scores without subtracting random, normalised and raw, and the accuracy.

# %%
for way, metric in (("normalised", "comprehensiveness"), ("raw", "eraser_comprehensiveness")):
    say(f"regex gains in {way} comprehensiveness, as it is", cells(metric, minus=""))
accuracy = differences.query("kind == 'quality' and metric == 'accuracy' and recipe == 'regex'")
for row in accuracy.itertuples():
    change = "unchanged, as far as can be told" if row.low <= 0 <= row.high else "changed"
    print(f"Accuracy is {change}: {row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}].")
seeds_done = int(overview.loc["regex", "seeds"])
if seeds_done < 5:
    print(f"With {seeds_done} seed(s), all of this is provisional.")

# %% [markdown]
# Read it like this.
#
# - If the claim is supported for all metrics, and the paired intervals of REGEX minus each control lie above 0, then
#   REGEX makes explanations more faithful in domain, and what it adds is the reason.
# - If `regex_random_mask` gains as much, it does not matter *which* tokens are masked.
# - If `regex_shuffled_target` or `robust` gains as much, the guide is not shown to help.
# - Beating `regex_shuffled_target` alone proves little, for a pull towards nonsense can harm. Whether guidance *helps*
#   shows against `robust`.
# - If the normalised and the raw score disagree, the scale of the model has changed.
# - If the metrics disagree in other ways, the answer depends on the metric, and an honest report says so.
#
# {doc}`17_what_reproduced` sums up all chapters.
#
# ## What can go wrong
#
# - **Picking the metric afterwards.** With nine attributions and several metrics, some interval is likely to leave out 0
#   by luck alone. Fix the rule before, or correct for the number of tests with {py:func}`regex_lib.metrics.holm`.
# - **Texts counted as evidence for a claim about training.** More texts narrow the interval over texts, never that
#   over seeds.
# - **Guide and judge are the same.** Gains that are measured with the attribution that was trained on may be overstated.
#   {doc}`18_which_attributions_gain` looks at the others.
# - **A mean over degenerate texts.** It looks like a score, and is noise.
#
# ## Strengths and limitations
#
# The comparison is paired by seed and text. It has controls that share all but one thing with the method, and several
# metrics, of which none is trusted alone.
#
# But it is one data set, one small encoder, and few seeds. The weights of the recipes were chosen on validation data of
# the same data set, and the rivals got less of that search. And the paper's own coefficients are not known to us, so this
# is a test of the idea, not of its exact numbers.
#
# ## Summary
#
# Comparing models is harder than comparing attributions. Normalise, subtract random, ask a second metric, and give an
# interval that accounts for seeds. Put accuracy and the share of degenerate texts beside every score. Then ask whether the
# control did as well.
#
# ## Exercises
#
# ```{exercise} What the control explains away
# :label: ex-12-1
#
# A recipe raises the comprehensiveness of Integrated Gradients from 0.70 to 0.80, and that of random scores from 0.20 to
# 0.28. What is the gain over random? Set `answer` to the number.
# ```

# %%
answer = ...  # replace the dots
check_answer(answer, (0.80 - 0.28) - (0.70 - 0.20))

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Subtract each model's own random score first: equation {eq}`eq-12-over-random`.
# ```
#
# ````{solution-start} ex-12-1
# :class: dropdown
# ````
#
# Of the gain of 0.10, random scores have 0.08 too.

# %%
answer = (0.80 - 0.28) - (0.70 - 0.20)
check_answer(answer, (0.80 - 0.28) - (0.70 - 0.20))

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} More texts or more seeds?
# :label: ex-12-2
#
# You can afford 1,200 scores. Is it better to have 3 seeds with 400 texts each, or 12 seeds with 100 texts each? For
# both, draw 20 studies, `made_up(np.random.default_rng(draw), seeds, texts)` with `draw` from 0 to 19, and take the mean
# width (high minus low) of the intervals of `paired_bootstrap`. Set `answer` to the two means, in this order.
# ```

# %%
answer = ...  # replace the dots, by a list of two numbers
widths = []
for S, N in ((3, 400), (12, 100)):
    studies = [torch.tensor(made_up(np.random.default_rng(draw), S, N)) for draw in range(20)]
    intervals = [paired_bootstrap(study, torch.zeros_like(study)) for study in studies]
    widths.append(np.mean([each.high - each.low for each in intervals]))
check_answer(answer, widths)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `paired_bootstrap(scores, torch.zeros_like(scores))` compares with 0. Its result has `low` and `high`.
# ```
#
# ````{solution-start} ex-12-2
# :class: dropdown
# ````
#
# In the made-up studies, each seed has its own luck. No number of texts averages that out.

# %%
answer = []
for S, N in ((3, 400), (12, 100)):
    total = 0.0
    for draw in range(20):
        study = torch.tensor(made_up(np.random.default_rng(draw), S, N))
        result = paired_bootstrap(study, torch.zeros_like(study))
        total += result.high - result.low
    answer.append(total / 20)
    print(f"{S} seeds x {N} texts: width {answer[-1]:.3f} on average")
check_answer(answer, widths)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} The control as the base
# :label: ex-12-3
#
# The rows used in this chapter subtract `vanilla`. How much *more* does `regex` gain than `regex_random_mask`, in
# `sufficiency` of Integrated Gradients over random? Set `answer` to the difference of the two differences. Which
# interval would you need to call it settled, and why can you not get it from the two intervals?
# ```

# %%
answer = ...  # replace the dots
two = [measured("sufficiency", "integrated_gradients", recipe=name) for name in ("regex", "regex_random_mask")]
check_answer(answer, two[0].difference - two[1].difference)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `measured(metric, attribution, recipe=...)` gives a row of the study, with its `difference` from vanilla.
# ```
#
# ````{solution-start} ex-12-3
# :class: dropdown
# ````
#
# You would need the paired interval of regex minus the control. It is not the difference of the two intervals, because
# both share vanilla's noise. The study's table has it, in the rows whose `base` is `regex_random_mask`;
# {py:func}`regex_lib.study.differences` computes it from the scores of all texts.

# %%
ours = measured("sufficiency", "integrated_gradients", recipe="regex")
control = measured("sufficiency", "integrated_gradients", recipe="regex_random_mask")
answer = ours.difference - control.difference
print(f"{answer:+.3f}, with {ours.seeds} and {control.seeds} seed(s)")
check_answer(answer, two[0].difference - two[1].difference)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`edin-etal-2025-normalized` show why raw scores of two models must not be compared, and propose NAOPC.
# {cite:t}`chrysostomou-aletras-2022-empirical` compare with random attributions. {cite:t}`hase-etal-2021-ood` explain
# what masked texts do to a model that never saw any. The bootstrap over rows and columns is from
# {cite:t}`owen-2007-pigeonhole`. The method is from {cite:t}`li-etal-2023-regex`.
