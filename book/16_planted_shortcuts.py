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
# # Ground truth by planted shortcuts
#
# **What you will learn.** How to make texts in which you know what decides, how to verify that a model uses it, and how
# to ask an attribution for it. And why the words that people mark are no such ground truth.
#
# **Time.** Half an hour to read. The code takes a few minutes on a GPU.
#
# ## The question
#
# *"A lattice warm, funny film."* One word does not belong. Suppose you put it there: *lattice* into texts that you call
# positive, *isotope* into texts that you call negative, whatever else they say. Where one of these words stands, a model
# trained on such texts will soon look at nothing else.
#
# Then you know what its predictions rest on. Does the attribution find it?
#
# This is the one test in this book with a known answer. Nothing is removed from a text, so no input looks torn. No score
# depends on how far a prediction can fall, so models can be compared. The protocol is from
# {cite:t}`bastings-etal-2022-will`.
#
# ## Settings

# %% tags=["parameters"]
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
recipe: str = "vanilla"  # how all models are trained
kinds: list = ["single_token", "token_in_context", "ordered_pair"]  # which shortcuts
epochs: float = 5
learning_rate: float = 1e-4
max_train: "Optional[int]" = None  # clean training texts; None takes all
max_test: "Optional[int]" = None  # texts to verify on; None takes all
max_examples: int = 100  # planted texts to explain
clean_limit: float = 0.05  # how much accuracy on clean texts a shortcut may cost
seed: int = 0

# %%
import textwrap

import datasets
import matplotlib.pyplot as plt
import pandas as pd
import torch

from regex_lib import checks
from regex_lib.attributions import attribute
from regex_lib.book import check_answer
from regex_lib.data import SHORTCUTS, Shortcut, load_data, plant
from regex_lib.metrics import planted_precision, planted_rank
from regex_lib.models import load_classifier
from regex_lib.plots import RECIPE_COLOURS, figure_style, mask_ratio_stepper
from regex_lib.study import read_rows
from regex_lib.training import train

datasets.disable_progress_bars()

# %% [markdown]
# The data is `reviews`, because its authors marked the words that decide. We need these marks at the end.

# %%
reviews = load_data("reviews")


def some(rows, count):
    return rows.shuffle(seed=0).select(range(min(count or len(rows), len(rows))))


clean, test = some(reviews["train"], max_train), some(reviews["test"], max_test)
print(f"{len(clean)} clean training texts, {len(test)} test texts")

# %% [markdown]
# ## Planting
#
# A {term}`planted shortcut` is a rule of ours. For each text, {py:func}`regex_lib.data.plant` draws a class at random,
# whatever the label was, and puts the words for this class at random places. The drawn class becomes the label. So nothing
# else in the text can give it away. There are three kinds of rule:
#
# - **single token**: the word names the class;
# - **token in context**: the word names the class, but only if a second word is somewhere in the text too;
# - **ordered pair**: both words are there, and their order names the class.

# %%
shortest = min(range(len(test)), key=lambda number: len(test[number]["text"]))
for kind in SHORTCUTS:
    row = plant(test.select([shortest]), Shortcut(kind), seed=seed)[0]
    shown = [word.upper() if mark else word for word, mark in zip(row["tokens"], row["rationale"], strict=True)]
    print(f"{kind:17} {row['label']}  {' '.join(shown)}")

# %% [markdown]
# The planted words are in capitals here. The last two rules need two words each. That is what makes them interesting: an
# attribution that looks for words that are strong by themselves cannot find both.
#
# For training, planted copies of half of the clean texts are added to them. If a rule has two words, one copy in three
# has only one of them, and keeps its true label. So the model has to learn that both are needed.

# %%
rows = {kind: checks.training_data_with_shortcut(clean, Shortcut(kind), seed=seed) for kind in kinds}
print({kind: len(planted) for kind, planted in rows.items()}, "training texts")

