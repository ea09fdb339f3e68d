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
# # Towards text generation
#
# **What you will learn.** How the losses and metrics of this book work on a model that writes text, one token after the
# other: what carries over as it is, what you must decide anew, and what does not carry over at all.
#
# **Time.** Twenty-five minutes to read. The code trains three tiny models, in a few minutes on a GPU, and needs no
# download.
#
# ## The question
#
# A language model continues this sentence:
#
# > The keys near the old cabinet ...
#
# It writes *"are"*. Why not *"is"*? Because *"keys"* is plural. But *"cabinet"* stands closer, and a model that agrees with
# the nearest noun is right often enough to fool you.
#
# The paper leaves text generation open {cite:p}`li-etal-2023-regex`. Nothing in its losses asks for a *class of a text*,
# though. They ask for a differentiable function from embeddings to logits, and the prediction of the next token is one.
#
# So this chapter takes the smallest honest step: a small causal language model, one kind of sentence in which the cause of
# the next token is known by construction, and the functions of `regex_lib` as they are. It demonstrates that the parts fit.
# It is no evidence about large models.
#
# ## Settings

# %% tags=["parameters"]
steps: int = 1500  # of training, for each model
layers: int = 2
width: int = 128
batch_size: int = 64
max_examples: int = 500  # explain so many sentences
causal_model: "Optional[str]" = None  # a hub id such as "distilgpt2" for the last section; None leaves it out
seed: int = 0

# %%
import random
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
import transformers

from regex_lib import attributions, losses, masks, metrics
from regex_lib.attributions import Explanation
from regex_lib.book import check_answer
from regex_lib.plots import ATTRIBUTION_COLOURS, attribution_switcher, figure_style

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
# ## Sentences whose next token has a known cause
#
# Each sentence begins with a subject, singular or plural. Up to two more nouns follow, each singular or plural on its own:
# these *attractors* are there to mislead. The next token is *"is"* or *"are"*, and only the **subject** decides which
# {cite:p}`linzen-etal-2016-assessing`. Some sentences open with an adverb and some nouns have an adjective, so that the
# place of a word does not give the subject away.

# %%
NOUNS = ["key", "cabinet", "dog", "garden", "letter", "teacher", "bridge", "river", "picture", "lamp"]
PREPOSITIONS, ADJECTIVES = ["near", "behind", "above", "with"], ["old", "small", "red", "quiet"]
OPENINGS, VERBS = ["today", "perhaps", "often"], ["is", "are"]
VOCABULARY = ["_", "the", *VERBS, *PREPOSITIONS, *ADJECTIVES, *OPENINGS, *NOUNS, *(f"{noun}s" for noun in NOUNS)]
IDS = {word: number for number, word in enumerate(VOCABULARY)}


def sentence(draw):
    """Words up to the verb, the verb, and the place of the subject."""
    def noun_phrase(plural):
        return ["the", *draw.sample(ADJECTIVES, draw.random() < 0.4), draw.choice(NOUNS) + "s" * plural]

    plural = draw.randint(0, 1)
    words = [*draw.sample(OPENINGS, draw.random() < 0.4), *noun_phrase(plural)]
    subject = len(words) - 1
    for _ in range(draw.randint(0, 2)):
        words += [draw.choice(PREPOSITIONS), *noun_phrase(draw.randint(0, 1))]
    return words, VERBS[plural], subject


draw = random.Random(seed)
for words, verb, subject in (sentence(draw) for _ in range(3)):
    print(" ".join(words), "...", verb, f"  (because of {words[subject]!r})")

# %% [markdown]
# A batch has its padding on the **left**, so that the token that predicts the verb is the last one of every row. Here is the
# first thing to decide anew. A classifier has one {term}`pooling token`, but a language model predicts at every token. You
# choose which prediction to explain. Here it is the verb.

