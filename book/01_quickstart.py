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
# # Quickstart: are explanations faithful?
#
# **What you will learn.** How to train a plain text classifier and a REGEX classifier, how to ask both which words
# their predictions rest on, and how to measure whether the answer is true.
#
# **Time.** Ten minutes to read. The code takes a few minutes on a GPU; the line under the title says how long it took here.
#
# ## The question
#
# A classifier calls a review negative. An attribution method highlights *"dull"* and *"overlong"*. That looks right to
# you. But does the *model* rest on these words?
#
# An explanation that people find convincing is {term}`plausible`. One that tells what the model does is {term}`faithful`. The
# two are different things, and only the second can be tested without asking people: remove the highlighted words, and see
# whether the prediction goes with them {cite:p}`deyoung-etal-2020-eraser`.
#
# REGEX {cite:p}`li-etal-2023-regex` trains a classifier so that its explanations become more faithful. A classifier is usually
# trained with the {term}`cross-entropy` alone. REGEX adds three terms:
#
# - **input gradient regularisation** keeps predictions from changing abruptly;
# - **virtual adversarial training** keeps them the same under the worst small change of the input;
# - a {term}`KL divergence <Kullback-Leibler divergence>` pulls the model's {term}`attention` towards its own
#   {term}`attribution`, on the text and on a copy of it in which the unimportant words are masked.
#
# You will train with and without them, and compare. Each term has its own chapter later; here you see what they do together.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU.

# %% tags=["parameters"]
data: str = "reviews"  # a data set's name, or a file or folder of your own
model: str = "minilm"  # minilm, bert, roberta, distilbert, or a hub id
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
epochs: float = 5
learning_rate: float = 1e-4
max_examples: "Optional[int]" = None  # explain so many test texts; None takes all
seed: int = 0
output_dir: str = "runs/quickstart"

# %%
import textwrap
from pathlib import Path

import pandas as pd
from IPython.display import display

from regex_lib.attributions import attribute
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import evaluate_faithfulness
from regex_lib.models import load_classifier
from regex_lib.plots import faithfulness_bars, heatmap, mask_ratio_stepper
from regex_lib.training import find_recipe, train

folder = Path(output_dir)
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The data
#
# `reviews` is a small corpus written for this book: films, restaurants and gadgets. Each review is negative (0) or
# positive (1). Many are hard on purpose: they negate, they concede, they are ironic. Do not expect a high accuracy.

# %%
reviews = load_data(data)
print({name: len(split) for name, split in reviews.items()})
for row in reviews["test"].select(range(3)):
    print(textwrap.fill(f"{row['label']}  {row['text']}", 88, subsequent_indent="   "))

# %% [markdown]
# ## Two classifiers
#
# Both start from the same pre-trained encoder, a network that has learned from much text to turn tokens into vectors. Both get
# the same new classification head, the small layer on top that turns these vectors into classes. And both see the same texts
# in the same order. Only the {term}`recipe` differs: `vanilla` is cross-entropy alone, `regex` adds the three terms. They
# make a step of training longer, as the seconds show.

# %%
settings = {"epochs": epochs, "batch_size": 16, "learning_rate": learning_rate, "seed": seed}
classifiers, runs = {}, {}
for recipe in ("vanilla", "regex"):
    classifier = load_classifier(model, layers=layers, seed=seed)
    classifier.label_names = ["negative", "positive"]
    runs[recipe] = train(classifier, reviews, recipe, folder / recipe, **settings)
    classifiers[recipe] = classifier
    print(f"{recipe}: {runs[recipe].seconds:.0f} s on {runs[recipe].device}")

# %% [markdown]
# Every term of the loss is logged by its name, before its weight. `igr` is input gradient regularisation, `vat` is virtual
# adversarial training, and the two `kl` are the divergence on the text and on its masked copy. They start half-way:
# guiding attention from the first step would pull it towards the attributions of a model that has learned nothing yet.

# %%
history = pd.DataFrame(runs["regex"].history).set_index("step")
history.drop(columns=["grad_norm", "learning_rate"]).round(4)

# %% [markdown]
# ## Is it faithful?
#
# Take the prediction for a text, and rank the words by an attribution.
#
# - Keep only the few at the top. If the prediction stays, they were **sufficient**. The score is 1 if they do as well as the
#   whole text, and 0 if they do no better than an empty one.
# - Remove them. If the prediction goes, they were **comprehensive**. The score is 1 if that does as much as removing
#   everything, and 0 if it does nothing.
#
# Both are averaged over four sizes of the top. Higher is better for both. The line above each table has
# two numbers about the *predictions*: the accuracy, and the calibration error `ece`, which {doc}`03_classifier_and_data`
# explains. They hold for all rows of the table, and so does the degenerate share, of which more below.
#
# The `random` row ranks the words by chance. It is the {term}`control`: an attribution that does not beat it says nothing
# about the model.

