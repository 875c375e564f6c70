"""Many ask, one thread answers: who shares a call, who goes first, what happens when it fails."""

import asyncio
import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.errors import TuneshotError
from icl.session.queue import BACKGROUND_SECONDS, Batcher, Busy, Histogram


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


def scene(play, **options):
    """Runs ``play(batcher, model, ask)`` and closes; ``ask`` puts a request in the queue."""

    async def run():
        model = Model()
        batcher = Batcher(model, name="test", **options)

        async def ask(text, key="k", background=False):
            placed = asyncio.Event()
            tell = lambda ahead: placed.set()  # noqa: E731
            asking = batcher.ask(key, text, background=background, tell_ahead=tell)
            task = asyncio.create_task(asking)
            waiting = asyncio.create_task(placed.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            return task

        try:
            return await asyncio.wait_for(play(batcher, model, ask), 10)
        finally:
            model.free(100)
            batcher.close()

    return asyncio.run(run())


# --- who shares a call --------------------------------------------------------------------------


def test_a_lone_request_is_answered_at_once():
    async def play(batcher, model, ask):
        model.free()
        return await batcher.ask("k", "hello")

    assert scene(play) == ("k", "hello")


def test_what_waits_for_the_same_thing_goes_together_up_to_the_largest_call():
    async def play(batcher, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask(f"{n}") for n in range(5)]
        model.free(3)
        answers = await asyncio.gather(*tasks)
        assert [text for _, text in answers] == ["first", "0", "1", "2", "3", "4"]
        return model.calls

    assert scene(play, largest=3) == [
        ("k", ["first"]),
        ("k", ["0", "1", "2"]),
        ("k", ["3", "4"]),
    ]


def test_keys_never_share_a_call_and_the_oldest_request_chooses_the_key():
    async def play(batcher, model, ask):
        tasks = [await ask("first", "a")]
        await model.busy()
        tasks += [await ask(text, text[0]) for text in ("b1", "a1", "b2", "c1", "a2")]
        model.free(4)
        await asyncio.gather(*tasks)
        return model.calls[1:]

    assert scene(play) == [("b", ["b1", "b2"]), ("a", ["a1", "a2"]), ("c", ["c1"])]


def test_a_popular_key_does_not_starve_a_rare_one():
    async def play(batcher, model, ask):
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

    assert scene(play, largest=1) == 1


# --- the background -----------------------------------------------------------------------------


def test_the_background_waits_until_nobody_else_does():
    async def play(batcher, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask(f"row {n}", background=True) for n in range(2)]
        tasks += [await ask("later")]
        model.free(10)
        await asyncio.gather(*tasks)
        return [texts for _, texts in model.calls]

    assert scene(play) == [["first"], ["later"], ["row 0", "row 1"]]


def test_a_long_file_leaves_room_for_a_message_after_every_call():
    async def play(batcher, model, ask):
        rows = [f"row {n}" for n in range(20)]

        async def upload():
            return [answer async for answer in batcher.ask_all("k", rows)]

        uploading = asyncio.create_task(upload())
        await model.busy()
        message = await ask("message")
        assert batcher.waiting <= 5  # of the file, one piece; and the message
        model.free(2)
        await message
        model.free(100)
        assert [text for _, text in await uploading] == rows
        return [texts for _, texts in model.calls].index(["message"])

    assert scene(play, largest=4) == 1


def test_a_call_for_the_background_is_as_large_as_fits_into_its_time():
    batcher = Batcher(Model(open=True), name="test", largest=32)

    async def play():
        rows = [f"{n}" for n in range(400)]
        return [answer async for answer in batcher.ask_all("k", rows)]

    assert len(asyncio.run(play())) == 400
    sizes = [len(texts) for _, texts in batcher._work.calls]
    batcher.close()
    assert sizes[0] <= BACKGROUND_SECONDS / 0.1  # careful as long as nothing is known
    assert max(sizes) == 32  # a fast model: whole pieces


# --- queue positions and limits -----------------------------------------------------------------


def test_everybody_is_told_how_many_are_ahead():
    async def play(batcher, model, ask):
        told = []
        assert batcher.ahead() == 0
        tasks = [asyncio.create_task(batcher.ask("k", "0", tell_ahead=told.append))]
        await model.busy()
        for n in (1, 2):
            assert batcher.ahead() == n
            tasks.append(asyncio.create_task(batcher.ask("k", f"{n}", tell_ahead=told.append)))
            await asyncio.sleep(0)
        in_background = batcher.ask("k", "row", background=True, tell_ahead=told.append)
        tasks.append(asyncio.create_task(in_background))
        await asyncio.sleep(0)
        assert batcher.ahead() == 3  # the row is not before a message
        model.free(3)
        await asyncio.gather(*tasks)
        assert batcher.ahead() == 0
        return told

    assert scene(play) == [0, 1, 2, 3]


def test_a_full_queue_says_so_at_once_and_others_are_answered():
    async def play(batcher, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask(f"{n}") for n in range(2)]
        with pytest.raises(Busy, match="2 messages are waiting already; try again in about"):
            await batcher.ask("k", "one too many")
        model.free(10)
        await asyncio.gather(*tasks)
        assert (batcher.answered, batcher.refused, batcher.waiting) == (3, 1, 0)

    scene(play, waiting_limit=2)


def test_a_full_background_refuses_no_message():
    async def play(batcher, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks.append(await ask("row", background=True))
        with pytest.raises(Busy):
            await batcher.ask("k", "row", background=True)
        tasks.append(await ask("message"))
        model.free(10)
        await asyncio.gather(*tasks)

    scene(play, waiting_limit=1)


def test_the_advice_of_a_full_queue_comes_from_measured_time():
    async def play(batcher, model, ask):
        batcher._seconds_each = 3.0  # as if measured
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask(f"{n}") for n in range(4)]
        with pytest.raises(Busy) as refused:
            await batcher.ask("k", "one too many")
        model.free(10)
        await asyncio.gather(*tasks)
        return refused.value.seconds

    assert scene(play, waiting_limit=4) == 15  # four wait, one is being answered


def test_many_texts_that_do_not_fit_are_refused_at_once_and_none_of_them_waits():
    async def play(batcher, model, ask):
        first = await ask("first")
        await model.busy()
        with pytest.raises(Busy):
            _ = [answer async for answer in batcher.ask_all("k", ["a", "b", "c"])]
        await asyncio.sleep(0)  # those that were in time leave
        assert batcher.waiting == 0
        model.free()
        await first

    scene(play, waiting_limit=2)


# --- cancelling, failing, closing ---------------------------------------------------------------


def test_who_gives_up_leaves_the_queue():
    async def play(batcher, model, ask):
        first = await ask("first")
        await model.busy()
        gone, stays = await ask("gone"), await ask("stays")
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert batcher.ahead() == 2
        model.free(2)
        await asyncio.gather(first, stays)
        return [texts for _, texts in model.calls]

    assert scene(play) == [["first"], ["stays"]]


def test_giving_up_during_the_call_disturbs_nobody():
    async def play(batcher, model, ask):
        gone = await ask("gone")
        await model.busy()
        gone.cancel()
        stays = await ask("stays")
        model.free(2)
        return await stays

    assert scene(play) == ("k", "stays")


def test_an_error_the_user_can_fix_goes_to_the_whole_call_and_to_nobody_else():
    async def play(batcher, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask("missing"), await ask("shares its call"), await ask("x", key="other")]
        model.free(3)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(a, TuneshotError) for a in answers] == [False, True, True, False]
        assert (batcher.answered, batcher.failed) == (2, 2)
        return len(model.calls)

    assert scene(play) == 3


