"""Loading, recognising and splitting messages."""

import json
import shutil
import time
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.data import messages as data
from clfcore.data.corpus import corpus_path, fetch_corpus
from clfcore.data.split import (
    compute_split,
    content_hash,
    duplicate_groups,
    grouped_stratified_split,
    near_duplicate_form,
    normal_form,
)
from clfcore.data.tables import read_labelled
from clfcore.errors import DataNote, TuneshotError
from clfcore.types import Example

SHARED = Path(__file__).parents[4] / "shared/data"
CORPUS = SHARED / "sms_spam/SMSSpamCollection"
needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="needs ../shared/data/sms_spam")


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


# --- the corpus ---------------------------------------------------------------------------------


@needs_corpus
def test_the_original_corpus_is_accepted_plain_or_zipped(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    archive = tmp_path / "sms.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(CORPUS, "SMSSpamCollection")
    for source in (CORPUS, archive):
        assert fetch_corpus(str(source)).read_bytes() == CORPUS.read_bytes()
    source = data.load_messages()
    assert source.name == "SMS Spam Collection"
    assert len(source.examples) == 5574
    assert sum(e.label == "spam" for e in source.examples) == 747


def test_an_altered_corpus_is_refused_and_the_old_copy_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    old = corpus_path()
    old.parent.mkdir(parents=True)
    old.write_text("the old copy")
    altered = write(tmp_path / "altered", "ham\tok\n")
    with pytest.raises(TuneshotError, match=r"not the original.*clf data fetch --from"):
        fetch_corpus(str(altered))
    assert old.read_text() == "the old copy"
    assert list(old.parent.iterdir()) == [old]


def test_without_network_the_download_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    with pytest.raises(TuneshotError, match="run: clf data fetch --from FILE"):
        fetch_corpus("http://127.0.0.1:9/sms.zip")
    assert not corpus_path().exists()


def test_without_a_corpus_the_bundled_sample_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    source = data.load_messages()
    assert "sample" in source.name
    counts = {label: sum(e.label == label for e in source.examples) for label in ("ham", "spam")}
    assert len(source.examples) >= 400
    assert min(counts.values()) >= 150


@needs_corpus
def test_no_sample_message_is_taken_from_the_corpus():
    corpus = {normal_form(e.text) for e in read_labelled(CORPUS) if len(e.text) > 25}
    sample = {normal_form(e.text) for e in data.sample_messages().examples}
    assert not corpus & sample


def test_the_sample_repeats_nothing():
    texts = [e.text for e in data.sample_messages().examples]
    assert len(set(duplicate_groups(texts).tolist())) == len(texts)


# --- duplicates and split -----------------------------------------------------------------------


def test_copies_differ_in_case_and_spacing_only():
    groups = duplicate_groups(["Call  me NOW", "call me now ", "Call me, now", "", "👍", "👍"])
    assert groups.tolist() == [0, 0, 1, 2, 3, 3]


def test_mailings_of_one_campaign_are_near_twins():
    assert near_duplicate_form("Call 0906 123 NOW!") == near_duplicate_form("call 0906-999 now")
    assert near_duplicate_form("Call me") != near_duplicate_form("Call you")
    assert near_duplicate_form("👍") != near_duplicate_form("🎉")


messages = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d", "e f", "g", "😀"]), st.sampled_from("xyz")),
    min_size=90,
    max_size=150,
)


@settings(max_examples=25)
@given(messages, st.integers(0, 5))
def test_every_row_is_in_one_part_and_no_group_in_two(rows, seed):
    examples = [
        Example(f"{text} {'abcdefghij'[i % 10]}", label) for i, (text, label) in enumerate(rows)
    ]
    examples += [Example(f"{label} only {i}", label) for label in "xyz" for i in range(10)]
    split = grouped_stratified_split(examples, seed)
    assert sorted(split.train + split.val + split.test) == list(range(len(examples)))
    groups = duplicate_groups(e.text for e in examples)
    parts = [set(groups[part].tolist()) for part in (split.train, split.val, split.test)]
    assert not (parts[0] & parts[1])
    assert not (parts[0] & parts[2])
    assert not (parts[1] & parts[2])


