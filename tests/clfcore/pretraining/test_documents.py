"""Texts become documents, two parts, and blocks: nothing is lost, nothing is read twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.data.messages import sample_messages
from clfcore.data.split import normal_form
from clfcore.errors import TuneshotError
from clfcore.model.spec import END_OF_TEXT
from clfcore.model.tokenizer import encode
from clfcore.pretraining.documents import pack, read_documents, split_documents

TEXTS = st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=8)


@given(TEXTS, st.integers(1, 9))
def test_packing_loses_no_token_and_repeats_none(texts, size):
    blocks = pack(texts, encode, END_OF_TEXT, size)
    asked = [token for text in texts for token in (*encode(text), END_OF_TEXT)]
    assert np.concatenate(blocks.following).tolist() == asked
    assert np.concatenate(blocks.read).tolist() == [END_OF_TEXT, *asked[:-1]]
    assert blocks.tokens == len(asked)
    *full, last = map(len, blocks.read)
    assert set(full) <= {size}
    assert 1 <= last <= size
    assert list(map(len, blocks.following)) == [*full, last]


def test_a_text_that_spells_the_end_of_text_token_ends_nothing():
    blocks = pack(["a<|endoftext|>b"], encode, END_OF_TEXT, 99)
    assert blocks.following[0].tolist().count(END_OF_TEXT) == 1


@given(st.lists(st.sampled_from(["a", "A ", "b", " c", "C", "d", ""]), max_size=30), st.integers())
def test_no_document_has_a_copy_in_the_other_part(texts, seed):
    different = {normal_form(text) for text in texts if text.strip()}
    if len(different) < 2:
        with pytest.raises(TuneshotError, match="at least two different documents"):
            split_documents(texts, "here", 0.3, abs(seed))
        return
    parts = split_documents(texts, "here", 0.3, abs(seed))
    train, held_out = ({normal_form(t) for t in part} for part in (parts.train, parts.held_out))
    assert train.isdisjoint(held_out)
    assert train | held_out == different
    assert sorted(parts.train + parts.held_out) == sorted(t for t in texts if t.strip())
    assert len(held_out) == min(len(different) - 1, max(1, round(0.3 * len(different))))


def test_the_test_part_of_labelled_messages_is_not_read(monkeypatch):
    messages = sample_messages()
    monkeypatch.setattr("clfcore.pretraining.documents.load_messages", lambda *_: messages)
    split, documents = messages.split(), read_documents(None)
    text_of = [example.text for example in messages.examples]
    assert documents.train == [text_of[row] for row in split.train]
    assert documents.held_out == [text_of[row] for row in split.val]
    assert documents.unread == len(split.test)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("row", ["One line", "goes on.", "Two lines.", "The end"]),
        ("paragraph", ["One line\ngoes on.", "Two lines.\nThe end"]),
    ],
)
def test_what_a_document_is_can_be_chosen(tmp_path, document, expected):
    path = tmp_path / "book.txt"
    path.write_text("One line\ngoes on.\n \nTwo lines.\nThe end\n")
    parts = read_documents(str(path), document)
    assert sorted(parts.train + parts.held_out) == sorted(expected)


def test_every_file_of_a_folder_can_be_a_document(tmp_path):
    for name in ("a.txt", "b.md", "c/d.txt", "c/e.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"This is {name}.\n\nIt has two paragraphs.")
    parts = read_documents(str(tmp_path), "file")
    assert len(parts.train + parts.held_out) == 3
    assert "This is a.txt.\n\nIt has two paragraphs." in parts.train + parts.held_out


def test_labels_that_no_classifier_could_learn_are_no_reason_to_refuse_the_texts(tmp_path):
    path = tmp_path / "rated.csv"
    path.write_text("text,label\nfine,1\nbad,2\nquite good,3\n")
    parts = read_documents(str(path))
    assert (len(parts.train), len(parts.held_out), parts.unread) == (2, 1, 0)


@pytest.mark.parametrize(
    ("content", "document", "said"),
    [
        ("", "row", "holds no text"),
        (" \n\n \n", "paragraph", "holds no text"),
        ("once\nONCE \n", "row", "holds one document"),
        ("one\ntwo", "file", "holds one document"),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(tmp_path, content, document, said):
    path = tmp_path / "some.txt"
    path.write_text(content)
    with pytest.raises(TuneshotError, match=said):
        read_documents(str(path), document)


def test_a_place_where_nothing_is_and_a_folder_without_texts_are_one_line(tmp_path):
    with pytest.raises(TuneshotError, match=r"there is no .*nothing; give a text file"):
        read_documents(str(tmp_path / "nothing"))
    with pytest.raises(TuneshotError, match=r"holds no .txt or .md file"):
        read_documents(str(tmp_path), "file")
    with pytest.raises(TuneshotError, match="add --data"):
        read_documents(None, "file")