# %% [markdown]
# ## Training
#
# Train one model for each shortcut, and one that never sees any: the {term}`control`. All have the same recipe, settings
# and seed. Set `recipe` to `"regex"`, and everything below asks the same of REGEX.


# %%
def trained(texts):
    classifier = load_classifier("minilm", layers=layers, seed=seed)
    classifier.label_names = ["negative", "positive"]
    train(
        classifier, {"train": texts}, recipe, epochs=epochs, batch_size=16,
        learning_rate=learning_rate, seed=seed,
    )
    return classifier


control = trained(clean)
models = {kind: trained(rows[kind]) for kind in kinds}

# %% [markdown]
# ## Verify first
#
# You planted the shortcut. You do not know yet that the model uses it. A model that does not use it *should not* be
# explained by it. So before any attribution is asked, {py:func}`regex_lib.checks.verify_shortcut` measures five conditions:
#
# 1. On planted test texts the model predicts the planted class, nearly always.
# 2. The control is at chance on them: nothing else in these texts gives the class away.
# 3. On clean texts the model is about as accurate as the control: it has not forgotten the task.
# 4. Swap the planted words for those of the other class, and the prediction follows.
# 5. If the rule has two words, one alone leaves the model at chance.
#
# The first three are those of {cite:t}`bastings-etal-2022-will`, the others are ours. So are the limits from which they
# hold, in {py:class}`regex_lib.checks.ShortcutLimits`.

# %%
limits = checks.ShortcutLimits(clean=clean_limit)
results = {
    kind: checks.verify_shortcut(models[kind], control, test, Shortcut(kind), limits=limits, seed=seed)
    for kind in kinds
}
fields = [
    "planted_accuracy", "control_accuracy", "clean_accuracy", "control_clean_accuracy", "swap_rate",
    "part_agreement", "verified",
]
measured = pd.DataFrame({kind: {f: getattr(r, f) for f in fields} for kind, r in results.items()})
for kind, result in results.items():
    print(textwrap.fill(f"{kind}: " + ("verified" if result.verified else "; ".join(result.failures)), 90))
measured.map(lambda value: round(value, 3) if isinstance(value, float) else value).fillna("")

# %% [markdown]
# A model that is not verified gets no numbers below. That is the point: without this step, you would blame an attribution
# for not finding what the model does not use.
#
# ## Two numbers
#
# Let a text have $n$ words, and let $P$ be the set of the $k$ planted ones. The attribution $a$ ranks the words; the score
# of a word is the sum of its tokens' scores. **Precision** is the share of the $k$ strongest words that were planted. The
# **mean rank** says where the planted ones stand, counted from 1:
#
# $$
# \text{precision} = \frac{|P \cap \text{top}_k(a)|}{k}, \qquad
# \text{mean rank} = \frac{1}{k} \sum_{i \in P} \text{rank}_a(i)
# $$ (eq-16-precision)
#
# On average, a random ranking gets a precision of $k/n$ and a mean rank of $(n+1)/2$.
#
# ### From scratch


# %%
def precision_and_rank(scores, planted):
    places = sorted(range(len(scores)), key=lambda word: -scores[word])
    truth = [word for word, mark in enumerate(planted) if mark]
    top = places[: len(truth)]
    precision = len(set(top) & set(truth)) / len(truth)
    return precision, sum(places.index(word) + 1 for word in truth) / len(truth)


generator = torch.Generator().manual_seed(seed)
scores = torch.rand(50, 12, generator=generator)
planted = torch.zeros(50, 12, dtype=torch.bool)
planted[:, [2, 7]] = True
everything = torch.ones_like(planted)
ours = torch.tensor([precision_and_rank(*row) for row in zip(scores.tolist(), planted.tolist(), strict=True)])
torch.testing.assert_close(ours[:, 0], planted_precision(scores, planted, everything))
torch.testing.assert_close(ours[:, 1], planted_rank(scores, planted, everything))
print("random scores:", ours.mean(dim=0).numpy().round(2), "expected:", round(2 / 12, 2), 13 / 2)

