"""The objective against each of its terms computed directly, with plain models whose attention is written out."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from regex_lib.losses import freelb_loss, smart_loss, text_rank
from regex_lib.training import RECIPES, Recipe, RegexObjective, passes

TEXTS = ["a fine film", "dull and very bad acting but a great plot", "never", "not great not bad and dull"]
LABELS = torch.tensor([1, 0, 0, 1])
EVERYTHING = Recipe(igr_weight=0.3, vat_weight=0.5, kl_weight=0.2, guidance_from=0.0)


def without_dropout(classifier):
    for part in classifier.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return classifier


def run(objective, texts=TEXTS, labels=LABELS, progress=1.0, seed=5):
    batch = objective.classifier.tokenize(texts)
    torch.manual_seed(seed)
    return objective(batch.input_ids, batch.attention_mask, batch.content_mask, labels, progress)


def passes_of(classifier, recipe, seed=5):
    """The passes of one step in training mode."""
    classifier.train()
    torch.manual_seed(seed)
    return passes.Passes(classifier, recipe, classifier.tokenize(TEXTS), LABELS, recipe.weights_at(1.0))


@pytest.fixture
def exact(tiny):
    """Double precision, no dropout."""
    return without_dropout(tiny.double())


@pytest.fixture
def plain(exact, eager_copy):
    return without_dropout(eager_copy(exact))


class Direct:
    """Each term from its formula, from the ids of a batch and a plain model."""

    def __init__(self, classifier, plain):
        self.classifier, self.plain, self.batch = classifier, plain, classifier.tokenize(TEXTS)
        self.embeddings = plain.get_input_embeddings()(self.batch.input_ids)

    def logits(self, embeddings):
        return self.plain(inputs_embeds=embeddings, attention_mask=self.batch.attention_mask.long()).logits

    def attention(self, ids):
        embeddings = self.plain.get_input_embeddings()(ids)
        output = self.plain(
            inputs_embeds=embeddings, attention_mask=self.batch.attention_mask.long(), output_attentions=True
        )
        return output.attentions[-1][:, :, 0].mean(dim=1)

    def cross_entropy(self):
        return -self.logits(self.embeddings).log_softmax(-1)[range(4), LABELS].mean()

    def igr(self):
        sizes = []
        for row in range(4):
            embeddings = self.embeddings[row : row + 1, : int(self.batch.attention_mask[row].sum())]
            loss = F.cross_entropy(self.plain(inputs_embeds=embeddings).logits, LABELS[row : row + 1])
            (gradient,) = torch.autograd.grad(loss, embeddings, create_graph=True)
            sizes.append((gradient**2).sum())
        return sum(sizes) / 4

    def divergence(self, change):
        p = self.logits(self.embeddings).detach().softmax(-1)
        q = self.logits(self.embeddings + change).softmax(-1)
        return (p * (p / q).log()).sum(-1)

    def vat(self, seed, epsilon=0.1, xi=0.1):
        torch.manual_seed(seed)
        attended = self.batch.attention_mask[..., None]
        noise = torch.randn(self.embeddings.shape, dtype=torch.float64) * attended
        length = (self.embeddings * attended).flatten(1).norm(dim=1)[:, None, None].detach()
        probe = xi * length * noise / noise.flatten(1).norm(dim=1)[:, None, None]
        probe.requires_grad_()
        (gradient,) = torch.autograd.grad(self.divergence(probe).sum(), probe)
        worst = gradient * attended / (gradient * attended).flatten(1).norm(dim=1)[:, None, None]
        return self.divergence(epsilon * length * worst).mean()

    def attributions(self, steps=3):
        content, target = self.batch.content_mask, self.logits(self.embeddings).argmax(-1)
        end = self.embeddings.detach()
        with torch.no_grad():
            ids = self.batch.input_ids.masked_fill(content, self.classifier.tokenizer.pad_token_id)
            start = self.plain.get_input_embeddings()(ids)
        points = (torch.tensor([-((3 / 5) ** 0.5), 0.0, (3 / 5) ** 0.5], dtype=torch.float64) + 1) / 2
        total = torch.zeros_like(end)
        for point, weight in zip(points, (5 / 18, 8 / 18, 5 / 18), strict=True):
            here = (start + point * (end - start)).requires_grad_()
            explained = self.logits(here)[range(4), target].sum()
            total += weight * torch.autograd.grad(explained, here)[0]
        return ((end - start) * total).sum(-1) * content

    def masked_ids(self, scores, ratio=0.3):
        ids = self.batch.input_ids.clone()
        for row in range(4):
            content = self.batch.content_mask[row].nonzero().flatten().tolist()
            by_size = sorted(content, key=lambda i: scores[row, i].abs().item())
            for i in by_size[: int(ratio * len(content) + 1e-9)]:
                ids[row, i] = self.classifier.tokenizer.mask_token_id
        return ids

    def kl(self, ids, scores, smoothing=0.1):
        attention, divergences = self.attention(ids), []
        for row in range(4):
            content = self.batch.content_mask[row]
            p, q = attention[row, content], scores[row, content].abs()
            p, q = ((1 - smoothing) * x / x.sum() + smoothing / len(x) for x in (p, q))
            divergences.append((p * (p / q).log()).sum())
        return sum(divergences) / 4


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_frozen_embeddings_change_no_other_gradient(make_tiny, recipe):
    trained = []
    for frozen in (False, True):
        objective = RegexObjective(make_tiny(), RECIPES[recipe]).train()
        embedding = objective.classifier.model.get_input_embeddings().requires_grad_(not frozen)
        run(objective)["loss"].backward()
        assert (embedding.weight.grad is None) == frozen
        named = objective.named_parameters()
        trained.append({name: p.grad for name, p in named if p is not embedding.weight and p.grad is not None})
    assert trained[0].keys() == trained[1].keys()
    for name, gradient in trained[1].items():
        assert_close(gradient, trained[0][name], rtol=0, atol=0, msg=name)


def test_every_term_is_what_its_formula_says(exact, plain):
    direct = Direct(exact, plain)
    terms = run(RegexObjective(exact, EVERYTHING).train(), seed=5)
    scores = direct.attributions()
    expected = {
        "cross_entropy": direct.cross_entropy(),
        "igr": direct.igr(),
        "vat": direct.vat(seed=5),
        "kl": direct.kl(direct.batch.input_ids, scores),
        "kl_masked": direct.kl(direct.masked_ids(scores), scores),
    }
    assert terms.keys() == {"loss", "logits", *expected}
    for name, value in expected.items():
        assert value > 1e-4, name
        assert_close(terms[name], value, rtol=1e-6, atol=1e-9, msg=name)
    assert_close(terms["logits"], direct.logits(direct.embeddings))


def term_of(exact, name, **options):
    """One term of a recipe that has it alone beside the cross-entropy."""
    recipe = Recipe(guidance_from=0.0, **{"kl_weight" if name.startswith("kl") else f"{name}_weight": 1.0}, **options)
    return run(RegexObjective(exact, recipe).train(), seed=5)[name]


@pytest.mark.parametrize("norm", ["squared_l2", "l21"])
def test_a_finite_difference_is_close_to_the_double_backward(exact, norm):
    expected = term_of(exact, "igr", igr_norm=norm)
    found = term_of(exact, "igr", igr_norm=norm, igr_estimator="finite_difference", igr_step=1e-6)
    assert_close(found, expected, rtol=1e-4, atol=0)


def test_a_finite_difference_trains_as_the_double_backward_does(exact):
    found, expected = (
        gradients(term_of(exact, "igr", igr_estimator=estimator, igr_step=1e-6), exact.model)
        for estimator in ("finite_difference", "exact")
    )
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        assert_close(found[name], gradient, rtol=0, atol=1e-3 * largest.item(), msg=name)


@pytest.mark.parametrize("estimator", ["exact", "finite_difference"])
def test_a_label_free_gradient_does_not_depend_on_the_labels(exact, estimator):
    recipe = Recipe(igr_weight=1.0, igr_loss="uniform", igr_estimator=estimator)
    objective = RegexObjective(exact, recipe).train()
    first, second = (run(objective, labels=labels)["igr"] for labels in (LABELS, 1 - LABELS))
    assert torch.equal(first, second)
    assert not torch.isclose(first, term_of(exact, "igr"))


def test_the_label_free_penalty_is_that_of_the_uniform_cross_entropy(exact, plain):
    direct = Direct(exact, plain)
    loss = -direct.logits(direct.embeddings).log_softmax(-1).mean(-1).sum()
    (gradient,) = torch.autograd.grad(loss, direct.embeddings)
    expected = (gradient * direct.batch.attention_mask[..., None]).square().sum((1, 2)).mean()
    assert_close(term_of(exact, "igr", igr_loss="uniform"), expected)


def test_a_direction_from_the_input_gradient_needs_no_probe(exact, plain):
    direct = Direct(exact, plain)
    losses = F.cross_entropy(direct.logits(direct.embeddings), LABELS, reduction="sum")
    attended = direct.batch.attention_mask[..., None]
    worst = torch.autograd.grad(losses, direct.embeddings, retain_graph=True)[0] * attended
    length = (direct.embeddings * attended).flatten(1).norm(dim=1)[:, None, None].detach()
    change = 0.1 * length * worst / worst.flatten(1).norm(dim=1)[:, None, None]
    either_way = torch.stack([direct.divergence(sign * change) for sign in (1, -1)])
    found = term_of(exact, "vat", vat_direction="input_gradient") * len(TEXTS)
    sums = [
        sum(row[i] for i, row in zip(signs, either_way.T, strict=True)) for signs in itertools.product((0, 1), repeat=4)
    ]
    assert min(abs(found - total) / total for total in sums) < 1e-9


def test_smart_and_freelb_are_asked_at_the_clean_input(exact, plain):
    direct = Direct(exact, plain)
    attended = direct.batch.attention_mask
    torch.manual_seed(5)
    expected = smart_loss(
        lambda embeddings, _: direct.logits(embeddings), direct.embeddings, attended, direct.logits(direct.embeddings),
        step_size=0.02,
    )  # fmt: skip
    assert_close(term_of(exact, "smart", smart_step=0.02), expected, rtol=1e-6, atol=0)
    torch.manual_seed(5)
    expected = freelb_loss(
        lambda embeddings: F.cross_entropy(direct.logits(embeddings), LABELS, reduction="none"),
        direct.embeddings, attended, steps=2,
    )  # fmt: skip
    assert_close(term_of(exact, "freelb", freelb_steps=2, freelb_epsilon=0.1), expected)


def test_saliency_guided_training_masks_the_tokens_of_the_smallest_gradient(exact, plain):
    direct = Direct(exact, plain)
    losses = F.cross_entropy(direct.logits(direct.embeddings), LABELS, reduction="sum")
    (gradient,) = torch.autograd.grad(losses, direct.embeddings, retain_graph=True)
    ids = direct.masked_ids(gradient.norm(dim=-1))
    p = direct.logits(direct.embeddings).softmax(-1)
    q = direct.logits(plain.get_input_embeddings()(ids)).softmax(-1)
    expected = (p * (p / q).log()).sum(-1).mean()
    assert_close(term_of(exact, "saliency_guided", attribution="gradient_norm"), expected)


def test_a_masked_text_is_classified_too(exact, plain):
    direct = Direct(exact, plain)
    ids = direct.masked_ids(direct.attributions())
    expected = F.cross_entropy(direct.logits(plain.get_input_embeddings()(ids)), LABELS)
    assert_close(term_of(exact, "masked_cross_entropy"), expected)


def test_attention_goes_towards_text_rank_without_a_gradient(exact, plain):
    direct = Direct(exact, plain)
    scores = text_rank(direct.batch.input_ids, direct.batch.content_mask).double()
    found = term_of(exact, "kl", attribution="text_rank", kl_inputs="clean")
    assert_close(found, direct.kl(direct.batch.input_ids, scores), rtol=1e-5, atol=0)


def test_the_input_gradient_as_the_attribution_is_one_step_at_the_input(exact, plain):
    direct = Direct(exact, plain)
    losses = F.cross_entropy(direct.logits(direct.embeddings), LABELS, reduction="sum")
    (gradient,) = torch.autograd.grad(losses, direct.embeddings, retain_graph=True)
    ids = direct.batch.input_ids.masked_fill(direct.batch.content_mask, exact.pad_id)
    scores = ((direct.embeddings - plain.get_input_embeddings()(ids)) * gradient).sum(-1).detach()
    found = term_of(exact, "kl", attribution="input_gradient")
    assert_close(found, direct.kl(direct.batch.input_ids, scores))


# How tokens are masked


@pytest.mark.parametrize("masking", ["pad", "delete"])
def test_masked_tokens_can_be_padding_or_gone(exact, plain, masking):
    direct = Direct(exact, plain)
    scores = direct.attributions()
    chosen = direct.masked_ids(scores) == exact.mask_id
    expected = []
    for row in range(4):  # one text at a time, without padding
        attended, content = direct.batch.attention_mask[row], direct.batch.content_mask[row]
        ids = direct.batch.input_ids[row]
        if masking == "pad":
            ids, keep = ids.masked_fill(chosen[row], exact.pad_id), attended
        else:
            keep = attended & ~chosen[row]
        output = plain(inputs_embeds=plain.get_input_embeddings()(ids[keep][None]), output_attentions=True)
        attention = output.attentions[-1][0, :, 0].mean(dim=0)[content[keep]]
        p, q = attention, scores[row, keep & content].abs()
        p, q = ((1 - 0.1) * x / x.sum() + 0.1 / len(x) for x in (p, q))
        expected.append((p * (p / q).log()).sum())
    assert_close(term_of(exact, "kl_masked", masking=masking), sum(expected) / 4)


@pytest.mark.parametrize("selector", ["lowest", "random"])
def test_of_a_text_without_special_tokens_the_strongest_is_not_deleted(make_tiny, selector):
    recipe = EVERYTHING.changed(
        mask_ratio=1.0, masking="delete", selector=selector, masked_cross_entropy_weight=0.1, saliency_guided_weight=0.1
    )
    found = passes_of(make_tiny("gpt2"), recipe)
    assert found.masked.content_mask.sum(dim=1).tolist() == [1] * 4
    if selector == "lowest":
        strongest = found.attribution.abs().argmax(dim=1, keepdim=True)
        assert torch.equal(found.masked.input_ids, found.batch.input_ids.gather(1, strongest))
    output = run(RegexObjective(make_tiny("gpt2"), recipe).train())
    assert all(output[name].isfinite() for name in recipe.weights_at(1.0))
    assert all(
        term.isfinite()
        for term in run(RegexObjective(make_tiny("gpt2"), recipe).train(), [""] * 4).values()
        if not term.ndim
    )


def test_where_there_are_special_tokens_all_content_can_be_deleted(make_tiny):
    classifier = make_tiny()
    masked = passes_of(classifier, EVERYTHING.changed(mask_ratio=1.0, masking="delete")).masked
    assert masked.input_ids.tolist() == [[classifier.tokenizer.cls_token_id, classifier.tokenizer.sep_token_id]] * 4
    assert not masked.content_mask.any()


def test_the_loss_is_the_weighted_sum(exact):
    terms = run(RegexObjective(exact, EVERYTHING).train())
    expected = terms["cross_entropy"] + 0.3 * terms["igr"] + 0.5 * terms["vat"]
    assert_close(terms["loss"], expected + 0.2 * (terms["kl"] + terms["kl_masked"]))


def gradients(loss, model):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_the_whole_gradient_is_that_of_the_formulas(exact, plain):
    found = gradients(run(RegexObjective(exact, EVERYTHING).train(), seed=5)["loss"], exact.model)
    direct = Direct(exact, plain)
    scores = direct.attributions().detach()
    divergences = direct.kl(direct.batch.input_ids, scores) + direct.kl(direct.masked_ids(scores), scores)
    loss = direct.cross_entropy() + 0.3 * direct.igr() + 0.5 * direct.vat(seed=5) + 0.2 * divergences
    expected = gradients(loss, plain)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert_close(gradient, expected[name], rtol=1e-5, atol=1e-8, msg=name)


@pytest.mark.parametrize("name", ["kl", "kl_masked"])
def test_the_divergence_trains_the_encoder_and_not_the_head(exact, name):
    found = gradients(run(RegexObjective(exact, EVERYTHING).train())[name], exact.model)
    assert found[next(key for key in found if "word_embeddings" in key)].abs().max() > 0
    assert not [key for key in found if "classifier" in key and found[key].abs().max() > 0]


# Which terms there are


@pytest.mark.parametrize("progress", [0.0, 0.49, 0.5, 1.0])
@pytest.mark.parametrize("name", list(RECIPES))
def test_only_what_is_weighted_and_due_is_computed(make_tiny, name, progress):
    found = run(RegexObjective(make_tiny(), RECIPES[name]).train(), progress=progress)
    weights = RECIPES[name].weights_at(progress)
    assert found.keys() == {"loss", "logits"} | weights.keys()
    assert_close(found["loss"], sum(weight * found[term] for term, weight in weights.items()))


PASSES = {  # forward passes in a step with every term on, and those of them that reach the head
    "vanilla": (1, 1),
    "igr": (1, 1),
    "vat": (3, 3),  # clean, probe, perturbed
    "egt": (5, 4),  # clean, three of Integrated Gradients, masked
    "regex": (7, 6),
    "regex_fast": (3, 2),  # clean, perturbed, masked
    "regex_two_stage": (5, 4),
    "random_mask_only": (2, 2),
    "igr_random_mask": (2, 2),
    "saliency_guided": (2, 2),
    "saloss": (1, 1),
    "smart": (3, 3),
    "freelb": (4, 4),
}


@pytest.mark.parametrize("name", list(PASSES))
def test_each_pass_is_made_once_and_none_goes_further_than_it_is_needed(make_tiny, name):
    classifier = make_tiny()
    begun, ended = [], []
    classifier.model.bert.embeddings.register_forward_hook(lambda *_: begun.append(1))
    classifier.model.classifier.register_forward_hook(lambda *_: ended.append(1))
    run(RegexObjective(classifier, RECIPES[name]).train())["loss"].backward()
    assert (len(begun), len(ended)) == PASSES[name]


def test_in_evaluation_mode_there_is_only_the_cross_entropy(make_tiny):
    terms = run(RegexObjective(make_tiny(), EVERYTHING).eval())
    assert terms.keys() == {"loss", "logits", "cross_entropy"}
    assert_close(terms["loss"], terms["cross_entropy"])


def test_evaluation_needs_no_gradient(make_tiny):
    with torch.no_grad():
        assert torch.isfinite(run(RegexObjective(make_tiny(), EVERYTHING).eval())["loss"])


@pytest.mark.parametrize("texts", [["[SEP]"] * 4, ["a"] * 4, [""] * 4])
def test_texts_of_hardly_any_content_train_on_finite_terms(make_tiny, texts):
    classifier = make_tiny()
    found = gradients(run(RegexObjective(classifier, EVERYTHING).train(), texts)["loss"], classifier.model)
    assert all(gradient.isfinite().all() for gradient in found.values())


# Dropout


@pytest.mark.parametrize("others", [{}, {"igr_weight": 0.1}, {"kl_weight": 0.1, "guidance_from": 0.0}])
def test_a_perturbation_of_size_0_diverges_by_exactly_0_under_dropout(tiny, others):
    recipe = Recipe(vat_weight=1.0, vat_epsilon=0.0, **others)
    assert run(RegexObjective(tiny, recipe).train())["vat"].item() == 0.0


def test_without_the_replayed_mask_it_would_not(make_tiny, monkeypatch):
    monkeypatch.setattr(passes, "_replayed", lambda state, device: torch.random.fork_rng())
    recipe = Recipe(vat_weight=1.0, vat_epsilon=0.0)
    assert run(RegexObjective(make_tiny(), recipe).train())["vat"].item() > 0


def test_every_step_has_dropout_masks_of_its_own(make_tiny):
    objective = RegexObjective(make_tiny(), EVERYTHING).train()
    batch = objective.classifier.tokenize(TEXTS)
    arguments = batch.input_ids, batch.attention_mask, batch.content_mask, LABELS
    first, second = (objective(*arguments)["cross_entropy"] for _ in range(2))
    assert first != second


def test_the_same_seed_gives_the_same_terms(make_tiny):
    first, second = (run(RegexObjective(make_tiny(), EVERYTHING).train(), seed=9) for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_the_attribution_is_taken_without_dropout(make_tiny):
    first, second = (passes_of(make_tiny(), EVERYTHING, seed).attribution for seed in (1, 2))
    assert torch.equal(first, second)


def test_every_submodule_stays_in_its_mode(make_tiny):
    objective = RegexObjective(make_tiny(), EVERYTHING).train()
    objective.classifier.model.bert.embeddings.eval()
    before = [part.training for part in objective.modules()]
    run(objective)
    assert [part.training for part in objective.modules()] == before
    assert len(set(before)) == 2


# The controls


def test_a_shuffled_target_is_a_permutation_over_the_content():
    content = torch.tensor([[False, True, True, True, False, True], [False, True, False, False, False, False]])
    scores = torch.tensor([[0.0, 1.0, -2.0, 3.0, 0.0, 4.0], [0.0, 5.0, 0.0, 0.0, 0.0, 0.0]])
    orders = set()
    for _ in range(200):
        shuffled = passes._shuffled(scores, content)
        assert (shuffled[~content] == 0).all()
        assert sorted(shuffled[0, content[0]].tolist()) == [-2.0, 1.0, 3.0, 4.0]
        assert shuffled[1].tolist() == scores[1].tolist()
        orders.add(tuple(shuffled[0].tolist()))
    assert len(orders) == 24, "every order must be possible"


def test_a_shuffled_target_changes_the_divergence_and_nothing_else(exact):
    guided = run(RegexObjective(exact, EVERYTHING).train())
    control = run(RegexObjective(exact, EVERYTHING.changed(target="shuffled")).train())
    for name in ("cross_entropy", "igr", "vat"):
        assert_close(control[name], guided[name])
    assert not torch.isclose(control["kl"], guided["kl"])


# Degradation


def degraded(share, tokens=4, examples=1):
    """Scores 1, 2... of the content tokens between two that are not, before and after."""
    content = torch.tensor([False, *[True] * tokens, False]).expand(examples, -1)
    scores = (torch.arange(tokens + 2.0) * content[0]).expand(examples, -1)
    return scores, passes._degraded(scores, content, share), content


def test_without_noise_scores_stay_and_nothing_is_drawn():
    before = torch.get_rng_state()
    scores, found, _ = degraded(0.0)
    assert torch.equal(found, scores)
    assert torch.equal(torch.get_rng_state(), before)


def test_with_nothing_but_noise_every_order_is_as_likely():
    _, found, content = degraded(1.0, tokens=3, examples=6000)
    assert not found[~content].any()
    orders, counts = found.unique(dim=0, return_counts=True)
    assert len(orders) == 6
    assert counts.tolist() == pytest.approx([1000] * 6, abs=150)  # 5 standard deviations


@pytest.mark.parametrize("tokens", [1, 2, 5])
def test_the_more_noise_the_fewer_tokens_keep_their_scores(tokens):
    kept = []
    for share in (0.2, 0.5, 0.8, 1.0):
        scores, found, content = degraded(share, tokens, examples=4000)
        assert torch.equal(found.sort(dim=1).values, scores.sort(dim=1).values)
        assert not found[~content].any()
        kept.append((found == scores)[content].double().mean().item())
        assert kept[-1] == pytest.approx((1 - share) + (1 - (1 - share) ** tokens) / tokens, abs=0.03)
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] < kept[0] or tokens == 1


def test_an_example_of_one_token_has_nothing_to_shuffle(make_tiny):
    recipe = EVERYTHING.changed(attribution_noise=1.0)
    noisy, clean = (passes_of(make_tiny(), chosen).attribution for chosen in (recipe, EVERYTHING))
    assert torch.equal(noisy[2], clean[2])  # "never"
    assert not torch.equal(noisy, clean)


def test_noise_reaches_the_mask_and_the_target_and_nothing_else(exact):
    noisy = EVERYTHING.changed(attribution_noise=1.0)
    guided, control = (run(RegexObjective(exact, recipe).train()) for recipe in (EVERYTHING, noisy))
    for name in ("cross_entropy", "igr", "vat"):
        assert torch.equal(control[name], guided[name]), name
    assert not torch.isclose(control["kl"], guided["kl"])
    masks = {tuple(masked_positions(exact, noisy, seed).flatten().tolist()) for seed in range(5)}
    assert len(masks) > 1
    step = passes_of(exact, noisy)
    assert torch.equal(step.target, step.attribution)


def masked_positions(classifier, recipe, seed):
    """Where the mask token stands in whatever is embedded during a step."""
    embedded = []
    embeddings = classifier.model.get_input_embeddings()
    handle = embeddings.register_forward_pre_hook(lambda _, args: embedded.append(args[0]))
    run(RegexObjective(classifier, recipe).train(), seed=seed)
    handle.remove()
    (masked,) = [ids == classifier.mask_id for ids in embedded if (ids == classifier.mask_id).any()]
    return masked


def test_the_tokens_of_the_smallest_attributions_are_masked(exact, plain):
    direct = Direct(exact, plain)
    expected = direct.masked_ids(direct.attributions()) == exact.mask_id
    assert torch.equal(masked_positions(exact, EVERYTHING, seed=5), expected)


def test_a_random_mask_keeps_the_counts_and_changes_the_places(exact):
    chosen = masked_positions(exact, EVERYTHING, seed=5)
    control = [masked_positions(exact, EVERYTHING.changed(selector="random"), seed=seed) for seed in range(5)]
    content = exact.tokenize(TEXTS).content_mask
    for masked in control:
        assert masked.sum(dim=1).tolist() == chosen.sum(dim=1).tolist() == [0, 2, 0, 1]
        assert not (masked & ~content).any()
    assert len({tuple(masked.flatten().tolist()) for masked in control}) > 1


# As a module


def test_its_state_dict_is_the_hugging_face_models(tiny):
    objective = RegexObjective(tiny, EVERYTHING)
    state = objective.state_dict()
    assert state.keys() == tiny.model.state_dict().keys()
    changed = {name: torch.zeros_like(value) for name, value in state.items()}
    objective.load_state_dict(changed)
    assert all((parameter == 0).all() for parameter in tiny.model.parameters())


def test_its_parameters_are_the_models_and_each_is_there_once(tiny):
    names = [name.removeprefix("classifier.model.") for name, _ in RegexObjective(tiny, EVERYTHING).named_parameters()]
    assert names == [name for name, _ in tiny.model.named_parameters()]


@pytest.mark.parametrize("attribution", ["input_gradient", "gradient_norm"])
def test_the_loss_of_the_penalty_is_none_of_the_guides(make_tiny, attribution):
    """With three classes the label-free loss has another gradient than the cross-entropy, at other tokens."""
    found = []
    for loss in ("cross_entropy", "uniform"):
        classifier = without_dropout(make_tiny(num_labels=3))
        recipe = Recipe(igr_weight=0.3, igr_loss=loss, kl_weight=0.1, guidance_from=0.0, attribution=attribution)
        step = passes_of(classifier, recipe)
        found.append((step.attribution, step.gradient))
    assert_close(found[0][0], found[1][0])
    assert not torch.allclose(found[0][1], found[1][1])
