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
# **Time.** Five minutes. The code runs in a minute or two on two CPU cores.
#
# ## Every output is real
#
# The line under the title says when this page's code was run, for how long, on what, and with which versions. Nothing
# on the page was typed in by hand: a number in the text is printed by a cell. The {doc}`status` page shows these lines
# for all chapters.
#
# You can read without running anything. To run a chapter, open it in Colab with the button at the top of the page, where
# the published book has one, or in JupyterLab from a clone of the repository.
#
# ## Settings
#
# Each chapter has one cell with everything you may want to change. Its values are meant for a GPU, unless the line under
# the title says otherwise.

# %% tags=["parameters"]
layers: "Optional[int]" = 3  # keep only the first so many layers; None keeps all
epochs: float = 3
learning_rate: float = 3e-4
seed: int = 0

# %% [markdown]
# A classifier of reviews, to have something to explain. The {doc}`quickstart <01_quickstart>` explains what happens here.

# %%
import torch

from regex_lib.attributions import attribute
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import classify
from regex_lib.metrics import normalised_comprehensiveness
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
# The same prediction, explained by four methods. Which of them agree?

# %%
text = "A wonderful cast and lovely songs cannot save this boring, overlong mess."
methods = ("attention", "scaled_attention", "input_x_gradient", "integrated_gradients")
explanations = [attribute(classifier, [text], method)[0] for method in methods]
attribution_switcher(explanations, classifier.label_names)

# %% [markdown]
# An {term}`attribution` claims that the prediction rests on its strongest tokens. Test the claim: remove them, strongest
# first, and watch the probability. If the claim is true, it falls early without them (a high {term}`comprehensiveness`)
# and is there early with them alone (a high {term}`sufficiency`).

# %%
mask_ratio_stepper(classifier, explanations[-1])

# %% [markdown]
# A {term}`robust` classifier keeps its prediction when its input moves a little. Move the embeddings of this text, once
# in the direction that changes the prediction most, and once in a random one, as the {term}`control`.

# %%
perturbation_slider(classifier, text, seed=seed)

# %% [markdown]
# ## Exercises
#
# An exercise comes in three layers: the task, with a cell that checks your answer against the package; a hint; and a
# solution. Try them in that order. Where the page hides a layer, press its title.
#
# ```{exercise} Comprehensiveness by hand
# :label: ex-read-1
#
# A classifier gives its prediction the probability 0.9. Without the strongest tokens the probability falls to 0.3, and
# an empty text gets 0.2. How comprehensive is the attribution, on the scale on which 0 is *nothing happened* and 1 is
# *as if all had been removed*? Set `answer` to the number.
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
# It fell by $0.9 - 0.3$, of the $0.9 - 0.2$ that it falls for an empty text.

# %%
answer = (0.9 - 0.3) / (0.9 - 0.2)
check_answer(answer, normalised_comprehensiveness(full, without, empty).item(), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Words and symbols
#
# The {doc}`glossary` has the terms, the {doc}`notation` the symbols, and {doc}`api` the functions. The method is
# {cite:t}`li-etal-2023-regex`.