# %%
def make_batch(draw, count):
    """Token ids, attention mask, the verb, and a mask that is true at the subject."""
    rows = [sentence(draw) for _ in range(count)]
    width = max(len(words) for words, _, _ in rows)
    ids = torch.zeros(count, width, dtype=torch.long)
    attention_mask, cause = torch.zeros(2, count, width, dtype=torch.bool)
    for row, (words, _, subject) in enumerate(rows):
        start = width - len(words)
        ids[row, start:] = torch.tensor([IDS[word] for word in words])
        attention_mask[row, start:] = True
        cause[row, start + subject] = True
    verbs = torch.tensor([IDS[verb] for _, verb, _ in rows])
    return tuple(tensor.to(device) for tensor in (ids, attention_mask, verbs, cause))


ids, attention_mask, verbs, cause = make_batch(random.Random(seed), 4)
print([VOCABULARY[token] for token in ids[0]], "next:", VOCABULARY[verbs[0]])

# %% [markdown]
# ## A causal language model, as a function of its embeddings
#
# The model is a GPT-2 {cite:p}`radford-etal-2019-gpt2` of a few layers, with random weights. What every loss and metric
# of `regex_lib` wants from a model is one function: embeddings $e$ and attention mask in, logits out. For a language
# model, take the logits of the token $x_{t+1}$ that follows the last token $x_t$:
#
# $$
# f(e) = W\, h_t(e), \qquad p(x_{t+1} = v \mid x_{\le t}) = \operatorname{softmax}(f(e))_v ,
# $$ (eq-20-next)
#
# with $h_t$ the last token's state and $W$ the matrix that turns it into one logit per word of the vocabulary. The
# vocabulary takes the place of the classes. That is the whole reduction.

# %%
def new_model():
    """A small GPT-2 with random weights, the same ones each time."""
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=len(VOCABULARY), n_positions=32, n_embd=width, n_layer=layers, n_head=4,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager",  # the fused kernels have no double backward
    )
    return transformers.GPT2LMHeadModel(config).to(device)


def run(model, embeddings, attention_mask, **options):
    """The model from its embeddings, with positions counted from the first real token."""
    positions = (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)
    return model(inputs_embeds=embeddings, attention_mask=attention_mask.long(), position_ids=positions, **options)


def next_token(model, embeddings, attention_mask):
    """Logits of the next token after the last one: what the losses and metrics call `forward`."""
    return run(model, embeddings, attention_mask).logits[:, -1]


def attention_row(output):
    """Attention of the last token in the last layer, mean over heads, as for any decoder."""
    return output.attentions[-1][:, :, -1].mean(dim=1)


# %%
model = new_model()
embeddings = model.get_input_embeddings()(ids)
print("logits of the next token:", tuple(next_token(model, embeddings, attention_mask).shape))

# %% [markdown]
# ## REGEX for the next token
#
# The loss of a language model is the {term}`cross-entropy` of every next token; here the verb's counts as much as that
# of all other tokens together. To it you add the terms of {doc}`11_regex`, for one position of each sentence.
#
# The robustness terms take `next_token` as it is: {py:func}`regex_lib.losses.input_gradient_penalty` and
# {py:func}`regex_lib.losses.virtual_adversarial_loss`. The guidance,
# {py:func}`regex_lib.losses.attention_attribution_divergence`, wants two rows of scores: the attention, on the sentence and
# on its masked copy, and the attribution. There is no [MASK] token, so the masked copy gets the blank token `_`.
#
# A {term}`control` comes along: with `guide="shuffled"` attention is pulled towards the same scores in random order. The
# weights are ours, and nothing was tuned.

# %%
WEIGHTS = {"igr": 0.01, "vat": 0.1, "kl": 0.02, "kl_masked": 0.02}
MASK_RATIO = 0.3


def shuffled(scores, attention_mask):
    """The scores of each sentence in random order; the padding stays where it is, at the left."""
    noise = torch.rand(scores.shape, device=scores.device).masked_fill(~attention_mask, -1)
    return scores.gather(1, noise.argsort(dim=1))


