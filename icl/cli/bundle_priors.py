"""Writes ``icl/priors/bundled.json``: the priors that come with the program.

    make priors

Of the sample messages' training part, and of the corpus's where it was downloaded: the page and
``icl classify`` show one of them by default. With the usual settings of both, and without
examples; of the bundled language model, in each precision. Only means over the labels are written,
no message.
"""

from typing import Any

from clfcore.cli.terminal import stderr
from clfcore.config import DEFAULT_LM
from clfcore.data.messages import load_messages, sample_messages
from clfcore.data.split import grouped_stratified_split
from clfcore.json_text import to_json
from clfcore.paths import atomic_write
from icl.few_shot import FewShot
from icl.lm.local import LocalLM
from icl.pool.embed import SentenceEmbedder
from icl.pool.pool import Pool
from icl.priors.batch import BUNDLED
from icl.session.settings import Settings

SETTINGS: tuple[dict[str, Any], ...] = ({}, {"k": Settings().k}, {"selector": "zero"})


def main() -> None:
    """Reads all of them again, whatever is remembered, and replaces the file."""
    priors = []
    embedder = SentenceEmbedder()
    sources = {messages.name: messages for messages in (sample_messages(), load_messages())}
    for messages in sources.values():
        rows = grouped_stratified_split(messages.examples).train
        pool = Pool.build([messages.examples[row] for row in rows], embedder)
        for dtype in ("float32", "bfloat16"):
            lm = LocalLM(DEFAULT_LM, dtype)
            for settings in SETTINGS:
                few_shot = FewShot(
                    "sms_spam", lm=lm, embedder=embedder, calibration="batch", **settings
                ).fit(pool, read_prior=False)
                assert few_shot.batch_prior is not None
                few_shot.batch_prior.read_again()
                priors.append(few_shot.batch_prior.to_json())
                stderr.print(
                    f"{messages.name}, {lm.name}, {few_shot.config.selector}, k={few_shot.config.k}"
                )
    with atomic_write(BUNDLED) as new:
        new.write_text(to_json(priors, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
