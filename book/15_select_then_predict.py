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
# # Select, then predict
#
# **What you will learn.** How to build a classifier that reads nothing but a rationale, so that its explanation is faithful
# by construction. How to tell whether the rationales are good. And how such a classifier can be right for no reason.
#
# **Time.** Half an hour to read. The code takes some minutes on a GPU.
#
# ## The question
#
# *"The soup was cold, the service slow, and the bill a shock."* A heat map marks *cold*, *slow* and *shock*. Fine, but
# the model has read all the other words too. Who says that they did nothing?
#
# So take the other words away for good. Show a second model *"cold slow shock"* and let it decide. Whatever it says, it
# says because of these words. It has seen no others.
#
# This is {term}`select-then-predict`, and the simplest form of it is FRESH {cite:p}`jain-etal-2020-learning`:
#
# 1. A **support model** is trained on full texts.
# 2. An attribution of it selects a **rationale** from each text.
# 3. A new classifier, the **reader** here, is trained on the rationales alone.
#
# If the reader is about as good as the support model, the rationales keep what the task needs. The authors of REGEX
# report just that for its rationales {cite:p}`li-etal-2023-regex`.
#
# ## Settings

# %% tags=["parameters"]
data: str = "reviews"
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
recipe: str = "vanilla"  # of the support model; readers are always trained by vanilla
attributions: list = ["scaled_attention", "input_x_gradient", "integrated_gradients"]  # what selects
ratio: float = 0.2  # share of the words that stay
epochs: float = 5
learning_rate: float = 1e-4
max_train: "Optional[int]" = None  # train on so many texts; None takes all
max_test: "Optional[int]" = None  # test on so many; None takes all
seed: int = 0

# %%
import math
import textwrap

import datasets
import matplotlib.pyplot as plt
import pandas as pd
import torch
from sklearn.metrics import f1_score

from regex_lib.attributions import METHODS, Explanation, attribute, register
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import classify
from regex_lib.models import load_classifier
from regex_lib.plots import ATTRIBUTION_COLOURS, RECIPE_COLOURS, figure_style, mask_ratio_stepper
from regex_lib.rationales import extract_rationales, rationale_spans, select_then_predict
from regex_lib.study import COMPARABLE, read_rows
from regex_lib.training import train

datasets.disable_progress_bars()

# %% [markdown]
# The texts, and the settings that all trainings of this chapter share:

# %%
splits = load_data(data)
test = splits["test"].shuffle(seed=0)
test = test.select(range(min(max_test or len(test), len(test))))
settings = {"epochs": epochs, "batch_size": 16, "learning_rate": learning_rate, "seed": seed, "max_train": max_train}

# %% [markdown]
# ## The support model
#
# It reads full texts, and it may be trained by any recipe.


# %%
def new_classifier(number):
    classifier = load_classifier("minilm", layers=layers, seed=number)
    classifier.label_names = ["negative", "positive"]
    return classifier


support = new_classifier(seed)
train(support, {"train": splits["train"]}, recipe, **settings)
full_text = classify(support, test)
print(f"full texts: macro-F1 {full_text['macro_f1']:.3f}, accuracy {full_text['accuracy']:.3f}")

# %% [markdown]
# ## What is a rationale?
#
# Let a text have $n$ words. A punctuation mark counts as a word here. Let the support model give word $i$ the score
# $a_i$, the sum over its tokens. With a ratio $\rho$, the rationale has $k = \lceil \rho n \rceil$ words. There are two
# usual shapes.
#
# **The top $k$**: the words with the highest scores, in the order in which they stand in the text.
#
# **Contiguous**: the stretch of $k$ words with the highest sum,
#
# $$
# R = \{s, \dots, s + k - 1\}, \qquad s = \arg\max_{s'} \sum_{i=s'}^{s'+k-1} a_i
# $$ (eq-15-contiguous)
#
# The reader $g$ then sees the words in $R$ and nothing else:
#
# $$
# \hat y = \arg\max_c\; g_c\big((x_i)_{i \in R}\big)
# $$ (eq-15-reader)
#
# In {eq}`eq-15-reader` the text outside $R$ does not occur. That is what *faithful by construction* means.
#
# ### From scratch


# %%
def top_k_words(scores, ratio):
    k = math.ceil(ratio * len(scores))
    strongest = sorted(range(len(scores)), key=lambda word: -scores[word])[:k]
    return sorted(strongest)  # back into the order of the text


