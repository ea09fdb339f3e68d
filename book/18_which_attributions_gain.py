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
# # Which attributions gain, and why?
#
# **What you will learn.** How to tell whether a training makes a model's explanations more faithful, or only makes them
# more like the one that guided it; and what happens when the guide itself gets worse. Which attributions gain, and why, is
# the first question that the paper leaves open.
#
# **Time.** Twenty minutes of reading. The code takes some minutes on a GPU.
#
# ## The question
#
# REGEX teaches a model's attention to look like its Integrated Gradients. Think of a class in which everybody has to copy
# from one pupil. Afterwards all answers agree. Are they better answers?
#
# They are if that pupil is right. They are not if all now share that pupil's mistakes. And there is a third possibility:
# perhaps the *questions* have become easier, so that everybody does better, with or without copying.
#
# To tell these apart you need witnesses who never looked at that pupil: attributions that REGEX does not train with. If a
# robust model is simply easier to explain, they gain too. If only those gain that were trained to agree, then what you
# measure may be nothing but agreement {cite:p}`ferreira-etal-2024-explanation`.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU.

# %% tags=["parameters"]
data: str = "sst"  # or "reviews", the corpus that comes with the library
layers: "Optional[int]" = 3  # the study keeps three layers; None keeps all
max_train: "Optional[int]" = 2000
epochs: float = 3
batch_size: int = 32
learning_rate: float = 2e-4
max_examples: int = 100  # explain so many test texts
seed: int = 0

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from scipy import stats
from torch.nn.utils.rnn import pad_sequence

from regex_lib.attributions import attribute
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import classify
from regex_lib.metrics import leave_one_out_tau, paired_bootstrap, rank_correlation
from regex_lib.models import load_classifier
from regex_lib.plots import RECIPE_COLOURS, attribution_switcher, figure_style
from regex_lib.study import NO_TAU, read_rows, read_table
from regex_lib.training import train

# %% [markdown]
# ## Who is a witness?
#
# {doc}`04_attributions` explains the methods. Here is what each has to do with REGEX's training:
#
# | attribution | its role | why |
# | --- | --- | --- |
# | `integrated_gradients` | **guide** | the training's target |
# | `deep_lift`, `input_x_gradient`, `smooth_grad`, `gradient_norm` | kin | never used, but made of gradients, as the guide is |
# | `attention`, `scaled_attention`, `attention_rollout` | **pulled** | made of what the guidance changes |
# | `leave_one_out` | outsider | never used, no gradients, no attention: it removes a token and looks at the prediction |
#
# The kin are witnesses with a family tie. `deep_lift` in particular is close to Integrated Gradients, for both promise the
# same: that the scores add up to the change of the output. The outsider has a tie as well, to the *judge*: erasure metrics
# remove tokens too.

# %%
MEMBERS = {
    "guide": ["integrated_gradients"],
    "kin": ["deep_lift", "input_x_gradient", "smooth_grad", "gradient_norm"],
    "pulled": ["attention", "scaled_attention", "attention_rollout"],
    "outsider": ["leave_one_out"],
}
ROLES = {name: role for role, names in MEMBERS.items() for name in names}
CONTROLS = ("regex_random_mask", "regex_shuffled_target", "robust")