def language_loss(output, ids, attention_mask, verbs):
    """Cross-entropy of every next token, the verb last; and that of the verb alone, per sentence."""
    verb_loss = F.cross_entropy(output.logits[:, -1], verbs, reduction="none")
    real = attention_mask[:, :-1]
    return F.cross_entropy(output.logits[:, :-1][real], ids[:, 1:][real]) + verb_loss.mean(), verb_loss


# %%
def terms(model, ids, attention_mask, verbs, guide):
    """The terms of REGEX for the verb, by name; `guide` is None, "attribution" or "shuffled"."""
    embed, forward = model.get_input_embeddings(), partial(next_token, model)
    embeddings = embed(ids)
    output = run(model, embeddings, attention_mask, output_attentions=True)
    loss, verb_loss = language_loss(output, ids, attention_mask, verbs)
    found = {"language": loss}
    found["igr"] = losses.input_gradient_penalty(verb_loss, embeddings, attention_mask)
    found["vat"] = losses.virtual_adversarial_loss(forward, embeddings, attention_mask, output.logits[:, -1])
    if guide:
        blank, predicted = embed(torch.zeros_like(ids)).detach(), output.logits[:, -1].argmax(dim=-1)
        scores = attributions.integrated_gradients(
            forward, embeddings.detach(), blank, attention_mask, predicted, n_steps=4)
        k = masks.token_budget(attention_mask, MASK_RATIO, rounding="down")
        copy = masks.replace(ids, masks.bottom_k_mask(scores.abs(), attention_mask, k), 0)
        masked = run(model, embed(copy), attention_mask, output_attentions=True)
        target = shuffled(scores, attention_mask) if guide == "shuffled" else scores
        for name, each in (("kl", output), ("kl_masked", masked)):
            found[name] = losses.attention_attribution_divergence(attention_row(each), target, attention_mask)
    return found

# %% [markdown]
# ### From scratch
#
# Are these the numbers that the formulas ask for? Compute the first two by hand: the squared norm of the gradient of the
# verb's loss, and the divergence between the predictions before and after the step that
# {py:func}`regex_lib.losses.virtual_adversarial_perturbation` finds.

# %%
found = terms(model, ids, attention_mask, verbs, guide="attribution")
leaf = model.get_input_embeddings()(ids).detach().requires_grad_()
own = F.cross_entropy(next_token(model, leaf, attention_mask), verbs, reduction="sum")
(gradient,) = torch.autograd.grad(own, leaf)
by_hand = (gradient * attention_mask[..., None]).square().sum(dim=(1, 2)).mean()
torch.testing.assert_close(found["igr"].detach(), by_hand)

forward = partial(next_token, model)
with torch.no_grad():
    before = next_token(model, leaf, attention_mask)
step = losses.virtual_adversarial_perturbation(
    forward, leaf.detach(), attention_mask, before, generator=torch.Generator(device).manual_seed(0))
after = next_token(model, leaf.detach() + step, attention_mask)
divergence = (before.softmax(-1) * (before.log_softmax(-1) - after.log_softmax(-1))).sum(-1).mean()
theirs = losses.virtual_adversarial_loss(
    forward, leaf.detach(), attention_mask, before, generator=torch.Generator(device).manual_seed(0))
torch.testing.assert_close(theirs, divergence)
print({name: round(value.item(), 4) for name, value in found.items()})

# %% [markdown]
# ### Train
#
# Train three models on the same sentences in the same order: with the language loss alone, with REGEX, and with the
# control. They differ in the terms alone. As in {doc}`11_regex`, the guidance starts half-way.

