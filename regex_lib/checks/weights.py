"""The weights of a classifier layer by layer, and a copy of it that has learned nothing."""

import copy

from torch import nn

from regex_lib.errors import UserError
from regex_lib.models import TextClassifier
from regex_lib.models.loading import seeded

__all__ = ["layer_parameters", "with_random_weights"]


def with_random_weights(classifier: TextClassifier, *, seed: int = 0) -> TextClassifier:
    """A classifier of the same architecture with random weights throughout, in evaluation mode.

    They are drawn as the architecture itself draws them (its ``_init_weights``), not as it was pre-trained. The global
    random state is left as it was.

    Args:
        classifier: whose architecture, tokenizer, precision and device to take.
        seed: of the weights.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> random = with_random_weights(load_classifier("minilm", layers=1), seed=3)
        >>> round(random.model.get_input_embeddings().weight.std().item(), 2)  # its initializer_range
        0.02
    """
    with seeded(seed):
        model = type(classifier.model)(copy.deepcopy(classifier.model.config))
    model = model.to(classifier.device, classifier.model.dtype)
    return TextClassifier(model.eval(), classifier.tokenizer)


def layer_parameters(classifier: TextClassifier) -> dict[str, list[str]]:
    """The names of a model's parameters by the layer they belong to, from the head down to the embeddings.

    Returns:
        ``head`` (with the pooler and what else follows the layers), ``layer_11`` and so on to ``layer_0``,
        ``embeddings``. Each parameter is in one of them. A model that shares one layer, as ALBERT does, has one.

    Raises:
        UserError: if the model has no list of layers.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> [(layer, len(names)) for layer, names in layer_parameters(load_classifier("minilm", layers=2)).items()]
        [('head', 4), ('layer_1', 16), ('layer_0', 16), ('embeddings', 5)]
    """
    model = classifier.model
    stacks = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    if not stacks:
        raise UserError(f"{type(model).__name__} has no list of layers to randomise one by one: take order='full'")
    stack, base = stacks[0] + ".", model.base_model_prefix + "."
    count = len(model.get_submodule(stacks[0]))
    layers: dict[str, list[str]] = {
        "head": [], **{f"layer_{number}": [] for number in reversed(range(count))}, "embeddings": []
    }  # fmt: skip
    below = True  # the layers, in the order in which the base model was put together
    for name, _ in model.named_parameters():
        if name.startswith(stack):
            layers[f"layer_{name.removeprefix(stack).partition('.')[0]}"].append(name)
            below = False
        else:
            inside = name.startswith(base) and (below or "embeddings" in name)
            layers["embeddings" if inside else "head"].append(name)
    return layers