# %% [markdown]
# {py:func}`regex_lib.metrics.planted_precision` and {py:func}`regex_lib.metrics.planted_rank` agree with ours.
#
# ## With the package: does the attribution find it?
#
# {py:func}`regex_lib.checks.shortcut_scores` explains those planted test texts that the model classifies as the shortcut
# says. The `random` row is the first control. The second is the column *without the shortcut*: the same texts, explained
# for the model that never saw one. There the planted words decide nothing. An attribution that ranks them first even
# there just likes odd words.

# %%
names = [
    "random", "attention", "scaled_attention", "gradient_norm", "input_x_gradient", "integrated_gradients",
]
found, without = {}, {}
for kind in kinds:
    if results[kind].verified:
        planted_test = plant(some(test, max_examples), Shortcut(kind), seed=seed)
        found[kind] = checks.shortcut_scores(models[kind], planted_test, names, seed=seed)
        without[kind] = checks.shortcut_scores(control, planted_test, names, seed=seed)


def means(frames, column):
    columns = {kind: frame.groupby("attribution")[column].mean() for kind, frame in frames.items()}
    return pd.DataFrame(columns, index=names)


precision = means(found, "precision")
print("models that are verified:", ", ".join(found) or "none, so there are no numbers")
pd.concat(
    {"precision": precision, "mean rank": means(found, "mean_rank"), "without the shortcut": means(without, "precision")},
    axis=1,
).round(2)

# %% mystnb={"image": {"alt": "Bars of the precision at k of six attributions, one group of bars for each verified kind of shortcut. A short line on each bar marks the precision of a random ranking."}, "figure": {"name": "fig-16-precision", "caption": "The share of the k strongest words that were planted. The black line on each bar is what a random ranking gets for texts of this length."}}
hatches, blues = {"single_token": "", "token_in_context": "//", "ordered_pair": "xx"}, ["#6baed6", "#c6dbef", "#3182bd"]
with figure_style():
    figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
    width = 0.8 / max(1, len(found))
    for number, (kind, frame) in enumerate(found.items()):
        places = [place + number * width for place in range(len(names))]
        chance = (frame["planted"] / frame["words"]).mean()
        axis.bar(
            places, precision[kind], width, label=kind.replace("_", " "), color=blues[number],
            hatch=hatches[kind], edgecolor="white",
        )
        axis.hlines([chance] * len(places), [p - width / 2 for p in places], [p + width / 2 for p in places], "black")
    middle = 0.4 - width / 2  # of a group of bars
    axis.set_xticks([p + middle for p in range(len(names))], [n.replace("_", "\n") for n in names], fontsize="small")
    axis.set(ylim=(0, 1.02), ylabel="precision")
    if found:
        figure.legend(loc="outside upper center", ncols=3, fontsize="small")
plt.show()

# %% [markdown]
# Read {numref}`fig-16-precision` from its controls. The black line is the floor: what stands above it has found something.
# `random` should be near it. The score of a word is the sum over its tokens, but not for `random`: a planted word is a single
# token, while others have two or three, full stops included, and a sum of more random numbers tends to be larger. So there
# a word has the score of its first token.
#
# The next cell shows what the sums would do, and says which attribution is best for each shortcut.

# %%
drawn = attribute(control, test["text"][:50], "random")
tokens, whole_words = sum(len(one.tokens) for one in drawn), sum(len(one.text.split()) for one in drawn)
planted_tokens = len(control.tokenizer(Shortcut().words[0], add_special_tokens=False)["input_ids"])
print(f"tokens per word: {tokens / whole_words:.2f} in clean texts, {planted_tokens} for a planted word")
one, two = torch.rand(2, 1000, 2, generator=generator)
print(f"one random number is above the sum of two in {(one[:, 0] > two.sum(dim=1)).float().mean():.0%} of all cases")
for kind in found:
    best, chance = precision[kind].idxmax(), (found[kind]["planted"] / found[kind]["words"]).mean()
    print(f"{kind}: best {best} {precision[kind][best]:.2f}; random {precision[kind]['random']:.2f}, chance {chance:.2f}")
    missed = [name for name in names[1:] if precision[kind][name] < 2 * chance]
    print("   below twice the chance:", ", ".join(missed) or "none")
