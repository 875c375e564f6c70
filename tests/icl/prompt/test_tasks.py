import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.data.columns import Columns
from clfcore.data.messages import load_pool
from clfcore.errors import TuneshotError
from clfcore.types import Example
from icl.lm.open import open_lm
from icl.prompt.free_prompts import FREE_PROMPTS
from icl.prompt.tasks import TASKS, TEMPLATES, task_from_file
from icl.prompt.template import Demonstration, one_line

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
HERE = ("sst2", "sst5", "ag_news", "snli", "commonsense_qa", "banking77")
SMS_TEST = {"ham": 966, "spam": 150}
LABELS = {"sms_spam": 2, "sst2": 2, "sst5": 5, "ag_news": 4, "snli": 3, "commonsense_qa": 5,
          "trec": 6, "banking77": 77, "emotion": 6}  # fmt: skip


def message(task, text="hello"):
    """A text that suits the task."""
    choices = " (A) one (B) two (C) three (D) four (E) five"
    return text + choices if task.template.choices else text


# --- templates ------------------------------------------------------------------------------------


def test_all_tasks_are_there_with_all_their_labels():
    assert {name: len(task.labels) for name, task in TASKS.items()} == LABELS
    assert all(task.name == name for name, task in TASKS.items())


def test_every_template_file_belongs_to_a_task():
    assert {path.stem for path in TEMPLATES.iterdir()} == {*TASKS, "own"}


def test_the_sms_prompt_is_the_one_the_records_were_made_with():
    shown = [Demonstration("win!", "spam", 0.5, 0), Demonstration("hi\nyou", "ham", 0.6, 1)]
    assert TASKS["sms_spam"].template.render(shown, "hello") == (
        "SMS: win!\nType: spam\n\nSMS: hi you\nType: ham\n\nSMS: hello\nType:"
    )
    assert TASKS["sms_spam"].labels == ("ham", "spam")


@pytest.mark.parametrize("name", TASKS)
def test_every_template_has_words_of_its_own_for_every_label(name):
    task = TASKS[name]
    words = task.template.words_for(message(task))
    assert tuple(words) == task.labels
    flat = [word for of_label in words.values() for word in of_label]
    assert len(set(flat)) == len(flat) >= len(task.labels)
    assert all(word.startswith(" ") and word.strip() == word[1:] != "" for word in flat)


@pytest.mark.parametrize("name", TASKS)
@given(texts=st.lists(st.text(), min_size=1, max_size=3), query=st.text())
def test_every_template_renders_any_message_unchanged_but_for_line_breaks(name, texts, query):
    task = TASKS[name]
    template = task.template
    shown = [
        Demonstration(message(task, text), label, None, row)
        for row, (text, label) in enumerate(zip(texts, task.labels, strict=False))
    ]

    def slot(text):
        text = one_line(text).rstrip() if template.choices else one_line(text)
        return template.before_text + text + template.before_label

    expected = [template.instruction] if template.instruction else []
    for one, text in zip(shown, texts, strict=False):
        word = template.words_for(one.text)[one.label][0]
        expected.append(slot(text) + word + template.after_label)
    expected.append(slot(query))
    assert template.render(shown, message(task, query)) == "\n\n".join(expected)
    assert not template.before_label.endswith(" ")


def pieces(template):
    """What a text needs that wants to be taken for an example, and much that it does not need."""
    marks = [
        template.before_text, template.before_label, template.after_label, " ham", "\n\n", "\n",
        "\r\n", "\x0b", "\x85", "\u2028", "<|im_end|>", "[INST]", "(A) ", "{text}",
    ]  # fmt: skip
    return st.lists(st.sampled_from(marks) | st.text(max_size=5), max_size=12).map("".join)


@pytest.mark.parametrize("name", TASKS)
@given(data=st.data())
def test_no_message_changes_how_many_examples_a_prompt_has(name, data):
    task = TASKS[name]
    template = task.template
    texts = data.draw(st.lists(pieces(template), max_size=3))
    shown = [Demonstration(message(task, text), task.labels[0], None, 0) for text in texts]
    query = message(task, data.draw(pieces(template)))
    prompt = template.render(shown, query)
    examples = prompt.split("\n\n")[bool(template.instruction) :]
    assert len(examples) == len(shown) + 1
    assert prompt.count(template.before_label) == len(shown) + 1
    first, second = template.before_label.split("\n")
    for example in examples:
        said, label = example.splitlines()  # a message is one line, and its label another
        assert said.startswith(template.before_text)
        assert said.endswith(first)
        assert label.startswith(second)
    turns = template.render_chat(shown, query)
    assert len(turns) == bool(template.instruction) + 2 * len(shown) + 1


