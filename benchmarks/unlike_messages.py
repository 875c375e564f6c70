"""How well the bundled model does on messages unlike the corpus, beside bags of words.

    python benchmarks/unlike_messages.py [--checkpoint FOLDER] [--youtube FILE] [--json]

The peers are tf-idf + logistic regression over words and over characters, fitted on exactly the
messages the checkpoint was fitted on. Sets: the test part; the test part without near twins of
training messages; the bundled sample, which no model here has seen; and with --youtube comments
under videos (UCI 380; Alberto, Lochter & Almeida 2015), a table with the labels spam and ham.
Needs `clf data fetch`.
"""

import argparse
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from clfcore.cli.terminal import run_app
from clfcore.data.messages import load_messages, sample_messages
from clfcore.data.split import grouped_stratified_split, near_duplicate_form
from clfcore.data.tables import read_labelled
from clfcore.errors import TuneshotError
from clfcore.evaluation.evaluate import evaluate
from clfcore.fine_tuned import FineTuned
from clfcore.json_text import to_json
from clfcore.types import Prediction

VECTORIZERS = {
    "words": TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
    "characters": TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
}


class BagOfWords:
    """A scikit-learn pipeline as a ``Classifier``."""

    labels = ("ham", "spam")

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def predict(self, texts):
        return [
            Prediction(self.labels[int(p >= 0.5)], {"ham": 1 - p, "spam": p}, ms=0.0)
            for p in self.pipeline.predict_proba(texts)[:, 1]
        ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--youtube", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    source = load_messages()
    if source.name != "SMS Spam Collection":
        raise TuneshotError("the corpus is missing; run: clf data fetch")
    mini = FineTuned.load(options.checkpoint)
    examples, data = source.examples, mini.meta.about["data"]
    split = grouped_stratified_split(examples, data["split_seed"])
    train, test = ([examples[i] for i in rows] for rows in (split.train, split.test))
    learnt = {near_duplicate_form(example.text) for example in train}
    sets = {
        "test part": test,
        "test part without near twins": [
            e for e in test if near_duplicate_form(e.text) not in learnt
        ],
        "sample messages": sample_messages().examples,
    }
    if options.youtube:
        sets["YouTube comments"] = read_labelled(options.youtube)

    classifiers = {mini.name: mini}
    texts, spam = [e.text for e in train], [e.label == "spam" for e in train]
    for name, vectorizer in VECTORIZERS.items():
        regression = LogisticRegression(C=10, class_weight="balanced", max_iter=2000)
        classifiers[f"tf-idf of {name}"] = BagOfWords(
            make_pipeline(vectorizer, regression).fit(texts, spam)
        )

    for set_name, messages in sets.items():
        for name, classifier in classifiers.items():
            m = evaluate(classifier, messages).metrics
            record = {
                "set": set_name,
                "messages": m.messages,
                "classifier": name,
                "auc": round(m.figures["auc"], 4),
                "accuracy": round(m.accuracy.value, 4),
                "spam_found": round(m.recall["spam"].value, 4),
                "ham_flagged": round(1 - m.recall["ham"].value, 4),
                "calibration_error": round(m.figures["ece"], 4),
            }
            print(to_json(record) if options.json else "  ".join(map(str, record.values())))


if __name__ == "__main__":
    run_app(main)
