"""A file of messages, answered by both methods."""

import asyncio
import csv
import gzip
import io
import re
import tracemalloc
from contextlib import suppress
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.errors import TuneshotError
from clfcore.fine_tuned import FineTuned
from clfcore.types import Prediction
from icl.batch.read import MAX_ROWS, Messages, read_messages
from icl.batch.result import BatchResult, RowAnswer
from icl.batch.run import BatchRun
from tests.support.lazy import lazy

openpyxl = lazy("openpyxl")

LABELS = ("ham", "spam")
METHODS = ("fine_tuned", "few_shot")


def read(content, name="messages.csv", labels=LABELS):
    return read_messages(content if isinstance(content, bytes) else content.encode(), name, labels)


def messages(texts, given=None):
    numbers = tuple(range(2, len(texts) + 2))
    return Messages(tuple(texts), numbers, given and tuple(given), LABELS, empty=0)


def side(label, p=0.9):
    other = next(name for name in LABELS if name != label)
    probabilities = {name: {label: p, other: 1 - p}[name] for name in LABELS}
    return SimpleNamespace(prediction=Prediction(label, probabilities, 1.0), problem="")


async def says_spam_to_prizes(method, texts):
    """The methods disagree about a gift."""
    await asyncio.sleep(0)
    words = ("prize", "gift") if method == "few_shot" else ("prize",)
    return [side("spam" if any(word in text for word in words) else "ham") for text in texts]


async def ignore(progress):
    pass


def answered(asked, ask=says_spam_to_prizes, methods=METHODS, on_progress=ignore, **options):
    run = BatchRun(asked, ask, methods=methods, **options)
    asyncio.run(run.run(on_progress))
    return run.result()