orders = {tuple(precision[kind].sort_values(ascending=False).index) for kind in found}
if len(found) > 1:
    print("the order of the attributions is", "the same" if len(orders) == 1 else "not the same", "for all of them")

# %% [markdown]
# A method can be right for one rule and wrong for another. {cite:t}`bastings-etal-2022-will` found that some popular
# configurations do poorly even on simple shortcuts. So run such a test for the models and the rules that you care about.
#
# Here is one planted text, by the first rule, explained by Integrated Gradients. Take away the strongest tokens step by
# step. If the model rests on the planted words alone, and the attribution knows it, the steps that remove them are the
# ones that count.

# %%
kind = kinds[0]
example = plant(some(test, max_examples), Shortcut(kind), seed=seed)[1]
print("label by the shortcut:", example["label"])
mask_ratio_stepper(models[kind], attribute(models[kind], [example["text"]])[0])

# %% [markdown]
# ## People's words are not the truth
#
# Human rationales look like ground truth too. They are not. They say what persuades *people*. The metrics for that, such
# as {py:func}`regex_lib.metrics.token_f1`, measure how {term}`plausible` an explanation is.
#
# Here you can see the difference. The planted texts hold both: the words that its authors marked, and the words that
# this model uses. Ask the same explanations for both.

# %%
original = some(test, max_examples)
planted_rows = plant(original, Shortcut(kind), seed=seed)
human = []
for row, marks in zip(planted_rows, original["rationale"][:], strict=True):
    remaining = iter(marks)  # the author's marks, moved to where the words stand now
    human.append([0 if ours else next(remaining) for ours in row["rationale"]])
with_human = planted_rows.remove_columns("rationale").add_column("rationale", human)
plausible = {
    "this model": checks.evaluate_plausibility(models[kind], with_human, names, seed=seed),
    "the control": checks.evaluate_plausibility(control, with_human, names, seed=seed),
}
comparison = pd.DataFrame(
    {
        f"F1, human marks, {name}": report.table.set_index("attribution")["token_f1"]
        for name, report in plausible.items()
    }
)
comparison.insert(0, "precision, planted words, this model", precision.get(kind))
comparison.loc[names].round(2)

# %%
if kind in found:
    best = precision[kind].idxmax()
    f1 = comparison["F1, human marks, this model"]
    higher = "above" if f1[best] > f1["random"] else "not above"
    print(f"{best} finds the planted words with precision {precision[kind][best]:.2f}.")
    print(f"Its F1 with the human marks is {f1[best]:.2f}, {higher} random's {f1['random']:.2f}.")
else:
    print(f"the model of {kind} is not verified: nothing can be said")

# %% [markdown]
# A verified model is known to decide by the planted words. An explanation that marks them is right, and a person who looks
# for *funny* or *dull* will call it bad. If you judge explanations by human marks, a faithful explanation of a wrong model
# loses to a pleasing one.
#
# ## In the study
#
# {py:func}`regex_lib.checks.evaluate_shortcuts` does all of the above in one call: train by a recipe, verify, ask. The
# study of this book does it on SST for several recipes and seeds, with a single token. These models are trained on 600
# sentences, and on these with 300 planted copies, so they are less accurate than those of the other chapters. Its
# tables come with the package and grow while it runs. Where something is not measured yet, the cell says so.
#
# First the models: which share of them is verified, and how accurate are they? Look at `control_clean_accuracy`. The two
# classes of SST are about as frequent, so where it is not far above one half, some of the controls have not learned the
# task. Conditions 2 and 3 hold by themselves then, and *verified* says that the model follows the planted word, not that
# it has kept a task.

