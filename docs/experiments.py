"""Writes docs/experiments.md: questions, what was run, what came out; every figure from a record.

    python docs/experiments.py [--check]
    python docs/experiments.py --keep NAME FOLDER

The second form makes ``records/compare_NAME.json`` of the summary that ``tuneshot compare`` left
in a folder, without the messages, which belong to their corpus.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
RECORDS = DOCS / "records"


# --- records ------------------------------------------------------------------------------------


class Comparison:
    """The figures of one comparison, as the page quotes them."""

    def __init__(self, name: str) -> None:
        path = RECORDS / f"compare_{name}.json"
        self.summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self.largest: int = self.summary["budgets"][-1]
        self._points = {(p["method"], p["budget"]): p for p in self.summary["points"]}

    def figure(self, method: str, budget: int, metric: str = "balanced_accuracy") -> str:
        """``88.2 % (80.1 – 95.0)``."""
        found = self._points[method, budget]["metrics"][metric]
        return f"{share(found['value'])} ({100 * found['low']:.1f} – {100 * found['high']:.1f})"

    def value(self, method: str, budget: int, metric: str = "balanced_accuracy") -> float:
        """The figure alone."""
        return float(self._points[method, budget]["metrics"][metric]["value"])

    def point(self, method: str, budget: int) -> Mapping[str, Any]:
        """All of a method at a budget."""
        return dict(self._points[method, budget])

    def test(self, budget: int, a: str, b: str) -> Mapping[str, Any]:
        """The pair's test, in either order."""
        return next(
            dict(test)
            for test in self.summary["tests"]
            if test["budget"] == budget and {test["a"], test["b"]} == {a, b}
        )

    def gap(self, budget: int, a: str, b: str) -> str:
        """``+3.1 points (-1.0 to +7.2), p = 0.2``: ``a`` minus ``b``, and Holm's p."""
        test = self.test(budget, a, b)
        gap = test["difference"]
        sign = 1 if test["a"] == a else -1
        low, high = sorted((sign * gap["low"], sign * gap["high"]))
        return (
            f"{100 * sign * gap['value']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}), "
            f"{p_value(test['p_holm'])}"
        )

    def crossing(self, of: str, over: str) -> str:
        """The sentence."""
        sentence = str(self._crossing(of, over)["sentence"])
        return sentence[0].upper() + sentence[1:]

    def brief(self, of: str, over: str) -> str:
        """The same without the names."""
        found = self._crossing(of, over)
        if found["budget"] is not None:
            return f"from about {float(format(found['budget'], '.2g')):,.0f} labels on"
        if "smallest budget" in found["sentence"]:
            return f"from the smallest budget, {self.summary['budgets'][0]}, on"
        return f"not within {self.largest:,} labels"

    def _crossing(self, of: str, over: str) -> Mapping[str, Any]:
        return next(
            dict(c) for c in self.summary["crossovers"] if (c["of"], c["over"]) == (of, over)
        )

    def drop(self, method: str, variant: str) -> str:
        """``12.0 points (3.0 to 22.0)`` of accuracy lost in other words."""
        rows = self.summary["robustness"]["rows"]
        (row,) = (r for r in rows if (r["method"], r["variant"]) == (method, variant))
        value, low, high = (100 * row["drop"][name] for name in ("value", "low", "high"))
        return f"{value:.0f} points ({low:.0f} to {high:.0f})"

    def order(self, method: str) -> Mapping[str, Any]:
        """What other orders change."""
        return next(dict(r) for r in self.summary["orders"]["rows"] if r["method"] == method)


