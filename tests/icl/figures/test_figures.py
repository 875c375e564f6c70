import html
import json
import re
from dataclasses import replace

import networkx as nx
import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icl.figures.answers import confusion, loss_curve, sweep_lines, word_effects
from icl.figures.look import COLORS, SYMBOLS, drawing_json, escaped
from icl.figures.maps import PoolMap, neighbourhood
from icl.figures.pool import pool_map, vote_graph
from icl.selectors.votek import VoteKPool
from tests.support.doubles import EXAMPLES, HashedWords, make_pool

EVIL = "<b>x</b><a href='http://x'> &amp; <br>"
LABELS = {"ham": "not spam", "spam": "spam"}
POOL = make_pool([e.text for e in EXAMPLES], [e.label for e in EXAMPLES])


def draw_map(pool=POOL, text="free prize", demonstrations=(4, 0), picks=(), labels=LABELS):
    (vector,) = HashedWords().embed([text])
    return pool_map(PoolMap(pool), labels, text, vector, demonstrations, picks)


def draw_votes(pool=POOL, text="free prize", demonstrations=(), labels=LABELS):
    (vector,) = HashedWords().embed([text])
    selector = VoteKPool(annotate=4, neighbours=3).fit(pool)
    return vote_graph(
        neighbourhood(selector, text, vector, selector.picks[: len(demonstrations)]), labels
    )


DRAWN = {
    "map": lambda: draw_map(picks=(1, 2)),
    "votes": lambda: draw_votes(demonstrations=(1, 2)),
    "sweep": lambda: sweep_lines("spam", [(0, 0.4), (4, 0.8)], [0.7, 0.8, 0.9], 4),
    "loss": lambda: loss_curve([1, 2, 3], [0.7, 0.5, 0.3], [0.6, None, 0.4], 3),
    "confusion": lambda: confusion([[9, 1], [2, 6]], ["not spam", "spam"], "Fine-tuned"),
    "words": lambda: word_effects([("free", 1.5), ("dinner", -0.5)], "spam", "log-odds"),
}
each = pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)


def trace(drawing, name):
    (found,) = [trace for trace in drawing.figure.data if trace.name == name]
    return found


def strings(value) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in inner for text in strings(part)]


def texts_of(drawing) -> list[str]:
    """Everything that Plotly may read as HTML."""
    content = json.loads(drawing_json(drawing))
    del content["layout"]["meta"]  # for screen readers; Plotly draws it nowhere
    return strings(content)


# --- every figure -------------------------------------------------------------------------------


@each
def test_a_figure_stands_on_any_page_and_needs_nothing_from_outside(draw):
    content = json.loads(drawing_json(draw()))
    layout = content["layout"]
    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0,0,0,0)"
    assert layout["font"]["color"] == "#888"
    assert content["config"] == {"displayModeBar": False, "responsive": True}
    assert "width" not in layout
    assert not [text for text in texts_of(draw()) if "http" in text]


@each
def test_a_figure_is_said_in_one_plain_sentence(draw):
    drawing = draw()
    assert re.fullmatch(r"[A-Z].*\.", drawing.description)
    assert not re.search(r"\. [A-Z]|[<>\n]", drawing.description)
    assert drawing.figure.layout.meta["description"] == drawing.description


@each
def test_what_the_page_gets_is_the_figure(draw):
    drawing = draw()
    content = json.loads(drawing_json(drawing))
    del content["config"]
    assert go.Figure(content) == drawing.figure


@pytest.mark.parametrize(
    "draw",
    [
        lambda: draw_map(
            make_pool([EVIL, "dinner at six", EVIL * 2], ["ham", EVIL, EVIL]), EVIL, (0, 2), (1,),
            {"ham": "ham", EVIL: EVIL},
        ),
        lambda: draw_votes(
            make_pool([EVIL, "dinner at six", EVIL * 2], ["ham", EVIL, EVIL]), EVIL, (1, 2),
            {"ham": "ham", EVIL: EVIL},
        ),
        lambda: sweep_lines(EVIL, [(0, 0.4)], [0.4], 0),
        lambda: confusion([[1, 0], [0, 1]], [EVIL, "spam"], EVIL),
        lambda: word_effects([(EVIL[:20], 1.0)], EVIL, EVIL),
    ],
    ids=["map", "votes", "sweep", "confusion", "words"],
)  # fmt: skip
def test_nothing_that_a_user_wrote_is_interpreted(draw):
    texts = texts_of(draw())
    assert any("&lt;b&gt;x&lt;/b&gt;" in text for text in texts)
    for text in texts:
        assert not re.search(r"<(?!/?b>|br>|/?extra>)", text)  # ours
        assert "<b>x" not in text


