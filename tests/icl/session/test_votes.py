"""Votes: what is kept of them, and which labelled messages they make."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.data.messages import load_pool
from clfcore.data.split import normal_form
from clfcore.errors import TuneshotError
from clfcore.types import Example, Prediction
from icl.session import votes
from icl.session.session import MethodResult, RecentTurns, Reply, Turn
from icl.session.settings import Settings
from icl.session.votes import anonymous, export, majority_labels, read, record

SETTINGS = Settings(selector="knn", k=8, added=(Example("see you", "ham"),))
REPLY = Reply(
    (
        MethodResult(
            "fine_tuned", SETTINGS, "gpt2-mini", Prediction("ham", {"ham": 0.75, "spam": 0.25}, 1)
        ),
        MethodResult(
            "few_shot", SETTINGS, "reader", Prediction("spam", {"ham": 0.1, "spam": 0.9}, 1)
        ),
    )
)
TURN = Turn("t1", "win cash", SETTINGS, REPLY)


@pytest.fixture(autouse=True)
def data(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESHOT_DATA", str(tmp_path / "data"))
    votes._open.cache_clear()


def vote(right, text="win cash", who="anna", turn="t1"):
    return votes.vote(replace(TURN, id=turn, text=text), right, who)


# --- turns and the file -------------------------------------------------------------------------


def test_a_vote_is_one_line_with_what_the_server_saw():
    record(votes.vote(TURN, "spam", anonymous("anna")))
    record(votes.thumb(TURN, up=False, comment="why?", who=anonymous("anna")))
    first, second = (json.loads(line) for line in votes.votes_file().read_text().splitlines())
    assert first | {"time": "", "who": ""} == {
        "time": "",
        "who": "",
        "turn": "t1",
        "text": "win cash",
        "settings": first["settings"],
        "answers": [
            {"method": "fine_tuned", "model": "gpt2-mini", "label": "ham", "p": 0.75},
            {"method": "few_shot", "model": "reader", "label": "spam", "p": 0.9},
        ],
        "right": "spam",
        "thumb": None,
        "comment": "",
    }
    kept = {"selector": "knn", "k": 8, "order": "similar_last", "task": "sms_spam", "taught": 1}
    assert kept.items() <= first["settings"].items()
    assert "see you" not in str(first)
    assert (second["right"], second["thumb"], second["comment"]) == ("", 0, "why?")
    assert votes.votes_file().stat().st_mode & 0o077 == 0


def test_what_is_written_is_read():
    written = [votes.vote(TURN, "ham"), votes.vote(TURN, "spam", "x"), votes.thumb(TURN, up=True)]
    for one in written:
        record(one)
    assert read() == written


def test_a_method_without_an_answer_is_no_answer():
    half = Reply((MethodResult("fine_tuned", SETTINGS, problem="no checkpoint"), REPLY.results[1]))
    turn = Turn("t", "hi", SETTINGS, half)
    assert [answer.method for answer in votes.vote(turn, "ham").answers] == ["few_shot"]
    assert turn.labels == ("ham", "spam")


def test_only_a_label_that_could_have_been_the_answer_can_be_voted_for():
    with pytest.raises(TuneshotError, match="choose from ham, spam"):
        votes.vote(TURN, "<script>")


def test_recent_turns_are_found_and_older_ones_are_forgotten():
    turns = RecentTurns(limit=2)
    for n in "123":
        turns.add(replace(TURN, id=n))
    assert turns.find("3").id == "3"
    for id in ("1", "nothing", None, ["3"], {"id": "3"}):
        with pytest.raises(TuneshotError, match="not remembered"):
            turns.find(id)


def test_a_name_is_always_the_same_digits_and_never_itself():
    assert anonymous("anna") == anonymous("anna") != anonymous("ben")
    assert len(anonymous("anna")) == 16
    assert anonymous("") == anonymous(None) == ""
    record(votes.vote(TURN, "spam", anonymous("anna")))
    assert "anna" not in votes.votes_file().read_text()


def test_a_line_that_a_crash_has_cut_is_gone_and_the_next_vote_is_whole():
    record(votes.vote(TURN, "spam"))
    with votes.votes_file().open("a") as file:
        file.write('{"time": "20')
    votes._open.cache_clear()  # as in a new process
    record(votes.vote(TURN, "ham"))
    assert [one.right for one in read()] == ["spam", "ham"]


@pytest.mark.parametrize("line", ["{}", "[]", '{"answers": 1}', '{"answers": [], "x": 1}', "x"])
def test_a_line_that_is_no_vote_is_named(line):
    record(votes.vote(TURN, "spam"))
    with votes.votes_file().open("a") as file:
        file.write(line + "\n")
    with pytest.raises(TuneshotError, match="line 2"):
        read()


def test_no_votes_yet_is_one_line():
    with pytest.raises(TuneshotError, match="no votes at"):
        read()


# --- labelled messages --------------------------------------------------------------------------


def test_the_last_vote_of_a_person_counts():
    assert [e.label for e in majority_labels([vote("ham"), vote("spam")]).examples] == ["spam"]
    assert [
        e.label for e in majority_labels([vote("ham", turn="1"), vote("spam", turn="2")]).examples
    ] == ["spam"]


def test_the_majority_wins_and_a_tie_is_dropped_and_counted():
    against = [vote("ham", who="a"), vote("spam", who="b")]
    assert majority_labels(against) == ([], 1)
    assert [e.label for e in majority_labels([*against, vote("spam", who="c")]).examples] == [
        "spam"
    ]


def test_visitors_without_a_name_have_one_voice_a_turn():
    nameless = [vote("ham", who="", turn=n) for n in "112"] + [vote("spam", who="", turn="3")]
    assert [e.label for e in majority_labels(nameless).examples] == ["ham"]


def test_a_thumb_says_nothing_about_the_label():
    assert majority_labels([votes.thumb(TURN, up=True)]) == ([], 0)


texts = st.sampled_from(["win cash", "WIN  cash", "see you", "a\tb\nc", "d\r\ne", "\u2028f\u0085"])
ballots = st.lists(
    st.builds(
        vote,
        st.sampled_from(["ham", "spam"]),
        texts | st.text(min_size=1).filter(str.strip),
        st.sampled_from(["a", "b", "c", ""]),
        st.sampled_from("123"),
    ),
    max_size=30,
)


@given(ballots)
def test_each_text_is_an_example_or_a_tie_and_has_its_majority(cast):
    result = majority_labels(cast)
    voted = {normal_form(one.text) for one in cast}
    decided = [normal_form(example.text) for example in result.examples]
    assert len(set(decided)) == len(decided)
    assert len(decided) + result.ties == len(voted)
    for example in result.examples:
        last = {}
        for one in cast:
            if normal_form(one.text) == normal_form(example.text):
                last[one.who or f"{one.turn} turn"] = one.right
        counts = Counter(last.values())
        assert counts[example.label] > sum(counts.values()) - counts[example.label]


@given(ballots)
def test_people_in_another_order_agree_on_the_same(cast):
    """Votes of different people may come in any order; each person's own order matters."""
    by_person = sorted(cast, key=lambda one: one.who or f"turn {one.turn}")

    def labels(result):
        return {(normal_form(e.text), e.label) for e in result.examples}, result.ties

    assert labels(majority_labels(cast)) == labels(majority_labels(by_person))