def records(name: str) -> list[dict[str, Any]]:
    """The JSON objects of ``records/NAME.jsonl``."""
    lines = (RECORDS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def share(value: float) -> str:
    return f"{100 * value:.1f} %"


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def keep(name: str, folder: Path) -> None:
    """Makes a record of a comparison, without any message in it."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    summary["disagreements"]["items"] = []
    text = json.dumps(summary, separators=(",", ":"))
    (RECORDS / f"compare_{name}.json").write_text(text + "\n", encoding="utf-8")


# --- questions ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """One row of the table, and one paragraph.

    Attributes:
        asks: the question.
        command: what was run to find out.
        answer: in a cell.
        paragraph: in some sentences.
    """

    asks: str
    command: str
    answer: str
    paragraph: str


def questions() -> list[Question]:
    """All of them, in reading order."""
    return [crossover(), small(), labelling(), balance(), shown(), order(), strategies(), fooled(),
            same_model(), cost()]  # fmt: skip


FEW, VOTEK, LAST, ALL = "few_shot_topk", "few_shot_votek_pool", "fine_tuned", "fine_tuned_all"
SMS_COMMAND = "tuneshot compare"
SETS = {"sms": "SMS", "sst2": "SST-2", "ag_news": "AG News"}
SAME_COMMAND = (
    "tuneshot compare --methods fine_tuned,few_shot_topk --budgets 8,64,256,1024 --same-model "
    "--no-robust"
)
COMMANDS = {
    "sms": SMS_COMMAND,
    "sst2": "tuneshot compare --data sst2/train.tsv --budgets 8,64,512,all --no-robust",
    "ag_news": "tuneshot compare --data ag_news/train_5k.tsv --budgets 8,64,512 --seeds 2 "
    "--no-robust",
    "sms_same": SAME_COMMAND,
}


def crossover() -> Question:
    rows = []
    for name, title in SETS.items():
        found = Comparison(name)
        rows.append(
            f"{title}: {found.crossing(ALL, FEW)}. {found.crossing(LAST, FEW)}. With "
            f"{found.largest:,} labels {found.figure(ALL, found.largest)} and "
            f"{found.figure(LAST, found.largest)} against {found.figure(FEW, found.largest)}; "
            f"tf-idf {found.figure('tfidf', found.largest)}."
        )
    sms, sst2, news = (Comparison(name) for name in SETS)
    return Question(
        "From how many labels on does fine-tuning beat prompting?",
        SMS_COMMAND,
        "; ".join(
            f"{title}: {Comparison(name).brief(ALL, FEW)}" for name, title in SETS.items()
        ),
        " ".join(rows) + " " + CROSSOVER.format(
            news_gap=news.gap(news.largest, ALL, FEW), sst2_gap=sst2.gap(sst2.largest, ALL, FEW),
            sms_gap=sms.gap(sms.largest, ALL, FEW),
        ),
    )  # fmt: skip


def small() -> Question:
    rows, answers = [], []
    for name, title in SETS.items():
        found = Comparison(name)
        answers.append(f"{title}, 8 labels: {found.gap(8, FEW, ALL)}")
        rows.append(
            f"{title}, 8 labels: prompt {found.figure(FEW, 8)}, all layers {found.figure(ALL, 8)}, "
            f"vote of the nearest {found.figure('knn', 8)}, zero-shot {found.figure('zero', 0)}."
        )
    return Question(
        "Where does few-shot win?", SMS_COMMAND, "; ".join(answers), " ".join(rows) + " " + SMALL
    )


def labelling() -> Question:
    found = Comparison("sms_votek")
    pairs = {
        "a prompt": (VOTEK, FEW),
        "a vote of the nearest": ("knn_votek", "knn"),
        "tf-idf": ("tfidf_votek", "tfidf"),
        "the last block": ("fine_tuned_votek", LAST),
    }
    rows = [
        f"For {who}: {', '.join(f'{n} labels {found.gap(n, a, b)}' for n in (8, 16, 64, 256))}."
        for who, (a, b) in pairs.items()
    ]
    return Question(
        "Is what vote-k has labelled worth more than what chance has, and for whom?",
        "tuneshot compare --methods fine_tuned,fine_tuned_votek,few_shot_topk,few_shot_votek_pool,"
        "knn,knn_votek,tfidf,tfidf_votek",
        "16 labels: " + "; ".join(f"{who} {found.gap(16, a, b)}" for who, (a, b) in pairs.items()),
        " ".join(rows) + " " + LABELLING,
    )


def balance() -> Question:
    drawn = {record["selector"]: record for record in records("few_shot")}
    ranked = {record["balance"]: record for record in records("few_shot_balance")}
    rows = ", ".join(f"{name} {wilson(record)}" for name, record in ranked.items())
    return Question(
        "Does it help to show as many of each label?",
        "icl evaluate --selector topk -k 4 --balance none",
        f"at random: {wilson(drawn['balanced_random'])} balanced, {wilson(drawn['random'])} as it "
        f"comes; by top-k: {wilson(ranked['equal'])} and {wilson(ranked['none'])}",
        f"Accuracy on 200 test messages, half spam. Drawn at random, balanced "
        f"{wilson(drawn['balanced_random'])}, as they come {wilson(drawn['random'])}. Chosen by "
        f"top-k: {rows}. {BALANCE}",
    )


def shown() -> Question:
    found = {record["k"]: record for record in records("few_shot_k")}
    rows = ", ".join(f"k = {k} {wilson(record)}" for k, record in sorted(found.items()))
    best = max(found, key=lambda k: found[k]["accuracy"]["value"])
    return Question(
        "How many examples?",
        "icl evaluate --selector topk -k 8",
        f"best here: k = {best}, {wilson(found[best])}",
        f"Accuracy on 200 test messages, half spam, by top-k: {rows}. {SHOWN}",
    )


def order() -> Question:
    found = Comparison("sms").order(FEW)
    low, high = min(found["accuracies"]), max(found["accuracies"])
    (plain,) = {
        r["plain"] for r in Comparison("sms").summary["robustness"]["rows"] if r["method"] == FEW
    }
    return Question(
        "Does the order of the examples matter?",
        SMS_COMMAND,
        f"yes: {share(plain)} with the nearest last, {share(low)} to {share(high)} in four random "
        "orders",
        f"The same four examples for the same 50 messages, half spam: {share(plain)} are answered "
        f"right with the nearest example last, {share(low)} to {share(high)} in random orders, and "
        f"{share(found['changed'])} of the answers are not the same in all four. {ORDER}",
    )


def strategies() -> Question:
    tests = {r["config"]["balance"]: r["test"] for r in records("experiments_imbalance")
             if r["config"]["layers"] == "last_block"}  # fmt: skip
    rows = ", ".join(
        f"{name} {share(test['balanced_accuracy'])} ({share(test['accuracy']['value'])})"
        for name, test in tests.items()
    )
    best = max(tests, key=lambda name: tests[name]["balanced_accuracy"])
    return Question(
        "Which strategy against rare labels helps fine-tuning?",
        "clf experiments imbalance",
        f"{best}: {share(tests[best]['balanced_accuracy'])}, none: "
        f"{share(tests['none']['balanced_accuracy'])}",
        f"The last block of gpt2-mini, {tests['none']['messages']:,} test messages, one seed; "
        f"balanced accuracy, and accuracy in brackets: {rows}. {STRATEGIES}",
    )


def fooled() -> Question:
    found = Comparison("sms")
    rows = [
        f"{title}: " + ", ".join(
            f"{variant.replace('_', ' ')} {found.drop(method, variant)}"
            for variant in ("typos", "homoglyphs", "spaces", "instruction", "label_word")
        ) + "."
        for method, title in ((ALL, "Fine-tuned, all layers"), (FEW, "Few-shot"),
                              ("knn", "Vote of the nearest"))
    ]  # fmt: skip
    return Question(
        "Who is fooled by a message in other words?",
        SMS_COMMAND,
        f"an order in the text costs the prompt {found.drop(FEW, 'instruction')}, fine-tuning "
        f"{found.drop(ALL, 'instruction')}; a label's word in front "
        f"{found.drop(FEW, 'label_word')} and {found.drop(ALL, 'label_word')}",
        "Accuracy lost on 50 messages, half spam, with all labels. "
        + " ".join(rows)
        + " "
        + FOOLED,
    )


def same_model() -> Question:
    found = Comparison("sms_same")
    rows = ", ".join(
        f"{budget:,} labels {found.figure(LAST, budget)} against {found.figure(FEW, budget)}"
        for budget in found.summary["budgets"]
    )
    return Question(
        "And with the same model on both sides?",
        SAME_COMMAND,
        found.brief(LAST, FEW),
        f"SmolLM2-135M, its last block fine-tuned, against the same model reading prompts: {rows}. "
        f"{found.crossing(LAST, FEW)}. {SAME}",
    )


def cost() -> Question:
    found = Comparison("sms")
    memory = found.summary["memory_mb"]
    prices = {row["method"]: row["dollars_per_1000"] for row in found.summary["prices"]["rows"]
              if row["budget"] == found.largest}[FEW]  # fmt: skip
    priced = ", ".join(f"{model} {dollars:.3f} $" for model, dollars in prices.items())
    rows = [
        f"{title}: {found.point(method, found.largest)['learn_seconds']:,.0f} s to learn, "
        f"{found.point(method, found.largest)['ms']:,.1f} ms a message, {memory[method]:,.0f} MB."
        for method, title in ((LAST, "Last block"), (ALL, "All layers"), (FEW, "Few-shot"),
                              ("tfidf", "tf-idf"))
    ]  # fmt: skip
    return Question(
        "What does it cost?",
        SMS_COMMAND,
        f"a message: {found.point(FEW, found.largest)['ms']:,.0f} ms and "
        f"{found.point(FEW, found.largest)['prompt_tokens']:.0f} tokens by prompt, "
        f"{found.point(ALL, found.largest)['ms']:,.1f} ms fine-tuned; learning: "
        f"{found.point(ALL, found.largest)['learn_seconds']:,.0f} s for all layers",
        f"With all {found.largest:,} labels, one thread, two cells at a time. {' '.join(rows)} A "
        f"thousand such prompts behind an API, by LiteLLM's table: {priced}. {COST}",
    )


def wilson(record: Mapping[str, Any]) -> str:
    """The accuracy of a record of ``icl evaluate``, with its interval."""
    found = record["accuracy"]
    return f"{share(found['value'])} ({100 * found['low']:.1f} – {100 * found['high']:.1f})"


# --- what is said about the figures -------------------------------------------------------------

CROSSOVER = """\
It depends on what the language model knows already. On SMS, all layers and the prompt are level
from a few dozen labels on, and the interval of the crossing says that nobody can tell: with all
labels they differ by {sms_gap}; the last block alone stays behind. On film reviews the language
model knows the task, and a GPT-2 of 16 million weights needs thousands of labels to come near
({sst2_gap}); counting words needs as many, and is level with it. On news, examples confuse this
language model rather than help it, and fine-tuning is ahead from the smallest budget on
({news_gap})."""

SMALL = """\
Few-shot wins where labels are few and the task is in the language model already: film reviews.
There, no examples at all do better still. On SMS, with eight labels, its lead over all layers is
within chance (200 messages hold 25 of spam); on news it loses to fine-tuning, to the vote, and to
itself without examples."""

SAME = """\
With eight labels the outcome of fine-tuning is a lottery: the three draws end between chance and
nearly all right. From 64 labels on, the two ways to use one model cannot be told apart by
balanced accuracy; at 64 the prompt makes more mistakes in all, as it flags more ham (p is of
McNemar's test on accuracy). So what separates the methods elsewhere on this page is as much the
model as the way it is taught."""

LABELLING = """\
Who looks for similar messages is served by picks that are spread: with 8 to 64 labels, prompt and
vote are better with vote-k's at every budget. None of it is certain with 200 test messages (p is
of McNemar's test on accuracy, corrected over 28 pairs), and it shrinks as labels grow. Who learns
weights or words has no gain that could be seen."""

BALANCE = """\
Drawn at random, balance gains some points, which 200 messages cannot make certain. Where examples
are chosen by similarity, it changes nothing: the nearest ones decide."""

SHOWN = """\
One example, the nearest, does as well as four or eight. Two, one of each label, are worse by far.
More examples are read more slowly, too."""

ORDER = """\
So a model this small does not find the relevant example by itself: it answers well where the
order has put it last, beside its like. That comes close to a vote of the nearest neighbour, and
what looks like learning from examples is search for a good part. It is the plainest negative
result here, and the reason why the vote without a language model stands in every table. It also
says what to try first: `similar_last`, our default."""

STRATEGIES = """\
Balanced accuracy gains by every strategy, accuracy hardly changes; repeating rare messages costs
nothing and is what the comparison does. With one seed, differences of a point mean nothing."""

FOOLED = """\
An order to the reader, or a label's name in front, is words like others to a classifier. A prompt
takes both for what they say, and the vote suffers as well, since the sentence vector moves.
Look-alike letters hurt everybody. In 50 messages one is 2 points; a drop below 10 is rarely
certain."""

COST = """\
Memory is the peak of a process that does nothing else, with Python and PyTorch (about 380 MB) in
it. A prompt costs at every message what fine-tuning costs once: after some hundred messages all
layers have paid for themselves."""

ABOUT = """\
gpt2-mini starts from its bundled trunk, which has seen no label and no message of these corpora."""


# --- the page -----------------------------------------------------------------------------------

HEAD = """\
# Fine-tune or few-shot: what was found

Every figure here comes from a record in [records](records) and is written by
`python docs/experiments.py`; how it was measured is in [compare.md](compare.md). Balanced
accuracy, with 95 % intervals, unless another figure is named. Differences are in points, with
their paired interval and Holm's p over all pairs of methods at that budget.

| data | messages that may be labelled | asked about | seeds | command |
|---|---|---|---|---|
{data}

Fine-tuned is gpt2-mini, a GPT-2 of 16 million weights made for this project; the prompts are read
by SmolLM2-135M-Instruct in bfloat16, with four examples, as many of each label where there are as
many. {head}

![Balanced accuracy by the number of labelled messages on the SMS Spam Collection](crossover.png)

| question | answer | command |
|---|---|---|
{rows}
"""


def page() -> str:
    """The page's Markdown."""
    data = []
    for name in COMMANDS:
        found = Comparison(name).summary
        title = SETS.get(name, "SMS, the same model on both sides")
        data.append(
            f"| {title} | {found['data']['pool']:,} | {found['data']['test']:,} | "
            f"{len(found['seeds'])} | `{COMMANDS[name]}` |"
        )
    asked = questions()
    rows = [f"| {q.asks} | {q.answer} | `{q.command}` |" for q in asked]
    parts = [HEAD.format(data="\n".join(data), rows="\n".join(rows), head=ABOUT)]
    parts += [f"## {q.asks}\n\n{q.paragraph}\n" for q in asked]
    return "\n".join(parts)


def main() -> int:
    if sys.argv[1:2] == ["--keep"]:
        keep(sys.argv[2], Path(sys.argv[3]))
        return 0
    path, new = DOCS / "experiments.md", page()
    stale = not path.exists() or path.read_text(encoding="utf-8") != new
    if "--check" not in sys.argv:
        path.write_text(new, encoding="utf-8")
    return int(stale and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