def test_a_broken_template_is_met_when_it_is_used_and_named(tmp_path):
    (tmp_path / "mine.txt").write_text("[example]\n{text}\n")
    (tmp_path / "data.tsv").write_text("label\ttext\nyes\ta\nno\tb\n")
    task = task_from_file(tmp_path / "data.tsv", template=tmp_path / "mine.txt")
    with pytest.raises(TuneshotError, match=r"mine\.txt: \[example\] must have {text} and {label}"):
        _ = task.labels


# --- published data, from tables ------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(
    ("name", "part", "count", "text", "label"),
    [
        ("sst2", "train", 6920, "a stirring , funny and finally", "positive"),
        ("sst2", "dev", 872, "one long string of cliches .", "negative"),
        ("sst5", "test", 2210, "no movement , no yuks", "negative"),
        ("ag_news", "train", 4999, "BEA buzzing about Beehive", "Sci/Tech"),
        ("ag_news", "test", 7600, "Fears for T N pension", "Business"),
        ("snli", "train", 9842, "Two women are embracing while holding to go packages. "
         "Hypothesis: The sisters are hugging", "neutral"),
        ("snli", "test", 9818, "This church choir", "neutral"),
        ("commonsense_qa", "train", 9741, "The sanctions against the school", "A"),
        ("commonsense_qa", "test", 1221, "A revolving door is convenient", "A"),
        ("banking77", "test", 3080, "How do I locate my card?", "card_arrival"),
    ],
)  # fmt: skip
def test_every_row_of_a_table_is_one_message(name, part, count, text, label):
    examples = TASKS[name].load(part, DATA)
    assert len(examples) == count
    assert examples[0].text.startswith(text)
    assert examples[0].label == label


@needs_data
@pytest.mark.parametrize("name", HERE)
def test_every_task_has_a_pool_with_all_its_labels_and_something_to_ask(name):
    task = TASKS[name]
    pool, asked = task.load("train", DATA), task.load("test", DATA)
    assert {example.label for example in pool} == set(task.labels)
    assert {example.label for example in asked} == set(task.labels)
    for example in asked[:50]:
        assert task.template.words_for(example.text)[example.label][0].strip()


@needs_data
def test_the_sms_corpus_is_split_here():
    assert Counter(e.label for e in TASKS["sms_spam"].load("test", DATA)) == SMS_TEST


@needs_data
def test_the_choices_of_every_question_can_be_read_back():
    task = TASKS["commonsense_qa"]
    lines = (DATA / "commonsense_qa" / "dev.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for example, line in zip(task.load("test", DATA), lines, strict=True):
        _, choices, answer = line.split("\t")
        read = [words[0].strip() for words in task.template.words_for(example.text).values()]
        assert read == [choice.strip() for choice in json.loads(choices)]
        assert example.label == answer


def test_without_a_folder_messages_of_the_chats_own_split_come(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))  # nothing was fetched: the sample
    assert TASKS["sms_spam"].load("train") == load_pool().examples


def table(folder, name, file, text):
    (folder / name).mkdir()
    (folder / name / file).write_text(text, encoding="utf-8")
    return folder


def test_rows_without_a_label_are_left_out(tmp_path):
    rows = "neutral\ta\tb\n-\tc\td\n\te\tf\nentailment\tg\th\n"
    folder = table(tmp_path, "snli", "dev.tsv", "label\ttext_a\ttext_b\n" + rows)
    assert [(e.text, e.label) for e in TASKS["snli"].load("train", folder)] == [
        ("a Hypothesis: b", "neutral"),
        ("g Hypothesis: h", "entailment"),
    ]


def test_byte_order_marks_and_blank_lines_do_not_matter(tmp_path):
    text = "\ufefftext\tlabel\r\n\r\nfine film\tpositive\r\n\r\n"
    folder = table(tmp_path, "sst2", "train.tsv", text)
    assert [(e.text, e.label) for e in TASKS["sst2"].load("train", folder)] == [
        ("fine film", "positive")
    ]


def test_quotes_and_strange_line_ends_are_text(tmp_path):
    text = 'label\ttext\nnegative\t"so bad\u2028really\r\npositive\tgood" \x0c\n'
    folder = table(tmp_path, "sst2", "train.tsv", text)
    assert [e.text for e in TASKS["sst2"].load("train", folder)] == [
        '"so bad\u2028really',
        'good" \x0c',
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("label\ttext\nmeh\tfine\n", "the data of sst2 has the label 'meh', and its template has"),
        (
            "label\tsentence\nnegative\tx\n",
            "has no column 'text'; its columns should be text, label",
        ),
        ("label\ttext\nnegative\n", r"train\.tsv, row 2: 1 fields where the header has 2"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, text, problem):
    with pytest.raises(TuneshotError, match=problem):
        TASKS["sst2"].load("train", table(tmp_path, "sst2", "train.tsv", text))


def test_a_part_or_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TuneshotError, match="unknown part of snli 'dev'; choose from train, test"):
        TASKS["snli"].load("dev", tmp_path)
    with pytest.raises(TuneshotError, match=r"has no sub-folder snli; a folder of data has one"):
        TASKS["snli"].load("test", tmp_path)
    (tmp_path / "snli").mkdir()
    with pytest.raises(TuneshotError, match=r"cannot read .*test\.tsv: No such file"):
        TASKS["snli"].load("test", tmp_path)


