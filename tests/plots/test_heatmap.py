"""Heat maps show the whole text, escaped, in colours that can be read and told apart."""

from html.parser import HTMLParser
from io import StringIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.style import Style

from regex_lib.attributions import Explanation
from regex_lib.errors import UserError
from regex_lib.plots import heatmap, terminal_heatmap

NASTY = "<script>alert(\"x\")</script> & 'quoted' <img src=x onerror=alert(1)> &amp; </p></figure> ]]> <!-- "
OUR_ATTRIBUTES = {
    "div": {"class", "style"},
    "figure": {"style", "role", "aria-label"},
    "figcaption": {"style"},
    "p": {"style", "dir"},
    "span": {"title", "style"},
    "em": set(),
}


def explain(text, offsets=None, scores=None, **changes):
    """An explanation of a text; by default each character but spaces is a token, with a score of its own."""
    offsets = [(i, i + 1) for i, c in enumerate(text) if not c.isspace()] if offsets is None else offsets
    scores = [(-1) ** i * (i + 1) / len(offsets) for i in range(len(offsets))] if scores is None else scores
    facts = {"method": "attention", "target": 1, "prediction": 1, "probability": 0.75, "truncated": False} | changes
    return Explanation(text=text, offsets=offsets, scores=scores, **facts)


class Page(HTMLParser):
    """What a browser would make of the markup: the text of each figure, the spans in it, and every tag."""

    def __init__(self, markup):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.texts, self.captions, self.spans, self.labels = [], [], [], [], [], []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "meta":
            return
        self.open.append(tag)
        if tag == "figure":
            self.texts.append("")
            self.labels.append(dict(attrs)["aria-label"])
        if tag == "span" and "figure" in self.open:
            self.spans.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "figcaption" in self.open:
            self.captions.append(data)
        elif "figure" in self.open and "em" not in self.open:
            self.texts[-1] += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl):
        self.declaration = decl


def tint(style):
    """The background of a span, as three numbers from 0 to 255."""
    return tuple(int(channel) for channel in style.partition("rgb(")[2].partition(")")[0].split(","))


def luminance(colour):
    """The relative luminance of WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
    return sum(weight * channel for weight, channel in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """The contrast ratio of WCAG 2.2, from 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def tints(sign):
    """The backgrounds of ten tokens, from the weakest to the strongest."""
    scores = [sign * strength / 10 for strength in range(1, 11)]
    return [tint(span["style"]) for span in Page(heatmap(explain("abcdefghij", scores=scores)).markup).spans]


# Surrogates are no text, and a parser may turn a carriage return into a new line.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=60)


@settings(deadline=None)
@given(TEXTS)
@example(NASTY)
@example("שלום עולם 🎉 👩‍👩‍👧 é")
def test_the_page_shows_the_text_as_it_is(text):
    assert Page(heatmap(explain(text)).markup).texts == [text]


@settings(deadline=None)
@given(TEXTS)
@example(NASTY)
def test_a_text_adds_no_tag_and_no_attribute(text):
    for tag, attributes in Page(heatmap(explain(text), ["<b>no", "</div>yes"]).markup).tags:
        assert set(attributes) <= OUR_ATTRIBUTES[tag]


@settings(deadline=None)
@given(TEXTS.filter(str.strip), st.data())
def test_any_offsets_show_each_character_once(text, data):
    place = st.integers(0, len(text))
    pairs = data.draw(st.lists(st.tuples(place, place).map(sorted).map(tuple), max_size=8).map(sorted))
    assert Page(heatmap(explain(text, pairs)).markup).texts == [text]


def test_label_names_are_escaped():
    page = Page(heatmap(explain("a"), ["no", "<i>yes"]).markup)
    assert page.captions == ["attention: predicted <i>yes (0.75), explaining <i>yes"]


def test_classes_without_names_go_by_their_numbers():
    assert "predicted 1 (0.75), explaining 0" in heatmap(explain("a", target=0)).markup


def test_several_tokens_of_one_character_show_it_once():
    page = Page(heatmap(explain("a 🎉!", [(0, 1), (2, 3), (2, 3), (2, 3), (3, 4)], [0.1, 0.2, 0.3, 0.4, 1.0])).markup)
    assert page.texts == ["a 🎉!"]
    assert len(page.spans) == 3


EMOJI = ("ok 🙂 fine", [(0, 2), (3, 4), (3, 4), (3, 4), (5, 9)])