@given(st.text())
def test_plain_text_is_one_line_that_reads_the_same(text):
    shown = escaped(text)
    assert not re.search(r"[<>\n\r]|&(?!amp;|lt;|gt;)", shown)
    assert html.unescape(shown) == " ".join(text.encode("utf-8", "replace").decode().split())


def test_half_a_surrogate_pair_does_not_break_the_page():
    drawing = draw_map(make_pool(["win \ud83d", "dinner"], ["spam", "ham"]), "\udc00", (0,))
    assert drawing_json(drawing).encode()


# --- the map ------------------------------------------------------------------------------------


def test_the_map_shows_labels_by_colour_and_by_marker():
    drawing = draw_map()
    ham, spam = trace(drawing, "not spam"), trace(drawing, "spam")
    assert (len(ham.x), len(spam.x)) == (6, 4)
    assert (ham.marker.color, spam.marker.color) == COLORS[:2]
    assert (ham.marker.symbol, spam.marker.symbol) == SYMBOLS[:2]
    assert np.gcd(len(COLORS), len(SYMBOLS)) == 1


def test_a_label_keeps_its_colour_whatever_the_pool_begins_with():
    drawing = draw_map(make_pool(["win", "dinner"], ["spam", "ham"]), demonstrations=())
    assert trace(drawing, "spam").marker.color == COLORS[1]


def test_demonstrations_are_ringed_and_numbered_in_prompt_order():
    drawing = draw_map(demonstrations=[7, 0, 4])
    places = PoolMap(POOL).points[[7, 0, 4]]
    rings = trace(drawing, "examples")
    assert np.transpose([rings.x, rings.y]) == pytest.approx(places, abs=1e-3)
    badges = [(badge.text, badge.x, badge.y) for badge in drawing.figure.layout.annotations]
    assert [text for text, _, _ in badges] == ["<b>1</b>", "<b>2</b>", "<b>3</b>"]
    assert [at for _, *at in badges] == [pytest.approx(place, abs=1e-3) for place in places]
    assert "not spam, example 1, similarity 0." in rings.hovertext[0]
    assert "3 numbered rings" in drawing.description


def test_eight_badges_of_one_point_do_not_cover_each_other():
    pool = replace(POOL, vectors=np.repeat(POOL.vectors[:1], len(POOL), axis=0))
    drawing = draw_map(pool, demonstrations=range(8))
    ends = np.array([(badge.ax, badge.ay) for badge in drawing.figure.layout.annotations])
    apart = np.linalg.norm(ends[:, None] - ends, axis=2) + 99 * np.eye(8)
    assert apart.min() > 25  # pixels


def test_the_query_is_a_star_and_picks_are_diamonds():
    drawing = draw_map(text=POOL.texts[2], picks=(3, 5))
    star = trace(drawing, "your message")
    assert star.marker.symbol == "star"
    assert (star.x[0], star.y[0]) == pytest.approx(tuple(PoolMap(POOL).points[2]), abs=1e-3)
    assert trace(drawing, "picks").marker.symbol == "diamond-open"
    assert "spam, pick 1" in trace(drawing, "picks").hovertext[0]


def test_a_map_without_demonstrations_shows_the_query_alone():
    assert {t.name for t in draw_map(demonstrations=()).figure.data} == {
        "not spam", "spam", "your message",
    }  # fmt: skip


def test_hover_texts_are_cut_at_eighty_characters():
    long = "win " * 100
    drawing = draw_map(make_pool([long, "dinner"], ["spam", "ham"]), demonstrations=())
    (hover,) = trace(drawing, "spam").hovertext
    head, *lines = hover.split("<br>")
    assert head == "<b>spam</b>"
    assert len(" ".join(lines)) == 80
    assert hover.endswith("…")


def test_a_map_of_a_large_pool_stays_small():
    generator = np.random.default_rng(0)
    pool = make_pool([f"{row} " + "free prize now " * 20 for row in range(4000)])
    pool = replace(pool, vectors=generator.normal(size=(4000, 64)).astype(np.float32))
    drawing = draw_map(pool, demonstrations=range(16), picks=range(100, 200))
    assert len(trace(drawing, "not spam").x) == 1500
    assert len(drawing_json(drawing).encode()) < 250_000