# %% [markdown]
# ## Three stories
#
# | story | guide | pulled | kin | outsider | without the guide |
# | --- | --- | --- | --- | --- | --- |
# | *more faithful, by the guidance* | gains | gain | gain | gains | gain less |
# | *only more like the guide* | gains | gain | do not | does not | gain less |
# | *a simpler model* | gains | gain | gain | gains | gain as much |
#
# Only the last column tells the first story from the third. So, as always, the {term}`control` runs decide:
#
# - `robust` has no guidance at all;
# - `regex_shuffled_target` pulls attention towards a shuffled attribution: the pull knows nothing, and may do harm;
#   only the mask still follows the attribution;
# - `regex_random_mask` keeps the guide, and masks any tokens. It cannot tell the stories apart, but it shows whether the
#   *choice* of the masked tokens matters.
#
# ## Two measures of agreement
#
# Take the scores $a$ and $b$ that two attributions give the $n$ {term}`content tokens <content token>` of a text.
#
# **Spearman's correlation** $\rho$ is the ordinary correlation of their ranks: 1 for the same order, and 0 for unrelated
# ones. You met it in {doc}`14_randomisation_and_stability`. Here it is taken of magnitudes $|a|$, because the guidance takes
# them too: attention has no sign. The agreement of two methods is the mean over the $N$ texts, where $a_k$ and $b_k$ are the
# scores of text $k$:
#
# $$
# A(a, b) = \frac{1}{N} \sum_{k=1}^{N} \rho\big(|a_k|, |b_k|\big)
# $$ (eq-18-agreement)
#
# **Kendall's** $\tau$ asks of each pair of tokens whether both scores put them in the same order. Let $C$ be the number
# of pairs in the same order, $D$ of those in opposite order, and $T_a$ and $T_b$ of those that are tied in one of the two
# only:
#
# $$
# \tau = \frac{C - D}{\sqrt{(C + D + T_a)(C + D + T_b)}}
# $$ (eq-18-tau)
#
# Between an attribution and the drops $p(x) - p(x \setminus i)$ that leaving out one token causes, it is the
# **leave-one-out tau** {cite:p}`jain-wallace-2019-attention`, which asks the model itself.
#
# So there are two numbers for each method: how much it is *like the guide*, and how much it is *like the model*.
#
# ## From scratch
#
# Each takes a few lines, and the package's {py:func}`regex_lib.metrics.rank_correlation` and
# {py:func}`regex_lib.metrics.leave_one_out_tau` must give the same.

# %%
def spearman(a, b):
    """The correlation of the ranks; equal scores share the mean of their ranks."""
    return np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1]


def kendall(a, b):
    """Tau, with ties."""
    first = np.sign(a[:, None] - a[None, :])  # for each pair: +1, -1, or 0 for a tie
    second = np.sign(b[:, None] - b[None, :])
    return (first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum())


generator = np.random.default_rng(seed)
a, b = generator.integers(0, 5, 12).astype(float), generator.normal(size=12)
one, two, mask = torch.tensor(a)[None], torch.tensor(b)[None], torch.ones(1, 12, dtype=torch.bool)
torch.testing.assert_close(rank_correlation(one, two, mask).item(), spearman(a, b))
torch.testing.assert_close(leave_one_out_tau(one, two, mask).item(), kendall(a, b))
print(f"Spearman {spearman(a, b):+.3f}, Kendall {kendall(a, b):+.3f}")

# %% [markdown]
# The code meets every pair twice, in the numerator and below the root alike, so nothing needs to be halved.
#
# ## What the study says
#
# The gain of an attribution is REGEX minus vanilla, each minus its own random row, as in {doc}`12_in_domain`. The next
# cell reads the study's table. It prints the seeds that each recipe has so far, with the accuracy of its models.

# %%
differences = read_table("sst/differences").query(
    "data == 'sst' and model == 'minilm' and on == 'sst' and kind == 'faithfulness' and split == 'test'"
    " and replacement == 'mask' and level == 'token' and minus == 'random'"
)