TABLES = {
    "commonsense_qa": (
        "question\tchoices\tanswer\n"
        'Where?\t["a", "b", "c", "d", "e"]\tB\n',
        Example("Where? (A) a (B) b (C) c (D) d (E) e", "B"),
    ),
    "snli": (
        "text_a\ttext_b\tlabel\nA dog runs.\tIt sits.\tcontradiction\n",
        Example("A dog runs. Hypothesis: It sits.", "contradiction"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_ones_own_may_have_the_columns_of_the_task(tmp_path, name):
    content, example = TABLES[name]
    (path := tmp_path / "mine.tsv").write_text(content)
    assert TASKS[name].read(path).examples == [example]


@pytest.mark.parametrize("name", [*TABLES, "sms_spam", "sst2"])
def test_a_table_of_ones_own_may_have_plain_columns(tmp_path, name):
    label, other, *_ = TASKS[name].labels
    (path := tmp_path / "mine.tsv").write_text(f"text\tlabel\nhello\t{label}\nbye\t{other}\n")
    examples = [Example("hello", label), Example("bye", other)]
    assert TASKS[name].read(path).examples == examples
    named = Columns("text", "label")
    assert TASKS[name].read(path, named).examples == examples


# --- published data, from Hugging Face ------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch):
    """Serves rows in the form the data sets have there; remembers what was asked for."""
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["entailment", "neutral", "contradiction"])
    text = datasets.Value("string")
    snli = {"premise": ["a", "c"], "hypothesis": ["b", "d"], "label": [1, -1]}
    question = {"id": ["x"], "question": ["Where?"], "question_concept": ["where"],
                "choices": [{"label": list("ABCDE"), "text": ["in", "on", "at", "by", "to"]}],
                "answerKey": ["B"]}  # fmt: skip
    tables = {
        "stanfordnlp/snli": datasets.Dataset.from_dict(
            snli, datasets.Features({"premise": text, "hypothesis": text, "label": label})
        ),
        "tau/commonsense_qa": datasets.Dataset.from_dict(question),
        "SetFit/sst5": datasets.Dataset.from_dict(
            {"text": ["meh"], "label": [0], "label_text": ["very negative"]}
        ),
        "SetFit/TREC-QC": datasets.Dataset.from_dict(
            {"text": ["Who?"], "label": [7], "label_coarse_original": ["HUM"]}
        ),
    }
    asked = []

    def load_dataset(name, split):
        asked.append((name, split))
        return tables[name]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


@pytest.mark.parametrize(
    ("name", "part", "asked", "expected"),
    [
        ("snli", "train", ("stanfordnlp/snli", "validation"), ("a Hypothesis: b", "neutral")),
        ("commonsense_qa", "test", ("tau/commonsense_qa", "validation"),
         ("Where? (A) in (B) on (C) at (D) by (E) to", "B")),
        ("sst5", "dev", ("SetFit/sst5", "validation"), ("meh", "very_negative")),
        ("trec", "test", ("SetFit/TREC-QC", "test"), ("Who?", "HUM")),
    ],
)  # fmt: skip
def test_rows_from_hugging_face_become_the_same_messages(hub, name, part, asked, expected):
    (example,) = TASKS[name].load(part)
    assert (example.text, example.label) == expected
    assert hub == [asked]


def test_a_data_set_that_cannot_be_loaded_is_named(hub):
    with pytest.raises(TuneshotError, match=r"cannot load dair-ai/emotion \(train\) from Hugging"):
        TASKS["emotion"].load("train")


# --- one's own ------------------------------------------------------------------------------------


def own(tmp_path, labels, **options):
    path = tmp_path / "mine.tsv"
    lines = [f"{label}\ttext {row}" for row, label in enumerate(labels)]
    path.write_text("\n".join(["label\ttext", *lines]), encoding="utf-8")
    return task_from_file(path, **options)


def test_a_table_of_other_labels_is_told_to_choose_another_task(tmp_path):
    table = tmp_path / "animals.csv"
    table.write_text("text,label\nit purrs,cat\nit barks,dog\n")
    with pytest.raises(TuneshotError, match="labels 'cat', 'dog', and task sms_spam has not") as it:
        TASKS["sms_spam"].read(table)
    assert "choose another task" in str(it.value)


def test_a_file_of_ones_own_is_a_task(tmp_path):
    task = own(tmp_path, ["very_good", "bad"] * 10)
    assert task.name == "mine"
    assert task.labels == ("bad", "very_good")
    shown = [Demonstration("{text}", "very_good", None, 0)]
    assert task.template.render(shown, "hi") == (
        "Text: {text}\nLabel: very good\n\nText: hi\nLabel:"
    )
    sizes = Counter({part: len(task.load(part)) for part in task.source.parts})
    assert sizes == {"train": 14, "dev": 2, "test": 4}


def test_a_template_of_ones_own_may_bring_words(tmp_path):
    text = (TEMPLATES / "own.txt").read_text() + "\n[labels]\nyes = sure | right\nno = never\n"
    (tmp_path / "mine.txt").write_text(text)
    task = own(tmp_path, ["yes", "no"] * 10, template=tmp_path / "mine.txt")
    assert task.template.words == {"yes": (" sure", " right"), "no": (" never",)}
    other = own(tmp_path, ["yes", "maybe"] * 10, template=tmp_path / "mine.txt")
    with pytest.raises(TuneshotError, match="the label 'maybe', and its template has not"):
        other.load("train")


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["one"], "has 1 different labels; a task has two or more"),
        (["ok", "a" * 51], "is no word; write labels on one line"),
        (["ok", "be\x07ll"], "is no word"),
        (["Spam", "spam"], "labels 'Spam' and 'spam' read the same; rename or join them"),
        (["not_spam", "not spam"], "read the same"),
    ],
)
def test_labels_that_cannot_be_words_are_refused(tmp_path, labels, problem):
    with pytest.raises(TuneshotError, match=problem):
        assert own(tmp_path, labels).template


