"""The report of a comparison: complete, self-contained, and for everybody."""

import html
import json
import re
from html.parser import HTMLParser

import pytest
from axe_playwright_python.sync_playwright import Axe

from clfcore.errors import TuneshotError
from clfcore.evaluation.metrics import METRICS, metric_of
from icl.figures.look import drawing_json
from icl.report.answer_tables import confusions, robustness
from icl.report.crossover import crossover
from icl.report.figures import cost_figure, costs, pareto, styles
from icl.report.findings import Findings, number
from icl.report.page import latest, write_report
from icl.report.sentences import say
from icl.report.tables import everything, markdown, pairs
from icl.report.verdict import verdicts
from tests.support.summaries import HOSTILE, bare_summary, make_summary
from tests.support.visits import CUT_OFF, LOOKS

FOUR = ("world", "sports", "business", "sci_tech")


def one_budget():
    return make_summary(budgets=(64,), seeds=(0,))


SUMMARIES = {
    "whole": make_summary,
    "bare": bare_summary,
    "one budget": one_budget,
    "four labels": lambda: make_summary(labels=FOUR),
    "many labels": lambda: make_summary(labels=tuple(f"label {n}" for n in range(20))),
}
each = pytest.mark.parametrize("make", SUMMARIES.values(), ids=SUMMARIES)


class Reader(HTMLParser):
    """What a page shows, and what it asks for."""

    def __init__(self, page):
        super().__init__()
        self.words, self.cells, self.links, self.tags, self.open = [], [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag in ("script", "style", "td"):
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, text):
        if not {"script", "style"}.intersection(self.open):
            self.words.append(text)
        if "td" in self.open:
            self.cells[-1] += text