def gains(metric, recipe="regex", base="vanilla"):
    """The study's gains over random, by attribution, with their intervals."""
    wanted = {"metric": metric, "recipe": recipe, "base": base}
    rows = differences[(differences[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    rows = rows.set_index("attribution").reindex([name for name in ROLES if name in set(rows["attribution"])])
    # A method agrees perfectly with itself; and the drops have a sign, with which one without a sign cannot agree.
    return rows.drop([*NO_TAU], errors="ignore") if metric == "loo_tau" else rows


means = read_table("sst/means").query("data == 'sst' and model == 'minilm' and on == 'sst' and split == 'test'")
accuracy = means.query("kind == 'quality' and metric == 'accuracy'").set_index("recipe")["mean"]
measured = differences.query("base == 'vanilla'").groupby("recipe")["seeds"].max()
print("controls missing:", ", ".join(name for name in CONTROLS if name not in measured) or "none")
seeds = means.query("kind == 'faithfulness' and metric == 'sufficiency' and replacement == 'mask'").groupby("recipe")["seeds"].max()
overview = pd.DataFrame({"seeds": seeds, "accuracy": accuracy.round(3).astype(object)})
overview.loc[[name for name in ("vanilla", "regex", *CONTROLS) if name in seeds]].fillna("not yet")

# %% mystnb={"image": {"alt": "Forest plot with three panels, sufficiency, comprehensiveness and leave-one-out tau: the gain of nine attributions, grouped by role, for REGEX and for its controls, with 95 % intervals for REGEX."}, "figure": {"name": "fig-18-gains", "caption": "The gain of each attribution over random, by its role: REGEX with 95 % intervals, and its controls without. Where a control lies right below the dot, the gain does not need what that control lacks."}}
with figure_style():
    figure, axes = plt.subplots(1, 3, figsize=(7.5, 4.6), sharey=True, layout="constrained")
    names = list(ROLES)
    for axis, metric in zip(axes, ("sufficiency", "comprehensiveness", "loo_tau"), strict=True):
        for recipe, marker in zip(("regex", *CONTROLS), "oXP^", strict=True):
            rows, colour = gains(metric, recipe), RECIPE_COLOURS[recipe]
            places = [names.index(name) + (0.0 if recipe == "regex" else 0.25) for name in rows.index]
            if recipe == "regex":
                axis.hlines(places, rows["low"], rows["high"], color=colour, lw=1.6)
            label = recipe.replace("_", " ")
            axis.plot(rows["difference"], places, marker, color=colour, mec="black", mew=0.7, ms=7, label=label)
        axis.axvline(0, color="#6b6b6b", lw=1)
        axis.set_title(metric.replace("_", " "), fontsize="small")
        axis.tick_params(labelsize="small")
    axes[0].set_yticks(range(len(names)), [f"{name.replace('_', ' ')} ({ROLES[name]})" for name in names])
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize="x-small")
plt.show()

# %% [markdown]
# The next table has the mean gain by role, and how many of the attributions have an interval above 0. Beside it stands the
# control with the highest mean gain in the same role.

# %%
rows = []
for metric in ("sufficiency", "comprehensiveness", "loo_tau"):
    ours = gains(metric)
    for role, members in MEMBERS.items():
        chosen = [name for name in members if name in ours.index]
        if not chosen:
            continue
        others = {name: gains(metric, name).reindex(chosen)["difference"].mean() for name in CONTROLS}
        above = int((ours.loc[chosen, "low"] > 0).sum())
        best = max(others, key=lambda name: np.nan_to_num(others[name], nan=-np.inf))
        mean = ours.loc[chosen, "difference"].mean()
        rows.append([metric, role, mean, f"{above} of {len(chosen)}", others[best], best])
columns = ["metric", "role", "regex", "interval above 0", "best control", "which"]
pd.DataFrame(rows, columns=columns).round(3)

# %% [markdown]
# **Leave-one-out tau** deserves a look of its own, because it has no normaliser that could break. Here are its means
# themselves. Check the `random` row first: it must be near 0 in every model. The rows of attributions without a sign are
# here to be seen, and nothing is concluded from them.

# %%
faithful = means.query("kind == 'faithfulness' and replacement == 'mask' and level == 'token'")
table = faithful.query("metric == 'loo_tau'").pivot_table(index="attribution", columns="recipe", values="mean")
order = [name for name in ("random", *ROLES) if name in table.index and name != "leave_one_out"]
shown = [name for name in ("vanilla", "egt", "regex", *CONTROLS) if name in table]
missing = [name for name in ("vanilla", "egt", "regex", *CONTROLS) if name not in table]
print("not measured yet:", ", ".join(missing) or "nothing")
table.loc[order, shown].round(3)

# %% [markdown]
# ## Which pattern do the gains have?
#
# If the guidance is what helps, then the gains should have *its* pattern over the attributions. Three questions, each
# answered by a rank correlation of the gains:
#
# - with those of a control: is it the same pattern without what the control lacks?
# - with vanilla's scores: did those gain that had the most room to gain?
# - between two metrics: do the metrics agree on who gains?
#
# There are only nine attributions, and five with a sign for leave-one-out tau, so such a correlation is rough. The cell first
# draws unrelated numbers, to see how far from 0 chance alone can get.

# %%
def correlation(first, second):
    """Spearman's over the attributions that both have."""
    both = pd.concat([first, second], axis=1).dropna()
    return f"{spearman(*both.to_numpy().T):+.2f} ({len(both)})" if len(both) > 2 else "too few"


scores = faithful.query("recipe == 'vanilla'")
rows = {}
for metric in ("sufficiency", "comprehensiveness", "loo_tau"):
    ours = gains(metric)["difference"]
    other = gains("loo_tau" if metric != "loo_tau" else "comprehensiveness")["difference"]
    start = scores[scores["metric"] == metric].set_index("attribution")["mean"].drop("random")
    against = {name: correlation(ours, gains(metric, name)["difference"]) for name in CONTROLS}
    rows[metric] = {**against, "vanilla's score": correlation(ours, start), "another metric": correlation(ours, other)}
for count in (9, 5):
    drawn = [spearman(*generator.normal(size=(2, count))) for _ in range(2000)]
    print(f"95 % of the correlations of {count} unrelated numbers lie within {np.quantile(np.abs(drawn), 0.95):.2f} of 0")
pd.DataFrame(rows).T

# %% [markdown]
# The number of attributions is in brackets. A high correlation with a *control* says that the pattern does not need what
# that control lacks. A clearly negative one with *vanilla's score* says that the gains went to those that had been poor:
# they had room to grow, or they were low by chance and came back to the mean.
#
# ## What if the guide is wrong?
#
# Another way to ask what the guide contributes: make it worse, step by step. The study's sweep puts a growing share of the
# attribution's scores in random order, for the mask and the target alike (`attribution_noise` in
# {py:class}`regex_lib.training.Recipe`). With 0 it is `regex`, and with 1 the guide knows nothing. If the guide is what
# helps, the gains must fall from row to row.

# %%
NOISE = {"regex": 0.0, "regex_noise25": 0.25, "regex_noise50": 0.5, "regex_noise100": 1.0}
qualities = read_rows("sweeps/means", metric="accuracy", split="test").set_index("recipe")["mean"]
sweep = read_rows("sweeps/differences", minus="random", replacement="mask", base="vanilla").query("recipe in @NOISE")
sweep = sweep[sweep["metric"].isin(["sufficiency", "comprehensiveness"])]
gain = sweep.pivot_table(index="recipe", columns=["attribution", "metric"], values="difference")
noisy = pd.DataFrame({"noise": pd.Series(NOISE), "accuracy": qualities.reindex(list(NOISE))})
for name in ("integrated_gradients", "scaled_attention"):
    for metric in ("sufficiency", "comprehensiveness"):
        if (name, metric) in gain:
            noisy[f"{name.replace('_', ' ')}, {metric[:4]}."] = gain[name, metric]
noisy["seeds"] = sweep.groupby("recipe")["seeds"].min()
noisy.dropna(subset=["seeds"]).round(3)

# %%
for column in [name for name in noisy if name.endswith(".") and noisy[name].notna().sum() > 2]:
    trend = noisy[["noise", column]].dropna().corr(method="spearman").iloc[0, 1]
    kept = noisy[column].dropna()
    print(f"{column}: from {kept.iloc[0]:+.3f} to {kept.iloc[-1]:+.3f}, rank correlation with the noise {trend:+.2f}")

# %% [markdown]
# Four steps with few seeds show a trend at best. A guide that knows nothing and gains as much as a good one speaks for
# the third story, *a simpler model*. A curve that falls does not yet say that a good guide helps, for a bad one may do
# harm: {doc}`11_regex` sets the curve beside `robust`, which has no guide at all, and repeats it with `[PAD]`, where a
# guide of noise gains nearly as much as the attribution.
#
# ## With the package: who agrees with whom?
#
# The study does not store who agrees with whom. So you compute it, for three models: `vanilla`, `regex`, and, as the
# control, the model *before* training. Agreement that is there before training has nothing to do with what was learned.

# %%
corpus = load_data(data)
settings = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "max_train": max_train}
models = {name: load_classifier("minilm", layers=layers, seed=seed) for name in ("untrained", "vanilla", "regex")}
for name, model in models.items():
    model.label_names = ["negative", "positive"]
    if name != "untrained":
        run = train(model, {"train": corpus["train"]}, name, seed=seed, **settings)
        print(f"{name}: trained for {run.seconds:.0f} s on {run.device}")
    print(f"{name}: accuracy {classify(model, corpus['test'])['accuracy']:.3f}")

# %% [markdown]
# One text, before you look at numbers. The same model, and four methods: do they highlight the same words?

# %%
text = "A wonderful cast cannot save this boring mess."
witnesses = ("integrated_gradients", "deep_lift", "scaled_attention", "leave_one_out")
attribution_switcher(
    [attribute(models["regex"], [text], method)[0] for method in witnesses], models["regex"].label_names
)

# %% [markdown]
# Now all methods on all texts, each model explaining its own prediction.

# %%
METHODS = ["random", *ROLES]
texts = corpus["test"].shuffle(seed=seed).select(range(max_examples))["text"][:]
explained = {}
for name, model in models.items():
    for method in METHODS:
        found = [torch.tensor(row.scores).double() for row in attribute(model, texts, method)]
        explained[name, method] = pad_sequence(found, batch_first=True)
lengths = torch.tensor([len(row) for row in found])
content_mask = torch.arange(lengths.max()) < lengths[:, None]


def agreement(name, first, second):
    """Spearman's correlation of the magnitudes, per text."""
    return rank_correlation(explained[name, first].abs(), explained[name, second].abs(), content_mask)


def tau(name, method):
    """Leave-one-out tau, per text: the scores of leave_one_out are the drops."""
    return leave_one_out_tau(explained[name, method], explained[name, "leave_one_out"], content_mask)


print(f"{len(texts)} texts of {data}, {int(lengths.sum())} tokens")

# %% mystnb={"image": {"alt": "A square table of ten attribution methods in shades of grey. Each cell has the mean rank correlation of two methods: below the diagonal in the vanilla model, above it in the REGEX model."}, "figure": {"name": "fig-18-matrix", "caption": "Mean rank correlation of the magnitudes of two attributions. Below the diagonal: in the vanilla model. Above it: in the REGEX model. The random row and column are the control."}}
matrix = np.full((len(METHODS), len(METHODS)), np.nan)
for i, first in enumerate(METHODS):
    for j, second in enumerate(METHODS):
        if i != j:
            matrix[i, j] = agreement("vanilla" if i > j else "regex", first, second).nanmean()
labels = [name.replace("_", " ") for name in METHODS]
with figure_style():
    figure, axis = plt.subplots(figsize=(7, 5.4), layout="constrained")
    sns.heatmap(
        matrix, annot=True, fmt=".2f", cmap="Greys", vmin=-0.2, vmax=1, xticklabels=labels, yticklabels=labels,
        annot_kws={"size": "x-small"}, cbar=False, linewidths=0.5, ax=axis,
    )
    axis.grid(visible=False)
    axis.tick_params(labelsize="small")
    axis.set_title("above the diagonal: regex; below: vanilla", fontsize="small")
plt.show()

# %% [markdown]
# Compare each cell with its mirror image across the diagonal. Now the two numbers for each method: how much it is like the
# guide, and how much it is like the model.

# %% mystnb={"image": {"alt": "Two panels of dots for each attribution: its rank correlation with integrated gradients on the left and its leave-one-out tau on the right, each for the untrained, the vanilla and the REGEX model."}, "figure": {"name": "fig-18-two-numbers", "caption": "Left: how much each attribution is like the guide. Right: how much it is like the model, by leave-one-out tau. A step from vanilla to the right in the right panel is a gain in faithfulness; one in the left panel alone is only conformity."}}
others = [name for name in METHODS if name not in ("integrated_gradients", "leave_one_out")]
styles = {"untrained": ("x", "#9a9a9a")}
styles |= {name: (marker, RECIPE_COLOURS[name]) for name, marker in (("vanilla", "s"), ("regex", "o"))}
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.8), sharey=True, layout="constrained")
    for name, (marker, colour) in styles.items():
        like_guide = [agreement(name, "integrated_gradients", method).nanmean() for method in others]
        like_model = [tau(name, method).nanmean() for method in others]
        for axis, values in zip(axes, (like_guide, like_model), strict=True):
            axis.plot(values, range(len(others)), marker, color=colour, ms=7, label=name)
    axes[0].set_yticks(range(len(others)), [name.replace("_", " ") for name in others])
    axes[0].invert_yaxis()
    for axis, label in zip(axes, ("correlation with the guide", "leave-one-out tau"), strict=True):
        axis.axvline(0, color="#6b6b6b", lw=1)
        axis.set_xlabel(label, fontsize="small")
        axis.tick_params(labelsize="small")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize="small")
