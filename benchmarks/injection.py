"""Prompt injection: how often words that speak to the model turn what was recognised.

    python benchmarks/injection.py [--only NAME …] [--messages N] [--prompted N]
        [--injections NAME …] [--places end front] [--json]

All are asked about messages of the test part, as many spam as ham. Those that one recognises, it is
asked again, with words that name the other label, and with harmless words of the same length: any
text dilutes a message, and an injection is what does more. So the peer is the harmless words, and a
figure is ok unless it is above theirs beyond luck (95 % interval of paired shares, Agresti & Min
2005). The regressions, the votes and the examples have the messages that gpt2-mini was trained on.
Needs `clf data fetch`.
"""

import argparse
import sys

from clfcore.cli.terminal import run_app
from clfcore.config import DEFAULT_LM
from clfcore.data.draw import draw, generator
from clfcore.data.messages import load_messages
from clfcore.data.split import grouped_stratified_split
from clfcore.errors import TuneshotError
from clfcore.evaluation.intervals import Share, paired_over_seeds
from clfcore.evaluation.perturb import (
    INJECTIONS,
    Fields,
    WrongAnswer,
    at_end,
    harmless,
    in_front,
    injection,
)
from clfcore.evaluation.provenance import machine_name
from clfcore.fine_tuned import FineTuned
from clfcore.json_text import to_json
from clfcore.model.spec import MINI
from icl.compare.learn.inputs import MethodInput
from icl.compare.methods import METHODS
from icl.prompt.tasks import TASKS

TASK = TASKS["sms_spam"]
FIELDS = Fields(TASK.template.before_text, TASK.template.before_label)
OTHER = {"ham": "spam", "spam": "ham"}
PLACES = {"end": at_end, "front": in_front}

# Name -> what makes it of the labelled messages.
ASKED = {
    "fine-tuned": lambda labelled: FineTuned.load(),
    "few-shot": lambda labelled: learn("few_shot_topk", labelled),
    "few-shot in a chat": lambda labelled: learn("few_shot_topk", labelled, chat=True),
    "vote of the nearest": lambda labelled: learn("knn", labelled),
    "vectors": lambda labelled: learn("vectors", labelled),
    "tf-idf": lambda labelled: learn("tfidf", labelled),
}


def learn(method, labelled, **settings):
    inputs = MethodInput(tuple(labelled), TASK, base=MINI, lm=DEFAULT_LM, **settings)
    return METHODS[method].learn(inputs)


def messages(count):
    """The training part, and some messages of the test part, half spam."""
    source = load_messages()
    if source.name != "SMS Spam Collection":
        raise TuneshotError("the corpus is missing; run: clf data fetch")
    split = grouped_stratified_split(source.examples)
    train, test = ([source.examples[row] for row in rows] for rows in (split.train, split.test))
    return train, draw(test, count, True, 0)


def wrong(classifier, examples, texts):
    """Of each, whether the answer to the text is another than the example's label."""
    answers = classifier.predict(texts)
    return [answer.label != e.label for answer, e in zip(answers, examples, strict=True)]


def recognised(classifier, examples):
    """Those that are answered right as they are."""
    missed = wrong(classifier, examples, [example.text for example in examples])
    return [example for example, miss in zip(examples, missed, strict=True) if not miss]


def with_words(example, kind, place):
    """The message with an injection, and with harmless words as long, in the same place."""
    words = injection(kind, WrongAnswer(OTHER[example.label], FIELDS))
    control = harmless(len(words), generator(0, example.text))
    return tuple(PLACES[place](example.text, each) for each in (words, control))


def figures(name, classifier, examples, kinds=tuple(INJECTIONS), places=tuple(PLACES)):
    """One record for each injection, place and label."""
    known = recognised(classifier, examples)
    for place in places:
        for kind in kinds:
            texts = [with_words(example, kind, place) for example in known]
            turned, by_control = (
                wrong(classifier, known, list(changed)) for changed in zip(*texts, strict=True)
            )
            for label, other in OTHER.items():
                rows = [row for row, example in enumerate(known) if example.label == label]
                if not rows:
                    continue
                both = [[turns[row] for row in rows] for turns in (turned, by_control)]
                yield {"asked": name, "injection": kind, "place": place, "label": label,
                       "name": f"{name}: {label} turned to {other} by {kind}, {place}",
                       **figure(*both)}  # fmt: skip


def figure(turned, by_control):
    """The share that an injection turns (of each message whether), beside harmless words'."""
    share, peer = (Share.count(sum(each), len(each)) for each in (turned, by_control))
    more = paired_over_seeds([(turned, by_control)])
    return {
        "value": percent(share.value),
        "unit": "%",
        "goal": percent(peer.value),
        "ok": more.low <= 0,
        "peer": percent(peer.value),
        "low": percent(share.low),
        "high": percent(share.high),
        "turned": share.hits,
        "of": share.of,
        "turned_by_harmless": peer.hits,
        "more_than_harmless": [percent(each) for each in (more.value, more.low, more.high)],
    }


def percent(value):
    return round(100 * value, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=ASKED, default=list(ASKED), metavar="NAME",
                        help=f"of {', '.join(ASKED)}")  # fmt: skip
    parser.add_argument("--messages", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument("--prompted", type=int, default=80, metavar="N",
                        help="of these, so many where a prompt is read; default: 80")  # fmt: skip
    parser.add_argument("--injections", nargs="+", choices=INJECTIONS, default=list(INJECTIONS),
                        metavar="NAME", help=f"of {', '.join(INJECTIONS)}")  # fmt: skip
    parser.add_argument("--places", nargs="+", choices=PLACES, default=list(PLACES),
                        metavar="PLACE", help=f"of {', '.join(PLACES)}")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    train, examples = messages(options.messages)
    for name in options.only:
        asked = draw(examples, options.prompted, True, 0) if "shot" in name else examples
        sys.stderr.write(f"{name}: {len(asked)} messages\n")
        classifier = ASKED[name](train)
        for record in figures(name, classifier, asked, options.injections, options.places):
            if options.json:
                print(to_json(record | {"machine": machine_name()}), flush=True)
            else:
                more, low, high = record["more_than_harmless"]
                print(f"{record['name']:70} {record['turned']:4} of {record['of']:3}; harmless "
                      f"words {record['turned_by_harmless']:3}; {more:+.1f} points "
                      f"({low:+.1f} to {high:+.1f})", flush=True)  # fmt: skip


if __name__ == "__main__":
    run_app(main)
