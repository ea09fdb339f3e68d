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
# # What it costs
#
# **What you will learn.** How to count what a training step costs before you wait for it; where REGEX's extra time and
# memory go, and which part of it the fast variant saves; what attributions and metrics cost; and why a trained REGEX model
# costs nothing more to use.
#
# **Time.** Twenty minutes to read. The code takes a few minutes on a GPU.
#
# ## The question
#
# You have a classifier that takes an hour to train. Somebody proposes REGEX. *"Will it take two hours, or a day? Will it fit
# into my memory? And will each of my users wait longer for an answer?"* "It depends" is no answer. So count.
#
# There are two kinds of numbers in this chapter. **Counts**, of operations and of passes, are the same on every
# machine. **Seconds** are not. They depend on the processor, on what else is running, and on the lengths of your texts.
# A *ratio* of two times, measured in turns on one machine, tells you more about another machine than either time does.
#
# ## Settings

# %% tags=["parameters"]
data: str = "reviews"  # a data set's name, or a file or folder of your own
model: str = "minilm"
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
batch_size: int = 32
rounds: int = 7  # how often each step is timed
recipes: str = "igr, vat, robust, egt, regex, regex_fast, saliency_guided, saloss, smart, freelb"
lengths: str = "32, 64, 128, 256"  # tokens
texts: str = "100, 200, 400, 800"  # training texts
seed: int = 0

# %%
import contextlib
import statistics
import time
import weakref

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from regex_lib.attributions import METHODS, score_batch
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import METRICS, evaluate_faithfulness
from regex_lib.models import load_classifier
from regex_lib.plots import RECIPE_COLOURS, figure_style
from regex_lib.study import read_table
from regex_lib.training import RegexObjective, find_recipe, train

# %% [markdown]
# The batch whose step will be measured: texts of similar length, from the middle of the training texts.

# %%
reviews = load_data(data)
classifier = load_classifier(model, layers=layers, seed=seed)
by_length = sorted(reviews["train"]["text"], key=len)
middle = (len(by_length) - batch_size) // 2
batch = classifier.tokenize(by_length[middle : middle + batch_size])
labels = torch.arange(batch_size, device=classifier.device) % 2

# %% [markdown]
# The line under the title says on which machine the published numbers were measured. This is where yours are from:

# %%
where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
kept = sum(p.numel() for p in classifier.parameters())
print(f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__.split('+')[0]}")
print(f"{model} with {classifier.model.config.num_hidden_layers} layers, {kept / 1e6:.1f} million weights")
print(f"a batch of {batch_size} texts of {data}, {batch.input_ids.shape[1]} tokens long")

# %% [markdown]
# ## Operations, by hand
#
# A matrix product of an $a \times b$ with a $b \times c$ matrix takes $2abc$ operations: $abc$ products and as many sums.
# These products are almost all that a transformer does. In a layer, each token goes through four maps of size $D \times D$
# (query, key, value, output) and two of size $D \times D_{ff}$. Then attention compares each token with each of the $T$
# tokens, and mixes them: twice $2TD$. With $N$ layers:
#
# $$
# F = B\,T\,N\,\big( 8 D^2 + 4 D D_{ff} + 4 T D \big) + B\,\big( 2 D^2 + 2 D C \big)
# $$ (eq-21-forward)
#
# $B$, $T$, $D$ and $C$ are as in {doc}`notation`. The last bracket is the pooler and the head, which see one token of each
# text. This is the **forward pass** of a batch, the unit $F$ of this chapter {cite:p}`kaplan-etal-2020-scaling`.
#
# A **backward pass** takes each product twice more: once for the gradient of its input, once for that of its weights. So a
# step of plain training costs $F + 2F = 3F$. If only the gradient by the *input* is wanted, as for an attribution, the
# weights' half is left out: $F + F$.
#
# **From scratch** against torch's own counter. Do the two agree? (`double_backward=True` asks for the plain kernel of
# attention. The counter sees each of its products on every device.)


