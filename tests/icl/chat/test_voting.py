"""Which answer is right? Votes below an answer, and the file they become."""

import asyncio

import pytest

from clfcore.data.messages import load_messages
from clfcore.errors import TuneshotError
from icl.cli.tuneshot import main
from icl.session import votes
from icl.session.login_codes import login_configured
from tests.support.chat import handle, make_workers
from tests.support.lazy import lazy

commands = lazy("icl.chat.actions.commands")
state = lazy("icl.chat.state")
voting = lazy("icl.chat.voting")


@pytest.fixture
def signed_in(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TUNESHOT_CODES", "anna:long-enough")
    assert login_configured()


def answered(text="win cash"):
    chat = state.Chat()
    handle(commands.run_command, "compare", commands.Invocation(make_workers(), chat, text, None))
    return chat.turns.newest()


def test_without_a_login_there_is_nothing_to_vote_with():
    turn = answered()
    assert voting.buttons(turn) == []
    with pytest.raises(TuneshotError, match="sign in"):
        asyncio.run(voting.vote({"turn": turn.id, "label": "spam"}))


def test_a_vote_is_kept_and_becomes_a_labelled_message(signed_in, tmp_path, command):
    turn = answered("see you, =not cash")
    buttons = voting.buttons(turn)
    assert [button.label for button in buttons] == ["It is not spam", "It is spam"]
    handle(voting.vote, buttons[1].payload)
    out = tmp_path / "votes.tsv"
    status, said, _ = command(main, "tuneshot", "votes", "export", out)
    assert (status, said) == (0, f"{out}: 1 labelled messages\n")
    assert [(e.label, e.text) for e in load_messages(out).examples] == [
        ("spam", "see you, =not cash")
    ]


def test_nobody_votes_or_gives_a_thumb_for_the_message_of_another(signed_in, monkeypatch):
    monkeypatch.setattr("icl.chat.voting.visitor", lambda: "anna")
    turn = answered()
    monkeypatch.setattr("icl.chat.voting.visitor", lambda: "ben")
    with pytest.raises(TuneshotError, match="not remembered"):
        handle(voting.vote, {"turn": turn.id, "label": "spam"})
    handle(voting.thumb, turn.id, True, "ben's")
    assert not votes.votes_file().exists()
    monkeypatch.setattr("icl.chat.voting.visitor", lambda: "anna")
    handle(voting.vote, {"turn": turn.id, "label": "spam"})
    handle(voting.thumb, turn.id, True, "anna's")
    assert {vote.who for vote in votes.read()} == {votes.anonymous("anna")}
    assert len(votes.read()) == 2


@pytest.mark.parametrize("payload", [{}, {"turn": ["x"]}, {"turn": "made up", "label": "spam"}])
def test_a_vote_on_a_turn_that_never_was_is_refused(signed_in, payload):
    with pytest.raises(TuneshotError, match="answer"):
        handle(voting.vote, payload)


def test_a_label_that_is_none_is_refused(signed_in):
    turn = answered()
    with pytest.raises(TuneshotError, match="choose from ham, spam"):
        handle(voting.vote, {"turn": turn.id, "label": "<b>"})


def test_exporting_nothing_says_what_to_do(signed_in, tmp_path, command):
    status, _, said = command(main, "tuneshot", "votes", "export", tmp_path / "votes.tsv")
    assert status != 0
    assert "votes" in said
    assert "Traceback" not in said