def written(tmp_path, summary):
    write_report(summary, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


# --- the file -------------------------------------------------------------------------------------


@each
def test_the_report_is_one_file_below_five_megabytes_that_asks_for_nothing(tmp_path, make):
    page = written(tmp_path, make())
    assert len(page.encode()) < 5_000_000
    assert all(link.startswith(("#", "data:")) for link in Reader(page).links)
    (policy,) = [a["content"] for _, a in Reader(page).tags if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert not re.search(r"script-src[^;]*unsafe-inline", policy)


def test_the_same_summary_gives_the_same_bytes(tmp_path):
    assert written(tmp_path, make_summary()) == written(tmp_path, make_summary())


@each
def test_no_element_has_a_script_of_its_own(tmp_path, make):
    page = Reader(written(tmp_path, make()))
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_what_is_written_in_messages_stays_text(tmp_path):
    page = written(tmp_path, make_summary())
    seen = " ".join(Reader(page).words)
    for text in HOSTILE:
        valid = re.sub("[\ud800-\udfff]", "\ufffd", text) if "\ud83d " in text else text
        assert valid in seen
    assert sum(tag == "script" for tag, _ in Reader(page).tags) == 3
    assert not [tag for tag, _ in Reader(page).tags if tag == "img"]


def test_names_are_not_read_as_html_by_plotly(tmp_path):
    evil = "<b>x</b><a href='http://x'> &amp;"
    summary = make_summary()
    for method in summary["methods"]:
        method["name"] = evil
    summary["metric"] = evil
    for point in summary["points"]:
        point["metrics"][evil] = point["metrics"]["accuracy"]
    summary["crossovers"][0]["sentence"] = evil
    page = written(tmp_path, summary)
    assert evil not in page
    findings = Findings(summary)
    for drawing in (crossover(findings), *(cost_figure(findings, c) for c in costs(findings))):
        content = json.loads(drawing_json(drawing))
        del content["layout"]["meta"]
        assert "<b>x" not in json.dumps(content)


def test_a_summary_as_read_from_the_disk_gives_the_same_report(tmp_path):
    again = json.loads(json.dumps(make_summary()))
    assert written(tmp_path, again) == written(tmp_path, make_summary())


# --- what stands in it ----------------------------------------------------------------------------


@each
def test_every_number_of_the_first_figure_stands_in_a_table(tmp_path, make):
    summary = make()
    findings, metric = Findings(summary), metric_of(summary["metric"])
    cells = " ".join(Reader(written(tmp_path, summary)).cells)
    drawn = [trace for trace in crossover(findings).figure.data if trace.legendgroup]
    for trace in drawn:
        for value in trace.y:
            assert f"{100 * value:.1f}" in cells
    for points in findings.points.values():
        for point in points:
            value, _, ends = metric.interval(findings.quality(point)).partition(" (")
            assert value in cells
            assert ends.rstrip(")") in cells


def test_the_parts_come_in_order_and_the_crossover_first(tmp_path):
    page = written(tmp_path, make_summary())
    parts = re.findall(r'<h2 id="([^"]+)">', page)
    assert parts == ["labels", "cost", "reliability", "sure", "confusion", "robustness", "tests",
                     "disagreements", "figures-all", "again"]  # fmt: skip
    assert [f"#{part}" for part in parts] == re.findall(r'<li><a href="([^"]+)">', page)
    assert re.findall(r'data-figure="([^"]+)"', page)[0] == "crossover"


def test_parts_that_are_missing_are_left_out(tmp_path):
    page = written(tmp_path, bare_summary())
    parts = re.findall(r'<h2 id="([^"]+)">', page)
    assert parts == ["labels", "cost", "confusion", "figures-all", "again"]
    assert re.findall(r'class="place">(\d)', page) == list("12345")
    assert "there is no crossing to look for" in page
    assert "Nothing failed." in page


@pytest.mark.parametrize("missing", ["second", "robustness", "orders", "prices", "memory_mb"])
def test_any_one_part_may_be_missing(tmp_path, missing):
    summary = make_summary() | {missing: bare_summary()[missing]}
    assert "Fine-tuning or" in written(tmp_path, summary)


def test_what_was_not_measured_is_a_dash(tmp_path):
    summary = make_summary(labels=FOUR)
    summary["tests"][0]["difference"] = None
    summary["robustness"]["rows"][0]["drop"] = None
    summary["second"]["rows"][0]["drop"] = None
    summary["points"][0]["metrics"]["balanced_accuracy"] = None
    assert "–" in written(tmp_path, summary)


def test_figures_are_said_in_a_sentence(tmp_path):
    page = html.unescape(written(tmp_path, make_summary()))
    for drawing in (
        crossover(Findings(make_summary())),
        cost_figure(Findings(make_summary()), costs(Findings(make_summary()))[0]),
    ):
        assert drawing.description in page
        assert re.fullmatch(r"[A-Z][^<>\n]*\.", drawing.description)


def test_the_verdict_is_the_first_thing_that_is_said(tmp_path):
    summary = make_summary()
    verdict = say(Findings(summary), verdicts(Findings(summary)))
    page = html.unescape(written(tmp_path, summary))
    places = [page.index(line) for line in verdict.lines[:3]]
    assert places == sorted(places)
    assert page.index("<h1>") < places[0] < page.index("<nav")
    for change in verdict.changes:
        assert change in page
    assert "The verdict for each number of labels" in page


def test_where_less_is_better_the_smallest_is_best():
    findings = Findings(make_summary() | {"metric": "ece"})
    values = [findings.quality(point)["value"] for point in findings.last.values()]
    assert values == sorted(values)


# --- figures --------------------------------------------------------------------------------------


def test_methods_can_be_told_apart_without_colour():
    look = styles(Findings(make_summary()))
    assert len({style.symbol for style in look.values()}) == len(look)
    assert look["fine_tuned"].dash != look["few_shot_topk"].dash != look["knn"].dash


def test_a_crossing_is_drawn_between_its_lines_with_its_interval():
    figure = crossover(Findings(make_summary())).figure
    mark, interval = [trace for trace in figure.data if trace.marker.symbol == "diamond-open"]
    fine, few = (next(t for t in figure.data if t.legendgroup == key and t.mode != "lines")
                 for key in ("fine_tuned", "few_shot_topk"))  # fmt: skip
    assert min(fine.y[0], few.y[0]) < mark.y[0] < max(fine.y[1], few.y[1])
    assert mark.x == interval.x == (70.2,)
    (right,), (left,) = interval.error_x.array, interval.error_x.arrayminus
    assert (70.2 - left, 70.2 + right) == (31.0, 180.0)


def test_a_line_may_cross_a_baseline(tmp_path):
    summary = make_summary()
    zero = summary["crossovers"][0] | {"over": "zero_shot", "budget": 20, "sentence": "over zero"}
    summary["crossovers"].append(zero)
    figure = crossover(Findings(summary)).figure
    marks = [t for t in figure.data if t.marker.symbol == "diamond-open" and t.yaxis is None]
    assert [mark.text[0] for mark in marks] == ["1", "2"]
    assert min(0.53, 0.6) < marks[1].y[0] < 0.65
    assert figure.layout.yaxis2.ticktext == ("crossing 1", "crossing 2")
    page = written(tmp_path, summary)
    assert "<li>Over zero</li></ol>" in page.replace("\n", "")


def test_an_open_end_of_a_crossing_goes_to_the_last_budget():
    summary = make_summary()
    summary["crossovers"][0] |= {"low": None, "high": None}
    interval = crossover(Findings(summary)).figure.data[-1]
    assert (70.2 - interval.error_x.arrayminus[0], 70.2 + interval.error_x.array[0]) == (16, 1024)


def test_a_crossing_that_was_not_found_is_said_and_not_drawn(tmp_path):
    summary = make_summary()
    summary["crossovers"][0] |= {"budget": None, "sentence": "it never crosses"}
    page = written(tmp_path, summary)
    assert "It never crosses" in page
    assert "diamond" not in crossover(Findings(summary)).description


def test_baselines_are_level_lines_and_ticks_are_the_budgets():
    figure = crossover(Findings(make_summary())).figure
    level = [trace for trace in figure.data if trace.legendgroup in ("majority", "zero_shot")]
    assert all(trace.y[0] == trace.y[1] and trace.line.dash == "longdash" for trace in level)
    assert figure.layout.xaxis.tickvals == (16, 128, 1024)
    assert figure.layout.xaxis.type == "log"


@pytest.mark.parametrize(
    ("metric", "front"),
    [(METRICS["accuracy"], [0, 3]), (METRICS["ece"], [1])],
)
def test_the_front_is_what_nothing_beats_in_both(metric, front):
    points = [(1, 0.7), (1, 0.6), (2, 0.7), (3, 0.9), (4, 0.8), (5, 0.9)]
    assert pareto(points, metric) == front


def test_costs_that_are_the_same_for_all_are_no_choice():
    names = [cost.name for cost in costs(Findings(make_summary()))]
    assert "milliseconds for one message" in names
    assert "dollars for 1,000 messages, gpt-4o-mini" in names
    assert "dollars billed for 1,000 messages" not in names  # nothing was


def test_what_costs_nothing_has_a_place_on_the_axis():
    findings = Findings(make_summary())
    (dollars,) = [cost for cost in costs(findings) if "gpt-4o-mini" in cost.name]
    figure = cost_figure(findings, dollars).figure
    assert figure.layout.xaxis.ticktext[0] == "0"
    assert min(min(trace.x) for trace in figure.data) == figure.layout.xaxis.tickvals[0] > 0


# --- tables ---------------------------------------------------------------------------------------


def test_the_worst_of_each_method_is_marked_in_words():
    table = robustness(Findings(make_summary()))
    marked = {row[0].text: [table.columns[n] for n, c in enumerate(row) if c.mark]
              for row in table.rows}  # fmt: skip
    assert set(map(tuple, marked.values())) == {("look-alikes",)}
    assert {"other corpus", "spread over orders", "spread over seeds"} < set(table.columns)


def test_pairs_come_surest_first_and_say_who_is_right_more_often():
    rows = pairs(Findings(make_summary()), 1024).rows
    assert [row[-1].text for row in rows] == ["A", "not told apart", "not told apart"]
    assert [cell.text for cell in rows[0]][4:7] == ["+3.1 (−1.0 to +7.2)", "< 0.001", "0.001"]


def test_of_many_labels_the_most_frequent_mistakes_are_listed():
    table = confusions(Findings(SUMMARIES["many labels"]()))[-1]
    assert table.columns == ["label", "answer", "messages"]
    assert len(table.rows) == 12
    assert [table.columns[0] for table in confusions(Findings(make_summary(labels=FOUR)))] == [
        "label ↓ answer →"
    ] * 5


def test_the_markdown_table_has_a_row_for_each_method_and_budget():
    summary = make_summary()
    summary["methods"][0]["name"] = "a | b\nc"
    header, rule, *rows = markdown(summary).splitlines()
    assert header.startswith("| method | labels | balanced accuracy | accuracy | F1 | AUC |")
    assert set(rule) == set("|- ")
    assert len(rows) == len(summary["points"]) == 11
    assert rows[2].startswith("| a \\| b c | 1,024 | 96.3 % (95.8 – 96.8) |")
    assert {row.replace("\\|", "").count("|") for row in rows} == {header.count("|")}
    assert len(everything(Findings(summary)).rows) == len(rows)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (0.03161, "0.0316"), (2.9, "2.9"), (2.0, "2"), (1430.5, "1,430"),
     (0.00001234, "0.0000123")],
)  # fmt: skip
def test_numbers_have_three_digits_that_count(value, text):
    assert number(value) == text