# %%
class NoModules(contextlib.nullcontext):
    """Only the total is wanted, not a total for each module."""

    parents = ("Global",)


# %%
def count_operations(action):
    """Floating-point operations of all matrix products in an action."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = NoModules()
    with counter:
        action()
    return counter.get_total_flops()


config = classifier.model.config
D, D_ff, N, C = (
    config.hidden_size, config.intermediate_size, config.num_hidden_layers, config.num_labels
)
B, T = batch.input_ids.shape
by_hand = B * T * N * (8 * D * D + 4 * D * D_ff + 4 * T * D) + B * (2 * D * D + 2 * D * C)
e = classifier.embed(batch.input_ids).detach()
counted = count_operations(lambda: classifier(e, batch.attention_mask, double_backward=True))
torch.testing.assert_close(float(by_hand), float(counted), rtol=0.01, atol=0.0)
print(f"by hand {by_hand / 1e9:.3f}, counted {counted / 1e9:.3f} billion operations")

# %% [markdown]
# ## A step of each recipe
#
# Now **with the package**, a whole step: one forward call of {py:class}`regex_lib.training.RegexObjective` and one backward
# pass, with all terms of the recipe on. Count its operations, the memory that its tensors take at once, and its time. The
# steps are timed in turns, so that a slow moment of the machine slows all of them alike.
#
# On a GPU, the time is that of the clock. On a CPU it is the time of the *processor*, summed over its cores: other programs
# that run at the same moment do not count.


# %%
class PeakMemory(TorchDispatchMode):
    """Bytes of the tensors that an action makes, while they are alive."""

    def __init__(self):
        super().__init__()
        self.alive = self.peak = 0
        self.seen = weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        torch.utils._pytree.tree_map_only(torch.Tensor, self.add, result)
        return result

    def add(self, tensor):
        """A tensor that is new takes memory until it is freed."""
        storage = tensor.untyped_storage()
        if storage not in self.seen:
            self.seen.add(storage)
            self.change(storage.nbytes())
            weakref.finalize(storage, self.change, -storage.nbytes())

    def change(self, size):
        """So many bytes more, or fewer."""
        self.alive += size
        self.peak = max(self.peak, self.alive)


# %% [markdown]
# `regex_fast` reuses the input gradient ({doc}`11_regex`). The last line of the table also replaces the
# {term}`double backward` pass of the penalty by a finite difference: one more forward pass a small step away,
# {py:func}`regex_lib.losses.finite_difference_penalty`.


# %%
def step_of(recipe):
    """A training step as an action without arguments."""
    objective = RegexObjective(classifier, recipe).train()

    def step():
        inputs = (batch.input_ids, batch.attention_mask, batch.content_mask, labels)
        objective(*inputs, progress=1.0)["loss"].backward()
        objective.zero_grad(set_to_none=True)

    return step


def timed(action):
    """Seconds that an action takes: of the clock on a GPU, of the processor on a CPU."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    started = clock()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - started


# %%
names = ["vanilla", *(name.strip() for name in recipes.split(","))]
steps = {name: step_of(find_recipe(name)) for name in names}
finite = find_recipe("regex_fast").changed(igr_estimator="finite_difference")
steps["regex_fast, finite"] = step_of(finite)

# %%
operations, memory, seconds = {}, {}, {name: [] for name in steps}
for name, step in steps.items():
    operations[name] = count_operations(step)  # which also warms up
    with PeakMemory() as peak:
        step()
    memory[name] = peak.peak
for _ in range(rounds):
    for name, step in steps.items():
        seconds[name].append(timed(step))
ratios = {
    name: statistics.median(a / b for a, b in zip(times, seconds["vanilla"], strict=True))
    for name, times in seconds.items()
}
costs = pd.DataFrame({
    "operations": pd.Series(operations) / operations["vanilla"],
    "time": pd.Series(ratios),
    "memory": pd.Series(memory) / memory["vanilla"],
    "ms a step": {name: 1000 * statistics.median(times) for name, times in seconds.items()},
})
costs.round(2)

