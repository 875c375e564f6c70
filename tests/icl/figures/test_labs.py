"""Figures of the labs say what they are given, and interpret nothing."""

import json

import pytest

from icl.figures.labs import attention_map, old_task_by_step, sizes_and_errors
from icl.figures.look import drawing_json

CAUSAL = [[1.0, 0.0], [0.25, 0.75]]


def figure_of(drawing):
    return json.loads(drawing_json(drawing))


def test_attention_has_a_row_for_who_looks_and_a_column_for_who_is_looked_at():
    drawing = attention_map(["win", "now"], CAUSAL, "layer 1 of 4, head 2")
    figure = figure_of(drawing)
    (heat,) = figure["data"]
    assert heat["z"] == [[1.0, None], [0.25, 0.75]]  # what cannot be looked at is empty
    assert figure["layout"]["xaxis"]["ticktext"] == ["win", "now"]
    assert figure["layout"]["yaxis"]["ticktext"] == ["win", "now"]
    assert figure["layout"]["yaxis"]["autorange"] == "reversed"  # the first token is on top
    assert drawing.description == (
        "Attention, layer 1 of 4, head 2: the last token, now, looks most at now, with a share of "
        "75%."
    )


def test_what_only_is_looked_at_has_no_row():
    figure = figure_of(attention_map(["[1]", "win"], [[0.5, 0.5]], "layer 1"))
    assert figure["layout"]["yaxis"]["ticktext"] == ["win"]


def test_a_token_that_looks_like_html_is_shown_as_it_is():
    figure = figure_of(attention_map(["<b>", "&"], CAUSAL, "<i>"))
    assert figure["layout"]["xaxis"]["ticktext"] == ["&lt;b&gt;", "&amp;"]
    assert figure["layout"]["title"]["text"] == "&lt;i&gt;"
    assert "<b>" not in json.dumps(figure["data"])


def test_numbers_are_written_into_a_small_heat_map_only():
    def written(count):
        rows = [[1 / (row + 1)] * (row + 1) + [0.0] * (count - row - 1) for row in range(count)]
        return "texttemplate" in figure_of(attention_map(["a"] * count, rows, ""))["data"][0]

    assert written(12)
    assert not written(13)


def test_a_model_stands_where_its_size_and_error_are():
    drawing = sizes_and_errors([("float32", 64.4, 0.0), ("nf4", 8.3, 0.095)])
    (points,) = figure_of(drawing)["data"]
    assert (points["x"], points["y"]) == ([64.4, 8.3], [0.0, 0.095])
    assert points["text"] == [" float32", " nf4"]
    assert "nf4 8.3 MB and 10%" in drawing.description
    low, high = figure_of(drawing)["layout"]["xaxis"]["range"]
    assert 10**low < 8.3
    assert 10**high == pytest.approx(64 * 1.2 * 2)  # beyond the next tick


def test_each_remedy_has_a_line_by_step():
    drawing = old_task_by_step({"none": ([0, 5], [0.96, 0.9]), "<b>": ([0, 5], [0.96, 0.95])})
    none, other = figure_of(drawing)["data"]
    assert (none["x"], none["y"], none["name"]) == ([0, 5], [0.96, 0.9], "none")
    assert other["name"] == "&lt;b&gt;"
    assert none["line"]["color"] != other["line"]["color"]
    assert none["marker"]["symbol"] != other["marker"]["symbol"]
    assert "none 90%" in drawing.description
