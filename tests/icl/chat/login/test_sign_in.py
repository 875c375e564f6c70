"""Signing in on a real server: a class behind one address, one of whom guesses."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.pages import free_port
from tests.support.signed_in import Visitor, page_of_a_class

CLASS = {f"student{n}": f"the code of {n}" for n in range(40)}
GUESSING = 8  # connections
SOON = 5.0  # seconds; forty take a third of one where nothing else runs


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("class"), free_port()
    codes = ",".join(f"{name}:{code}" for name, code in CLASS.items())
    with page_of_a_class(folder, port, TUNESHOT_CODES=codes):
        yield f"http://127.0.0.1:{port}"
    lines = (folder / "log").read_text().splitlines()[1:]
    assert all(line.endswith("20 wrong codes from 127.0.0.1 within a minute") for line in lines)
    assert len(lines) in (1, 2)


@pytest.mark.slow
def test_forty_sign_in_at_once_from_one_address_while_one_guesses_at_a_name(url):
    over, waits = threading.Event(), []

    def guess(number):
        visitor = Visitor(url)
        while not over.is_set():
            forged = {"X-Forwarded-For": f"198.51.100.{len(waits)}"}  # no proxy was named
            began = time.monotonic()
            form = f"username=student7&password=guess+{number}+{len(waits)}".encode()
            status, _ = visitor.send("/login", "POST", form, forged)
            waits.append(time.monotonic() - began)
            assert status == 401

    with ThreadPoolExecutor(GUESSING) as guesser, ThreadPoolExecutor(len(CLASS)) as students:
        guesses = [guesser.submit(guess, n) for n in range(GUESSING)]
        while len(waits) < 20:
            time.sleep(0.1)
        began = time.monotonic()
        signed_in = list(students.map(lambda who: Visitor(url).sign_in(*who), CLASS.items()))
        took = time.monotonic() - began
        over.set()
        for each in guesses:
            each.result()
    assert signed_in == [200] * len(CLASS)
    assert took < SOON
    assert max(waits) > 8  # so late is the answer to whoever guesses by now


@pytest.mark.slow
def test_a_cookie_is_no_scripts_and_its_way_is_what_it_was_not_what_somebody_says(url):
    visitor = Visitor(url)
    form = b"username=student3&password=the+code+of+3"
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
    assert visitor.send("/login", "POST", form, said)[0] == 200
    (cookie,) = visitor.jar
    assert not cookie.secure
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "lax"
