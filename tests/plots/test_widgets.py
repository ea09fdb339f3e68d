"""The sliders hold what the classifier says at each place, linked so that a browser can move them without a kernel."""

import re

import ipywidgets
import pytest
import torch
from ipywidgets.embed import dependency_state

from regex_lib.attributions import Explanation, attribute
from regex_lib.errors import UserError
from regex_lib.models import load_classifier
from regex_lib.plots import mask_ratio_stepper, perturbation_slider

TEXT = "A <fine> film, never dull."


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    classifier = load_classifier("minilm", layers=1)
    classifier.label_names = ["bad", "<good>"]
    return classifier


@pytest.fixture(scope="module")
def explanation(classifier):
    return attribute(classifier, [TEXT], "gradient_norm")[0]


def parts(widget):
    """The slider, the frames of its stack, and what is printed."""
    screen, paper = widget.children
    slider, stack = screen.children
    return slider, [frame.value for frame in stack.children], paper.value


def numbers(frame):
    """The two probabilities in a frame, and their names."""
    return dict(re.findall(r'<th scope="row"[^>]*>([^<]*)</th>.*?([0-9.]+)</td></tr>', frame))


def struck(frame):
    return re.findall(r"<del>(.*?)</del>", frame)


def probability(classifier, text, target, removed=()):
    """Of a class, with the content tokens at some places replaced by padding: written anew, token by token."""
    encoded = classifier.tokenizer([text], return_tensors="pt", return_special_tokens_mask=True)
    content = [place for place, special in enumerate(encoded["special_tokens_mask"][0].tolist()) if not special]
    for place in removed:
        encoded["input_ids"][0, content[place]] = classifier.tokenizer.pad_token_id
    with torch.no_grad():
        logits = classifier.model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits
    return float(logits.softmax(-1)[0, target])


