"""Many ask, one thread answers: who shares a call, who goes first, what happens when it fails."""

import asyncio
import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.errors import TuneshotError
from icl.session.queue import BACKGROUND_SECONDS, BatchQueue, Busy, QueueMetrics


class Model:
    """Answers with key and text. Begins a call only when told to, and remembers all of them."""

    def __init__(self, open=False):
        self.calls = []
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(10**9 if open else 0)

    def __call__(self, key, texts):
        self.calls.append((key, list(texts)))
        self.began.release()
        self.may_end.acquire()
        for text in texts:
            if text.startswith("bug"):
                raise RuntimeError(text)
            if text.startswith("missing"):
                raise TuneshotError("no model; run: make setup")
        return [(key, text) for text in texts]

    async def busy(self):
        """Until a call has begun."""
        await asyncio.to_thread(self.began.acquire)

    def free(self, calls=1):
        self.may_end.release(calls)


class Counted(QueueMetrics):
    """The figures of a queue that is called test."""

    def outcomes(self):
        """Answered, failed, refused."""
        return tuple(map(self.outcome, ("answered", "failed", "refused")))

    def outcome(self, name):
        return self.value("requests_total", outcome=name)

    def value(self, name, **labels):
        return self.registry.get_sample_value(f"tuneshot_{name}", {"method": "test", **labels})


def scene(play, **options):
    """Runs ``play(queue, model, ask)`` and closes; ``ask`` puts a request in the queue."""

    async def run():
        model = Model()
        queue = BatchQueue(model, name="test", **options)

        async def ask(text, key="k", background=False):
            task = asyncio.create_task(queue.ask(key, text, background=background))
            await asyncio.sleep(0)  # now it is in the queue
            return task

        try:
            return await asyncio.wait_for(play(queue, model, ask), 10)
        finally:
            model.free(100)
            queue.close()

    return asyncio.run(run())


# --- who shares a call --------------------------------------------------------------------------


def test_a_lone_request_is_answered_at_once():
    async def play(queue, model, ask):
        model.free()
        return await queue.ask("k", "hello")

    assert scene(play) == ("k", "hello")


def test_what_waits_for_the_same_thing_goes_together_up_to_the_largest_call():
    async def play(queue, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask(f"{n}") for n in range(5)]
        model.free(3)
        answers = await asyncio.gather(*tasks)
        assert [text for _, text in answers] == ["first", "0", "1", "2", "3", "4"]
        return model.calls

    assert scene(play, max_batch=3) == [
        ("k", ["first"]),
        ("k", ["0", "1", "2"]),
        ("k", ["3", "4"]),
    ]


def test_keys_never_share_a_call_and_the_oldest_request_chooses_the_key():
    async def play(queue, model, ask):
        tasks = [await ask("first", "a")]
        await model.busy()
        tasks += [await ask(text, text[0]) for text in ("b1", "a1", "b2", "c1", "a2")]
        model.free(4)
        await asyncio.gather(*tasks)
        return model.calls[1:]

    assert scene(play) == [("b", ["b1", "b2"]), ("a", ["a1", "a2"]), ("c", ["c1"])]


def test_what_many_ask_at_once_is_computed_once_in_the_place_of_the_first():
    metrics = Counted()

    async def play(queue, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        for text in ("a", "b", "a", "first", "a"):
            tasks.append(await ask(text, background=text == "b"))
        assert queue.ahead() == 3, "first twice, and a: equal ones are one"
        model.free(10)
        answers = [text for _, text in await asyncio.gather(*tasks)]
        assert answers == ["first", "a", "b", "a", "first", "a"]
        return model.calls

    calls = [("k", ["first"]), ("k", ["a"]), ("k", ["b"])]
    assert scene(play, max_batch=1, metrics=metrics) == calls
    assert (metrics.outcome("answered"), metrics.outcome("remembered")) == (3, 3)


def test_equal_texts_for_different_keys_are_different_questions():
    async def play(queue, model, ask):
        tasks = [await ask("first")] + [await ask("a", key) for key in "xyx"]
        model.free(10)
        await asyncio.gather(*tasks)
        return [await task for task in tasks[1:]]

    assert scene(play) == [("x", "a"), ("y", "a"), ("x", "a")]


def test_who_asks_while_an_equal_question_is_computed_gets_its_error_too():
    async def play(queue, model, ask):
        tasks = [await ask("missing")]
        await model.busy()
        tasks.append(await ask("missing"))
        model.free(10)
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(error) for error in errors] == ["no model; run: make setup"] * 2
        return len(model.calls)

    assert scene(play) == 1


def test_who_asks_first_may_give_up_and_the_equal_ones_have_their_answer():
    async def play(queue, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask("a"), await ask("a")]
        tasks[1].cancel()
        await asyncio.sleep(0)
        model.free(10)
        return await tasks[2]

    assert scene(play) == ("k", "a")