@settings(max_examples=25)
@given(st.lists(st.integers(10, 30), min_size=2, max_size=12), st.integers(0, 5))
def test_every_part_has_every_label(counts, seed):
    examples = [
        Example(f"message {n} of {label}", f"label {label}")
        for label, count in enumerate(counts)
        for n in range(count)
    ]
    split = grouped_stratified_split(examples, seed)
    for part in (split.train, split.val, split.test):
        assert len({examples[row].label for row in part}) == len(counts)


@needs_corpus
def test_the_corpus_is_split_70_10_20_at_the_natural_class_ratio():
    examples = read_labelled(CORPUS)
    split = grouped_stratified_split(examples)
    shares = [len(part) / len(examples) for part in (split.train, split.val, split.test)]
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.005)
    for part in (split.train, split.val, split.test):
        spam = np.mean([examples[row].label == "spam" for row in part])
        assert spam == pytest.approx(0.134, abs=0.01)
    assert split == grouped_stratified_split(examples)
    assert split != grouped_stratified_split(examples, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "labels"), [("banking77/train.tsv", 77), ("ag_news/test.tsv", 4), ("sst2/dev.tsv", 2)]
)
def test_public_data_sets_of_many_labels_are_split_at_their_natural_ratios(file, labels):
    path = SHARED / file
    if not path.exists():
        pytest.skip(f"needs ../shared/data/{file}")
    examples = data.load_messages(path).examples
    split = grouped_stratified_split(examples)
    natural = Counter(e.label for e in examples)
    assert len(natural) == labels
    for part, share in ((split.train, 0.7), (split.val, 0.1), (split.test, 0.2)):
        found = Counter(examples[row].label for row in part)
        assert found.keys() == natural.keys()
        for label, count in natural.items():
            assert found[label] == pytest.approx(share * count, abs=max(3, 0.02 * count))


@pytest.mark.parametrize("source", [None, pytest.param(CORPUS, marks=needs_corpus)])
def test_the_split_that_comes_with_the_program_is_the_one_that_would_be_made(source, monkeypatch):
    read = data.sample_messages() if source is None else data.load_messages(source)
    computed = compute_split(read.examples, 0)
    monkeypatch.delattr("clfcore.data.split.compute_split")  # it is not made again
    assert grouped_stratified_split(read.examples) == computed
    with pytest.raises(NameError):
        grouped_stratified_split(read.examples[1:])
    with pytest.raises(NameError):
        grouped_stratified_split(read.examples, seed=1)


def test_a_label_too_rare_to_split_is_refused():
    examples = [Example(f"m{'abcdefghijk'[i % 11]}{i}", "ham") for i in range(50)]
    with pytest.raises(TuneshotError, match="'spam' has 1 messages"):
        grouped_stratified_split([*examples, Example("win", "spam")])


def test_copies_do_not_make_a_label_common_enough_to_split():
    """All of them go into one part, and the others would miss the label."""
    examples = [Example(f"m{i}", "ham") for i in range(50)]
    with pytest.raises(TuneshotError, match="'spam' has 1 messages, copies not counted"):
        grouped_stratified_split([*examples, *[Example("win", "spam")] * 20])


def test_a_single_label_is_nothing_to_learn():
    with pytest.raises(TuneshotError, match=r"all messages have one label: ham; .* at least two"):
        grouped_stratified_split([Example(f"m{i}", "ham") for i in range(50)])