@settings(max_examples=50)
@given(cast=ballots)
def test_what_is_exported_is_what_the_readers_of_both_programs_find(tmp_path_factory, cast):
    folder = tmp_path_factory.mktemp("votes")
    for one in cast:
        record(one, folder / "votes.jsonl")
    if not cast or not majority_labels(cast).examples:
        with pytest.raises(TuneshotError):
            export(folder / "votes.jsonl", folder / "out.tsv")
        return
    result = export(folder / "votes.jsonl", folder / "out.tsv")
    found = load_pool(folder / "out.tsv").examples
    assert [e.label for e in found] == [e.label for e in result.examples]
    expected = [e.text.encode("utf-8", "replace").decode() for e in result.examples]
    assert [normal_form(e.text) for e in found] == [normal_form(text) for text in expected]
    assert all("\n" not in e.text and "\r" not in e.text for e in found)


def test_tabs_and_quotes_survive_the_export(tmp_path):
    for n, text in enumerate(('say "hi"\tnow', "label\ttext", "a\nb")):
        record(vote("ham", text, turn=str(n)))
    export(None, tmp_path / "out.tsv")
    found = [example.text for example in load_pool(tmp_path / "out.tsv").examples]
    assert found == ['say "hi"\tnow', "label\ttext", "a b"]


def test_each_task_has_an_export_of_its_own(tmp_path):
    record(vote("ham"))
    record(replace(vote("ham", "a goal"), right="sports", settings={"task": "ag_news"}))
    export(None, tmp_path / "out.tsv", "ag_news")
    assert [e.label for e in load_pool(tmp_path / "out.tsv").examples] == ["sports"]
    with pytest.raises(TuneshotError, match="task sst2"):
        export(None, tmp_path / "out.tsv", "sst2")


def test_the_name_of_the_export_must_tell_its_form(tmp_path):
    record(vote("ham"))
    with pytest.raises(TuneshotError, match=r"\.tsv"):
        export(None, tmp_path / "out.csv")