plt.show()

# %% [markdown]
# The same as numbers: REGEX minus vanilla, with 95 % intervals over the texts. This is one seed, so the intervals know
# nothing of the luck of the seed.

# %%
def change(values):
    """Regex minus vanilla, with its interval over texts."""
    result = paired_bootstrap(values("regex"), values("vanilla"))
    return f"{result.estimate:+.3f} [{result.low:+.3f}, {result.high:+.3f}]"


rows = []
for method in METHODS:
    like_guide = like_model = ""
    if method != "integrated_gradients":
        like_guide = change(lambda name, method=method: agreement(name, "integrated_gradients", method))
    if method != "leave_one_out":
        like_model = change(lambda name, method=method: tau(name, method))
    rows.append([method, ROLES.get(method, "control"), like_guide, like_model])
pd.DataFrame(rows, columns=["attribution", "role", "more like the guide", "more like the model"])

# %% [markdown]
# ## Which story?
#
# Fix the rule before you read the numbers. A role **gains** by a metric, leave-one-out tau or comprehensiveness, if more
# than half of its attributions have a gain whose interval lies above 0, and none has one below. The outsider counts by
# comprehensiveness alone. The same rule is put to the controls.
#
# A control **gains as much** by a metric if a role of its own gains by it, and REGEX is not clearly ahead: no more than half
# of the intervals of REGEX minus the control lie above 0.