def best_stretch(scores, ratio):
    k = math.ceil(ratio * len(scores))
    sums = torch.tensor(scores, dtype=torch.float64).unfold(0, k, 1).sum(dim=1)
    start = int(sums.argmax())
    return list(range(start, start + k))


text = "The soup was cold, the service slow, and the bill a shock."
explanation = attribute(support, [text], "input_x_gradient")[0]
words, scores = zip(*explanation.words(), strict=True)
for name, chosen in (("top k", top_k_words(scores, 0.25)), ("contiguous", best_stretch(scores, 0.25))):
    spans = rationale_spans(explanation, 0.25, contiguous=name == "contiguous")
    ours, package = [words[word] for word in chosen], [text[start:end] for start, end in spans]
    assert "".join(ours) == "".join(package).replace(" ", "")
    print(f"{name:10}", package)

# %% [markdown]
# {py:func}`regex_lib.rationales.rationale_spans` selects the same. How large a rationale should be is up to you. Move the
# slider, and see what the *support model* makes of the strongest tokens alone, and of the rest:

# %%
mask_ratio_stepper(support, explanation)

# %% [markdown]
# The support model never saw such torn texts in training, unless its recipe masks. A reader sees nothing else, so a
# rationale looks normal to it. That is the difference between a {term}`sufficiency` score and a reader.
#
# Two details matter, and papers often leave them out:
#
# - **Order.** The words keep their order. To an encoder, *"not a good film"* and *"good film not a"* are two texts.
# - **Words, not tokens.** Half a word may tell the reader something that no person can read.
#
# ## With the package: some rationales
#
# {py:func}`regex_lib.rationales.extract_rationales` does it for a data set. Below are three test texts, and what three
# selectors leave of them. `random` is the {term}`control`. The third needs an introduction.
#
# ### A selector that cheats
#
# `first_or_last` looks at nothing but the support model's *decision*. Where it is negative, it takes the beginning of
# the text. Where it is positive, the end. The words do not matter to it at all.

# %%
METHODS.pop("first_or_last", None)  # so that this cell can be run twice


@register("first_or_last")
def first_or_last(_classifier, batch, target):
    places = torch.arange(batch.input_ids.shape[1], device=batch.input_ids.device)
    sign = 2 * (target > 0).long() - 1  # -1 where the support model says negative
    return (sign[:, None] * places).float()


three = test.select(range(3))
for method in ("input_x_gradient", "random", "first_or_last"):
    print(method)
    for row in extract_rationales(support, three, method, ratio, contiguous=method == "first_or_last"):
        print("   ", row["label"], textwrap.shorten(row["text"], 80, placeholder=" …"))
print("full")
for row in three:
    print("   ", row["label"], textwrap.shorten(row["text"], 80, placeholder=" …"))

# %% [markdown]
# **Predict before you go on.** How good can a reader be on the rationales of `first_or_last`? They hold a few words of
# each text, chosen without looking at them.
#
# ## Readers
#
# {py:func}`regex_lib.rationales.select_then_predict` extracts the rationales of the training and test texts, trains a new
# classifier on them for each selector, and puts the support model's score on full texts beside it. All readers start
# alike, with the same encoder and the same seed.

# %%
selectors = ["random", *attributions]
tables = [
    select_then_predict(
        support, {"train": splits["train"], "test": test}, new_classifier, names,
        ratio=ratio, contiguous=contiguous, **settings,
    )
    for names, contiguous in ((selectors, False), ([*selectors, "first_or_last"], True))
]
found = pd.concat(tables, ignore_index=True)
found["shape"] = found["contiguous"].map({False: "top k", True: "contiguous"})
table = found.pivot(index="attribution", columns="shape", values="macro_f1").loc[[*selectors, "first_or_last"]]
table["words"] = found.groupby("attribution")["words"].mean()
print(f"macro-F1; the support model on full texts has {full_text['macro_f1']:.3f}")
table[["top k", "contiguous", "words"]].map("{:.3f}".format, na_action="ignore").fillna("")

