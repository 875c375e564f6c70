"""What a visitor uploads may be anything: messages come out of it, or one line."""

import time

import pytest

from clfcore.errors import TuneshotError
from icl.batch.read import read_messages
from icl.batch.result import BatchResult, RowAnswer
from tests.support.hostile_uploads import UPLOADS

SECONDS = 20.0  # of a machine with much else to do


def test_there_are_as_many_as_were_tried_by_hand():
    assert len(UPLOADS) >= 34


@pytest.mark.parametrize("what", UPLOADS)
def test_a_hostile_upload_is_read_or_is_one_line(what, tmp_path):
    name, content, _ = UPLOADS[what]
    path = tmp_path / "uploaded"
    path.write_bytes(content)
    began = time.process_time()
    line, messages = "", None
    try:
        messages = read_messages(path, name, ("ham", "spam"))
    except TuneshotError as error:
        line = str(error)
    if messages:
        answers = (RowAnswer("ham", 1.0, [1.0, 0.0]),) * len(messages.texts)
        assert BatchResult(messages, {"few_shot": answers}).to_csv()
    else:
        assert line
        assert "\n" not in line
        assert len(line) < 5_000
    assert time.process_time() - began < SECONDS
    assert [each.name for each in tmp_path.iterdir()] == ["uploaded"]