def test_the_default_pool_is_the_training_part_and_a_named_file_is_taken_whole(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    sample = data.sample_messages().examples
    train = grouped_stratified_split(sample).train
    assert data.load_pool().examples == [sample[row] for row in train]
    file = write(tmp_path / "own", "ham\tok\nspam\twin\n")
    assert len(data.load_pool(file).examples) == 2


def test_the_content_hash_notices_every_change():
    one = [Example("a", "ham"), Example("b", "spam")]
    assert content_hash(one) == content_hash(list(one))
    assert content_hash(one) != content_hash(one[::-1])
    assert content_hash(one) != content_hash([Example("a", "spam"), one[1]])


# --- Hugging Face -------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch):
    """Hugging Face without a network: ``hub.calls`` says what was asked for."""
    import datasets

    hub = SimpleNamespace(
        calls=[],
        dataset=datasets.Dataset.from_dict(
            {"idx": [7, 8, 9], "sms": ["hi", 'a "b"\nc', ""], "label": [0, 1, 0]},
            features=datasets.Features(
                {
                    "idx": datasets.Value("int64"),
                    "sms": datasets.Value("string"),
                    "label": datasets.ClassLabel(names=["ham", "spam"]),
                }
            ),
        ),
    )

    def load_dataset(name, config=None, *, split):
        hub.calls.append((name, config, split))
        return hub.dataset

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return hub


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("name", ("name", None, "train")),
        ("owner/name", ("owner/name", None, "train")),
        ("owner/name:test", ("owner/name", None, "test")),
        ("owner/name:train[:100]", ("owner/name", None, "train[:100]")),
        ("owner/name/config.v2:validation", ("owner/name", "config.v2", "validation")),
    ],
)
def test_a_name_that_is_no_file_is_a_dataset_of_hugging_face(hub, source, call):
    found = data.load_messages(source)
    assert hub.calls == [call]
    assert found.name == f"{source}, Hugging Face"
    assert found.examples == [
        Example("hi", "ham"),
        Example('a "b"\nc', "spam"),
        Example("", "ham"),
    ]


def test_a_file_comes_before_a_dataset_of_the_same_name(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "name", "ham\tok\n")
    assert data.load_messages("name").examples == [Example("ok", "ham")]
    assert hub.calls == []


def test_columns_of_a_dataset_can_be_named_and_must_hold_messages_and_labels(hub):
    assert data.load_messages("name", "sms", "idx").examples[0] == Example("hi", "7")
    with pytest.raises(TuneshotError, match="no column 'body'; its header is: idx, sms, label"):
        data.load_messages("name", text_column="body")
    with pytest.raises(TuneshotError, match="row 1: the text is not a string but of type int"):
        data.load_messages("name", text_column="idx")
    hub.dataset = hub.dataset.map(lambda row: {"label": -1})  # how the Hub hides test labels
    with pytest.raises(TuneshotError, match="row 1: the label is empty"):
        data.load_messages("name")


@pytest.mark.parametrize(
    "source", ["./nothing", "/no/where", "nothing.csv", "a/b/c/d", "two words", "csv", "../up", ""]
)
def test_what_can_be_no_dataset_is_not_asked_for(hub, source):
    with pytest.raises(TuneshotError, match=r"is not a file or folder here.*owner/name:split"):
        data.load_messages(source)
    assert hub.calls == []


@pytest.mark.parametrize("network", [False, True], ids=["offline mode", "no network"])
def test_without_an_answer_the_reason_and_what_is_allowed_come_at_once(monkeypatch, network):
    def no_network(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", not network)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", no_network)
    started = time.monotonic()
    with pytest.raises(TuneshotError) as caught:
        data.load_messages("nobody/nothing")
    assert time.monotonic() - started < 5
    message = str(caught.value)
    assert message.startswith("'nobody/nothing' is not a file or folder here, and Hugging Face")
    assert "cannot be reached" in message
    assert "give a table (.tsv, .csv, .xlsx, .parquet, .jsonl)" in message
    assert "\n" not in message