# %%
reports = {}
for recipe, classifier in classifiers.items():
    report = evaluate_faithfulness(
        classifier, reviews["test"], max_examples=max_examples, seed=seed
    )
    report.to_file(folder / f"{recipe}.csv")
    same = report.table.iloc[0]  # these are the same in all rows
    print(f"{recipe}: accuracy {same['accuracy']:.3f}, ece {same['ece']:.3f}, "
          f"degenerate share {same['degenerate_share']:.3f}, on {same['examples']} texts")
    shown = report.table[["attribution", "sufficiency", "comprehensiveness"]]
    display(shown.style.format(precision=3).set_caption(recipe).hide(axis="index"))
    reports[recipe] = report

# %% mystnb={"image": {"alt": "Bars of sufficiency and comprehensiveness for five attributions, the vanilla and the regex model side by side, with 95 % intervals."}, "figure": {"name": "fig-01-faithfulness", "caption": "Faithfulness of five attributions to the two models. In each pair the upper bar is the vanilla model. The lines are 95 % intervals over the test texts."}}
faithfulness_bars(reports)

# %% [markdown]
# Read such a table with care:
#
# - **Within one model** the rows can be compared: which attribution tells most about this model?
# - **Between models** they cannot be compared directly. The scale depends on how far each model's prediction falls when
#   everything is removed, so a change of the model moves even the `random` row {cite:p}`edin-etal-2025-normalized`.
# - **The degenerate share** is the share of texts for which even an empty text gets almost the same prediction, or a surer one.
#   For these the scores say nothing. Where that share is large, the table says little.
# - **One seed is an anecdote.** The study in this book uses several, with controls.
#
# The next cell takes a first step towards a fair comparison: it subtracts each model's own `random` row.

# %%
gains = {}
for recipe, report in reports.items():
    means = report.table.set_index("attribution")[["sufficiency", "comprehensiveness"]]
    gains[recipe] = (means - means.loc["random"]).drop("random")
    print(f"{recipe}: accuracy {report.table['accuracy'][0]:.3f}")
pd.concat(gains, axis=1).round(3)

# %%
for metric in ("sufficiency", "comprehensiveness"):
    difference = gains["regex"][metric] - gains["vanilla"][metric]
    print(f"{metric}, minus random: regex is ahead for {(difference > 0).sum()} of {len(difference)} attributions")

# %% [markdown]
# That is a count for one seed and these texts, not a verdict. {doc}`17_what_reproduced` has the verdict.
#
# ## Look at it
#
# Orange words speak for the explained class, blue words against it. The deeper the colour, the stronger the word. The
# attribution is {term}`Integrated Gradients`, the default.
#
# Read the line above each text first: a model explains its *own* prediction. Where two models predict different classes,
# the colours turn round. A word that is orange for *positive* is blue for *negative*, and the two models may agree about
# it all the same.

# %%
text = "A wonderful cast and lovely songs cannot save this boring, overlong mess."
explanations = {recipe: attribute(classifiers[recipe], [text])[0] for recipe in classifiers}
picture = heatmap(explanations, classifiers["regex"].label_names)
picture.save(folder / "heatmap.html")
picture

# %% [markdown]
# Now do the test of the table by hand, for this one text and the `regex` model: move the slider and remove its
# strongest tokens. Compare the two ends first. Where the predicted class is as probable without any token as with the
# full text, or more so, the text is {term}`degenerate`: for such a text the two scores mean nothing.

# %%
mask_ratio_stepper(classifiers["regex"], explanations["regex"])

# %% [markdown]
# ## What can go wrong
#
# - **A model that has learned nothing can score well.** Always look at the accuracy first; it stands above the table.
# - **Guidance from the first step** can cost accuracy, and a model at chance may still score above random
#   ({doc}`10_attention_and_attribution`). The last exercise shows how to try it.
# - **Masked texts look strange to a model that has never seen any.** Part of what you measure is that strangeness, and
#   training on masked texts changes it. The control `regex_random_mask` masks *any* words instead of the unimportant
#   ones {cite:p}`hase-etal-2021-ood`.
#
# ## Strengths and limitations
#
# You need no marked words and no people, only a classifier and texts: the test asks the model itself. But it asks about one
# kind of removal, on one scale, and you asked once. {doc}`05_measuring_faithfulness` shows five ways in which such a table
# misleads, and {doc}`11_regex` puts the method together from its parts.
#
# ## Summary
#
# You trained two classifiers that differ in nothing but their loss and explained both with five attributions. You measured
# how faithful the explanations are, beside a control and the accuracy.
#
# ## Exercises
#
# ```{exercise} Who gained most?
# :label: ex-01-1
#
# The table of gains over `random` is in `gains`. For which attribution does comprehensiveness differ most between the two
# models, in favour of `regex`? Set `answer` to its name.
# ```