# %% mystnb={"image": {"alt": "Bars of the macro-F1 of readers for each selector, for the top k words and for a contiguous stretch, with a dashed line for the support model on full texts and a dotted line for a constant answer."}, "figure": {"name": "fig-15-readers", "caption": "How good a reader is that sees rationales only. Hatched bars are contiguous rationales. The dashed line is the support model on full texts, the dotted line a classifier that always says the same."}}
labels = test["label"][:]
constant = max(f1_score(labels, [c] * len(labels), average="macro", zero_division=0) for c in set(labels))
with figure_style():
    figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
    for shift, shape, hatch in ((-0.2, "top k", ""), (0.2, "contiguous", "//")):
        places = [place + shift for place in range(len(table))]
        colours = [ATTRIBUTION_COLOURS.get(name, "#c9c9c9") for name in table.index]
        axis.bar(places, table[shape], 0.38, color=colours, hatch=hatch, edgecolor="black", label=shape)
    axis.axhline(full_text["macro_f1"], ls="--", color="black", lw=1.2, label="full text")
    axis.axhline(constant, ls=":", color="black", lw=1.2, label="constant answer")
    axis.set_xticks(range(len(table)), [name.replace("_", "\n") for name in table.index], fontsize="small")
    axis.set(ylim=(0, 1), ylabel="macro-F1")
    figure.legend(loc="outside upper center", ncols=4, fontsize="small")
plt.show()

# %% [markdown]
# Read {numref}`fig-15-readers` from its controls. A selector is worth something where its bar is above that of `random`
# **of the same shape**, because any few words may say something; a bar at the dotted line says nothing. A selector
# keeps enough for the task where its bar comes near the dashed line. Where `random` itself is at the dotted line, its
# reader has learned nothing in these few steps. Then the gap is as wide as it can be, and a share of it says little;
# the {doc}`data_card` has a reader of random words that did learn.

# %%
for shape in ("top k", "contiguous"):
    learned = table.loc[attributions, shape]
    best, floor = learned.idxmax(), table.loc["random", shape]
    gap, closed = full_text["macro_f1"] - floor, learned[best] - floor
    print(f"{shape}: best {best} {learned[best]:.3f}, random {floor:.3f}, full text {full_text['macro_f1']:.3f}")
    print(f"   it closes {closed / gap:.0%} of the gap" if gap > 0 else "   there is no gap to close")
better = (table.loc[attributions, "top k"] > table.loc[attributions, "contiguous"]).sum()
print(f"top k is above contiguous for {better} of {len(attributions)} attributions")

# %% [markdown]
# Top-$k$ words come from anywhere in the text. A stretch has to be in one place, but a person can read it as a phrase.
#
# ## Right for no reason
#
# Now the selector that cheats. It chooses its rationales without a look at the words.

# %%
leak, floor = table.loc["first_or_last", "contiguous"], table.loc["random", "contiguous"]
print(f"first_or_last {leak:.3f}, random {floor:.3f}, full text {full_text['macro_f1']:.3f}")
print("the leak is", "above" if leak > floor else "not above", "the control")

# %% [markdown]
# If it is well above the control, here is why. A beginning looks different from an end, which has a full stop. The
# reader need not understand a word. It only has to see *where* the rationale was cut out, and that tells it what the
# support model decided.
#
# The reader is faithful to its rationale. But the rationale is a message from one model to the other, not a reason.
# {cite:t}`jacovi-goldberg-2021-aligning` describe such failures. An ordinary attribution explains the predicted class, so
# its rationales can carry such a message too.
#
# A good reader shows that the rationales are **enough to decide as the support model does**. It does not show that these
# words are what the support model used, nor that a person would decide by them.
#
# ## Long documents
#
# A film review of IMDB can be far longer than any sentence of SST. The models here read 512 tokens at most. What becomes
# of the rest?
#
# The functions of this chapter **cut**: what the support model does not read cannot be selected, and the ratio counts
# only the words it reads. {py:func}`regex_lib.checks.evaluate_plausibility` reads in **windows** instead, one after the
# other, because it compares with words that people marked, and these may be anywhere.

# %%
document = " ".join(test["text"][:12])
one = datasets.Dataset.from_dict({"text": [document], "label": [0]})
for length in (32, 128, None):
    explained = attribute(support, [document], "random", max_length=length)[0]
    rationale = extract_rationales(support, one, "random", ratio, max_length=length)[0]
    limit = length or support.max_length
    print(
        f"at most {limit:3} tokens: reads {len(explained.words()):3} words, cut: {explained.truncated},",
        f"rationale {len(rationale['spans']):2} words, the last at character {rationale['spans'][-1][1]}",
    )
print("characters of the document:", len(document))

