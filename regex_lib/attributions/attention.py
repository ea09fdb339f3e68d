"""Attributions read from attention: the pooling query's row in the last layer."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from regex_lib.attributions.registry import register
from regex_lib.models import TextClassifier, TokenBatch

__all__ = ["attention", "scaled_attention"]


@register("attention")
def attention(
    classifier: TextClassifier, batch: TokenBatch, target: Int64[Tensor, " batch"]
) -> Float[Tensor, "batch tokens"]:
    """Attention weights of the pooling token, mean over heads. Unsigned, and the same for every class.

    References:
        Jain et al. 2020, section 4; Chrysostomou and Aletras 2022, section 3.
    """
    with torch.no_grad():
        output = classifier(classifier.embed(batch.input_ids), batch.attention_mask, return_attention=True)
    return output.attention


@register("scaled_attention")
def scaled_attention(
    classifier: TextClassifier, batch: TokenBatch, target: Int64[Tensor, " batch"]
) -> Float[Tensor, "batch tokens"]:
    r"""Attention weights times their gradient, :math:`\frac1H \sum_h a_h \, \partial f_c / \partial a_h`. Signed.

    References:
        Serrano and Smith 2019, section 3; Chrysostomou and Aletras 2022, section 3.
    """
    with torch.enable_grad():
        # The row needs a graph even where the weights are frozen.
        embeddings = classifier.embed(batch.input_ids).detach().requires_grad_()
        output = classifier(embeddings, batch.attention_mask, return_attention=True)
        explained = output.logits.gather(1, target[:, None]).sum()
        (gradient,) = torch.autograd.grad(explained, output.head_attention)
    return (output.head_attention * gradient).mean(dim=1).detach()
