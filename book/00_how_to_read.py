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
# # How to read this book
#
# **What you will learn.** What the parts of a chapter are for: its settings, its sliders, its exercises, and the line
# under its title.
#
# **Time.** Ten minutes. The code takes a few minutes on two CPU cores.
#
# ## Every output is real
#
# The line under the title says when this page's code was run, for how long, on what, and with which versions. No result
# was typed in by hand: where the text relies on a number, a cell prints it. The {doc}`status` page shows these lines for
# all chapters.
#
# You can read without running anything. To run a chapter, use the Colab button at the top of the page, if the copy that
# you are reading has one, or open the notebook in JupyterLab from a clone of the repository.
#
# ## The parts of a chapter
#
# Most chapters go through the same steps:
#
# 1. a **question**, and the idea that answers it, in words and then in the symbols of the {doc}`notation`;
# 2. the idea **from scratch**, in a few lines, which a cell compares with the package's own function;
# 3. an **experiment**, always beside a {term}`control`: something that should show no effect;
# 4. **what can go wrong**, what the method is good for, and where it ends;
# 5. a **summary**, **exercises** with solutions, and **further reading**.
#
# ## Settings
#
# Each chapter has one cell with everything you may want to change. In most chapters its values are meant for a GPU; this
# page's are small. Where the published run used other values, the line under the title says which.

# %% tags=["parameters"]
layers: "Optional[int]" = 3  # keep only the first so many layers; None keeps all
epochs: float = 3
learning_rate: float = 3e-4
seed: int = 0

# %% [markdown]
# The next cell trains a classifier of reviews, so that there is something to explain. The
# {doc}`quickstart <01_quickstart>` says what happens in it. Its **accuracy** is the share of texts that it gets right; a
# coin gets about half.

# %%
import torch

from regex_lib.attributions import attribute
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import classify
from regex_lib.metrics import normalised_comprehensiveness, normalised_sufficiency
from regex_lib.models import load_classifier
from regex_lib.plots import attribution_switcher, mask_ratio_stepper, perturbation_slider
from regex_lib.training import train

reviews = load_data("reviews")
classifier = load_classifier("minilm", layers=layers, seed=seed)
classifier.label_names = ["negative", "positive"]
train(classifier, reviews, "vanilla", epochs=epochs, batch_size=16, learning_rate=learning_rate, seed=seed)
print(f"accuracy on the test texts: {classify(classifier, reviews['test'])['accuracy']:.3f}")

# %% [markdown]
# ## Things that move
#
# Some figures have buttons or a slider. They work on the page, without running anything, by mouse and by keyboard: go to
# them with the tab key, and move with the arrow keys. On paper, all their states are printed.
#
# Here one prediction is explained by four methods. **Orange** words speak for the predicted class, **blue** words against
# it, and strong words are underlined. Which methods agree?

# %%
text = "A wonderful cast and lovely songs cannot save this boring, overlong mess."
methods = ("attention", "scaled_attention", "input_x_gradient", "integrated_gradients")
explanations = [attribute(classifier, [text], method)[0] for method in methods]
attribution_switcher(explanations, classifier.label_names)

# %% [markdown]
# A method of this kind is called an {term}`attribution`. It cuts the text into **tokens**, which are words or pieces of
# words, and scores each. In effect it claims that the prediction rests on the tokens with the highest scores.
#
# Test the claim: remove these tokens, strongest first, and watch the probability of the predicted class. If the claim is
# true, two things happen. Without the strongest tokens the probability soon falls: the attribution has a high
# {term}`comprehensiveness`. With the strongest tokens alone it is soon back: the attribution has a high
# {term}`sufficiency`.

# %%
mask_ratio_stepper(classifier, explanations[-1])

# %% [markdown]
# A {term}`robust` classifier keeps its prediction when its input moves a little. What can move a little are the
# {term}`embeddings <embedding>`, the numbers that stand for each token. Move those of this text: once in the direction
# that changes the prediction most, as far as a short search finds it, and once in a random direction, as the control. A
# change is a change: the first may also make the classifier surer.