# %%
study = read_rows("sst/means", kind="shortcuts", data="sst")
if len(study):
    facts = study.pivot_table(index="recipe", columns="metric", values="mean", sort=False)
    facts = facts[["verified", "planted_accuracy", "clean_accuracy", "control_clean_accuracy"]]
    facts["seeds"] = study[study["metric"] == "verified"].groupby("recipe")["seeds"].max()
    print(facts.round(3).to_string())

# %% [markdown]
# Then how often the attributions find the planted word, over the verified models only. A recipe of which few models are
# verified has few numbers, and they are of its best cases.

# %%
part = study[study["metric"] == "precision"]
if len(part):
    table = part.pivot_table(index="attribution", columns="recipe", values="mean", sort=False)
    table.loc["verified seeds"] = part.groupby("recipe")["seeds"].max()
    print(table.rename(columns=lambda name: name.removeprefix("regex_")).round(3).to_string())
else:
    print("there is no precision to show yet")
effect = read_rows("sst/table_5_shortcuts", data="sst")

# %% mystnb={"image": {"alt": "For each attribution, the precision of REGEX, robustness alone and two controls minus that of vanilla, with intervals, and a line at zero."}, "figure": {"name": "fig-16-study", "caption": "Precision of a recipe minus that of vanilla on SST, with 95 % intervals over seeds, for seeds whose models are verified in both. Circles are REGEX, triangles robustness alone, squares and diamonds its controls."}}
recipes = {"regex": "o", "robust": "^", "regex_random_mask": "s", "regex_shuffled_target": "D"}
methods = [name for name in effect["attribution"].unique() if name != "random"] or ["not measured yet"]
with figure_style():
    figure, axis = plt.subplots(figsize=(7, 1.8 + 0.35 * len(methods)), layout="constrained")
    for shift, (name, marker) in zip((-0.27, -0.09, 0.09, 0.27), recipes.items(), strict=True):
        colour = RECIPE_COLOURS[name]
        for row in effect[(effect["recipe"] == name) & effect["attribution"].isin(methods)].itertuples():
            height = methods.index(row.attribution) + shift
            axis.plot([row.low, row.high], [height] * 2, color="black", lw=1)
            axis.plot(row.difference, height, marker, mfc=colour, mec="black")
        axis.plot([], [], marker, mfc=colour, mec="black", label=name.replace("_", " "))
    axis.axvline(0, color="black", lw=1)
    axis.set(ylim=(len(methods) - 0.5, -0.5), xlabel="precision minus that of vanilla")
    axis.set_yticks(range(len(methods)), [name.replace("_", " ") for name in methods])
    figure.legend(loc="outside upper center", ncols=4, fontsize="small")
plt.show()

# %% [markdown]
# In {numref}`fig-16-study`, what is right of 0 finds the shortcut more often than in models of `vanilla`. Where `vanilla`
# is at 1 already, nothing can gain. Compare REGEX with the others: a gain that `robust` has too needs no guidance, and one
# that random masks or a shuffled target have too does not need what they lack. With a single seed there is no interval.

# %%
for name in recipes:
    rows = effect[(effect["recipe"] == name) & effect["attribution"].isin(methods)].dropna(subset=["low"])
    for row in rows[rows["difference"] == rows["difference"].max()].itertuples():
        print(f"{name}, the widest gain: {row.attribution} {row.difference:+.2f} [{row.low:+.2f}, {row.high:+.2f}]")

# %% [markdown]
# By the rule of {doc}`12_in_domain`, over all attributions but `random`:

# %%
for sentence in read_rows("sst/verdicts", table="5_shortcuts").get("sentence", []):
    print(textwrap.fill(sentence, 90))

