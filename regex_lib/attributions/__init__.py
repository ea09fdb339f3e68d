"""Feature attributions: which tokens a prediction rests on."""

from regex_lib.attributions.attention import attention, scaled_attention
from regex_lib.attributions.control import random
from regex_lib.attributions.explain import Explanation, attribute, score_batch
from regex_lib.attributions.gradient import baseline_embeddings, input_x_gradient, integrated_gradients
from regex_lib.attributions.registry import METHODS, AttributionMethod, find_method, register

__all__ = [
    "METHODS",
    "AttributionMethod",
    "Explanation",
    "attention",
    "attribute",
    "baseline_embeddings",
    "find_method",
    "input_x_gradient",
    "integrated_gradients",
    "random",
    "register",
    "scaled_attention",
    "score_batch",
]