# %% [markdown]
# The first three columns are multiples of `vanilla`, which is the {term}`control` here: it does what every training must
# do.
#
# The memory includes the gradient of the embedding matrix, which is as large as that matrix. Guidance holds two of them:
# one for $x$, one for $\tilde x$. The larger the batch, the smaller their share.
#
# {numref}`fig-21-steps` shows the first two columns. Where the bar of the time is clearly longer than that of the
# operations, a recipe spends its time on other things than matrix products: on element-wise work, or on many small passes.

# %% mystnb={"image": {"alt": "Horizontal bars for each recipe, in multiples of vanilla: counted operations and measured time side by side."}, "figure": {"name": "fig-21-steps", "caption": "What a training step costs with all terms on, in steps of vanilla: counted operations (plain) and measured time (hatched)."}}
with figure_style():
    figure, axis = plt.subplots(figsize=(6.5, 0.45 * len(costs) + 1), layout="constrained")
    for number, name in enumerate(costs.index):
        colour = RECIPE_COLOURS.get(name, RECIPE_COLOURS["regex_fast"])
        axis.barh(number - 0.2, costs.loc[name, "operations"], 0.38, color=colour)
        axis.barh(number + 0.2, costs.loc[name, "time"], 0.38, color="white", edgecolor=colour, hatch="///")
    axis.set_yticks(range(len(costs)), costs.index)
    axis.invert_yaxis()
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xlabel("multiples of vanilla")
plt.show()

# %% [markdown]
# ### Where it goes
#
# You can predict these bars. List the passes of each term, in units of $F$, with $S$ steps of Integrated Gradients:
#
# | term | passes | cost |
# | --- | --- | --- |
# | cross-entropy | forward, backward | $3F$ |
# | IGR, exact | backward by the input; then backward through that | $F + 2F$ |
# | IGR, finite difference | backward by the input; forward nearby, backward | $F + 3F$ |
# | VAT | forward and backward by the input, for the direction; forward and backward there | $2F + 3F$ |
# | VAT, gradient reused | forward and backward there | $3F$ |
# | guidance | $S$ times forward and backward by the input; $\tilde x$ up to the attention row, and back | $2SF + 3F'$ |
# | guidance, gradient reused | $\tilde x$ up to the attention row, and back | $3F'$ |
#
# $F'$ is a forward pass that ends in the last of $N$ layers, about $F (N - 1) / N$. The last backward pass of a step goes
# through the clean pass once, for all terms together. So the penalty pays only for the way through its own gradient.
#
# Note the finite difference. It does *not* take fewer operations than the double backward pass. Its advantage lies
# elsewhere: it needs no gradient of a gradient, so it works with the fused attention kernels, which cannot give one. Whether
# that makes it faster depends on the machine; the table above has the answer for this one. Compare the counts:

# %%
S = find_recipe("regex").attribution_steps
row = 3 * (N - 1) / N  # to the attention row of the last layer, and back
predicted = {
    "vanilla": 3, "igr": 3 + 3, "vat": 3 + 5, "robust": 3 + 3 + 5, "egt": 3 + 2 * S + row,
    "regex": 3 + 3 + 5 + 2 * S + row, "regex_fast": 3 + 3 + 3 + row,
    "regex_fast, finite": 3 + 4 + 3 + row,
}
units = pd.DataFrame({"predicted, F": pd.Series(predicted), "counted, F": pd.Series(operations) / counted})
units = units.loc[[name for name in predicted if name in steps]]
print(f"largest error of the prediction: {100 * (units.iloc[:, 0] / units.iloc[:, 1] - 1).abs().max():.0f} %")
units.round(2)

# %% [markdown]
# In a real training the cost of a step changes on the way: `regex` guides in the second half only. So a step of a whole
# training costs, on average, the mean of `robust` and `regex`.