# %%
def gained(role, metric, recipe):
    """Whether most of a role's attributions gain, and none loses."""
    rows = gains(metric, recipe).dropna(subset=["low"])
    rows = rows[rows.index.isin(MEMBERS[role])]
    return len(rows) > 0 and (rows["low"] > 0).mean() > 0.5 and not (rows["high"] < 0).any()


both = ("loo_tau", "comprehensiveness")
by_metric = {
    (name, role): ", ".join(metric for metric in both if gained(role, metric, name))
    for name in ("regex", *CONTROLS) for role in MEMBERS
}
as_much = []
for control in CONTROLS:
    for metric in both:
        ahead = gains(metric, base=control).dropna(subset=["low"])
        above = int((ahead["low"] > 0).sum())
        mean = ahead["difference"].mean()
        print(f"{metric}: regex minus {control} {mean:+.3f} on average, above 0 in {above} of {len(ahead)} intervals")
        if 2 * above <= len(ahead) and any(gained(role, metric, control) for role in MEMBERS):
            as_much.append(control)
print("\nby which metric each role gains:")
pd.Series(by_metric).unstack().reindex(index=["regex", *CONTROLS], columns=list(MEMBERS)).replace("", "-")

# %%
found = {role: bool(by_metric["regex", role]) for role in MEMBERS}
trained, witness = found["guide"] or found["pulled"], found["kin"] or found["outsider"]
without_guide = [name for name in dict.fromkeys(as_much) if name != "regex_random_mask"]
if not any(found.values()):
    print("No role gains by the rule: the table tells none of the three stories yet.")