# %% [markdown]
# State the length with your results. With the same ratio, a model that reads less gives a shorter rationale.
#
# The right ratio depends on the length too. {cite:t}`chrysostomou-aletras-2022-empirical` take 0.2 for the sentences of
# SST, 0.1 for Yelp and 0.02 for the long reviews of IMDB.
#
# ## In the study
#
# The study does this for several recipes, on SST, with the top 20 % of the words. Its tables come with the package and
# grow while it runs: the lines above the table say of how many seeds each recipe's models are. The row `full text` is the
# support model.

# %%
study = read_rows("sst/table_4_rationales", data="sst")
if len(study):
    readers = study.pivot_table(index="attribution", columns="recipe", values="macro_f1", sort=False)
    readers.loc["full text"] = study.groupby("recipe")["full_text_macro_f1"].mean()
    readers = readers.rename(columns=lambda name: name.removeprefix("regex_"))
    for count, names in study.groupby("seeds")["recipe"].unique().items():
        print(f"{count} seed(s): {', '.join(names)}")
    print("macro-F1 of the readers")
    print(readers.map("{:.3f}".format, na_action="ignore").fillna("not yet").to_string())

# %% [markdown]
# `random_mask` and `shuffled_target` are the controls of REGEX. A recipe can lift its readers just because its support
# model is better. So the fair number is the reader's macro-F1 **minus that of the full text**, in
# {numref}`fig-15-study`. How near is *comparable*? The authors' abstract names no margin. Ours is the grey band. For the
# same seeds the row `random` is the same in all columns, because random words do not depend on the support model. So a
# better support model makes its difference worse.

# %% mystnb={"image": {"alt": "For each selector, the macro-F1 of a reader minus that of the support model on full texts, with intervals, for vanilla, robustness alone, REGEX and its two controls. A grey band beside zero is what counts as comparable."}, "figure": {"name": "fig-15-study", "caption": "Readers minus the support model on full texts, in macro-F1 on SST, with 95 % intervals over seeds where a recipe has several. Right of the band's left edge a reader is comparable. Triangles are vanilla (pointing down) and robustness alone, circles REGEX, squares and diamonds its controls."}}
recipes = {"vanilla": "v", "robust": "^"} | {"regex": "o", "regex_random_mask": "s", "regex_shuffled_target": "D"}
names = list(ATTRIBUTION_COLOURS)
with figure_style():
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    for shift, (name, marker) in zip((-0.32, -0.16, 0, 0.16, 0.32), recipes.items(), strict=True):
        colour = RECIPE_COLOURS[name]
        for row in study[(study["recipe"] == name) & study["attribution"].isin(names)].itertuples():
            height = names.index(row.attribution) + shift
            axis.plot([row.low, row.high], [height] * 2, color="black", lw=1)
            axis.plot(row.difference, height, marker, mfc=colour, mec="black")
        axis.plot([], [], marker, mfc=colour, mec="black", label=name.replace("_", " "))
    if not study["recipe"].isin(recipes).any():
        axis.text(0.5, 0.5, "not measured yet", ha="center", transform=axis.transAxes)
        axis.set_xlim(-0.4, 0.1)
    axis.axvspan(-COMPARABLE, 0, color="#d9d9d9", zorder=0)
    axis.axvline(0, color="black", lw=1)
    axis.set(ylim=(len(names) - 0.5, -0.5), xlabel="macro-F1 of the reader minus full text")
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    figure.legend(loc="outside upper center", ncols=3, fontsize="small")
plt.show()

# %% [markdown]
# Look at `random` first. If its readers are near the band, then *comparable* says little about the selectors. Where its
# interval is very wide, the reader of one seed has learned nothing from so few words. Then look at the readers of vanilla
# and `robust`: where they are comparable as well, it is not the guidance that makes them so. With a single seed there is
# no interval. By the rule of {doc}`12_in_domain`, over all attributions but `random` (the second sentence compares the
# readers' macro-F1 itself, without subtracting the full text's):

# %%
print(f"comparable: at most {COMPARABLE} of macro-F1 below the full text")
for sentence in read_rows("sst/verdicts", table="4_rationales").get("sentence", []):
    print(textwrap.fill(sentence, 90))

