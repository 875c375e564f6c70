"""Free prompts: the forms of the lecture, completed by the language model."""

import re
from dataclasses import dataclass

from icl.prompt.template import PARAGRAPH_BREAK, one_line

# --- the form of a prompt whose answer is a text, not a label ------------------------------------


@dataclass(frozen=True, slots=True)
class FreePrompt:
    """A prompt with worked examples for a language model to complete.

    Attributes:
        instruction: the first paragraph.
        before_input, before_output: what introduces an input and its output.
        examples: inputs and their outputs.
        questions: inputs to try it with, and the right answers.
        stop: where the answer ends.
    """

    instruction: str
    before_input: str
    before_output: str
    examples: tuple[tuple[str, str], ...]
    questions: tuple[tuple[str, str], ...]
    stop: tuple[str, ...] = ("\n",)

    def render(self, query: str) -> str:
        """The whole prompt, up to and including the empty slot for the answer."""
        shown = [f"{self._slot(text)} {output}" for text, output in self.examples]
        return PARAGRAPH_BREAK.join([self.instruction, *shown, self._slot(query)])

    def is_right(self, query: str, completion: str) -> bool | None:
        """Whether a question has the expected answer; ``None`` for other queries.

        Case and punctuation do not count. Of a translation there may be other good ones.
        """
        expected = dict(self.questions).get(one_line(query).strip())
        return None if expected is None else _words(completion) == _words(expected)

    def _slot(self, text: str) -> str:
        return self.before_input + one_line(text) + self.before_output


def free_prompt_with(query: str) -> str | None:
    """The free prompt that ``query`` is a question of, if any."""
    question = one_line(query).strip()
    return next(
        (name for name, form in FREE_PROMPTS.items() if question in dict(form.questions)), None
    )


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


# Of six questions each, SmolLM2-135M answers 2 (translation), 5 (sentiment) and 0 (composition) as
# hoped. It goes from Italian to Italy, and no further: f(Italy) alone is Italy to it, too.
FREE_PROMPTS: dict[str, FreePrompt] = {
    "translation": FreePrompt(
        instruction="Translate the German sentences into English.",
        before_input="German: ",
        before_output="\nEnglish:",
        examples=(
            ("Guten Morgen!", "Good morning!"),
            ("Ich trinke gern Tee.", "I like to drink tea."),
            ("Wo ist der Bahnhof?", "Where is the station?"),
        ),
        questions=(
            ("Guten Abend!", "Good evening!"),
            ("Wo ist der Hund?", "Where is the dog?"),
            ("Das Wasser ist kalt.", "The water is cold."),
            ("Ich habe zwei Brüder.", "I have two brothers."),
            ("Wie heißt du?", "What is your name?"),
            ("Morgen fahre ich nach Berlin.", "Tomorrow I am going to Berlin."),
        ),
    ),
    "review_sentiment": FreePrompt(
        instruction="Say whether each review is positive or negative.",
        before_input="Review: ",
        before_output="\nSentiment:",
        examples=(
            ("The food was wonderful and the staff were kind.", "positive"),
            ("It broke after two days, and nobody answered my letters.", "negative"),
            ("I would watch this film again tomorrow.", "positive"),
        ),
        questions=(
            ("The best concert I have been to in years.", "positive"),
            ("I want my money back.", "negative"),
            ("The room was dirty and the bed was hard.", "negative"),
            ("It works as promised, and it was cheap.", "positive"),
            ("I fell asleep after ten minutes.", "negative"),
            ("Not bad at all!", "positive"),
        ),
    ),
    # Two steps that it is shown one by one, and then as one: language -> country -> capital.
    "function_composition": FreePrompt(
        instruction="Two functions, f and g, are shown by examples. f(g(x)) is g first, then f.",
        before_input="",
        before_output=" =",
        examples=(
            ("g(French)", "France"),
            ("f(France)", "Paris"),
            ("f(g(French))", "Paris"),
            ("g(Spanish)", "Spain"),
            ("f(Spain)", "Madrid"),
            ("f(g(Spanish))", "Madrid"),
            ("g(Japanese)", "Japan"),
            ("f(Japan)", "Tokyo"),
            ("f(g(Japanese))", "Tokyo"),
        ),
        questions=(
            ("f(g(Italian))", "Rome"),
            ("f(g(German))", "Berlin"),
            ("f(g(Greek))", "Athens"),
            ("f(g(Polish))", "Warsaw"),
            ("f(g(Russian))", "Moscow"),
            ("f(g(Norwegian))", "Oslo"),
        ),
    ),
}