# %%
def train(guide=None):
    """A trained model: plain without `guide`, otherwise with the terms of REGEX."""
    model, draw = new_model(), random.Random(seed + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for number in range(steps):
        ids, attention_mask, verbs, _ = make_batch(draw, batch_size)
        if guide:
            found = terms(model, ids, attention_mask, verbs, guide if 2 * number >= steps else None)
            loss = found["language"] + sum(WEIGHTS[name] * found[name] for name in found if name in WEIGHTS)
        else:
            output = run(model, model.get_input_embeddings()(ids), attention_mask)
            loss, _ = language_loss(output, ids, attention_mask, verbs)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval().requires_grad_(False)


models = {"untrained": new_model().eval().requires_grad_(False), "plain": train()}
models |= {"regex": train("attribution"), "shuffled target": train("shuffled")}
test = make_batch(random.Random(seed + 2), max_examples)

# %% [markdown]
# Before any explanation, look at what the models can do. `nearest noun` is the share of sentences in which the verb agrees
# with the noun that stands closest. A model that falls for attractors would get these right.

# %%
def predict(model, ids, attention_mask):
    """Probabilities of the next token."""
    with torch.no_grad():
        return next_token(model, model.get_input_embeddings()(ids), attention_mask).softmax(dim=-1)


ids, attention_mask, verbs, cause = test
accuracy = {name: (predict(model, ids, attention_mask).argmax(-1) == verbs).float().mean().item()
            for name, model in models.items()}
plural = torch.tensor([word.removesuffix("s") in NOUNS and word not in NOUNS for word in VOCABULARY], device=device)
nouns = plural | torch.tensor([word in NOUNS for word in VOCABULARY], device=device)
last_noun = torch.where(nouns[ids], torch.arange(ids.shape[1], device=device), -1).argmax(dim=1)
nearest = plural[ids.gather(1, last_noun[:, None])[:, 0]] == (verbs == IDS["are"])
print({name: round(value, 3) for name, value in accuracy.items()})
print(f"nearest noun: {nearest.float().mean():.3f}")

# %% [markdown]
# ## Is the explanation of a next token faithful?
#
# Three attributions and a {term}`control` explain the token that the model predicts. You know all of them from
# {doc}`04_attributions`; none had to be changed. The {term}`baseline` is a sentence of blank tokens.

# %%
def explain(model, ids, attention_mask):
    """Scores by the attribution's name, for the predicted next token."""
    forward, embed = partial(next_token, model), model.get_input_embeddings()
    embeddings, blank = embed(ids), embed(torch.zeros_like(ids))
    target = predict(model, ids, attention_mask).argmax(dim=-1)
    with torch.no_grad():
        row = attention_row(run(model, embeddings, attention_mask, output_attentions=True))
    noise = torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed)).to(device)
    return {
        "random": noise * attention_mask,
        "attention": row,
        "input_x_gradient": attributions.input_x_gradient(forward, embeddings, attention_mask, target),
        "integrated_gradients": attributions.integrated_gradients(
            forward, embeddings, blank, attention_mask, target, n_steps=16),
    }


explained = {name: explain(model, ids, attention_mask) for name, model in models.items()}

# %% [markdown]
# Erasure works as before: replace the strongest tokens by the blank, or all but the strongest, and look at the
# probability of the predicted token. The scores are {py:func}`regex_lib.metrics.normalised_comprehensiveness` and
# {py:func}`regex_lib.metrics.normalised_sufficiency` of {doc}`05_measuring_faithfulness`.
#
# And you have something better here: you **know** the cause. How often is the strongest token the subject? That is
# {py:func}`regex_lib.metrics.planted_precision`, as in {doc}`16_planted_shortcuts`. It holds for a model that is right
# even where the nearest noun misleads; of `untrained` it says nothing.