def test_the_stepper_removes_the_strongest_tokens_first(classifier, explanation):
    slider, frames, _ = parts(mask_ratio_stepper(classifier, explanation, (0.0, 0.3, 1.0)))
    order = sorted(range(len(explanation.scores)), key=lambda place: -explanation.scores[place])
    third = sorted(order[: -(-3 * len(order) // 10)])
    assert slider.options == ("0%", "30%", "100%")
    assert struck(frames[0]) == []
    assert struck(frames[1]) == [explanation.tokens[place].replace("<", "&lt;").replace(">", "&gt;") for place in third]
    assert len(struck(frames[2])) == len(order)


def test_places_of_the_stepper_that_are_close_can_be_told_apart(classifier, explanation):
    slider, _, _ = parts(mask_ratio_stepper(classifier, explanation, (0.001, 0.002, 0.07, 0.125, 1 / 3)))
    assert slider.options == ("0.1%", "0.2%", "7%", "12.5%", "33.3%")


def test_the_steppers_probabilities_are_those_of_the_changed_texts(classifier, explanation):
    _, frames, _ = parts(mask_ratio_stepper(classifier, explanation, (0.0, 0.3, 1.0)))
    order = sorted(range(len(explanation.scores)), key=lambda place: -explanation.scores[place])
    for frame, count in zip(frames, (0, -(-3 * len(order) // 10), len(order)), strict=True):
        without = probability(classifier, TEXT, explanation.target, order[:count])
        alone = probability(classifier, TEXT, explanation.target, order[count:])
        assert numbers(frame) == {
            "without the struck tokens": f"{without:.2f}",
            "with the struck tokens alone": f"{alone:.2f}",
        }


def test_the_stepper_takes_a_text_that_was_cut(classifier):
    (cut,) = attribute(classifier, [TEXT], "gradient_norm", max_length=6)
    assert (cut.truncated, len(cut.scores)) == (True, 4)
    _, frames, _ = parts(mask_ratio_stepper(classifier, cut, (0.0, 1.0), max_length=6))
    assert numbers(frames[0])["without the struck tokens"] == f"{cut.probability:.2f}"
    assert len(struck(frames[1])) == 4
    assert "".join(re.split("</?del>", frames[1].partition("</p>")[0])).endswith(TEXT[9:])


def test_scores_of_other_tokens_than_the_texts_are_refused(classifier):
    (cut,) = attribute(classifier, [TEXT], "gradient_norm", max_length=6)
    with pytest.raises(UserError, match="4 scores, but its text has 9 content tokens: give the max_length that it was"):
        mask_ratio_stepper(classifier, cut)


def test_a_character_is_struck_out_with_any_of_its_tokens(classifier, monkeypatch):
    text = "ok 🙂 fine"
    batch = classifier.tokenize(["ok ok ok ok fine"])
    monkeypatch.setattr(classifier, "tokenize", lambda texts, max_length=None: batch)
    offsets = [(0, 2), (3, 4), (3, 4), (3, 4), (5, 9)]
    explanation = Explanation(text, "attention", offsets, [0.1, 0.0, 0.9, 0.0, 0.5], 0, 0, 0.5, False)
    _, frames, _ = parts(mask_ratio_stepper(classifier, explanation, (0.2, 0.4, 1.0)))
    assert [struck(frame) for frame in frames] == [["🙂"], ["🙂", "fine"], ["ok", "🙂", "fine"]]


def test_the_worst_direction_is_worse_than_a_random_one(classifier):
    _, frames, _ = parts(perturbation_slider(classifier, TEXT, (0.0, 1.0), seed=0))
    still, moved = (numbers(frame) for frame in frames)
    assert still["the worst direction"] == still["a random direction"] == f"{_predicted(classifier):.2f}"
    fell = {name: abs(float(moved[name]) - float(still[name])) for name in still}
    assert fell["the worst direction"] > fell["a random direction"]


def _predicted(classifier):
    return max(probability(classifier, TEXT, label) for label in range(2))


def test_the_seed_decides(classifier):
    frames = [parts(perturbation_slider(classifier, TEXT, (0.5,), seed=seed))[1] for seed in (0, 0)]
    assert frames[0] == frames[1]


@pytest.mark.parametrize("kind", ["stepper", "strength"])
def test_slider_and_frames_are_linked_and_all_are_printed(classifier, explanation, kind):
    widget = mask_ratio_stepper(classifier, explanation) if kind == "stepper" else perturbation_slider(classifier, TEXT)
    state = dependency_state(widget)
    (link,) = [entry["state"] for entry in state.values() if entry["model_name"] == "LinkModel"]
    ends = [
        (state[end.removeprefix("IPY_MODEL_")]["model_name"], name) for end, name in (link["source"], link["target"])
    ]
    assert ends == [("SelectionSliderModel", "index"), ("StackModel", "selected_index")]
    slider, frames, paper = parts(widget)
    assert len(frames) == len(slider.options) > 1
    assert all(frame in paper for frame in frames)
    assert "<fine>" not in paper
    assert "<good>" not in paper


@pytest.mark.parametrize("kind", ["stepper", "strength"])
def test_ipywidgets_without_a_stack_shows_what_paper_has(classifier, explanation, kind, monkeypatch):
    """Version 7, which Colab has loaded before anything is installed."""

    def make():
        if kind == "stepper":
            return mask_ratio_stepper(classifier, explanation, (0.0, 0.5))
        return perturbation_slider(classifier, TEXT, (0.0, 0.5))

    printed = parts(make())[2]
    monkeypatch.delattr(ipywidgets, "Stack")
    (everything,) = make().children
    assert everything.value
    assert printed.endswith(everything.value)
    assert "@media" not in everything.value


def test_the_classifier_stays_in_its_mode(classifier, explanation):
    classifier.train()
    mask_ratio_stepper(classifier, explanation, (0.5,))
    perturbation_slider(classifier, TEXT, (0.5,))
    assert classifier.training
    assert all(parameter.grad is None for parameter in classifier.parameters())
    classifier.eval()


def test_what_has_no_steps_is_refused(classifier, explanation):
    empty = Explanation("", "attention", [], [], 0, 0, 0.5, False)
    with pytest.raises(UserError, match="nothing to step through"):
        mask_ratio_stepper(classifier, explanation, ())
    with pytest.raises(UserError, match="nothing to step through"):
        mask_ratio_stepper(classifier, empty)
    with pytest.raises(UserError, match="nothing to step through"):
        perturbation_slider(classifier, TEXT, ())
    with pytest.raises(ValueError, match="ratio must be between 0 and 1"):
        mask_ratio_stepper(classifier, explanation, (1.5,))


def test_the_slider_takes_a_model_in_half_precision(make_tiny):
    classifier = make_tiny()
    classifier.model.bfloat16()
    _, frames, _ = parts(perturbation_slider(classifier, TEXT, (0.0, 1.0)))
    assert len(frames) == 2