elif without_guide:
    print("Something gains, and without the guide as much: that speaks for 'a simpler model'.")
    print("As much:", ", ".join(without_guide))
elif witness:
    print("Witnesses gain, and no control without the guide as much: that speaks for 'more faithful, by the guidance'.")
elif trained:
    print("Only the guide or what it pulls gains by the rule. Either they are 'only more like the guide',")
    print("or there are too few seeds to see the witnesses gain.")
if "regex_random_mask" in as_much:
    print("With any tokens masked no gain is clearly lower: that the choice of the masked tokens helps is not shown.")
print("Not measured:", ", ".join(name for name in CONTROLS if name not in measured) or "nothing")
if min(measured.reindex(["regex", *CONTROLS]).fillna(0)) < 5:
    print("With fewer than five seeds of each, all of this is provisional.")

# %% [markdown]
# ## What can go wrong
#
# - **The witness knows the judge.** `leave_one_out` removes tokens, and so does every erasure metric. They agree partly
#   because they ask the same kind of question.
# - **The tau in a linear model.** The more linear a model is, the more the signed gradient methods and leave-one-out agree.
#   If it were linear in the embeddings, and removing a token put the {term}`baseline` in its place, they would be the same.
#   So a smoother model raises the tau of every signed method, without any guidance. That is not cheating: such a model *is*
#   easier to explain. But the credit goes to robustness.
# - **Unsigned methods cannot win.** `attention`, its rollout and `gradient_norm` have no sign, and leave-one-out has one.
#   That limits their tau, whatever the model does, and differently in each model. So they are left out wherever it decides.
# - **Nine attributions are not nine experiments.** They explain the same few models. One lucky seed moves all of them.
#
# ## Strengths and limitations
#
# Witnesses turn a suspicion into a test, and cost little, because no model has to be trained again.
#
# They can *not* prove the first story: a witness may always have a tie to the guide that you do not know of. And agreement
# with leave-one-out is only one definition of faithfulness among others. If a text has two words that say the same (*dull*,
# *boring*), the prediction may not move when only one of them is left out.
#
# ## Summary
#
# A gain in the attribution that guided the training is weak evidence. Look at those that did not, ask the model itself by
# leave-one-out tau, and put the controls beside both. If a run without the guide has the same gains, in the same pattern,
# then the answer to "which attributions gain, and why?" starts with the smoother model, and not with the guidance.
#
# ## Exercises
#
# ```{exercise} Tau by hand
# :label: ex-18-1
#
# An attribution gives four tokens the scores 0.9, 0.1, 0.4 and 0.2. When they are left out one by one, the prediction falls
# by 0.3, 0.0, 0.1 and 0.2. Count the pairs in the same and in opposite order, and set `answer` to Kendall's tau.
# ```