# --- the graph ----------------------------------------------------------------------------------


def test_each_vote_is_an_arrow_from_the_voter_to_the_pick():
    graph = nx.DiGraph()
    graph.add_node("query", role="query", text="free", label="", x=0.0, y=0.0)
    graph.add_node(3, role="pick", text="prize", label="spam", votes=9, shown=1, x=1.0, y=0.0)
    graph.add_node(5, role="voter", text="win", label="spam", x=2.0, y=0.5)
    graph.add_edges_from([("query", 3), (5, 3)])
    drawing = vote_graph(graph, LABELS)
    arrows, thread = drawing.figure.data[:2]
    assert (arrows.x, arrows.y) == ((2, 1, None), (0.5, 0, None))
    assert arrows.marker.size == (0, 8, 0)
    assert thread.x == (0, 1, None)
    assert "spam, 9 votes" in trace(drawing, "picks").hovertext[0]
    assert [badge.text for badge in drawing.figure.layout.annotations] == ["<b>1</b>"]
    assert "1 messages that voted" in drawing.description


# --- the lines ----------------------------------------------------------------------------------


def test_a_sweep_is_a_line_over_k_and_points_over_orders():
    drawing = sweep_lines("spam", [(0, 0.4), (2, 0.6), (8, 0.9)], [0.55, 0.7], 2)
    line, points = drawing.figure.data
    assert (line.x, line.y) == ((0, 2, 8), (0.4, 0.6, 0.9))
    assert line.marker.size[1] > line.marker.size[0] == line.marker.size[2]
    assert points.y == (0.55, 0.7)
    assert drawing.description == (
        "The probability of spam by the number of examples: 40% with 0, 60% with 2, 90% with 8; "
        "from 55% to 70% over 2 orders of the same 2."
    )


def test_a_loss_that_was_not_measured_is_left_out_and_one_that_is_not_finite_is_a_gap():
    drawing = loss_curve([1, 2, 3], [0.7, float("nan"), 0.5], [0.6, None, 0.4], 9)
    training, validation = drawing.figure.data
    assert (training.x, training.y) == ((1, 2, 3), (0.7, None, 0.5))
    assert (validation.x, validation.y) == ((1, 3), (0.6, 0.4))
    assert "training loss went from 0.700 to 0.500" in drawing.description


def test_a_loss_curve_may_be_drawn_before_there_is_a_point():
    assert json.loads(drawing_json(loss_curve([], [], [], 9)))["data"][0]["y"] == []


# --- the bars and the matrix --------------------------------------------------------------------


def test_a_confusion_matrix_has_counts_and_the_percentage_of_its_row():
    drawing = confusion([[90, 10], [0, 0]], ["not spam", "spam"], "Few-shot")
    assert drawing.figure.data[0].text[0] == ["90<br>90.0%", "10<br>10.0%"]
    assert drawing.figure.data[0].z[1] == [0, 0]  # no such message, no share
    assert drawing.description.startswith("Few-shot: of 100 not spam, 90 as not spam, 10 as spam;")


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(-9, 9)), max_size=30))
def test_the_strongest_words_are_drawn_strongest_first_even_if_a_word_is_there_twice(words):
    figure = word_effects(words, "spam", "log-odds").figure
    effects = figure.data[0].x
    assert sorted(map(abs, effects), reverse=True) == [abs(effect) for effect in effects]
    assert [abs(effect) for effect in effects] == sorted((abs(e) for _, e in words))[::-1][:12]
    shown = zip(figure.layout.yaxis.ticktext or (), effects, strict=True)
    assert set(shown) <= set(words)
    assert len(set(figure.data[0].y)) == len(effects)


# --- in a browser -------------------------------------------------------------------------------


@pytest.mark.browser
def test_plotly_shows_what_a_user_wrote_letter_by_letter(chromium, tmp_path):
    drawing = word_effects([("<b>x</b>", 1.0), ("<a href='http://x'>y", 0.5)], "spam", "log-odds")
    drawing.figure.write_html(tmp_path / "figure.html", include_plotlyjs=True)
    page = chromium.new_page()
    page.goto(f"file://{tmp_path}/figure.html")
    page.wait_for_selector(".ytick text")
    assert page.locator(".ytick text").all_text_contents() == ["<b>x</b>", "<a href='http://x'>y"]
    assert page.locator("svg a").count() == 0
