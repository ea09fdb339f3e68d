"""Feature attributions: which tokens a prediction rests on.

Attention-aware layer-wise relevance propagation (AttnLRP, Achtibat et al. 2024) is not among them: its rule for the
softmax leaves part of the relevance to a bias, so that scores do not add up to the logit. :func:`deep_lift` splits the
same operations without a rest.
"""

from regex_lib.attributions.attention import attention, attention_rollout, scaled_attention
from regex_lib.attributions.compatibility import acl2022_input_x_gradient, acl2022_integrated_gradients
from regex_lib.attributions.control import random
from regex_lib.attributions.deeplift import deep_lift
from regex_lib.attributions.expected import expected_gradients
from regex_lib.attributions.explain import Explanation, attribute, score_batch
from regex_lib.attributions.gradient import (
    baseline_embeddings,
    gradient_norm,
    input_x_gradient,
    logits_and_gradient,
    smooth_grad,
)
from regex_lib.attributions.path import integrated_gradients
from regex_lib.attributions.perturbation import class_probabilities, leave_one_out
from regex_lib.attributions.registry import METHODS, UNSIGNED, AttributionMethod, find_method, register
from regex_lib.attributions.surrogate import kernel_shap, lime
from regex_lib.attributions.words import Words, word_scores, words_of

__all__ = [
    "METHODS",
    "UNSIGNED",
    "AttributionMethod",
    "Explanation",
    "Words",
    "acl2022_input_x_gradient",
    "acl2022_integrated_gradients",
    "attention",
    "attention_rollout",
    "attribute",
    "baseline_embeddings",
    "class_probabilities",
    "deep_lift",
    "expected_gradients",
    "find_method",
    "gradient_norm",
    "input_x_gradient",
    "integrated_gradients",
    "kernel_shap",
    "leave_one_out",
    "lime",
    "logits_and_gradient",
    "random",
    "register",
    "scaled_attention",
    "score_batch",
    "smooth_grad",
    "word_scores",
    "words_of",
]
