"""Sliders that a reader moves in a page without a kernel: how a prediction changes as words or embeddings change."""

import html
from collections.abc import Sequence

import ipywidgets
import torch
from torch import Tensor

from regex_lib.attributions import Explanation
from regex_lib.errors import UserError
from regex_lib.losses import virtual_adversarial_perturbation
from regex_lib.masks import replace, token_budget, top_k_mask
from regex_lib.models import TextClassifier, TokenBatch, evaluating
from regex_lib.plots.heatmap import pieces
from regex_lib.plots.switcher import frames_behind

__all__ = ["mask_ratio_stepper", "perturbation_slider"]

_CARD = (
    "font-family:system-ui,sans-serif;line-height:1.8;padding:.6em .8em;border:1px solid #bbb;border-radius:6px;"
    "background:#fff;color:#111;max-width:50em;color-scheme:light"
)


def mask_ratio_stepper(
    classifier: TextClassifier,
    explanation: Explanation,
    ratios: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
    *,
    max_length: int | None = None,
) -> ipywidgets.VBox:
    """Step through the share of tokens that is removed, strongest first, and see what is left of the prediction.

    Each step shows the text with the strongest tokens struck out, and two probabilities of the explained class: without
    these tokens, which falls for a comprehensive explanation, and with them alone, which holds for a sufficient one. A
    removed token is replaced by padding in place, as in the library's protocol. A character that several tokens stand
    for is struck out when one of them is removed.

    Args:
        classifier: what was explained; in evaluation mode for the time of the call.
        explanation: from :func:`regex_lib.attributions.attribute`.
        ratios: the steps, each in [0, 1].
        max_length: what the explanation was made with; the model's maximum by default.

    Raises:
        UserError: if there are no ratios, or the explanation has no scores, or not those of the text's tokens.
        ValueError: if a ratio is outside [0, 1].
    """
    if not ratios or not explanation.scores:
        raise UserError("there is nothing to step through: give at least one ratio, and a text with content tokens")
    batch = classifier.tokenize([explanation.text], max_length)
    if len(explanation.scores) != batch.content_mask.sum():
        raise UserError(
            f"the explanation has {len(explanation.scores)} scores, but its text has {int(batch.content_mask.sum())} "
            "content tokens: give the max_length that it was made with"
        )
    scores = torch.zeros(batch.input_ids.shape, device=classifier.device)
    scores[batch.content_mask] = torch.tensor(explanation.scores, device=classifier.device)
    label, frames = classifier.label_names[explanation.target], []
    for ratio in ratios:
        top = top_k_mask(scores, batch.content_mask, token_budget(batch.content_mask, ratio))
        without = _probability(classifier, batch, top, explanation.target)
        alone = _probability(classifier, batch, batch.content_mask & ~top, explanation.target)
        struck = top[batch.content_mask].tolist()
        rows = {"without the struck tokens": without, "with the struck tokens alone": alone}
        frames.append(f"{_struck(explanation, struck)}{_bars(f'Probability of {label}', rows)}")
    return _slider("Removed", [f"{100 * ratio:.3g}%" for ratio in ratios], frames)


def perturbation_slider(
    classifier: TextClassifier,
    text: str,
    strengths: Sequence[float] = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8),
    *,
    seed: int = 0,
) -> ipywidgets.VBox:
    """Move a text's embeddings away from where they are, and see how soon the prediction goes.

    One direction is the one that changes the prediction most, by
    :func:`regex_lib.losses.virtual_adversarial_perturbation`; the other is random, of the same size, and is the
    control.

    Args:
        classifier: in evaluation mode for the time of the call.
        text: what is predicted.
        strengths: sizes of the change, as shares of the embeddings' own norm; 0 or more.
        seed: of both directions.

    Raises:
        UserError: if there are no strengths.
    """
    if not strengths:
        raise UserError("there is nothing to step through: give at least one strength")
    generator = torch.Generator(classifier.device).manual_seed(seed)
    batch = classifier.tokenize([text])
    with evaluating(classifier):
        embeddings = classifier.embed(batch.input_ids).detach()
        logits = _logits(classifier, embeddings, batch.attention_mask).detach()
        worst = virtual_adversarial_perturbation(
            lambda moved, mask: _logits(classifier, moved, mask),
            embeddings, batch.attention_mask, logits, epsilon=1.0, power_iterations=3, generator=generator,
        )  # fmt: skip
        noise = torch.randn(embeddings.shape, generator=generator, device=embeddings.device, dtype=embeddings.dtype)
        noise = noise * batch.attention_mask[..., None]
        noise = noise * worst.norm() / noise.norm()
        target, frames = int(logits.argmax()), []
        for strength in strengths:
            rows = {
                name: _share(_logits(classifier, embeddings + strength * change, batch.attention_mask), target)
                for name, change in (("the worst direction", worst), ("a random direction", noise))
            }
            title = f"Probability of {classifier.label_names[target]}, moved by {strength:g} of the norm"
            frames.append(_bars(title, rows))
    return _slider("Strength", [f"{strength:g}" for strength in strengths], frames)


def _slider(description: str, options: Sequence[str], frames: Sequence[str]) -> ipywidgets.VBox:
    """A slider with a frame for each of its places, linked in the browser; on paper all frames, one below the other."""
    slider = ipywidgets.SelectionSlider(options=options, description=description, layout={"width": "min(100%, 28em)"})
    cards = [f'<div style="{_CARD}">{frame}</div>' for frame in frames]
    paper = "".join(
        f"<p>{html.escape(f'{description}: {name}')}</p>{card}" for name, card in zip(options, cards, strict=True)
    )
    return frames_behind(slider, [ipywidgets.HTML(card, layout={"width": "100%"}) for card in cards], paper)


def _struck(explanation: Explanation, struck: Sequence[bool]) -> str:
    """The text with some of its tokens struck out."""
    parts = []
    for piece, tokens in pieces(explanation):
        shown = html.escape(piece)
        parts.append(f"<del>{shown}</del>" if any(struck[number] for number in tokens) else shown)
    return f'<p dir="auto" style="margin:0;white-space:pre-wrap;overflow-wrap:anywhere">{"".join(parts)}</p>'


def _bars(title: str, rows: dict[str, float]) -> str:
    """Probabilities as bars, each with its number."""
    lines = "".join(
        f'<tr><th scope="row" style="text-align:left;font-weight:normal;padding:0 .8em 0 0">{html.escape(name)}</th>'
        f'<td style="width:50%"><div aria-hidden="true" style="background:#2869b0;height:.8em;width:{value:.0%}"></div>'
        f'</td><td style="padding:0 0 0 .6em">{value:.2f}</td></tr>'
        for name, value in rows.items()
    )
    caption = f'<caption style="text-align:left;caption-side:top;color:#333">{html.escape(title)}</caption>'
    return f'<table style="width:100%;margin:.3em 0;color:#111;border:0">{caption}{lines}</table>'


def _probability(classifier: TextClassifier, batch: TokenBatch, remove: Tensor, target: int) -> float:
    with evaluating(classifier), torch.no_grad():
        embeddings = classifier.embed(replace(batch.input_ids, remove, classifier.pad_id))
        return _share(_logits(classifier, embeddings, batch.attention_mask), target)


def _logits(classifier: TextClassifier, embeddings: Tensor, attention_mask: Tensor) -> Tensor:
    return classifier(embeddings, attention_mask).logits


def _share(logits: Tensor, target: int) -> float:
    return float(logits.detach().softmax(dim=-1)[0, target])
