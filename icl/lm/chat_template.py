"""Chat templates of strangers, which are programs: each runs in a process of its own.

Jinja's sandbox keeps a template from files and from Python, but not from counting for hours or from
filling the memory. The process has little of both, and no template is compiled anywhere else, for
that computes what is constant in it. It is started by the first chat, and ends with this one.
"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clfcore.json_text import to_json
from clfcore.types import without_lone_surrogates

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SECONDS = 10  # for one chat; usual ones take a millisecond
MOST_MEMORY = 1_000_000_000  # bytes of addresses, transformers' code among them
MOST_TEMPLATE = 200_000  # characters; the longest published ones have 30,000
MOST_TEXT = 2_000_000  # characters of a chat
MOST_PROBLEM = 200  # characters of what a template says is wrong

Chat = Sequence[Mapping[str, str]]  # role and content of each turn


class ChatTemplate:
    """Writes chats as a tokenizer's template says.

    Args:
        tokenizer: of transformers.
        trusted: its template is this program's own, and runs here.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", trusted: bool) -> None:
        self._tokenizer, self._trusted = tokenizer, trusted
        self._process: subprocess.Popen[str] | None = None
        self._one_at_a_time = threading.Lock()  # a question and its answer belong together

    def ids(self, chat: Chat) -> list[int]:
        """The tokens of a chat, up to where the model speaks, as ``apply_chat_template`` has them.

        Control tokens in the turns mean their characters.

        Raises:
            ValueError: the template refuses this chat, is none, or needs too much time or memory.
        """
        if self._trusted:
            return list(
                self._tokenizer.apply_chat_template(
                    list(chat),
                    add_generation_prompt=True,
                    sanitize_control_tokens=True,
                    return_dict=False,
                )
            )
        from transformers.utils.chat_template_utils import mark_control_tokens

        template = self._tokenizer.get_chat_template()
        if not isinstance(template, str) or len(template) > MOST_TEMPLATE:
            raise ValueError(
                f"its chat template is no text of at most {MOST_TEMPLATE:,} characters"
            )
        control = [
            token.content
            for token in self._tokenizer.added_tokens_decoder.values()
            if token.special or (token.content in template and not token.content.isspace())
        ]
        longest_first = map(re.escape, sorted(control, key=len, reverse=True))
        marked = mark_control_tokens(list(chat), re.compile("|".join(longest_first) or "(?!)"))
        names = self._tokenizer.special_tokens_map
        with self._one_at_a_time:
            answer = self._ask({"template": template, "chat": marked, "names": names})
        if "problem" in answer:
            raise ValueError(answer["problem"])
        encoded = self._tokenizer(
            without_lone_surrogates(answer["text"]),
            add_special_tokens=False,
            sanitize_control_tokens=True,
        )
        return list(encoded["input_ids"])

    def _ask(self, question: Mapping[str, Any]) -> dict[str, str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(SECONDS)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(to_json(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            self._process.wait()
            return {
                "problem": f"its chat template needs more than {SECONDS} seconds, or a gigabyte"
            }
        answer: dict[str, str] = json.loads(line)
        return answer


def main() -> None:
    """Answers one question a line, until there are no more."""
    import resource
    import signal

    from transformers.utils.chat_template_utils import render_jinja_template

    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    for line in sys.stdin:
        question = json.loads(line)
        signal.alarm(int(sys.argv[1]))  # the system ends the process, whatever it computes
        try:
            (text,), _ = render_jinja_template(
                conversations=[question["chat"]], chat_template=question["template"],
                add_generation_prompt=True, **question["names"],
            )  # fmt: skip
            if len(text) > MOST_TEXT:
                raise ValueError(f"the chat has more than {MOST_TEXT:,} characters")
            answer = {"text": text}
        except Exception as error:  # their program's
            said = " ".join(str(error).split()) or type(error).__name__
            answer = {"problem": said[:MOST_PROBLEM]}
        signal.alarm(0)
        sys.stdout.write(to_json(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