def test_one_bad_message_does_not_spoil_the_others():
    async def play(batcher, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask(text) for text in ("good", "bug 1", "fine")]
        model.free(10)
        _, good, bug, fine = await asyncio.gather(*tasks, return_exceptions=True)
        assert (good, fine) == (("k", "good"), ("k", "fine"))
        assert isinstance(bug, RuntimeError)
        assert batcher.ahead() == 0
        return [texts for _, texts in model.calls[1:]]

    assert scene(play) == [["good", "bug 1", "fine"], ["good"], ["bug 1"], ["fine"]]


def test_a_model_that_answers_too_little_fails_and_does_not_hang():
    batcher = Batcher(lambda key, texts: [], name="short")
    with pytest.raises(RuntimeError, match="short: 0 answers to 1 texts"):
        asyncio.run(batcher.ask("k", "hello"))
    batcher.close()


def test_closing_ends_the_thread_and_tells_who_waits():
    async def play(batcher, model, ask):
        first = await ask("first")
        await model.busy()
        waits = await ask("waits")
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        with pytest.raises(Busy, match="test is shutting down; try again"):
            await waits
        model.free()
        assert await first == ("k", "first")
        await closing
        assert not batcher._thread.is_alive()
        with pytest.raises(Busy, match="shutting down"):
            await batcher.ask("k", "too late")

    scene(play)


# --- figures ------------------------------------------------------------------------------------


def test_calls_and_times_are_counted():
    async def play(batcher, model, ask):
        tasks = [await ask("first")]
        await model.busy()
        tasks += [await ask("0"), await ask("1"), await ask("row", background=True)]
        model.free(3)
        await asyncio.gather(*tasks)
        assert batcher.sizes.counts[:2] == [2, 1]
        assert batcher.sizes.total == 4
        assert sum(batcher.seconds.counts) == 3  # messages; a row's time says nothing
        assert batcher.seconds.total > 0

    scene(play)


def test_an_answer_that_only_says_why_there_is_none_counts_as_failed():
    batcher = Batcher(lambda key, texts: texts, name="test", is_failure=str.isupper)
    for text in ("fine", "NO MODEL", "good"):
        assert batcher.submit("k", text).result(10) == text
    assert (batcher.answered, batcher.failed) == (2, 1)
    batcher.close()


def test_a_histogram_counts_each_value_once():
    histogram = Histogram(1, 2)
    for value in (0.5, 1, 1.5, 2, 99):
        histogram.add(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.total == 104


# --- any interleaving ---------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from("abc"), st.booleans()),
    st.tuples(st.just("bug"), st.sampled_from("abc"), st.booleans()),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("turn")),  # of the event loop
    st.tuples(st.just("call")),  # one more call of the model may end
)


@settings(deadline=None, max_examples=150)
@given(st.lists(STEPS, max_size=40), st.integers(1, 4))
def test_everybody_gets_their_own_answer_exactly_once(steps, largest):
    async def play(batcher, model, ask):
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
        assert all(len(texts) <= largest for _, texts in model.calls)
        assert batcher.waiting == 0

    def beside(text, model):
        return next(texts for _, texts in model.calls if text in texts)

    scene(play, largest=largest)
