"""Expected Gradients: Integrated Gradients averaged over baselines."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from regex_lib.attributions.gradient import Forward
from regex_lib.attributions.path import Starts, path_derivative
from regex_lib.attributions.registry import register
from regex_lib.attributions.sampling import example_generators
from regex_lib.errors import UserError
from regex_lib.models import TextClassifier, TokenBatch

__all__ = ["expected_gradients"]


def expected_gradients(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    starts: Starts,
    attention_mask: Bool[Tensor, "batch tokens"],
    target: Int64[Tensor, " batch"],
    points: Float[Tensor, "batch samples"],
) -> Float[Tensor, "batch tokens"]:
    r"""Expected Gradients: Integrated Gradients averaged over baselines, both integrals by sampling. Signed.

    .. math:: a_i = \frac1n \sum_{k=1}^n (e_i - b_{k,i}) \cdot \nabla_{e_i} f_c\big(b_k + \alpha_k (e - b_k)\big)

    The scores of an example sum to :math:`f_c(e)` minus the mean of :math:`f_c` over the baselines, in expectation.

    Args:
        forward: embeddings and attention mask to logits.
        embeddings: the input embeddings :math:`e`.
        starts: ``starts(examples, samples)`` gives the baselines :math:`b_k` of some examples, each for one of its
            samples, so that they need not be held in memory all at once.
        attention_mask: true where a token is not padding.
        target: the class to explain, per example.
        points: :math:`\alpha_k` in [0, 1], per example; each costs a forward and a backward pass.

    References:
        Erion et al. 2021.

    Example:
        >>> def forward(e, attention_mask):
        ...     return torch.stack([3 * e.sum((1, 2)), torch.zeros(len(e))], dim=-1)
        >>> x, attended = torch.tensor([[[1.0], [2.0]]]), torch.ones(1, 2, dtype=torch.bool)
        >>> baselines = torch.tensor([[[0.0], [0.0]], [[1.0], [0.0]]])  # (samples, tokens, dim) of the only example
        >>> expected_gradients(
        ...     forward, x, lambda examples, samples: baselines[samples], attended, torch.tensor([0]), torch.rand(1, 2)
        ... )
        tensor([[1.5000, 6.0000]])
    """
    parts, _ = path_derivative(forward, embeddings.detach(), starts, points, attention_mask, target)
    return parts.mean(dim=1)


@register("expected_gradients")
def _expected_gradients(
    classifier: TextClassifier,
    batch: TokenBatch,
    target: Int64[Tensor, " batch"],
    *,
    references: Sequence[str] | None = None,
    n_samples: int = 20,
    seed: int = 0,
) -> Float[Tensor, "batch tokens"]:
    """Baselines are drawn per example, from its own tokens and the seed; special tokens are kept in all of them.

    By default every content token of a baseline is drawn from the vocabulary without its special tokens: a baseline
    that needs no data, which is this library's choice (Erion et al. draw training examples). With ``references`` a
    baseline takes its content from one of these texts, repeated or cut to the example's number of tokens.
    """
    if n_samples < 1:
        raise UserError(f"n_samples must be 1 or more, got {n_samples}")
    draw = _drawing(classifier, references)
    ids = batch.input_ids.cpu()[:, None].repeat(1, n_samples, 1)
    points = torch.empty(len(ids), n_samples)
    for row, generator in enumerate(example_generators(batch, seed)):
        content = batch.content_mask[row].cpu()
        ids[row][:, content] = draw(generator, n_samples, int(content.sum()))
        # One point in each of n_samples equal pieces: as unbiased as independent ones, with less noise.
        points[row] = (torch.arange(n_samples) + torch.rand(n_samples, generator=generator)) / n_samples
    ids = ids.to(classifier.device)
    embeddings = classifier.embed(batch.input_ids)
    return expected_gradients(
        classifier.forward_func(),
        embeddings,
        lambda examples, samples: classifier.embed(ids[examples, samples]),
        batch.attention_mask,
        target,
        points.to(embeddings.device, torch.promote_types(embeddings.dtype, torch.float32)),
    )


def _drawing(
    classifier: TextClassifier, references: Sequence[str] | None
) -> Callable[[torch.Generator, int, int], Int64[Tensor, "samples tokens"]]:
    """How the content of baselines is drawn."""
    if references is None:
        special = set(classifier.tokenizer.all_special_ids)
        ids = torch.tensor([i for i in sorted(classifier.tokenizer.get_vocab().values()) if i not in special])
        return lambda generator, samples, tokens: ids[torch.randint(len(ids), (samples, tokens), generator=generator)]
    if isinstance(references, str):
        raise UserError("references must be a list of texts, got a single one: put it into brackets")
    batch = classifier.tokenize(references or [""])
    contents = [row[content] for row, content in zip(batch.input_ids.cpu(), batch.content_mask.cpu(), strict=True)]
    if not all(len(content) for content in contents):
        raise UserError("references must be one text or more, none of them empty")

    def draw(generator: torch.Generator, samples: int, tokens: int) -> Int64[Tensor, "samples tokens"]:
        chosen = [contents[i] for i in torch.randint(len(contents), (samples,), generator=generator).tolist()]
        return torch.stack([content[torch.arange(tokens) % len(content)] for content in chosen])

    return draw