def test_a_character_has_the_sum_of_its_tokens_scores():
    page = Page(heatmap(explain(*EMOJI, [0.125, 0.25, -1.0, 0.5, -0.25])).markup)
    assert [span["title"] for span in page.spans] == ["+0.50", "-1.00", "-1.00"]
    assert page.labels[0].endswith("Strongest words: 🙂 (-0.25), fine (-0.25), ok (+0.12).")


def test_the_terminal_has_the_sum_too():
    _, *tokens = terminal_heatmap(explain(*EMOJI, [0.125, 0.25, -1.0, 0.5, -0.25])).spans
    backgrounds = [tuple(Style.parse(str(token.style)).bgcolor.triplet) for token in tokens]
    assert backgrounds == [tints(1)[4], tints(-1)[-1], tints(-1)[-1]]


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.data())
def test_the_strongest_character_has_the_full_colour_and_none_has_more(counts, data):
    scores = [[data.draw(st.integers(-8, 8)) / 8 for _ in range(count)] for count in counts]
    offsets = [(place, place + 1) for place, count in enumerate(counts) for _ in range(count)]
    totals = [sum(some) for some in scores]
    page = Page(heatmap(explain("🙂" * len(counts), offsets, [score for some in scores for score in some])).markup)
    largest = max(map(abs, totals))
    assert [span["title"] for span in page.spans] == [f"{total / largest:+.2f}" for total in totals if total]


def test_a_token_between_two_characters_belongs_to_the_one_before():
    page = Page(heatmap(explain("ab", [(0, 0), (0, 1), (1, 1), (1, 2)], [9.0, 0.5, 0.25, 1.0])).markup)
    assert page.texts == ["ab"]
    assert [span["title"] for span in page.spans] == ["+0.75", "+1.00"]


def test_an_overlapping_token_shows_only_its_rest():
    page = Page(heatmap(explain("abcd", [(0, 3), (1, 4)], [0.5, 1.0])).markup)
    assert page.texts == ["abcd"]


def test_a_text_without_tokens_says_so():
    page = Page(heatmap(explain("[CLS] [SEP]", [], [])).markup)
    assert page.texts == ["[CLS] [SEP]"]
    assert "No content tokens: nothing to attribute" in page.captions[0]
    assert page.spans == []


@pytest.mark.parametrize("show", [heatmap, terminal_heatmap])
@pytest.mark.parametrize("changes", [{"target": 2}, {"prediction": 2}])
def test_a_class_without_a_name_is_refused(show, changes):
    with pytest.raises(UserError, match="label_names has 2 names, but there is a class 2: name all classes"):
        show(explain("so dull", **changes), ["negative", "positive"])


def test_scores_of_zero_have_no_colour():
    assert Page(heatmap(explain("ab", scores=[0.0, 0.0])).markup).spans == []


def test_a_cut_text_says_so():
    assert "did not fit into the model" in heatmap(explain("ab", truncated=True)).markup
    assert "did not fit into the model" not in heatmap(explain("ab")).markup


def test_several_explanations_share_one_legend():
    markup = heatmap([explain("first"), explain("second")]).markup
    assert Page(markup).texts == ["first", "second"]
    assert markup.count("for the explained class") == 1


def test_scores_are_scaled_by_the_largest_magnitude_of_each_text():
    page = Page(heatmap([explain("ab", scores=[1.0, -4.0]), explain("cd", scores=[0.01, 0.02])]).markup)
    assert [span["title"] for span in page.spans] == ["+0.25", "-1.00", "+0.50", "+1.00"]


def test_only_strong_tokens_are_underlined_and_the_line_says_which_way():
    page = Page(heatmap(explain("abc", scores=[0.5, -0.6, 1.0])).markup)
    lines = [span["style"].partition("text-decoration:")[2].partition(";")[0] for span in page.spans]
    assert lines == ["", "underline dashed", "underline"]


def test_orange_speaks_for_the_class():
    assert all(red > green > blue for red, green, blue in tints(1))


def test_blue_speaks_against_the_class():
    assert all(red < green < blue for red, green, blue in tints(-1))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_stronger_token_is_darker_also_in_grey(sign):
    levels = [luminance(colour) for colour in tints(sign)]
    assert levels == sorted(levels, reverse=True)
    assert len(set(levels)) == len(levels)