def test_no_difference_has_no_sign():
    assert [METRICS["accuracy"].change(value) for value in (-0.0001, 0.0, 0.05, -0.05)] == [
        "0.0", "0.0", "+5.0", "−5.0"
    ]  # fmt: skip


# --- which is the newest --------------------------------------------------------------------------


def test_the_latest_report_is_the_newest_comparison(tmp_path):
    import os

    assert latest(tmp_path / "nowhere") is None
    assert latest(tmp_path) is None
    for age, (name, text) in enumerate(
        [("torn", "{"), ("other", '{"format": 9}'), ("new", json.dumps(make_summary())),
         ("old", json.dumps(make_summary()))]
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(text)
        os.utime(tmp_path / name / "summary.json", (1000 - age, 1000 - age))
    assert latest(tmp_path) == tmp_path / "new/summary.json"
    assert latest(tmp_path / "old") == tmp_path / "old/summary.json"


def test_a_file_that_is_no_summary_is_refused_in_one_line(tmp_path):
    (tmp_path / "summary.json").write_text("[]")
    with pytest.raises(TuneshotError, match="is no summary of tuneshot compare"):
        Findings.read(tmp_path / "summary.json")


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
def read(chromium, tmp_path):
    """Opens a report from the disk, without a network; whatever it complains of fails the test."""
    complaints, contexts = [], []

    def open_report(summary, width=1280, height=720, dark=False, **context):
        path = tmp_path / "report.html"
        write_report(summary, path)
        window = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            offline=True,
            **context,
        )
        contexts.append(window)
        tab = window.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        tab.on("request", lambda request: request.url.startswith(("file:", "data:", "blob:"))
               or complaints.append(request.url))  # fmt: skip
        tab.goto(f"file://{path}")
        tab.wait_for_selector("html[data-drawn]", timeout=60_000)
        return tab

    yield open_report
    for window in contexts:
        window.close()
    assert complaints == []