def test_any_number_of_labels_is_a_task(tmp_path):
    labels = [f"item {number}" for number in range(2000)]
    task = own(tmp_path, labels)
    assert task.labels == tuple(sorted(labels))
    task.check_prompt()
    assert task.template.words["item 1999"] == (" item 1999",)


# --- free-form tasks ------------------------------------------------------------------------------


def test_the_lectures_prompts_read_like_this():
    prompt = FREE_PROMPTS["translation"].render("Gute\nNacht! {text}")
    assert prompt.startswith("Translate the German sentences into English.\n\nGerman: Guten Morgen")
    assert prompt.endswith("the station?\n\nGerman: Gute Nacht! {text}\nEnglish:")
    prompt = FREE_PROMPTS["review_sentiment"].render("Never again.")
    assert prompt.endswith("positive\n\nReview: Never again.\nSentiment:")

    prompt = FREE_PROMPTS["function_composition"].render("f(g(Italian))")
    assert prompt.endswith("f(Japan) = Tokyo\n\nf(g(Japanese)) = Tokyo\n\nf(g(Italian)) =")


@pytest.mark.parametrize("name", FREE_PROMPTS)
def test_no_shown_answer_holds_what_ends_an_answer(name):
    task = FREE_PROMPTS[name]
    answers = [output for _, output in task.examples + task.questions]
    assert not any(stop in answer for answer in answers for stop in task.stop)


@pytest.mark.parametrize("name", FREE_PROMPTS)
def test_every_free_prompt_offers_six_questions_that_it_does_not_answer_itself(name):
    task = FREE_PROMPTS[name]
    asked = {question for question, _ in task.questions}
    assert len(asked) == len(task.questions) == 6
    assert not asked & {shown for shown, _ in task.examples}


def test_a_completion_is_right_whatever_its_case_and_punctuation():
    translation = FREE_PROMPTS["translation"]
    assert translation.is_right("Wo ist der\nHund? ", " where is the dog") is True
    assert translation.is_right("Wo ist der Hund?", "Where is the dogs?") is False
    assert translation.is_right("Wo ist der Hund?", "") is False
    assert translation.is_right("Wo ist die Katze?", "Where is the cat?") is None


def test_each_composition_is_of_steps_that_the_prompt_shows():
    """Every worked composition is worked step by step above it."""
    values = dict(FREE_PROMPTS["function_composition"].examples)
    for shown, value in values.items():
        if shown.startswith("f(g("):
            assert values[f"f({values[shown[2:-1]]})"] == value


@pytest.mark.slow
def test_the_bundled_language_model_composes_nothing():
    prompt, lm = FREE_PROMPTS["function_composition"], open_lm(None)
    said = {
        question: lm.generate(prompt.render(question), stop=prompt.stop).text
        for question, _ in prompt.questions
    }
    assert not any(prompt.is_right(question, text) for question, text in said.items())
    assert said["f(g(Italian))"].strip() == "Italy"