# %%
def faithfulness(model, scores, ids, attention_mask, cause):
    """Mean scores of one attribution."""
    target = (before := predict(model, ids, attention_mask)).argmax(dim=-1, keepdim=True)

    def probability_without(removed):
        return predict(model, masks.replace(ids, removed, 0), attention_mask).gather(1, target)[:, 0]

    full, empty = before.gather(1, target)[:, 0], probability_without(attention_mask)
    budgets = [masks.token_budget(attention_mask, ratio) for ratio in metrics.RATIOS]
    tops = [masks.top_k_mask(scores, attention_mask, k) for k in budgets]
    without = [metrics.normalised_comprehensiveness(full, probability_without(top), empty) for top in tops]
    alone = [metrics.normalised_sufficiency(full, probability_without(attention_mask & ~top), empty) for top in tops]
    return {
        "sufficiency": torch.stack(alone).mean().item(),
        "comprehensiveness": torch.stack(without).mean().item(),
        "subject is strongest": metrics.planted_precision(scores, cause, attention_mask).mean().item(),
        "degenerate": metrics.is_degenerate(full, empty).float().mean().item(),
    }

# %%
rows = [{"model": name, "attribution": method, "accuracy": accuracy[name]}
        | faithfulness(models[name], scores, ids, attention_mask, cause)
        for name, by_method in explained.items() for method, scores in by_method.items()]
table = pd.DataFrame(rows).set_index(["model", "attribution"])
print(f"degenerate sentences: at most {table['degenerate'].max():.0%}")
table.drop(columns="degenerate").style.format("{:.3f}")

# %% mystnb={"image": {"alt": "Bars: for each model and attribution, the share of sentences in which the subject gets the highest score, with a dashed line where a random choice would be and a dotted line where the last token would be."}, "figure": {"name": "fig-20-subject", "caption": "How often the strongest token is the true cause of the verb. The dashed line is a random choice, the dotted one is always the last token."}}
shares = table["subject is strongest"].unstack("attribution").loc[list(models), list(explained["plain"])]
chance = (1 / attention_mask.sum(dim=1)).mean().item()
last = cause[:, -1].float().mean().item()  # padding is on the left
hatches = ("", "//", "..", "xx")
with figure_style():
    figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for place, (method, hatch) in enumerate(zip(shares.columns, hatches, strict=True)):
        where = [number + 0.2 * (place - 1.5) for number in range(len(shares))]
        axis.bar(where, shares[method], width=0.18, color=ATTRIBUTION_COLOURS[method], hatch=hatch,
                 edgecolor="white", label=method.replace("_", " "))
    axis.axhline(chance, color="black", linestyle="--", linewidth=1)
    axis.axhline(last, color="black", linestyle=":", linewidth=1.5)
    axis.set_xticks(range(len(shares)), shares.index)
    axis.set(ylabel="share of sentences", ylim=(0, 1.05))
    figure.legend(loc="outside lower center", fontsize="small", ncols=4)
plt.show()

# %% [markdown]
# There are three controls: `random` for the attributions, and `untrained` and `shuffled target` for the models.
# First, what do the scores say of a model that knows nothing?

# %%
best = table.loc["untrained", "comprehensiveness"].idxmax()
score, share = (table.loc[("untrained", best), name] for name in ("comprehensiveness", "subject is strongest"))
print(f"untrained: accuracy {accuracy['untrained']:.3f}; {best}: comprehensiveness {score:.3f},"
      f" subject is strongest {share:.3f} (by chance {chance:.3f})")
print(f"always the last token: {last:.3f}")
for (name, method), value in table["subject is strongest"].items():
    if abs(value - last) < 0.001:
        print(f"  so does {method} of {name}")

# %% [markdown]
# A high comprehensiveness beside an accuracy near 0 is no contradiction. The attribution tells what moves the prediction of
# this model, and the prediction is worthless. That is why accuracy stands beside every score in this book.
#
# And mind the second floor. The model reads its answer off the last token. In a short sentence the last token *is* the
# subject. So an attribution that always points there, and knows nothing else, is right as often as the dotted line says. A
# bar at that line is no success, however far above chance it is.
#
# Now the comparison: `regex` minus `plain`, and `regex` minus its control.