# %%
if {"robust", "regex"} <= set(costs.index):
    share = 1 - find_recipe("regex").guidance_from
    for column in ("operations", "time"):
        whole = share * costs.loc["regex", column] + (1 - share) * costs.loc["robust", column]
        print(f"a whole training by regex, in {column}: {whole:.1f} times vanilla")

# %% [markdown]
# ### On a large GPU
#
# The bars above are of the machine that ran this page. The repository has the same measurement for a GPU of a data centre
# (`benchmarks/training.py`), with a batch as small as those of this book:

# %%
gpu = read_table("training_steps").query("device.str.startswith('NVIDIA')")
size = gpu.iloc[0]
print(f"{size['device']}, {size['layers']} layers, {size['texts']} texts of {size['tokens']} tokens")
gpu_costs = gpu.pivot_table(index="recipe", columns="precision", values=["time", "efficiency"], sort=False)
gpu_costs.insert(0, ("operations", ""), gpu.drop_duplicates("recipe").set_index("recipe")["operations"])
alike = gpu_costs["time", "fp32"].loc[["regex", "regex_random_mask", "regex_shuffled_target"]]
print(f"REGEX and two controls that do the same work differ by {alike.max() / alike.min() - 1:.0%} in fp32")
gpu_costs.round(2)

# %% [markdown]
# *Efficiency* is operations divided by time. At 1, a recipe spends its time as `vanilla` does, on matrix products.
# Below 1 it spends more of it on other things, above 1 less. For the same number of layers the operations are the same
# multiples on every machine, and the times are not. The likely reason is that so small a batch does not fill a large
# GPU: it waits for Python to start the next short operation, and guidance and the double backward pass start many of
# them. So count on more than the operations say. Differences as large as the one between the three recipes that do the
# same work are noise here.
#
# ### Whole trainings
#
# The study of this book records what each training cost. Here, for each recipe, are the time and the memory of the whole
# process, divided by those of `vanilla` with the same seed. On a CPU it is the processor's time where that was recorded, and
# the clock's where it was not. The clock also counts what else the machine was busy with.

# %%
study = read_table("sst/costs").query("model == 'minilm'").set_index(["recipe", "seed"])
processor = study.reindex(columns=["cpu_seconds"])["cpu_seconds"].where(study["device"] == "cpu")
study["time"] = processor.fillna(study["seconds"])
base = study.loc["vanilla", ["time", "memory_mib"]].reindex(study.index, level="seed")
relative = (study[["time", "memory_mib"]] / base).dropna().groupby("recipe")
relative = relative.agg({"time": ["mean", "min", "max", "size"], "memory_mib": "mean"})
relative.columns = ["time", "least", "most", "seeds", "memory"]
print(f"time of the processor for {processor.count()} of {len(study)} trainings")
print(f"device: {', '.join(study['device'].unique())}; texts: {int(study['train_texts'].median())}")
missing = [name for name in names if name not in relative.index]
print(f"not measured yet: {', '.join(missing) or 'nothing'}")
relative.sort_values("time").round(2)

# %% [markdown]
# Compare the line of `regex` with the prediction above. And note that the memory is that of the whole process, with Python,
# torch and the weights in it. So its ratio is nearer to 1 than that of the tensors of a single step.
#
# ## Inference costs nothing more
#
# REGEX changes the values of the weights, and not the architecture. There is no new layer and no second pass. Check it:
# train two models for a moment, and compare their sizes and what a prediction takes.

# %%
used = {}
small = {"train": reviews["train"].shuffle(seed=seed).select(range(min(batch_size, len(reviews["train"]))))}
for name in ("vanilla", "regex"):
    fitted = load_classifier(model, layers=layers, seed=seed)
    train(fitted, small, name, epochs=1, batch_size=batch_size, seed=seed)
    with torch.no_grad():
        passes = count_operations(lambda: fitted(e, batch.attention_mask, double_backward=True))  # noqa: B023
    used[name] = {"weights": sum(p.numel() for p in fitted.parameters()), "operations": passes}
