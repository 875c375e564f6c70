"""JSON is written in one place, and every other program can read it."""

import ast
import json
import math
from collections import Counter

import numpy as np
import pytest

from clfcore.evaluation.records import append_lines, read_lines
from clfcore.json_text import to_json
from tests.support.modules import FILES

# Read again by this program alone, where NaN and Infinity must come back as they were.
ROUND_TRIPS = {
    "clfcore.training.resume",  # the best loss so far is infinite before the first
    "clfcore.training.background",  # between two processes
    "clfcore.cache.database",  # log-probabilities
}


def strict(text):
    """As other programs read JSON: they know neither NaN nor Infinity."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_number_that_is_not_finite_is_null_wherever_it_stands():
    value = {"a": math.nan, "b": [1.5, -math.inf, (math.inf, {"c": np.float64("nan")})]}
    assert strict(to_json(value)) == {"a": None, "b": [1.5, None, [None, {"c": None}]]}
    assert math.isnan(value["a"])  # what was handed over is left as it is


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "ä\ud800"]}, Counter("aab"), [], 7])
def test_all_else_is_what_json_dumps_makes_of_it(value):
    assert to_json(value) == json.dumps(value)
    assert to_json(value, indent=1, ensure_ascii=True) == json.dumps(value, indent=1)


def test_what_has_no_form_in_json_is_refused():
    with pytest.raises(TypeError, match="set"):
        to_json({"a": {1}})


def test_a_record_comes_back_as_it_is_read_from_the_disk(tmp_path):
    written = append_lines(tmp_path / "records.jsonl", [{"auc": math.nan, "recall": (1.0, 0.5)}])
    assert written == [{"auc": None, "recall": [1.0, 0.5]}]
    assert read_lines(tmp_path / "records.jsonl") == written
    strict((tmp_path / "records.jsonl").read_text())


@pytest.mark.parametrize("module", sorted(FILES.keys() - ROUND_TRIPS - {"clfcore.json_text"}))
def test_no_other_module_writes_json_by_itself(module):
    tree = ast.parse(FILES[module].read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & {"dump", "dumps"}