def test_an_answer_is_remembered_if_it_may_be_and_forgotten_when_others_are_newer(monkeypatch):
    monkeypatch.setattr("icl.session.queue.REMEMBERED_ANSWERS", 2)
    monkeypatch.setattr("icl.session.queue.REMEMBERED_CHARACTERS", 3)

    async def play(queue, model, ask):
        model.free(100)
        for text in ("a", "b", "a", "c", "a", "b", "long", "long"):
            await queue.ask("k", text)
        for _ in range(2):
            await queue.ask("other", "a")
        return [text for _, (text,) in model.calls]

    expected = ["a", "b", "c", "b", "long", "long", "a", "a"]
    assert scene(play, remembers=lambda key, result: key == "k") == expected


def test_a_popular_key_does_not_starve_a_rare_one():
    async def play(queue, model, ask):
        tasks = [await ask("first", "popular")]
        await model.busy()
        tasks.append(await ask("rare", "rare"))
        for n in range(4):  # at every moment somebody new asks for the popular one
            tasks.append(await ask(f"{n}", "popular"))
            model.free()
            await model.busy()
        model.free(10)
        await asyncio.gather(*tasks)
        return [key for key, _ in model.calls].index("rare")

    assert scene(play, max_batch=1) == 1


# --- the background -----------------------------------------------------------------------------


def test_the_background_waits_until_nobody_else_does():
    async def play(queue, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask(f"row {n}", background=True) for n in range(2)]
        tasks += [await ask("later")]
        model.free(10)
        await asyncio.gather(*tasks)
        return [texts for _, texts in model.calls]

    assert scene(play) == [["first"], ["later"], ["row 0", "row 1"]]


def test_a_long_file_leaves_room_for_a_message_after_every_call():
    async def play(queue, model, ask):
        rows = [f"row {n}" for n in range(20)]

        uploading = asyncio.create_task(queue.ask_all("k", rows))
        await model.busy()
        message = await ask("message")
        assert queue.waiting <= 5  # of the file, one piece; and the message
        model.free(2)
        await message
        model.free(100)
        assert [text for _, text in await uploading] == rows
        return [texts for _, texts in model.calls].index(["message"])

    assert scene(play, max_batch=4) == 1


def test_a_call_for_the_background_is_as_large_as_fits_into_its_time():
    queue = BatchQueue(Model(open=True), name="test", max_batch=32)

    rows = [f"{n}" for n in range(400)]
    assert len(asyncio.run(queue.ask_all("k", rows))) == 400
    sizes = [len(texts) for _, texts in queue._work.calls]
    queue.close()
    assert sizes[0] <= BACKGROUND_SECONDS / 0.1  # careful as long as nothing is known
    assert max(sizes) == 32  # a fast model: whole pieces


# --- queue positions and limits -----------------------------------------------------------------


def test_everybody_can_be_told_how_many_are_ahead():
    async def play(queue, model, ask):
        assert queue.ahead() == 0
        tasks = [await ask("0")]
        await model.busy()
        for n in (1, 2):
            assert queue.ahead() == n
            tasks.append(await ask(f"{n}"))
        tasks.append(await ask("row", background=True))
        assert queue.ahead() == 3  # the row is not before a message
        model.free(3)
        await asyncio.gather(*tasks)
        assert queue.ahead() == 0

    scene(play)


def test_a_full_queue_says_so_at_once_and_others_are_answered():
    async def play(queue, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask(f"{n}") for n in range(2)]
        with pytest.raises(Busy, match="2 messages are waiting already; try again in about"):
            await queue.ask("k", "one too many")
        model.free(10)
        await asyncio.gather(*tasks)
        assert metrics.outcomes() == (3, 0, 1)
        assert queue.waiting == metrics.value("waiting") == 0

    metrics = Counted()
    scene(play, max_waiting=2, metrics=metrics)


def test_a_full_background_refuses_no_message():
    async def play(queue, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks.append(await ask("row", background=True))
        with pytest.raises(Busy):
            await queue.ask("k", "row", background=True)
        tasks.append(await ask("message"))
        model.free(10)
        await asyncio.gather(*tasks)

    scene(play, max_waiting=1)


def test_the_advice_of_a_full_queue_comes_from_measured_time():
    async def play(queue, model, ask):
        queue._seconds_each = 3.0  # as if measured
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask(f"{n}") for n in range(4)]
        with pytest.raises(Busy) as refused:
            await queue.ask("k", "one too many")
        model.free(10)
        await asyncio.gather(*tasks)
        return refused.value.seconds

    assert scene(play, max_waiting=4) == 15  # four wait, one is being answered


def test_many_texts_that_do_not_fit_are_refused_at_once_and_none_of_them_waits():
    async def play(queue, model, ask):
        first = await ask("first")
        await model.busy()
        with pytest.raises(Busy):
            await queue.ask_all("k", ["a", "b", "c"])
        await asyncio.sleep(0)  # those that were in time leave
        assert queue.waiting == 0
        model.free()
        await first

    scene(play, max_waiting=2)


# --- cancelling, failing, closing ---------------------------------------------------------------


def test_who_gives_up_leaves_the_queue():
    async def play(queue, model, ask):
        first = await ask("first")
        await model.busy()
        gone, stays = await ask("gone"), await ask("stays")
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert queue.ahead() == 2
        model.free(2)
        await asyncio.gather(first, stays)
        return [texts for _, texts in model.calls]

    assert scene(play) == [["first"], ["stays"]]