# %%
columns = ["accuracy", "sufficiency", "comprehensiveness", "subject is strongest"]
minus = {name: table.loc["regex", columns] - table.loc[name, columns] for name in ("plain", "shuffled target")}
gains = pd.concat(minus, names=["regex minus"])
for name in minus:
    for column in columns[1:]:
        higher = [method for method in explained["regex"] if gains.loc[(name, method), column] > 0.01]
        print(f"{column}, higher than that of {name}: {', '.join(higher) or 'none'}")
gains.round(3)

# %% [markdown]
# Do erasure and the known cause agree? They need not. If they move in opposite directions, believe the cause, because
# you made it. Hold the lines against the list of those that always point at the last token: a method in both has gained
# a habit, not the cause. And look at the negative numbers of the table, which the lines leave out: where
# `integrated_gradients` falls, the guide itself names the cause less often, whatever its comprehensiveness says.
# `comprehensiveness` can rise because the model has become more sensitive to any erased token, and fall because it has
# become less so. And does `regex` beat its control, or only the plain model?
#
# This is one seed of one small model. Take it as an example of how to compare, not as a result: what a result takes is in
# {doc}`12_in_domain`.
#
# ## Look at it
#
# Here is a sentence whose nearest noun misleads. Switch between the attributions of the model that was trained with REGEX:
# which of them point at the subject?

# %%
example = next(number for number in range(len(ids)) if not nearest[number])
words = [VOCABULARY[token] for token in ids[example][attention_mask[example]]]
ends = torch.tensor([len(word) + 1 for word in words]).cumsum(dim=0).tolist()
offsets = [(end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True)]
predicted = predict(models["regex"], ids, attention_mask)[example]
shown = [
    Explanation(" ".join(words), method, offsets, scores[example][attention_mask[example]].tolist(),
                int(predicted.argmax()), int(predicted.argmax()), float(predicted.max()), truncated=False)
    for method, scores in explained["regex"].items()
]
attribution_switcher(shown, VOCABULARY)

# %% [markdown]
# ## A real language model
#
# With a hub id in `causal_model`, the same functions explain what a model from the hub writes next. Nothing but the
# function `forward` changes.

# %%
if causal_model is None:
    print("no model from the hub was asked for: set causal_model, for example to 'distilgpt2'")
else:
    tokenizer = transformers.AutoTokenizer.from_pretrained(causal_model)
    writer = transformers.AutoModelForCausalLM.from_pretrained(causal_model, attn_implementation="eager").to(device)
    encoded = tokenizer("The keys near the old cabinet", return_tensors="pt", return_offsets_mapping=True)
    tokens, real = encoded["input_ids"].to(device), encoded["attention_mask"].bool().to(device)
    states = writer.get_input_embeddings()(tokens).detach()
    target = torch.tensor([tokenizer.convert_tokens_to_ids("Ġare")], device=device)
    scores = attributions.integrated_gradients(
        partial(next_token, writer), states, torch.zeros_like(states), real, target)
    print({tokenizer.decode(token): round(score, 3)
           for token, score in zip(tokens[0].tolist(), scores[0].tolist(), strict=True)})