print("the same" if used["vanilla"] == used["regex"] else "not the same")
pd.DataFrame(used).map("{:,}".format)

# %% [markdown]
# What may cost something at inference is the *explanation*, if you show one. That is the subject of the next section, and
# its cost is the same for every recipe.
#
# ## What an attribution costs
#
# Count passes with a hook on the encoder: it sees how many texts go in, and, where a gradient is asked for, how many come
# back. A text in a batch is one pass, whatever the size of the batch.


# %%
@contextlib.contextmanager
def counting():
    """Passes of texts through the encoder, and back."""
    passes = {"forward": 0, "backward": 0}

    def entered(_module, _args, inputs):
        embeddings = inputs["inputs_embeds"]
        passes["forward"] += len(embeddings)
        if embeddings.requires_grad:
            count = len(embeddings)
            embeddings.register_hook(lambda _: passes.update(backward=passes["backward"] + count))

    hook = classifier.model.base_model.register_forward_pre_hook(entered, with_kwargs=True)
    try:
        yield passes
    finally:
        hook.remove()


few = reviews["test"].shuffle(seed=seed).select(range(4))
some = classifier.eval().tokenize(few["text"])
target = torch.zeros(len(few), dtype=torch.long, device=classifier.device)
mean_tokens = some.content_mask.sum(dim=1).float().mean().item()

# %%
rows = {}
for name in METHODS:
    if name.startswith("acl2022"):
        continue  # a compatibility mode of a method that is in the list
    with counting() as passes:
        score_batch(classifier, some, name, target)
    rows[name] = {direction: count / len(few) for direction, count in passes.items()}
table = pd.DataFrame(rows).T.assign(cost=lambda t: t["forward"] + t["backward"])
print(f"passes for one text, mean over {len(few)} texts of {mean_tokens:.1f} tokens on average")
table.sort_values("cost").round(1)

# %% [markdown]
# `random` is the control: it costs nothing, and the others must explain better than it does to be worth their price.
#
# `attention` needs no gradient; `scaled_attention` needs one that goes back to the last layer's attention only, and never
# arrives at the input. `leave_one_out` needs one pass for each token, so its cost grows with the text. DeepLift runs a text
# and its {term}`baseline` side by side. The sampling methods are at their default numbers of samples, which you can change.
# Three of them are in no other chapter: `expected_gradients` is Integrated Gradients over many baselines, and `lime`
# {cite:p}`ribeiro-etal-2016-why` and `kernel_shap` fit a linear model to the predictions of texts with tokens left out.
#
# A backward pass to the input costs about as much as a forward pass. So `cost`, their sum, is in units of $F$.
#
# ## What a metric costs
#
# A metric asks the model about texts with tokens removed. {py:func}`regex_lib.evaluation.evaluate_faithfulness` plans all
# of these inputs first, drops repeats, and runs each distinct one once.


# %%
def passes_of(metrics, attributions=("random",)):
    """Forward passes for each text that an evaluation takes."""
    with counting() as passes:
        evaluate_faithfulness(classifier, few, attributions, metrics)
    return passes["forward"] / len(few)


alone = {}
for name in ("sufficiency", "comprehensiveness", "decision_flip", "loo_tau", "naopc_comprehensiveness"):
    if name in METRICS:
        alone[name] = passes_of([name])
both = passes_of(["sufficiency", "comprehensiveness"])
for name, count in {**alone, "sufficiency and comprehensiveness": both}.items():
    print(f"{name:34} {count:6.1f} passes for each text")

# %% [markdown]
# Two metrics that are evaluated together share the full text and the empty one, and every other input that both ask for.
# {term}`NAOPC` has to search the best and the worst order of each text, which takes many more passes.

# %%
apart = alone["sufficiency"] + alone["comprehensiveness"]
word = "fewer" if both < apart else "not fewer"
print(f"together {both:.1f}, one after the other {apart:.1f}: {word} when shared")

