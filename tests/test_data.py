"""Reading, recognising and splitting messages."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore import data
from clfcore.errors import TuneshotError
from clfcore.types import Example

CORPUS = Path(__file__).parent.parent.parent / "shared/data/sms_spam/SMSSpamCollection"
needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="needs ../shared/data/sms_spam")


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


# --- reading ------------------------------------------------------------------------------------


def test_every_line_of_the_file_is_one_message(tmp_path):
    """Default CSV quoting would merge these three lines into one."""
    file = write(tmp_path / "sms", 'ham\tshe said "ok\nspam\tWIN "£100\nham\tbye"\n')
    assert data.read_labelled(file) == [
        Example('she said "ok', "ham"),
        Example('WIN "£100', "spam"),
        Example('bye"', "ham"),
    ]


def test_only_the_first_tab_separates_and_exotic_line_ends_are_text(tmp_path):
    file = write(tmp_path / "sms", "ham\ta\tb\u2028c\x85d\r\nspam\te\n")
    assert [e.text for e in data.read_labelled(file)] == ["a\tb\u2028c\x85d", "e"]


def test_a_header_names_the_columns_in_any_order(tmp_path):
    tsv = write(tmp_path / "a.tsv", 'id\tlabel\ttext\n1\tspam\tsay "hi\t2 u\n')
    csv = write(tmp_path / "a.csv", 'text,label\n"one, two\nthree",ham\n')
    assert data.read_labelled(tsv) == [Example('say "hi\t2 u', "spam")]
    assert data.read_labelled(csv) == [Example("one, two\nthree", "ham")]


def test_texts_come_from_lines_or_from_the_text_column(tmp_path):
    lines = write(tmp_path / "a.txt", "\ufeffone\n\nthree\ttabs\n")
    table = write(tmp_path / "a.csv", "n,text\n1,hello\n")
    assert data.read_texts(lines) == ["one", "", "three\ttabs"]
    assert data.read_texts(table) == ["hello"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("sms", "ham\tok\nno label here\n", "line 2: expected label, a tab"),
        ("sms", "\tno label\n", "message 1: the label is empty"),
        ("sms", "", "holds no messages"),
        ("sms", b"ham\tok\nham\tcaf\xe9\n", "not UTF-8 (line 2)"),
        ("a.csv", "message,label\nhi,ham\n", "no columns 'label' and 'text'"),
        ("a.csv", "text,label\nhi\n", "row 2: 1 fields where the header has 2"),
        ("a.csv", 'text,label\n"hi,ham\n', "not a well-formed CSV"),
    ],
)
def test_a_bad_labelled_file_is_refused_in_one_line(tmp_path, name, content, message):
    with pytest.raises(TuneshotError) as caught:
        data.read_labelled(write(tmp_path / name, content))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_table_without_text_are_refused(tmp_path):
    with pytest.raises(TuneshotError, match="No such file"):
        data.read_texts(tmp_path / "nowhere.txt")
    with pytest.raises(TuneshotError, match="no column 'text'"):
        data.read_texts(write(tmp_path / "a.tsv", "message\nhi\n"))


# --- the corpus ---------------------------------------------------------------------------------


@needs_corpus
def test_the_original_corpus_is_accepted_plain_or_zipped(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    archive = tmp_path / "sms.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(CORPUS, "SMSSpamCollection")
    for source in (CORPUS, archive):
        assert data.fetch_corpus(str(source)).read_bytes() == CORPUS.read_bytes()
    source = data.load_messages()
    assert source.name == "SMS Spam Collection"
    assert len(source.examples) == 5574
    assert sum(e.label == "spam" for e in source.examples) == 747


def test_an_altered_corpus_is_refused_and_the_old_copy_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    old = data.corpus_path()
    old.parent.mkdir(parents=True)
    old.write_text("the old copy")
    altered = write(tmp_path / "altered", "ham\tok\n")
    with pytest.raises(TuneshotError, match=r"not the original.*clf data fetch --from"):
        data.fetch_corpus(str(altered))
    assert old.read_text() == "the old copy"
    assert list(old.parent.iterdir()) == [old]


def test_without_network_the_download_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    with pytest.raises(TuneshotError, match="run: clf data fetch --from FILE"):
        data.fetch_corpus("http://127.0.0.1:9/sms.zip")
    assert not data.corpus_path().exists()


def test_without_a_corpus_the_bundled_sample_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    source = data.load_messages()
    assert "sample" in source.name
    counts = {label: sum(e.label == label for e in source.examples) for label in ("ham", "spam")}
    assert len(source.examples) >= 400
    assert min(counts.values()) >= 150


@needs_corpus
def test_no_sample_message_is_taken_from_the_corpus():
    corpus = {data.normal_form(e.text) for e in data.read_labelled(CORPUS) if len(e.text) > 25}
    sample = {data.normal_form(e.text) for e in data.sample_messages().examples}
    assert not corpus & sample


def test_the_sample_repeats_nothing():
    texts = [e.text for e in data.sample_messages().examples]
    assert len(set(data.duplicate_groups(texts).tolist())) == len(texts)


# --- duplicates and split -----------------------------------------------------------------------


def test_copies_differ_in_case_and_spacing_only():
    groups = data.duplicate_groups(["Call  me NOW", "call me now ", "Call me, now", "", "👍", "👍"])
    assert groups.tolist() == [0, 0, 1, 2, 3, 3]


def test_mailings_of_one_campaign_are_near_twins():
    assert data.near_form("Call 0906 123 NOW!") == data.near_form("call 0906-999 now")
    assert data.near_form("Call me") != data.near_form("Call you")
    assert data.near_form("👍") != data.near_form("🎉")


messages = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d", "e f", "g", "😀"]), st.sampled_from("xy")),
    min_size=60,
    max_size=120,
)


@settings(deadline=None, max_examples=25)
@given(messages, st.integers(0, 5))
def test_every_row_is_in_one_part_and_no_group_in_two(rows, seed):
    examples = [
        Example(f"{text} {'abcdefghij'[i % 10]}", label) for i, (text, label) in enumerate(rows)
    ]
    if min(sum(e.label == label for e in examples) for label in "xy") < 10:
        return
    split = data.grouped_stratified_split(examples, seed)
    assert sorted(split.train + split.val + split.test) == list(range(len(examples)))
    groups = data.duplicate_groups(e.text for e in examples)
    parts = [set(groups[part].tolist()) for part in (split.train, split.val, split.test)]
    assert not (parts[0] & parts[1])
    assert not (parts[0] & parts[2])
    assert not (parts[1] & parts[2])


@needs_corpus
def test_the_corpus_is_split_70_10_20_at_the_natural_class_ratio():
    examples = data.read_labelled(CORPUS)
    split = data.grouped_stratified_split(examples)
    shares = [len(part) / len(examples) for part in (split.train, split.val, split.test)]
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.005)
    for part in (split.train, split.val, split.test):
        spam = np.mean([examples[row].label == "spam" for row in part])
        assert spam == pytest.approx(0.134, abs=0.01)
    assert split == data.grouped_stratified_split(examples)
    assert split != data.grouped_stratified_split(examples, seed=1)


def test_a_label_too_rare_to_split_is_refused():
    examples = [Example(f"m{'abcdefghijk'[i % 11]}{i}", "ham") for i in range(50)]
    with pytest.raises(TuneshotError, match="'spam' has 1 messages"):
        data.grouped_stratified_split([*examples, Example("win", "spam")])


def test_the_default_pool_is_the_training_part_and_a_named_file_is_taken_whole(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    sample = data.sample_messages().examples
    train = data.grouped_stratified_split(sample).train
    assert data.load_pool().examples == [sample[row] for row in train]
    file = write(tmp_path / "own", "ham\tok\nspam\twin\n")
    assert len(data.load_pool(file).examples) == 2


def test_the_content_hash_notices_every_change():
    one = [Example("a", "ham"), Example("b", "spam")]
    assert data.content_hash(one) == data.content_hash(list(one))
    assert data.content_hash(one) != data.content_hash(one[::-1])
    assert data.content_hash(one) != data.content_hash([Example("a", "spam"), one[1]])