def test_a_dataset_that_was_loaded_before_needs_no_network(hub, tmp_path, monkeypatch):
    """In the layout of the ``datasets`` cache: owner___name/config/version/hash."""
    import datasets

    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    hub.dataset.to_parquet(tmp_path / "train.parquet")
    made = tmp_path / "made"
    datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "train.parquet"), cache_dir=str(made), split="train"
    )
    arrow = next(made.rglob("*.arrow"))
    cached = tmp_path / "owner___name/default/0.0.0/0123"
    cached.mkdir(parents=True)
    shutil.copy(arrow, cached / "name-train.arrow")
    info = json.loads((arrow.parent / "dataset_info.json").read_text())
    info |= {"dataset_name": "name", "config_name": "default"}
    (cached / "dataset_info.json").write_text(json.dumps(info))
    assert [e.label for e in data.load_messages("owner/name").examples] == ["ham", "spam", "ham"]
    with pytest.raises(TuneshotError, match="cannot be reached"):
        data.load_messages("owner/name:test")


def test_columns_are_for_data_of_ones_own():
    with pytest.raises(TuneshotError, match="add --data"):
        data.load_messages(None, text_column="sms")


# --- parts of one's own ---------------------------------------------------------------------------


def table(path, texts):
    rows = "".join(f"{text},{'spam' if 'win' in text else 'ham'}\n" for text in texts)
    path.write_text(f"was,art\n{rows}")
    return str(path)


def source_of(tmp_path, **texts):
    files = {part: table(tmp_path / f"{part}.csv", some) for part, some in texts.items()}
    return data.DataSource(**files, text_column="was", label_column="art")


TRAIN = [f"{word} {n}" for n in range(20) for word in ("see you", "win")]


def texts_of(messages, part, seed=0):
    return [messages.examples[row].text for row in getattr(messages.split(seed), part)]


def test_parts_of_ones_own_are_taken_as_they_are(tmp_path):
    source = source_of(tmp_path, data=TRAIN, val=["win a", "see b"], test=["win c", "see d", "e"])
    messages = source.load()
    assert texts_of(messages, "train") == TRAIN
    assert texts_of(messages, "val") == ["win a", "see b"]
    assert texts_of(messages, "test") == ["win c", "see d", "e"]
    assert messages.columns == {"text_column": "was", "label_column": "art"}
    assert all(str(tmp_path / f"{part}.csv") in messages.name for part in ("data", "val", "test"))


@pytest.mark.parametrize("given", ["val", "test"])
def test_a_part_that_is_not_given_is_taken_of_the_data(tmp_path, given):
    messages = source_of(tmp_path, data=TRAIN, **{given: ["win a", "see b"]}).load()
    other = {"val": "test", "test": "val"}[given]
    assert texts_of(messages, given) == ["win a", "see b"]
    taken = texts_of(messages, other)
    assert len(taken) == {"val": 4, "test": 8}[other]
    assert sorted(taken + texts_of(messages, "train")) == sorted(TRAIN)
    assert texts_of(messages, other, seed=1) != taken


def test_copies_stay_in_the_part_that_is_furthest_from_training(tmp_path):
    source = source_of(tmp_path, data=[*TRAIN, "Win  A"], val=["win a", "win c"], test=["win C"])
    with pytest.warns(DataNote, match="1 copies of messages in other parts are left out"):
        messages = source.load()
    assert [texts_of(messages, part) for part in ("train", "val", "test")] == [
        TRAIN, ["win a"], ["win C"],
    ]  # fmt: skip


def test_parts_that_cannot_be_meant_are_refused(tmp_path):
    table(tmp_path / "test.csv", ["win a"])
    with pytest.raises(TuneshotError, match="--test go with messages to train on; name them with"):
        data.DataSource(test=str(tmp_path / "test.csv")).load()
    with pytest.raises(TuneshotError, match=r"every message of .*val.csv is in another part"):
        source_of(tmp_path, data=TRAIN, val=["win a"], test=["win a"]).load()
    with pytest.raises(TuneshotError, match=r"has the label 'spam', and .*data.csv has not"):
        source_of(tmp_path, data=["a", "b"], test=["win"]).load()