# %%
answer = ...  # replace the dots
a, b = torch.tensor([[0.9, 0.1, 0.4, 0.2]]), torch.tensor([[0.3, 0.0, 0.1, 0.2]])
check_answer(answer, leave_one_out_tau(a, b, torch.ones(1, 4, dtype=torch.bool)).item())

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Four tokens make six pairs. There are no ties, so that {eq}`eq-18-tau` is $(C - D) / 6$.
# ```
#
# ````{solution-start} ex-18-1
# :class: dropdown
# ````
#
# Only the last two tokens stand in opposite order: $C = 5$ and $D = 1$.

# %%
answer = (5 - 1) / 6
check_answer(answer, leave_one_out_tau(a, b, torch.ones(1, 4, dtype=torch.bool)).item())

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} With the signs
# :label: ex-18-2
#
# {numref}`fig-18-matrix` compares magnitudes. In the REGEX model, what is the mean Spearman correlation of Integrated
# Gradients and `deep_lift` *with* their signs? Set `answer` to the number. Before you compute it: will it be higher or
# lower?
# ```

# %%
answer = ...  # replace the dots
pair = [explained["regex", method] for method in ("integrated_gradients", "deep_lift")]
check_answer(answer, rank_correlation(*pair, content_mask).nanmean().item())

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `agreement` without `.abs()`.
# ```
#
# ````{solution-start} ex-18-2
# :class: dropdown
# ````

# %%
first, second = explained["regex", "integrated_gradients"], explained["regex", "deep_lift"]
answer = rank_correlation(first, second, content_mask).nanmean().item()
print(f"with signs {answer:.3f}, magnitudes {agreement('regex', 'integrated_gradients', 'deep_lift').nanmean():.3f}")
check_answer(answer, rank_correlation(*pair, content_mask).nanmean().item())

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} How close are the ties?
# :label: ex-18-3
#
# Which witnesses are most independent of the guide? For each attribution other than the guide and `random`, take the
# agreement with Integrated Gradients in the *vanilla* model, which had no guidance. Set `answer` to the list of their
# names, those that agree least first.
# ```

# %%
answer = ...  # replace the dots, by a list of names
candidates = [name for name in ROLES if name != "integrated_gradients"]
expected = sorted(candidates, key=lambda name: agreement("vanilla", "integrated_gradients", name).nanmean().item())
check_answer(answer, expected)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `agreement("vanilla", "integrated_gradients", name)` has a number for each text. Sort by their mean.
# ```
#
# ````{solution-start} ex-18-3
# :class: dropdown
# ````

# %%
ties = {name: agreement("vanilla", "integrated_gradients", name).nanmean().item() for name in candidates}
answer = sorted(ties, key=ties.get)
print(", ".join(f"{name} {ties[name]:.2f}" for name in answer))
check_answer(answer, expected)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`jain-wallace-2019-attention` compare attention with gradients and leave-one-out by Kendall's tau.
# {cite:t}`ferreira-etal-2024-explanation` ask what training for one explanation does to attributions that had no part in
# it. The method, and the question, are from {cite:t}`li-etal-2023-regex`.