# %% [markdown]
# ## What can go wrong
#
# - **One explanation per token.** A classifier makes one prediction per text. A language model makes one per token, and each
#   has its own explanation and its own gradient. IGR for every token of a sentence costs as many backward passes.
# - **A vocabulary is not a set of classes.** Many words can be right. The probability of *one* of them can fall because
#   another word, just as good, took its place. Comparing two words, *"are"* against *"is"*, is often the better question
#   {cite:p}`yin-neubig-2022-interpreting`.
# - **Part of the text may be the model's own.** An explanation of the fifth token takes the first four as given, even if the
#   model wrote them. Where they came from is another question.
# - **Erased text is strange to a language model too.** Most have no mask token, and the plain model here has never seen the
#   blank inside a sentence. `regex` has seen its embedding in the masked copies: mind that when you compare the two.
# - **Attention of the last layer** looks back over states that have mixed everything before. In a deep model the state at
#   *"cabinet"* can carry the number of *"keys"*.
#
# ## Strengths and limitations
#
# - **The functions fit without a change**, because they ask for tensors and a callable.
# - **The true cause is known**, so that an explanation can be right or wrong, and not only convincing.
# - **The grammar is a toy, and the model is tiny.** Only one token of each sentence was guided and explained.
# - **The paper's open question stays open.** To answer it takes pre-trained models, texts whose causes are known or planted,
#   several seeds, and the controls.
#
# ## Summary
#
# A next-token prediction is a classification over the vocabulary, at one position. Robustness terms, guidance,
# attributions and erasure carry over to that position. Two choices are new, and they are yours: which position to explain,
# and what to compare its prediction with.
#
# ## Exercises
#
# ```{exercise} Are against is
# :label: ex-20-1
#
# Explain the *difference* of two logits: that of *"are"* minus that of *"is"*. Set `answer` to InputXGradient of this
# difference for the plain model and the first eight sentences. InputXGradient is linear in what it explains.
# ```

# %%
answer = ...  # replace the dots
forward, embed = partial(next_token, models["plain"]), models["plain"].get_input_embeddings()
few, real = ids[:8], attention_mask[:8]
are, is_ = (attributions.input_x_gradient(forward, embed(few), real, torch.full((8,), IDS[verb], device=device))
            for verb in ("are", "is"))
check_answer(answer, are - is_, tolerance=1e-4)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Take the gradient of the sum over the sentences of `logits[:, IDS["are"]] - logits[:, IDS["is"]]` with respect to the
# embeddings, multiply by the embeddings, and sum over the last dimension. Padding gets 0.
# ```
#
# ````{solution-start} ex-20-1
# :class: dropdown
# ````

# %%
states = embed(few).detach().requires_grad_()
logits = forward(states, real)
(gradient,) = torch.autograd.grad((logits[:, IDS["are"]] - logits[:, IDS["is"]]).sum(), states)
answer = (states * gradient).sum(dim=-1).detach() * real
check_answer(answer, are - is_, tolerance=1e-4)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Completeness
# :label: ex-20-2
#
# The scores of Integrated Gradients sum to the change of the explained logit from the blank sentence to the real one.
# Set `answer` to that change, for the token *"are"*, the plain model and the first eight sentences.
# ```

# %%
answer = ...  # replace the dots
scores = attributions.integrated_gradients(
    forward, embed(few), embed(torch.zeros_like(few)), real, torch.full((8,), IDS["are"], device=device), n_steps=100)
check_answer(answer, scores.sum(dim=1), tolerance=0.05)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Two calls of `forward`, with the same attention mask: once with the embeddings of `few`, once with those of zeros.
# ```
#
# ````{solution-start} ex-20-2
# :class: dropdown
# ````

# %%
with torch.no_grad():
    change = forward(embed(few), real) - forward(embed(torch.zeros_like(few)), real)
answer = change[:, IDS["are"]]
check_answer(answer, scores.sum(dim=1), tolerance=0.05)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} How often by luck?
# :label: ex-20-3
#
# The dashed line of {numref}`fig-20-subject` is the share of sentences in which a random choice hits the subject. Set
# `answer` to it.
# ```

# %%
answer = ...  # replace the dots
check_answer(answer, chance, tolerance=1e-4)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# A sentence of $n$ tokens has one subject. The sentences have different lengths.
# ```
#
# ````{solution-start} ex-20-3
# :class: dropdown
# ````

# %%
lengths = attention_mask.sum(dim=1).float()
answer = (1 / lengths).mean().item()
check_answer(answer, chance, tolerance=1e-4)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`linzen-etal-2016-assessing` made agreement a test of language models. {cite:t}`yin-neubig-2022-interpreting`
# explain language models by contrast. The parts of the method are from {cite:t}`li-etal-2023-regex`.