# %%
perturbation_slider(classifier, text, seed=seed)

# %% [markdown]
# ## If something looks different
#
# - **Your numbers differ from the page's.** Other hardware and other versions round differently, and training amplifies the
#   differences. Compare the line under the title with your set-up. Small gaps are normal; if a *conclusion* changes, it was
#   too weak.
# - **A slider does nothing.** The page needs JavaScript. Some viewers of notebooks show only a line of text instead.
# - **A cell is slow.** Lower `max_train` or `max_examples` in the settings, where a chapter has them. The smaller the
#   numbers, the noisier the results.
#
# ## Exercises
#
# An exercise comes in three layers: the task, with a cell that checks your answer against the package; a hint; and a
# solution. Run the task's cell once as it is before you answer: it makes the variables that the task names. Try them in
# that order. Where the page hides a layer, press its title. The check has to know the answer, so try the task before
# you read the check's code.
#
# ```{exercise} Comprehensiveness by hand
# :label: ex-read-1
#
# A classifier gives its prediction the probability 0.9. Without the strongest tokens the probability falls to 0.3. With
# *all* tokens removed it falls to 0.2. How comprehensive is the attribution, on a scale where 0 means *nothing happened*
# and 1 means *as if everything had been removed*? Set `answer` to the number.
# ```

# %%
answer = ...  # replace the dots
full, without, empty = torch.tensor([[0.9], [0.3], [0.2]])
check_answer(answer, normalised_comprehensiveness(full, without, empty).item(), tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# How far did the probability fall? How far could it have fallen?
# ```
#
# ````{solution-start} ex-read-1
# :class: dropdown
# ````
#
# It fell by $0.9 - 0.3$. With an empty text it falls by $0.9 - 0.2$. The answer is the first as a share of the second.

# %%
answer = (0.9 - 0.3) / (0.9 - 0.2)
check_answer(answer, normalised_comprehensiveness(full, without, empty).item(), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Sufficiency by hand
# :label: ex-read-2
#
# Now keep the strongest tokens *alone*: the probability is 0.7. How sufficient are they, on a scale where 0 means *no
# better than an empty text* and 1 means *as good as the full text*? Set `answer` to the number.
# ```

# %%
answer = ...  # replace the dots
alone = torch.tensor([0.7])
check_answer(answer, normalised_sufficiency(full, alone, empty).item(), tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# How far above the empty text is 0.7? How far above it is the full text?
# ```
#
# ````{solution-start} ex-read-2
# :class: dropdown
# ````
#
# The strongest tokens alone regain $0.7 - 0.2$ of the $0.9 - 0.2$ that there is to regain.

# %%
answer = (0.7 - 0.2) / (0.9 - 0.2)
check_answer(answer, normalised_sufficiency(full, alone, empty).item(), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Read a heat map
# :label: ex-read-3
#
# Go back to the heat maps, choose `integrated_gradients`, and find the word that speaks most strongly *for* the prediction.
# Set `answer` to it, in quotation marks.
# ```

# %%
answer = ...  # replace the dots
strongest = max(explanations[-1].words(), key=lambda word: word[1])[0]
check_answer(answer, strongest)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# It is the word in the deepest orange. Two oranges look alike? `explanations[-1].words()` has the scores.
# ```
#
# ````{solution-start} ex-read-3
# :class: dropdown
# ````

# %%
scores = dict(explanations[-1].words())
answer = max(scores, key=scores.get)
print(f"{answer!r} with a score of {scores[answer]:.2f}")
check_answer(answer, strongest)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Summary
#
# A chapter has settings to change, outputs that were computed, figures that move, and exercises that check your answer. The
# {doc}`glossary` has the terms, the {doc}`notation` the symbols, and the {doc}`package's pages <api>` the
# functions.
#
# ## Further reading
#
# The method of this book is that of {cite:t}`li-etal-2023-regex`. The two scores on this page come from
# {cite:t}`deyoung-etal-2020-eraser` and, on the scale from 0 to 1, from {cite:t}`carton-etal-2020-evaluating`.
