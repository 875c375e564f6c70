"""Which column has the messages and which the labels."""

import pytest

from clfcore.data.columns import ALIASES, find_columns
from clfcore.errors import TuneshotError

BOTH = {"text": None, "label": None}


def found(header, **wanted):
    columns = find_columns(header, wanted or BOTH, "a.csv")
    return {role: header[column] for role, column in columns.items()}


@pytest.mark.parametrize(("role", "other"), [("text", "label"), ("label", "text")])
def test_every_alias_is_known_in_any_case_and_as_a_plural(role, other):
    for alias in ALIASES[role]:
        for name in (alias, alias.upper(), f" {alias.title()} ", f'"{alias}"', f"\ufeff{alias}"):
            assert found(["x", name, "y", other]) == {role: name, other: other}


@pytest.mark.parametrize(
    ("header", "text", "label"),
    [
        ("v1,v2,,,", "v2", "v1"),
        (",text,label", "text", "label"),
        ("Unnamed: 0,review_text,stars", "review_text", "stars"),
        ("reviewerID,reviewText,overall_rating", "reviewText", "overall_rating"),
        ("id,comment_text,toxic", "comment_text", "toxic"),
        ("text,label,label_text", "text", "label"),
        ("label,text,label_num", "text", "label"),
        ("tweet_id,airline_sentiment,airline_sentiment_confidence,name,text", "text",
         "airline_sentiment"),
        ("target,ids,date,flag,user,text", "text", "target"),
        ("Comments,Categories", "Comments", "Categories"),
        ("sentence,sentiment", "sentence", "sentiment"),
        ("feedback,verdict", "feedback", "verdict"),
        ("Class Index,Description", "Description", "Class Index"),
        ("message_length,message,class_name", "message", "class_name"),
        ("Nachricht,label", "Nachricht", "label"),
        ("text,Urteil", "text", "Urteil"),
        ("nr,text,Urteil", "text", "Urteil"),
        ("text_label,body_text", "body_text", "text_label"),
    ],
)  # fmt: skip
def test_names_people_use_are_understood(header, text, label):
    assert found(header.split(",")) == {"text": text, "label": label}


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("a,b", "no column 'text' and no column 'label'; its header is: a, b; name the column so"),
        ("a,b,text", "no column 'label'; its header is: a, b, text; name the column so, or say "),
        (
            "text,text,label",
            "2 columns for the text: 'text', 'text'; choose one with --text-column",
        ),
        (
            "text,rating,verdict",
            "2 columns for the label: 'rating', 'verdict'; choose one with --l",
        ),
        ("text,message_id,date", "no column 'label'; its header is"),
    ],
)
def test_what_is_not_clear_is_asked_for(header, complaint):
    with pytest.raises(TuneshotError) as caught:
        found(header.split(","))
    assert complaint in str(caught.value)


def test_a_wide_header_is_not_shown_whole():
    with pytest.raises(TuneshotError) as caught:
        found([f"column {n}" for n in range(500)])
    assert "column 11, … (500 in all);" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_users_names_go_before_all_others_and_leave_the_other_column_to_be_found():
    header = ["text", "label", "Nachricht", "Art"]
    assert found(header, text="nachricht", label="ART") == {"text": "Nachricht", "label": "Art"}
    assert found(["Nachricht", "Art"], text="nachricht", label=None) == {
        "text": "Nachricht",
        "label": "Art",
    }
    with pytest.raises(TuneshotError, match="'text' cannot be both text and label"):
        found(header, text="text", label="text")


def test_a_role_that_may_be_missing_is_taken_only_by_its_name():
    for header, expected in (
        (["text", "n"], {"text": 0}),
        (["text", "Urteil"], {"text": 0}),
        (["Nachricht", "label"], {"text": 0, "label": 1}),
    ):
        assert find_columns(header, BOTH, "a.csv", optional=["label"]) == expected