def test_giving_up_during_the_call_disturbs_nobody():
    async def play(queue, model, ask):
        gone = await ask("gone")
        await model.busy()
        gone.cancel()
        stays = await ask("stays")
        model.free(2)
        return await stays

    assert scene(play) == ("k", "stays")


def test_an_error_the_user_can_fix_goes_to_the_whole_call_and_to_nobody_else():
    async def play(queue, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask("missing"), await ask("shares its call"), await ask("x", key="other")]
        model.free(3)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(a, TuneshotError) for a in answers] == [False, True, True, False]
        assert metrics.outcomes() == (2, 2, 0)
        return len(model.calls)

    metrics = Counted()
    assert scene(play, metrics=metrics) == 3


def test_one_bad_message_does_not_spoil_the_others():
    async def play(queue, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask(text) for text in ("good", "bug 1", "fine")]
        model.free(10)
        _, good, bug, fine = await asyncio.gather(*tasks, return_exceptions=True)
        assert (good, fine) == (("k", "good"), ("k", "fine"))
        assert isinstance(bug, RuntimeError)
        assert queue.ahead() == 0
        return [texts for _, texts in model.calls[1:]]

    assert scene(play) == [["good", "bug 1", "fine"], ["good"], ["bug 1"], ["fine"]]


def test_a_model_that_answers_too_little_fails_and_does_not_hang():
    queue = BatchQueue(lambda key, texts: [], name="short")
    with pytest.raises(RuntimeError, match="short: 0 answers to 1 texts"):
        asyncio.run(queue.ask("k", "hello"))
    queue.close()


def test_closing_ends_the_thread_and_tells_who_waits():
    async def play(queue, model, ask):
        first = await ask("first")
        await model.busy()
        waits = await ask("waits")
        closing = asyncio.create_task(asyncio.to_thread(queue.close))
        with pytest.raises(Busy, match="test is shutting down; try again"):
            await waits
        model.free()
        assert await first == ("k", "first")
        await closing
        assert not queue._thread.is_alive()
        with pytest.raises(Busy, match="shutting down"):
            await queue.ask("k", "too late")

    scene(play)


# --- figures ------------------------------------------------------------------------------------


def test_calls_and_times_are_counted():
    async def play(queue, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask("0"), await ask("1"), await ask("row", background=True)]
        model.free(3)
        await asyncio.gather(*tasks)
        # Two calls of one text, one of two.
        assert [metrics.value("batch_size_bucket", le=le) for le in ("1.0", "2.0")] == [2, 3]
        assert metrics.value("batch_size_sum") == 4
        assert metrics.value("seconds_count") == 3  # messages; a row's time says nothing
        assert metrics.value("seconds_sum") > 0

    metrics = Counted()
    scene(play, metrics=metrics)


def test_an_answer_that_only_says_why_there_is_none_counts_as_failed():
    metrics = Counted()
    queue = BatchQueue(
        lambda key, texts: texts, name="test", is_failure=str.isupper, metrics=metrics
    )
    for text in ("fine", "NO MODEL", "good"):
        assert asyncio.run(queue.ask("k", text)) == text
    assert metrics.outcomes() == (2, 1, 0)
    queue.close()


# --- any interleaving ---------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from("abc"), st.booleans()),
    st.tuples(st.just("bug"), st.sampled_from("abc"), st.booleans()),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("turn")),  # of the event loop
    st.tuples(st.just("call")),  # one more call of the model may end
)


@settings(max_examples=150)
@given(st.lists(STEPS, max_size=40), st.integers(1, 4))
def test_everybody_gets_their_own_answer_exactly_once(steps, max_batch):
    async def play(queue, model, ask):
        asked, cancelled = [], set()
        for number, (what, *rest) in enumerate(steps):
            if what in ("ask", "bug"):
                text = f"{what} {number}"
                asked.append((rest[0], text, await ask(text, *rest)))
            elif what == "cancel" and rest[0] < len(asked):
                _, text, task = asked[rest[0]]
                if task.cancel():
                    cancelled.add(text)
            elif what == "turn":
                await asyncio.sleep(0)
            elif what == "call":
                model.free()
        model.free(100)
        tasks = [task for _, _, task in asked]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        answered = Counter(text for _, texts in model.calls for text in texts)
        for (key, text, _), result in zip(asked, results, strict=True):
            if text in cancelled:
                assert isinstance(result, asyncio.CancelledError)
            elif text.startswith("bug"):
                assert isinstance(result, RuntimeError)
                assert str(result) == text
            else:
                assert result == (key, text)
                assert answered[text] in (1, 2)  # 2: beside a bug, then alone
                assert answered[text] == 1 or any(t.startswith("bug") for t in beside(text, model))
        assert all(len(texts) <= max_batch for _, texts in model.calls)
        assert queue.waiting == 0

    def beside(text, model):
        return next(texts for _, texts in model.calls if text in texts)

    scene(play, max_batch=max_batch)