# %%
answer = ...  # replace the dots
ahead = gains["regex"]["comprehensiveness"] - gains["vanilla"]["comprehensiveness"]
check_answer(answer, ahead.idxmax())

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Subtract the `vanilla` column from the `regex` column. The largest difference counts, even if none is above 0.
# ```
#
# ````{solution-start} ex-01-1
# :class: dropdown
# ````

# %%
answer = (gains["regex"] - gains["vanilla"])["comprehensiveness"].idxmax()
print(f"{answer}: {ahead[answer]:+.3f}, with one seed")
check_answer(answer, ahead.idxmax())

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Two methods, one model
# :label: ex-01-2
#
# Explain the text above, `text`, for the `regex` classifier by `scaled_attention` and by `integrated_gradients`. How many of
# the three highest-scored words do the two have in common? Set `answer` to the number. Then try a text of your own.
# ```

# %%
answer = ...  # replace the dots


def top_three(method):
    words = attribute(classifiers["regex"], [text], method)[0].words()
    return {word for word, _ in sorted(words, key=lambda word: -word[1])[:3]}


check_answer(answer, len(top_three("scaled_attention") & top_three("integrated_gradients")))

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `attribute(...)[0].words()` is a list of words with their scores. Two sets share what `&` gives.
# ```
#
# ````{solution-start} ex-01-2
# :class: dropdown
# ````

# %%
tops = [top_three(method) for method in ("scaled_attention", "integrated_gradients")]
print(*tops, sep="\n")
answer = len(tops[0] & tops[1])
check_answer(answer, len(top_three("scaled_attention") & top_three("integrated_gradients")))

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Another replacement
# :label: ex-01-3
#
# A removed word has been replaced by `[PAD]`, a token that fills up short texts. Measure the `regex` classifier again with
# `replacement="mask"`. What is the comprehensiveness of `random` now? Set `answer` to the number. Why does it move?
# ```

# %%
answer = ...  # replace the dots
masked = evaluate_faithfulness(
    classifiers["regex"], reviews["test"], ["random"], replacement="mask", max_examples=max_examples, seed=seed
)
check_answer(answer, masked.table["comprehensiveness"][0])

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Pass `["random"]`, `replacement="mask"`, and the same `max_examples` and `seed` to `evaluate_faithfulness`. The report's
# `table` has the number.
# ```
#
# ````{solution-start} ex-01-3
# :class: dropdown
# ````
#
# The classifier has seen `[MASK]` in training, in the masked copies of the texts. It has never attended to `[PAD]`. So the
# two kinds of removal are not equally strange to it, and the scale itself can move, even for a ranking by chance.

# %%
answer = masked.table["comprehensiveness"][0]
before = reports["regex"].table.set_index("attribution").loc["random", "comprehensiveness"]
print(f"random, regex classifier: {before:.3f} with [PAD], {answer:.3f} with [MASK]")
check_answer(answer, masked.table["comprehensiveness"][0])

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Guide too early
# :label: ex-01-4
#
# `find_recipe("regex").weights_at(progress)` are the weights of the loss at a time of the training: 0 is its start, 1 its end.
# Which terms are there at the end and not at the start? Set `answer` to the sorted list of their names.
# ```

# %%
answer = ...  # replace the dots
late = sorted(set(find_recipe("regex").weights_at(1.0)) - set(find_recipe("regex").weights_at(0.0)))
check_answer(answer, late)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# The table of the losses above has the answer too: look for `NaN`.
# ```
#
# ````{solution-start} ex-01-4
# :class: dropdown
# ````
#
# Those that guide attention. To see what happens when they do not wait, train with the recipe `early`, as above, and compare
# the accuracy and the scores: `train(load_classifier(model, layers=layers, seed=seed), reviews, early, **settings)`.

# %%
early = find_recipe("regex").changed(guidance_from=0.0)
answer = sorted(set(early.weights_at(0.0)) - set(find_recipe("regex").weights_at(0.0)))
check_answer(answer, late)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# The method is {cite:t}`li-etal-2023-regex`. The metrics come from {cite:t}`deyoung-etal-2020-eraser`,
# {cite:t}`carton-etal-2020-evaluating` and {cite:t}`chrysostomou-aletras-2022-empirical`.