# %% [markdown]
# Out of domain, the support model can select as well, and the same reader reads. The argument `out_of_domain` of
# {py:func}`regex_lib.rationales.select_then_predict` takes more test sets for that.
#
# ## What can go wrong
#
# - **The label leaks**, as above. Keep a control that leaks on purpose, to see how far that alone goes.
# - **Readers trained differently.** If one reader gets more steps or other settings, you compare trainings, not rationales.
# - **The reader is better than the support model.** That can happen: a short text has less in it that misleads. It does
#   not mean that the explanation is better than the model.
# - **One ratio.** At a high ratio every selector is good, at a very low one none is. State it.
# - **Human rationales as the goal.** The {doc}`data_card` says how well a reader does on words that people marked. That is
#   about the data, not about any model's faithfulness.
#
# ## Strengths and limitations
#
# The reader's explanation needs no test: it is all that the reader has seen. There is no normalisation, no masked input
# that looks strange, and the score is one that everybody knows.
#
# But the rationale is faithful to the reader, not to the support model. You have explained a new model, which was made to
# be explained. And the selector has read the whole text: why it chose these words, nobody sees.
#
# ## Summary
#
# A support model selects, a reader decides. Compare its macro-F1 with that of random rationales and that of the full
# text. A selector that leaks the decision may do well too, so a good reader is no proof of good reasons.
#
# ## Exercises
#
# ```{exercise} Two shapes
# :label: ex-15-1
#
# Six words have the scores 0.5, -0.4, 0.1, 0.3, 0.3 and -0.1, and the ratio is one third. Which words are the top $k$, and
# which stretch is the best? Set `answer` to a list of two lists of places, counted from 0.
# ```

# %%
offsets, six_scores = [(i, i + 1) for i in range(0, 12, 2)], [0.5, -0.4, 0.1, 0.3, 0.3, -0.1]
six = Explanation("a b c d e f", "random", offsets, six_scores, 1, 1, 0.9, truncated=False)
top, stretch = rationale_spans(six, 1 / 3), rationale_spans(six, 1 / 3, contiguous=True)[0]
expected = [[start // 2 for start, _ in top], list(range(stretch[0] // 2, (stretch[1] + 1) // 2))]
answer = ...  # replace the dots
check_answer(answer, expected)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Two words stay. Of two equal scores, the earlier word counts as the higher one. And a strong word may have a weak
# neighbour.
# ```
#
# ````{solution-start} ex-15-1
# :class: dropdown
# ````
#
# The first word is the strongest, but its only neighbour pulls its stretch down to 0.1.

# %%
answer = [[0, 3], [3, 4]]
check_answer(answer, expected)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} The floor of macro-F1
# :label: ex-15-2
#
# A reader always says *positive*, and half of the texts are. What is its macro-F1? Set `answer` to the number.
# ```

# %%
answer = ...  # replace the dots
check_answer(answer, f1_score([0, 1] * 50, [1] * 100, average="macro", zero_division=0), tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Macro-F1 is the mean of the F1 of the two classes. The F1 of a class that is never predicted is 0.
# ```
#
# ````{solution-start} ex-15-2
# :class: dropdown
# ````
#
# For the positive class the precision is 1/2 and the recall 1, so its F1 is 2/3.

# %%
answer = (2 / 3 + 0) / 2
check_answer(answer, f1_score([0, 1] * 50, [1] * 100, average="macro", zero_division=0), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} In which order?
# :label: ex-15-3
#
# Someone wrote a rationale with its strongest word first. Put it right: `places` says where each word stood in the text.
# Set `answer` to the rationale as a string, in the order of the text.
# ```

# %%
pieces, places = ["good", "a", "not", "film"], [7, 6, 5, 9]
answer = ...  # replace the dots
check_answer(answer, " ".join(word for _, word in sorted(zip(places, pieces, strict=True))))

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Sort by the places. What would an encoder make of the string before, and what of the one after?
# ```
#
# ````{solution-start} ex-15-3
# :class: dropdown
# ````
#
# In the order of the scores, *not* stands before *film* and says little about *good*.

# %%
answer = " ".join(pieces[number] for number in sorted(range(len(places)), key=lambda number: places[number]))
print(answer)
check_answer(answer, " ".join(word for _, word in sorted(zip(places, pieces, strict=True))))

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`jain-etal-2020-learning` introduced FRESH. {cite:t}`chrysostomou-aletras-2022-empirical` took it out of domain.
# {cite:t}`jacovi-goldberg-2021-aligning` discuss what such a model shows, and what it does not.