def drawn(tab):
    return tab.locator(".plot").evaluate_all(
        "plots => plots.map(plot => plot.querySelectorAll('.main-svg .trace').length)"
    )


@pytest.mark.browser
@pytest.mark.slow
@each
def test_the_figures_are_drawn_from_the_disk_without_a_network(read, make):
    tab = read(make())
    counts = drawn(tab)
    assert len(counts) == tab.locator("[data-figure]").count() >= 2
    assert min(counts) > 0


@pytest.mark.browser
def test_hostile_messages_are_seen_and_do_nothing(read):
    tab = read(make_summary())
    shown = tab.locator("blockquote").all_inner_texts()
    assert shown[:3] == list(HOSTILE[:3])
    assert tab.locator("blockquote >> css=*").count() == 0
    assert tab.locator("img").count() == 0


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
def test_nobody_is_kept_from_reading_it(read, look):
    tab = read(make_summary(), **LOOKS[look])
    tab.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
    tab.wait_for_timeout(300)
    grave = [
        (rule["id"], node["html"][:160])
        for rule in Axe().run(tab).response["violations"]
        for node in rule["nodes"]
        if rule["impact"] in ("serious", "critical")
    ]
    assert grave == []
    assert tab.evaluate(CUT_OFF) == []


@pytest.mark.browser
def test_the_cost_is_chosen_and_methods_are_hidden_with_the_keyboard(read):
    tab = read(make_summary())
    plot, select = tab.locator("#cost-plot"), tab.locator("#cost-x")
    select.focus()
    tab.keyboard.press("ArrowDown")
    assert "seconds to learn" in plot.get_attribute("aria-label")
    assert plot.locator(".g-xtitle, .xtitle").first.text_content() == "seconds to learn"
    assert "seconds to learn" in tab.locator("figure:has(#cost-plot) figcaption").inner_text()
    before = plot.locator(".trace").count()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Space")
    pressed = tab.locator("figure:has(#cost-plot) button").first
    assert pressed.get_attribute("aria-pressed") == "false"
    assert plot.locator(".trace").count() == before - 1


@pytest.mark.browser
def test_on_paper_nothing_is_folded(read):
    tab = read(make_summary())
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("details:not([open])").count() == 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("details[open]").count() == 0


def test_what_methods_chose_for_themselves_is_in_the_report_and_in_the_table(tmp_path):
    summary = make_summary()
    point = summary["points"][0]
    point["chosen"] = [
        {"settings": {"selector": "topk", "options": {}, "k": 8, "vote": 0.25}, "vote_share": 0.25,
         "summary": "on 80 labelled messages 90.0% right, the default 70.0%"},
        {"k": 7},
    ]  # fmt: skip
    write_report(summary, tmp_path / "report.html")
    report, table = (tmp_path / "report.html").read_text(encoding="utf-8"), markdown(summary)
    for text in (report, table):
        assert "What methods chose by their labelled messages" in text
        assert "selector=topk, k=8, vote=0.25" in text
        assert "on 80 labelled messages 90.0% right, the default 70.0%" in text
    assert "What methods chose" not in markdown(make_summary())