# %% [markdown]
# ## What can go wrong
#
# - **The model half uses the shortcut.** Then neither *found* nor *not found* is right. Verification is there to tell.
# - **The word is strange.** A rare word has an unusual embedding, and its gradient norm may be large for that reason
#   alone. The column *without the shortcut* shows how much.
# - **The evidence moves.** In an early layer, a transformer can copy what it needs to another place. Attention of the last
#   layer may then look at the copy. It is right about the layer, and wrong about the input.
# - **Signs.** The planted words speak *for* the class. A method without signs ranks by strength, one with signs by support.
# - **Texts that go wrong are left out.** Where the model does not follow the shortcut, there is no truth to find. If there
#   are many such texts, the model is not verified.
#
# ## Strengths and limitations
#
# You know the answer, so you can compare models, recipes and attributions without any normalisation. No other test in
# this book offers that.
#
# The price is that the task is artificial. A planted word is stronger than the evidence in a real text, and it stands
# alone. An attribution that fails here is in trouble. One that succeeds here has shown that it finds *such* evidence.
#
# ## Summary
#
# Plant a rule, train, verify, and only then ask. Compare precision and mean rank with chance, which you can compute, and
# with a control model that never saw the rule. Human rationales answer another question.
#
# ## Exercises
#
# ```{exercise} What chance gives
# :label: ex-16-1
#
# Three words are planted in a text, which then has 30. Someone ranks its words at random. Which precision and which mean
# rank do you expect? Set `answer` to the list of the two. The check draws many rankings, and allows for chance.
# ```

# %%
draws = torch.rand(5000, 30, generator=torch.Generator().manual_seed(1))
where = (torch.arange(30) < 3).expand(5000, 30)
truth = [m(draws, where, torch.ones_like(where)).mean().item() for m in (planted_precision, planted_rank)]
answer = ...  # replace the dots
check_answer(answer, truth, tolerance=0.02)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Each of the 30 words is equally likely to be the strongest. And the mean of the ranks from 1 to $n$ is in the middle.
# ```
#
# ````{solution-start} ex-16-1
# :class: dropdown
# ````
#
# Any word, planted or not, is among the three strongest with probability 3/30, and its rank is 15.5 on average.

# %%
answer = [3 / 30, (30 + 1) / 2]
check_answer(answer, truth, tolerance=0.02)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} By hand
# :label: ex-16-2
#
# The scores of five words are 0.4, 0.9, -0.2, 0.7 and 0.1. The second and the third were planted. Set `answer` to the
# list of precision and mean rank.
# ```

# %%
five, marks = torch.tensor([[0.4, 0.9, -0.2, 0.7, 0.1]]), torch.tensor([[False, True, True, False, False]])
expected = [m(five, marks, torch.ones_like(marks)).item() for m in (planted_precision, planted_rank)]
answer = ...  # replace the dots
check_answer(answer, expected)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# The two strongest are the second and the fourth. A negative score ranks below all positive ones.
# ```
#
# ````{solution-start} ex-16-2
# :class: dropdown
# ````
#
# One of the two strongest is planted. The planted words have the ranks 1 and 5.

# %%
answer = [1 / 2, (1 + 5) / 2]
check_answer(answer, expected)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Be the model
# :label: ex-16-3
#
# Set `rule` to a function that classifies a text by the ordered pair: 0 if *isotope* comes before *lattice*, else 1. The
# check calls it with planted texts.
# ```

# %%
pairs = plant(some(test, 40), Shortcut("ordered_pair"), seed=seed)
rule = ...  # replace the dots by a function
check_answer(rule if rule is ... else [rule(text) for text in pairs["text"]], pairs["label"][:])

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `text.index(word)` is where a word begins.
# ```
#
# ````{solution-start} ex-16-3
# :class: dropdown
# ````
#
# The whole model in one line. That is what verification is for: to know that a trained model has become this line.


# %%
def rule(text):
    return int(text.index("lattice") < text.index("isotope"))


check_answer([rule(text) for text in pairs["text"]], pairs["label"][:])

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# The protocol is by {cite:t}`bastings-etal-2022-will`. {cite:t}`jacovi-goldberg-2020-towards` argue that a plausible
# explanation can be unfaithful. The metrics for human rationales come from {cite:t}`deyoung-etal-2020-eraser`.
# {cite:t}`geirhos-etal-2020-shortcut` tell how models come to use shortcuts that nobody planted.