# %% [markdown]
# ## Longer texts, more texts
#
# Equation {eq}`eq-21-forward` has a part that grows with $T$ and one that grows with $T^2$. Here are steps on batches of
# random tokens. **Predict before you run:** by which factor does the cost grow when $T$ doubles?

# %%
grid = []
for length in sorted(int(number) for number in lengths.split(",")):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2000, 20000, (8, min(length, classifier.max_length)), generator=generator)
    mask = torch.ones_like(ids, dtype=torch.bool)
    inputs = [tensor.to(classifier.device) for tensor in (ids, mask, mask, torch.arange(8) % 2)]
    for name in ("vanilla", "regex"):
        objective = RegexObjective(classifier, find_recipe(name)).train()

        def step():
            objective(*inputs, progress=1.0)["loss"].backward()  # noqa: B023
            objective.zero_grad(set_to_none=True)  # noqa: B023

        work = count_operations(step)
        took = statistics.median(timed(step) for _ in range(max(2, rounds // 2)))
        grid.append({"recipe": name, "tokens": ids.shape[1], "operations": work, "ms": 1000 * took})
scaling = pd.DataFrame(grid)
first = scaling.groupby("recipe")[["operations", "ms"]].transform("first")
scaling["operations, ratio"] = scaling["operations"] / first["operations"]
scaling["time, ratio"] = scaling["ms"] / first["ms"]
scaling.drop(columns="operations").set_index(["recipe", "tokens"]).round(2)

# %% mystnb={"image": {"alt": "Two panels with logarithmic axes over the number of tokens: operations and time relative to the shortest texts, for vanilla and regex, with a dotted line for growth in proportion."}, "figure": {"name": "fig-21-length", "caption": "How a step grows with the length of its texts, relative to the shortest. The dotted line is growth in proportion."}}
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(6.5, 3), sharey=True, layout="constrained")
    for axis, column in zip(axes, ("operations, ratio", "time, ratio"), strict=True):
        for (name, part), marker, line in zip(scaling.groupby("recipe"), "so", ("--", "-"), strict=True):
            colour = RECIPE_COLOURS[name]
            axis.plot(part["tokens"], part[column], line, marker=marker, color=colour, label=name)
        ticks = scaling["tokens"].unique()
        axis.plot(ticks, ticks / ticks[0], ":", color="black", label="in proportion")
        axis.set(xlabel="tokens", title=column.split(",")[0], xscale="log")
        axis.set_xticks(ticks, ticks)
        axis.set_yscale("log", base=2)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
    axes[0].set_ylabel("relative to the shortest")
    axes[0].legend()
plt.show()

# %% [markdown]
# And with the number of texts? An epoch sees each text once, so the work is in proportion to their number. To this comes
# a fixed cost at the start: reading, tokenising, the first batch. The more texts there are, the less it matters.

# %%
sizes = []
shuffled = reviews["train"].shuffle(seed=seed)
for count in sorted(int(number) for number in texts.split(",")):
    part = {"train": shuffled.select(range(min(count, len(shuffled))))}
    for name in ("vanilla", "regex_fast"):
        fitted = load_classifier(model, layers=layers, seed=seed)
        took = timed(lambda: train(fitted, part, name, epochs=1, batch_size=batch_size, seed=seed))  # noqa: B023
        sizes.append({"texts": len(part["train"]), "recipe": name, "seconds": took})
grown = pd.DataFrame(sizes).pivot(index="texts", columns="recipe", values="seconds")
grown["ratio"] = grown["regex_fast"] / grown["vanilla"]
grown["vanilla, ms a text"] = 1000 * grown["vanilla"] / grown.index
grown.round(2)

# %% [markdown]
# ## What can go wrong
#
# - **Timing the first step.** The first run of anything is slow. Run it once before you time it.
# - **Timing on a GPU without waiting for it.** The call returns before the work is done. Synchronise.
# - **Comparing seconds from two machines**, or from two hours of one busy machine. Time both recipes in turns.
# - **Taking processor time for waiting time.** With several cores, the processor's time is their sum. It is right for
#   ratios, and says little about how long you wait.
# - **Comparing recipes at the same number of steps only.** Would `vanilla` be as faithful if it trained for the same *time*?
#   Give it as many epochs as the ratio allows, as a control. A gain that disappears then was bought with time.
# - **Memory that runs out.** {py:func}`regex_lib.training.train` halves a batch that does not fit and accumulates its
#   gradients. `checkpoint_activations=True` trades time for memory.
#
# ## Strengths and limitations
#
# - **Counts are exact and portable**, but they count matrix products only.
# - **The fast variant changes the method**, not just its price: another direction, another attribution. Its scores are in
#   {doc}`11_regex`.
# - **The ratios depend on the sizes.** With very short texts or a very small model, fixed costs dominate.
# - **Energy** is not measured here {cite:p}`strubell-etal-2019-energy`. On one and the same machine, time is a rough guide
#   to it.
#
# ## Summary
#
# The unit is a forward pass. A plain step takes three, and each term of REGEX adds the passes in the table, all of them in
# training. The gradient that one term needs anyway can serve two others; that is the fast variant. A prediction costs what
# it cost before. An explanation costs from nothing to hundreds of passes, and a metric as many passes as it has distinct
# masked inputs.
#
# ## Exercises
#
# ```{exercise} Predict a ratio
# :label: ex-21-1
#
# With one power iteration, by which factor should a step of `vat` exceed a step of `vanilla`? Count passes, and set `answer`
# to the factor.
# ```

# %%
answer = ...  # replace the dots
measured = count_operations(step_of(find_recipe("vat"))) / operations["vanilla"]
check_answer(answer, measured, tolerance=0.02)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# The table has the passes. Which of them need the gradients of the weights?
# ```
#
# ````{solution-start} ex-21-1
# :class: dropdown
# ````
#
# A plain step is $3F$. VAT adds $F + F$ to find the direction and $F + 2F$ there.

# %%
answer = (3 + 2 + 3) / 3
check_answer(answer, measured, tolerance=0.02)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} When attention dominates
# :label: ex-21-2
#
# In equation {eq}`eq-21-forward`, from which length $T$ on do the products of attention cost more than those of the linear
# maps? Take $D_{ff} = 4D$, and the model's $D$.
# ```

# %%
answer = ...
linear = 8 * D**2 + 4 * D * (4 * D)
check_answer(answer, linear / (4 * D))

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Set $8D^2 + 4D \cdot 4D$ equal to $4TD$.
# ```
#
# ````{solution-start} ex-21-2
# :class: dropdown
# ````
#
# $24 D^2 = 4TD$, so $T = 6D$.

# %%
answer = 6 * D
print(f"from {answer} tokens on; this model takes {classifier.max_length}")
check_answer(answer, linear / (4 * D))

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} A budget for explanations
# :label: ex-21-3
#
# How many passes, forward and backward together, do Integrated Gradients with 50 steps take for the texts in `few`? Set
# `answer` to the number, then let the hook count.
# ```

# %%
answer = ...
with counting() as passes:
    score_batch(classifier, some, "integrated_gradients", target, n_steps=50)
check_answer(answer, passes["forward"] + passes["backward"])

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Each step needs a gradient, and a gradient needs a forward pass.
# ```
#
# ````{solution-start} ex-21-3
# :class: dropdown
# ````

# %%
answer = 2 * 50 * len(few)
check_answer(answer, passes["forward"] + passes["backward"])

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# The arithmetic of forward and backward passes is in {cite:t}`kaplan-etal-2020-scaling`.
# {cite:t}`strubell-etal-2019-energy` ask what training costs beyond time. {cite:t}`zhu-etal-2020-freelb` use the
# gradient of every step of their search for the weights too, so that no pass is wasted. That still costs several plain
# steps.
