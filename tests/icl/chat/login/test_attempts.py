"""Names and codes that are tried: who is let in, and who has to wait."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.support.lazy import lazy

attempts = lazy("icl.chat.login.attempts")

CODES = {"anna": "correct horse", "ben": "battery staple"}


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self):
        self.seconds, self.waits = 100.0, []

    def __call__(self):
        return self.seconds

    async def sleep(self, seconds):
        self.waits.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def door(clock):
    return attempts.CodeAuthenticator(lambda: CODES, clock, clock.sleep)


def attempt(door, name, code, address="192.0.2.1"):
    return asyncio.run(door.authenticate(name, code, address))


def test_a_name_and_its_own_code_open_the_door_at_once(door, clock):
    assert attempt(door, "anna", "correct horse") == "anna"
    assert attempt(door, " ben ", "battery staple ") == "ben"
    assert clock.waits == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("anna", "battery staple"),
        ("anna", ""),
        ("", ""),
        ("eve", "correct horse"),
        ("Anna", "correct horse"),
        ("anna", "correct hors\ud800"),
    ],
)
def test_nothing_else_does(door, name, code):
    assert attempt(door, name, code) is None


def test_codes_that_change_open_the_door_from_then_on(clock):
    codes = dict(CODES)
    door = attempts.CodeAuthenticator(lambda: codes, clock, clock.sleep)
    codes |= {"anna": "another horse"}
    del codes["ben"]
    assert attempt(door, "anna", "correct horse") is None
    assert attempt(door, "anna", "another horse") == "anna"
    assert attempt(door, "ben", "battery staple") is None


def test_each_wrong_code_of_an_address_is_answered_later_up_to_ten_seconds(door, clock):
    for _ in range(30):
        attempt(door, "anna", "wrong wrong")
    assert clock.waits == [min(0.5 * n, 10.0) for n in range(1, 31)]


def test_the_wait_is_forgotten_after_a_minute_and_is_no_other_addresss(door, clock):
    for _ in range(30):
        attempt(door, "anna", "wrong wrong", "192.0.2.1")
    attempt(door, "anna", "wrong wrong", "192.0.2.2")
    assert clock.waits[-1] == 0.5
    clock.seconds += 60
    attempt(door, "anna", "wrong wrong", "192.0.2.1")
    assert clock.waits[-1] == 0.5


def test_guessing_at_a_name_never_closes_it_neither_here_nor_elsewhere(door, clock):
    for n in range(1_000):
        attempt(door, "anna", f"wrong {n}", f"192.0.2.{n % 100}")
    waited = len(clock.waits)
    for address in ("192.0.2.1", "198.51.100.7"):
        assert attempt(door, "anna", "correct horse", address) == "anna"
    assert len(clock.waits) == waited


def test_forty_people_behind_one_address_sign_in_at_once_while_one_of_them_guesses(clock):
    codes = {f"student {n}": f"the code of {n}" for n in range(40)}

    async def run():
        over = asyncio.Event()  # the guesses wait for their answers all the time

        async def sleep(seconds):
            await over.wait()

        door = attempts.CodeAuthenticator(lambda: codes, clock, sleep)
        guesses = [
            asyncio.create_task(door.authenticate("student 7", f"guess {n}", "192.0.2.1"))
            for n in range(attempts.MAX_HELD - 1)
        ]
        await asyncio.sleep(0)
        students = [door.authenticate(name, code, "192.0.2.1") for name, code in codes.items()]
        assert await asyncio.wait_for(asyncio.gather(*students), 1) == list(codes)
        over.set()
        assert await asyncio.gather(*guesses) == [None] * len(guesses)

    asyncio.run(run())


def test_many_connections_guess_no_faster_than_a_few(clock):
    """What is looked at of 500 guesses that come at once: what the limit says, and then no more."""
    looked_at = []

    class Watched(dict):
        def items(self):
            looked_at.append(1)
            return super().items()

    async def run():
        over = asyncio.Event()

        async def sleep(seconds):
            await over.wait()

        watched = Watched(CODES)
        door = attempts.CodeAuthenticator(lambda: watched, clock, sleep)
        guesses = [
            asyncio.create_task(door.authenticate("anna", f"guess {n}", "192.0.2.1"))
            for n in range(500)
        ]
        await asyncio.sleep(0.05)
        assert len(looked_at) == attempts.MAX_HELD
        assert await door.authenticate("anna", CODES["anna"], "192.0.2.2") == "anna"
        refused = [each for each in guesses if each.done()]
        assert len(refused) == 500 - attempts.MAX_HELD - attempts.MAX_WAITING
        with pytest.raises(HTTPException) as told:
            refused[0].result()
        assert told.value.status_code == 429
        over.set()
        await asyncio.gather(*guesses, return_exceptions=True)

    asyncio.run(run())


def test_guessing_is_one_line_in_the_log_a_minute_without_a_code(door, clock, caplog):
    for _ in range(3):
        for n in range(100):
            attempt(door, "anna\x1b[2J", f"secret guess {n}", "192.0.2.1")
        clock.seconds += 61
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["20 wrong codes from 192.0.2.1 within a minute"] * 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("what somebody wrote", "\x1b[2J", True),
    ],
)
def test_guesses_are_counted_by_line_not_by_the_numbers_that_it_may_choose(one, other, same):
    assert (attempts.network(one) == attempts.network(other)) is same


@given(st.text())
def test_what_the_log_says_of_an_address_is_an_address(address):
    assert attempts.network(address).isprintable()


def test_memory_is_bounded_whatever_is_tried(door):
    async def run():
        for n in range(attempts.MAX_ADDRESSES + 500):
            await door.authenticate("anna", "wrong", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")

    asyncio.run(run())
    assert len(door._origins) == attempts.MAX_ADDRESSES


def test_the_address_of_a_visitor_is_known_where_the_door_is():
    async def who(request):
        return PlainTextResponse(attempts.address.get())

    app = attempts.remember_address(Starlette(routes=[Route("/", who)]))
    assert TestClient(app, client=("192.0.2.7", 1)).get("/").text == "192.0.2.7"