@pytest.mark.parametrize("sign", [1, -1])
def test_text_on_every_tint_has_enough_contrast(sign):
    assert min(contrast((0x11, 0x11, 0x11), colour) for colour in tints(sign)) >= 4.5


def test_the_text_alternative_names_the_strongest_words():
    explanation = explain("so dull, a bore", [(0, 2), (3, 7), (7, 8), (9, 10), (11, 15)], [0.1, -0.9, 0.0, 0.2, 0.5])
    (label,) = Page(heatmap(explanation).markup).labels
    assert label.endswith("Strongest words: dull (-0.9), bore (+0.5), a (+0.2).")


@pytest.mark.parametrize(
    ("text", "named"),
    [("no ! ,", "no (+0.1)"), ("! ,", ", (-0.9), ! (+0.1)"), ("no 😀", "😀 (-0.9), no (+0.1)")],
    ids=["a word", "no words", "an emoji"],
)
def test_the_text_alternative_names_punctuation_only_where_there_is_nothing_else(text, named):
    first, *others = text.split()
    offsets = [(0, len(first)), *((text.index(other), text.index(other) + 1) for other in others)]
    (label,) = Page(heatmap(explain(text, offsets, [0.1, -0.9, 0.9][: len(offsets)])).markup).labels
    assert label.endswith(f"Strongest words: {named}.")


def test_the_text_alternative_of_no_words_says_none():
    (label,) = Page(heatmap(explain("", [], [])).markup).labels
    assert label.endswith("Strongest words: none.")


def test_the_card_stands_on_its_own_colours_on_dark_pages_and_on_paper():
    style = dict(part.split(":") for part in Page(heatmap(explain("a")).markup).tags[0][1]["style"].split(";"))
    assert (style["background"], style["color"]) == ("#fff", "#111")
    assert style["print-color-adjust"] == "exact"
    small = [attributes["style"] for _, attributes in Page(heatmap(explain("a")).markup).tags if "style" in attributes]
    colours = {part.partition(":")[2] for style in small for part in style.split(";") if part.startswith("color:")}
    assert colours == {"#111", "#333"}
    assert contrast((0x33, 0x33, 0x33), (255, 255, 255)) > 7


def test_a_right_to_left_text_sets_its_own_direction():
    paragraph = next(attributes for tag, attributes in Page(heatmap(explain("שלום")).markup).tags if tag == "p")
    assert paragraph["dir"] == "auto"


def test_a_notebook_shows_the_markup():
    shown = heatmap(explain("a"))
    assert shown._repr_html_() == shown.markup


def test_a_saved_page_is_complete(tmp_path):
    heatmap(explain("fine 🎉 <b>")).save(tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.declaration == "doctype html"
    assert [tag for tag, _ in page.tags][:5] == ["html", "head", "meta", "meta", "title"]
    assert page.open == []
    assert page.texts == ["fine 🎉 <b>"]


def test_a_page_asks_for_nothing_from_outside(tmp_path):
    heatmap(explain("see http://example.org")).save(tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert not any({"src", "href"} & set(attributes) for _, attributes in page.tags)


@pytest.mark.parametrize("place", ["missing/page.html", "file/page.html", "."])
def test_a_page_that_cannot_be_written_is_a_user_error(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        heatmap(explain("a")).save(tmp_path / place)


# Rich leaves out the control characters that would move the cursor.
@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60))
@example("שלום 🎉 [bold]not markup[/bold] :smile:")
def test_the_terminal_shows_the_text_as_it_is(text):
    caption, _, shown = terminal_heatmap(explain(text)).plain.partition("\n")
    assert caption.startswith("attention: predicted 1 (0.75)")
    assert shown == text


def in_terminal(explanation, **options):
    console = Console(file=StringIO(), width=200, **options)
    console.print(terminal_heatmap(explanation))
    return console.file.getvalue()


def test_a_terminal_gets_the_same_tints():
    _, *tokens = terminal_heatmap(explain("ab", scores=[1.0, -1.0])).spans
    backgrounds = [tuple(Style.parse(str(token.style)).bgcolor.triplet) for token in tokens]
    assert backgrounds == [tints(1)[-1], tints(-1)[-1]]


def test_a_terminal_with_colours_shows_them():
    assert "\x1b[" in in_terminal(explain("ab"), force_terminal=True, color_system="truecolor")


def test_a_pipe_gets_plain_text():
    assert "\x1b" not in in_terminal(explain("ab"))