def of(asked, **labels):
    """A result in which the methods say these labels; "" is a problem."""
    return BatchResult(
        asked,
        {
            method: tuple(
                RowAnswer(label, 0.75, [0.75 if name == label else 0.25 for name in LABELS])
                if label
                else RowAnswer(problem="too long")
                for label in said
            )
            for method, said in labels.items()
        },
    )


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "given"),
    [
        ("a.csv", 'label,text\nham,"Hi, you"\nspam,"say ""win"""\n', True),
        ("A.CSV", '\ufeffID;Message;Category\r\n1;Hi, you;ham\r\n2;"say ""win""";spam\r\n', True),
        ("a.csv", 'text\n"Hi, you"\n"say ""win"""\n', False),
        ("a.tsv", 'text\tn\tlabel\nHi, you\t1\tham\nsay "win"\t2\tspam\n', True),
        ("a.tsv", 'n\ttext\n1\tHi, you\n2\tsay "win"\n', False),
        ("a.tsv", 'text\nHi, you\nsay "win"\n', False),
        ("SMSSpamCollection.tsv", 'ham\tHi, you\nspam\tsay "win"\n', True),
        ("SMSSpamCollection", 'ham\tHi, you\r\nspam\tsay "win"', True),
        ("a.txt", 'text\tlabel\nHi, you\tham\nsay "win"\tspam\n', True),
        ("a.txt", '\ufeffHi, you\r\nsay "win"\r\n', False),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_every_form_gives_messages_and_the_labels_it_has(tmp_path, name, content, given, encoding):
    if encoding == "utf-16":
        content = content.removeprefix("\ufeff")  # the codec writes one
    expected = (("Hi, you", 'say "win"'), ("ham", "spam") if given else None)
    found = read(content.encode(encoding), name)
    assert (found.texts, found.true_labels) == expected
    (tmp_path / "upload").write_bytes(content.encode(encoding))
    assert read_messages(tmp_path / "upload", name, LABELS) == found


def packed(rows):
    """An Excel workbook and a gzip file with these rows."""
    sheet = (book := openpyxl.Workbook()).active
    for row in rows:
        sheet.append(row)
    book.save(file := io.BytesIO())
    lines = "".join(";".join(row) + "\r" for row in rows)
    return {"a.xlsx": file.getvalue(), "a.csv.gz": gzip.compress(lines.encode("utf-16"))}


def test_workbooks_and_gzip_are_read_and_may_not_unpack_to_more_than_a_file_may_have():
    for name, content in packed([("label", "text"), ("ham", "hi"), ("spam", "win")]).items():
        found = read(content, name)
        assert (found.texts, found.true_labels) == (("hi", "win"), ("ham", "spam"))
    for name, content in packed([("label", "text"), *[("ham", "x" * 30_000)] * 80]).items():
        assert len(content) < 50_000
        with pytest.raises(TuneshotError, match=rf"{name} (has|holds) more than 2 MB .*split it"):
            read(content, name)


def test_labels_survive_macs_line_ends_and_tabs_in_a_csv():
    lines = "text\tlabel\r", "hi\tham\r", "win\tspam\r"
    for encoding in ("utf-8", "utf-16", "utf-16-le"):
        assert read("".join(lines).encode(encoding)).true_labels == ("ham", "spam")


def test_what_is_odd_is_kept_as_notes():
    found = read("text,label\nnaïve,ham \nhi,spam\n".encode("cp1252"))
    assert [note.partition(";")[0] for note in found.notes] == [
        "messages.csv: it is not UTF-8 (line 2) and read as Windows-1252",
        "messages.csv: spaces around labels are left out: 'ham'",
    ]


@pytest.mark.parametrize(
    ("name", "content", "numbers"),
    [
        ("a.csv", "text,label\nhi,ham\n\n,\n ,spam\nyou,spam\n", [2, 6]),
        ("a.tsv", "text\tlabel\nhi\tham\n\n\t\nyou\tspam\n\n", [2, 5]),
        ("a", "ham\thi\n\n  \nspam\tyou\n", [1, 4]),
        ("a.txt", "hi\n\n \nyou\n", [1, 4]),
    ],
)
def test_rows_without_a_text_are_skipped_counted_and_keep_their_number(name, content, numbers):
    found = read(content, name)
    assert found.texts == ("hi", "you")
    assert list(found.numbers) == numbers
    assert found.empty >= 2


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (
            "a.pdf",
            "%PDF",
            "a.pdf is no table of text; send a .csv, .tsv, .txt, .xlsx or .jsonl file",
        ),
        ("a.txt", "x" * 2_000_001, "a.txt has 2.0 MB; send at most 2 MB: split it"),
        ("a.txt", "x\n" * 10_001, "a.txt has 10,001 rows; send at most 10,000: split it"),
        ("a.txt", "x" * 100_001, "a.txt, row 1 has 100,001 characters; a message has at most 100,"),
        ("a.txt", " \n\n", "a.txt holds no messages; give at least one"),
        ("a.csv", "", "a.csv holds no messages; give at least one"),
        (
            "a.csv",
            "Farbe,Form,label\nrot,rund,ham\n",
            "a.csv has no column 'text'; its header is: Farbe, Form, label; name the column so",
        ),
        ("a.csv", "text,label\nhi\n", "a.csv, row 2: 1 fields where the header has 2"),
        ("a.csv", 'text;label\n"hi;ham\n', "a.csv is not a well-formed CSV"),
        ("a.csv", "text,label\nhi,\n", "a.csv, row 2: the label is empty; fill it in"),
        (
            "a.csv",
            "text,label\nhi,ham\nyou,sapm\n",
            "a.csv, row 3 has the label 'sapm', and this task has not; it has ham, spam",
        ),
        ("a.txt", "eggs\thi\n", "a.txt, row 1 has the label 'eggs', and this task has not; it has"),
        ("a.txt", "ham\thi\nno label\n", "a.txt, line 2: expected label, a tab and the text"),
        ("a.csv", b"text;label\nhi;ham\ncaf\x81;ham\n", "a.csv is not UTF-8 (line 3), nor Wind"),
        ("a.txt", b"\xff\xfeh\x00i", "a.txt is no well-formed UTF-16; save it as UTF-8"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(name, content, problem):
    with pytest.raises(TuneshotError) as caught:
        read(content, f"../../tmp/{name}")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "/" not in str(caught.value)


@given(st.binary(max_size=60), st.sampled_from([".csv", ".tsv", ".txt", ""]))
def test_no_file_breaks_it(content, suffix):
    for start in (b"", b"text,label\n", b"text;n\n", b"text\tlabel\n", b"\xff\xfe"):
        with suppress(TuneshotError):
            assert all(text.strip() for text in read(start + content, f"file{suffix}").texts)


def test_a_long_name_is_cut_where_it_says_least():
    name = "every message\nof the spring " * 9 + "term.csv"
    assert read("text\nhi\n", name).texts == ("hi",)
    with pytest.raises(TuneshotError, match=r"^.{40,50}spring term\.csv holds no messages; give"):
        read("text\n", name)


# --- asking ---------------------------------------------------------------------------------------


def test_every_row_is_asked_of_every_method_in_order():
    asked = messages([f"{n} prize" if n % 3 else f"{n}" for n in range(100)])
    reports = []

    async def on_progress(progress):
        reports.append(progress)

    result = answered(asked, on_progress=on_progress)
    expected = ["spam" if n % 3 else "ham" for n in range(100)]
    assert list(result.answers) == list(METHODS)
    for found in result.answers.values():
        assert [answer.label for answer in found] == expected
    assert result.stopped == ""
    last = reports[-1]
    assert (last.done, last.rows, last.seconds_left) == (dict.fromkeys(METHODS, 100), 100, 0.0)
    assert [sum(p.done.values()) for p in reports] == sorted(sum(p.done.values()) for p in reports)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told: no test waits, none depends on the machine."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("icl.batch.run.perf_counter", lambda: clock.now)
    return clock


@pytest.mark.parametrize(("seconds", "size"), [(0.0, 16), (0.001, 16), (0.03, 8), (2.0, 1)])
def test_no_chunk_is_longer_than_it_may_be_or_keeps_other_people_waiting(clock, seconds, size):
    sizes = []

    async def ask(method, texts):
        sizes.append(len(texts))
        clock.now += seconds * len(texts)
        return [side("ham") for _ in texts]

    answered(messages(["hi"] * 50), ask, ["few_shot"], chunk=16)
    assert sizes[0] == 1  # nobody knows yet how long it takes
    assert max(sizes) == size
    assert sum(sizes) == 50


def test_the_seconds_left_are_of_the_present_pace_without_the_loading(clock):
    told = []

    async def ask(method, texts):
        clock.now += 0.5 if told else 60
        return [side("ham") for _ in texts]

    async def on_progress(progress):
        told.append(progress.seconds_left)

    answered(messages(["hi"] * 30), ask, ["few_shot"], on_progress, chunk=1)
    assert told[0] is None
    assert told[1:29] == pytest.approx([0.5 * left for left in range(28, 0, -1)])
    assert told[-1] == 0.0


def test_a_chunk_that_fails_does_not_lose_the_others():
    async def ask(method, texts):
        await asyncio.sleep(0)
        if "hot" in texts:
            raise TuneshotError("the endpoint is down; start it")
        if "odd" in texts:
            return []
        if "bug" in texts:
            raise ValueError("secret")
        no = SimpleNamespace(prediction=None, problem="too long")
        return [no if text == "long" else side("ham") for text in texts]

    texts = ["a", "hot", "b", "odd", "bug", "long", "c"]
    result = answered(messages(texts), ask, chunk=1)
    for found in result.answers.values():
        assert [a.label for a in found] == ["ham", "", "ham", "", "", "", "ham"]
        assert [a.problem for a in found][1] == "the endpoint is down; start it"
        assert all("server's log" in found[row].problem for row in (3, 4))
        assert "secret" not in found[4].problem
        assert found[5].problem == "too long"
    assert result.stopped == ""
    assert [row.reason for row in result.table(2)] == [
        "fine-tuned: the endpoint is down; start it",
        f"fine-tuned: {result.answers['fine_tuned'][3].problem}",
    ]


FOR_EVER = 120  # seconds: no machine is so slow


async def slow_few_shot(method, texts):
    await asyncio.sleep(FOR_EVER if method == "few_shot" and "wait" in texts else 0)
    return [side("ham") for _ in texts]


def test_stopping_keeps_what_is_done_and_says_so():
    asked = messages(["a", "b", "wait", *"cdefg"])

    async def stopped():
        run = BatchRun(asked, slow_few_shot, methods=METHODS, chunk=1)

        async def on_progress(progress):
            if progress.done == {"fine_tuned": 8, "few_shot": 2}:
                task.cancel()

        task = asyncio.create_task(run.run(on_progress))
        with pytest.raises(asyncio.CancelledError):
            await task
        return run.result()

    result = asyncio.run(asyncio.wait_for(stopped(), FOR_EVER / 2))
    assert result.stopped == "stopped after 8 (fine-tuned) and 2 (few-shot) of 8"
    assert [row.reason for row in result.table(8)] == ["the methods agree"] * 2 + ["not asked"] * 6
    assert result.to_csv().count(b"not asked") == 6
    assert of(messages("abc"), few_shot=["ham"]).stopped == "stopped after 1 of 3"


@pytest.mark.parametrize("where", ["asking", "hearing"])
def test_cancelling_the_task_keeps_what_is_done_and_ends_the_asking(where):
    still_asked = []

    async def ask(method, texts):
        if where == "asking":
            return await slow_few_shot(method, texts)
        await asyncio.sleep(0.001)
        still_asked.append(method)
        return [side("ham") for _ in texts]

    async def on_progress(progress):
        await asyncio.sleep(30 if where == "hearing" else 0)

    async def cancelled():
        run = BatchRun(messages(["a", "wait"] * 500), ask, methods=METHODS, chunk=1)
        task = asyncio.create_task(run.run(on_progress))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        done = len(still_asked)
        await asyncio.sleep(0.05)
        assert len(still_asked) == done
        return run.result()

    result = asyncio.run(cancelled())
    assert len(result.answers["fine_tuned"]) > 0
    assert result.stopped.startswith("stopped after ")


def test_a_model_that_gives_up_its_task_does_not_leave_the_run_waiting():
    async def ask(method, texts):
        raise asyncio.CancelledError

    assert answered(messages(["a"]), ask).stopped == "stopped after 0 of 1"


@pytest.mark.parametrize("given", [None, ["ham", "spam"] * 5000])
def test_ten_thousand_rows_cost_little_memory(given):
    asked = messages([f"message {n} about a prize" for n in range(MAX_ROWS)], given)
    tracemalloc.start()
    result = answered(asked)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6
    assert len(result.table(100)) == 100
    assert result.summary().agreement.value == 1
    assert read(result.to_csv()).texts == asked.texts


# --- the result -----------------------------------------------------------------------------------

FIVE = messages(["a", "b", "c", "d", "e"], ["ham", "ham", "spam", "spam", "ham"])
MIXED = of(
    FIVE,
    fine_tuned=["ham", "spam", "spam", "ham", ""],
    few_shot=["ham", "spam", "ham", "spam", "ham"],
)


def test_the_table_begins_with_disagreements_then_errors_then_the_rest():
    assert [(row.number, row.text, row.true_label, row.reason) for row in MIXED.table(10)] == [
        (4, "c", "spam", "the methods disagree; wrong: few-shot"),
        (5, "d", "spam", "the methods disagree; wrong: fine-tuned"),
        (3, "b", "ham", "wrong: fine-tuned and few-shot"),
        (6, "e", "ham", "fine-tuned: too long"),
        (2, "a", "ham", "right"),
    ]
    assert MIXED.table(2) == MIXED.table(10)[:2]
    without = BatchResult(messages(FIVE.texts), MIXED.answers)
    assert [(row.number, row.reason) for row in without.table(3)] == [
        (4, "the methods disagree"),
        (5, "the methods disagree"),
        (6, "fine-tuned: too long"),
    ]
    assert of(messages(["a"]), few_shot=["ham"]).table(1)[0].reason == ""


def test_the_summary_counts_what_can_be_counted_by_hand():
    summary = MIXED.summary()
    assert summary.counts == {
        "fine_tuned": {"ham": 2, "spam": 2},
        "few_shot": {"ham": 3, "spam": 2},
    }
    assert summary.problems == {"fine_tuned": 1, "few_shot": 0}
    assert (summary.agreement.hits, summary.agreement.of) == (2, 4)
    assert (summary.majority.hits, summary.majority.of) == (3, 5)
    assert summary.right_alone == {"fine_tuned": 1, "few_shot": 1}
    few_shot = summary.figures["few_shot"]
    assert few_shot.confusion == [[2, 1], [1, 1]]
    assert (few_shot.accuracy.hits, few_shot.accuracy.of) == (3, 5)
    assert few_shot.accuracy.low < 0.6 < few_shot.accuracy.high
    assert few_shot.figures["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert few_shot.figures["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert summary.figures["fine_tuned"].messages == 4


def test_without_labels_or_a_second_method_there_is_less_to_say():
    summary = of(messages(["a", "b"]), few_shot=["ham", "ham"]).summary()
    assert summary.counts == {"few_shot": {"ham": 2, "spam": 0}}
    assert (summary.agreement, summary.figures, summary.majority) == (None, {}, None)
    assert summary.right_alone == {}
    nothing = of(messages(["a"], ["ham"]), fine_tuned=[""], few_shot=[]).summary()
    assert nothing.figures == {}
    assert nothing.agreement.of == 0


# --- the results file -----------------------------------------------------------------------------


def cells(result, delimiter=","):
    text = result.to_csv().decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def test_the_file_has_all_rows_in_their_order():
    assert MIXED.to_csv().startswith(b"\xef\xbb\xbf")
    header, first, *_, last = cells(MIXED)
    assert header == [
        "text", "row", "label", "fine_tuned", "fine_tuned_p", "fine_tuned_problem",
        "few_shot", "few_shot_p", "few_shot_problem",
    ]  # fmt: skip
    assert first == ["a", "2", "ham", "ham", "0.7500", "", "ham", "0.7500", ""]
    assert last == ["e", "6", "ham", "", "", "too long", "ham", "0.7500", ""]
    assert len(cells(MIXED)) == 6


DANGEROUS = st.sampled_from(
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", "''-1", "＝1", "a;=1+1", "a\t=1",
     'a";=1', "'", "' =", "it's"]
)  # fmt: skip
# Of a file, so UTF-8; and not blank.
TEXT = (st.text(st.characters(codec="utf-8"), max_size=20) | DANGEROUS).filter(str.strip)


@given(st.lists(TEXT, min_size=1, max_size=5), st.booleans(), st.sampled_from([",", ";"]))
def test_what_was_written_comes_back_and_no_cell_is_a_formula(texts, labelled, separator):
    given = ["ham", "spam", "ham", "spam", "ham"][: len(texts)] if labelled else None
    result = of(messages(texts, given), fine_tuned=["ham"] * len(texts), few_shot=[""])
    for split in (",", ";", "\t"):
        for row in cells(result, split):
            assert not any(re.match(r"[=+\-@\t\r\n]", cell.lstrip(" ")) for cell in row)
    saved = io.StringIO(newline="")
    csv.writer(saved, delimiter=separator).writerows(cells(result))  # as a spreadsheet saves it
    for content in (result.to_csv(), saved.getvalue().encode("utf-8-sig")):
        again = read(content)
        assert (again.texts, again.true_labels) == (tuple(texts), given and tuple(given))


def test_labels_that_look_like_formulas_come_back_too():
    asked = Messages(("good", "bad"), (2, 3), ("+1", "-1"), ("+1", "-1"), 0)
    result = BatchResult(asked, {"few_shot": (RowAnswer("+1", 0.5, [0.5, 0.5]),) * 2})
    assert b'"\'+1"' in result.to_csv()
    assert read(result.to_csv(), labels=("+1", "-1")).true_labels == ("+1", "-1")


def test_an_apostrophe_of_somebody_elses_file_stays():
    assert read("text\n'-' is a dash\n").texts == ("'-' is a dash",)


# --- with a real model ----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_bundled_model_answers_a_file():
    model = FineTuned.load()

    async def ask(method, texts):
        found = await asyncio.to_thread(model.predict, list(texts))
        return [SimpleNamespace(prediction=each, problem="") for each in found]

    content = "label\ttext\nspam\tWIN a free prize, call 09061701461 now\nham\tsee you at eight\n"
    result = answered(read(content, "a.tsv"), ask, ["fine_tuned"])
    assert result.summary().figures["fine_tuned"].accuracy.value == 1
