"""A model's files may come from a stranger: whatever they hold, one line says what is wrong.

``tests/support/hostile.py`` has them, by kind. None runs code, waits for a pipe, or takes memory
that its own size does not explain.
"""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clfcore.errors import TuneshotError
from clfcore.fine_tuned import FineTuned
from clfcore.paths import files_sha256
from clfcore.weights.language_model import load_transformer
from clfcore.weights.meta import read_meta
from clfcore.weights.source import check_source
from clfcore.weights.storage import COMPACT
from clfcore.weights.unopened import checkpoint_path
from clfcore.weights.untrusted.gguf import check_gguf
from tests.support import hostile
from tests.support.doubles import save_tiny_lm
from tests.support.hostile import META, WEIGHTS
from tests.support.tiny_gguf import save_gguf


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    hostile.good_checkpoint(folder / "checkpoint")
    hostile.good_checkpoint(folder / "compact", COMPACT)
    hostile.good_adapter(folder / "adapter")
    torch.save(hostile.good_state(), folder / "book.pth")
    save_tiny_lm(folder / "llama", "llama")
    save_gguf(folder / "llama", folder / "model.gguf")
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))


def copy(good: Path, to: Path) -> Path:
    """Linked: nothing here writes into a file that is there."""
    return Path(shutil.copytree(good, to, copy_function=os.link))


def the_line(load, *arguments) -> str:
    with pytest.raises(TuneshotError) as caught:
        load(*arguments)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 1500
    assert "weights_only=False" not in line
    return line


@contextmanager
def perhaps_one_line():
    line = ""
    try:
        yield
    except TuneshotError as error:
        line = str(error)
    assert "\n" not in line


def each(table):
    return pytest.mark.parametrize("harm", table.values(), ids=table)


# --- by kind ------------------------------------------------------------------------------------


def test_there_are_more_than_a_hundred_and_each_good_one_loads(good):
    kinds = (hostile.CHECKPOINTS, hostile.COMPACT, hostile.ADAPTERS, hostile.PICKLES,
             hostile.FOLDERS, hostile.GGUFS)  # fmt: skip
    assert sum(map(len, kinds)) > 200
    for name in ("checkpoint", "compact", "adapter"):
        assert FineTuned.load(good / name).predict(["hi"])[0].p is not None
    load_transformer(str(good / "llama"), "AutoModelForCausalLM")
    load_transformer(str(good / "model.gguf"), "AutoModelForCausalLM")


@each(hostile.CHECKPOINTS)
def test_a_hostile_checkpoint_is_one_line(good, tmp_path, harm):
    folder = copy(good / "checkpoint", tmp_path / "it")
    harm(folder)
    assert str(folder) in the_line(FineTuned.load, folder)


# What only the weights themselves show, or the library that reads them.
READ = (
    "a weight is NaN", "a weight is infinite", "a weight is minus infinity", "the sum is another",
    "the header's metadata are a list", "the header's metadata are a number",
    "a tensor's name is half a surrogate pair", "the source has other weights",
)  # fmt: skip


@each({name: harm for name, harm in hostile.CHECKPOINTS.items() if name not in READ})
def test_all_but_wrong_weights_is_refused_before_a_checkpoint_is_opened(good, tmp_path, harm):
    folder = copy(good / "checkpoint", tmp_path / "it")
    harm(folder)
    assert str(folder) in the_line(checkpoint_path, folder)


def test_a_checkpoint_is_compared_with_its_description_without_torch_or_peft(good):
    paths = [str(good / name) for name in ("checkpoint", "compact", "adapter", "book.pth")]
    code = (
        "import sys; from clfcore.weights.unopened import checkpoint_path as c\n"
        "for path in sys.argv[1:]: c(__import__('pathlib').Path(path))\n"
        "print(*({'torch', 'peft', 'transformers', 'sklearn'} & sys.modules.keys()))"
    )
    done = subprocess.run((sys.executable, "-c", code, *paths), capture_output=True, text=True)
    assert (done.stderr, done.stdout.strip()) == ("", "")


@each(hostile.COMPACT)
def test_a_hostile_compact_checkpoint_is_one_line(good, tmp_path, harm):
    folder = copy(good / "compact", tmp_path / "it")
    harm(folder)
    assert str(folder) in the_line(FineTuned.load, folder)


@each(hostile.ADAPTERS)
def test_a_hostile_adapter_is_one_line(good, tmp_path, harm):
    folder = copy(good / "adapter", tmp_path / "it")
    harm(folder)
    the_line(FineTuned.load, folder)


@pytest.mark.parametrize(
    "name", ["the rank is a million", "the rank is another", "the adapter is another kind",
             "the adapter is said to be none", "half of the adapter is missing"]
)  # fmt: skip
def test_an_adapter_that_is_another_is_refused_before_peft_is_imported(good, tmp_path, name):
    folder = copy(good / "adapter", tmp_path / "it")
    hostile.ADAPTERS[name](folder)
    the_line(checkpoint_path, folder)


@pytest.mark.parametrize("name", ["houlsby", "pfeiffer"])
def test_a_bottleneck_that_is_another_is_refused_before_it_is_made(tmp_path, name):
    good = hostile.good_adapter(tmp_path / "good", name)
    assert FineTuned.load(good).predict(["hi"])[0].p is not None
    for harm in (
        hostile.nested("adapter", rank=3),
        hostile.nested("adapter", rank=10**9),
        hostile.nested("adapter", name="bitfit"),
        hostile.weights(lambda state: state.pop("trf_blocks.0.ff.layers.2.up.bias")),
        hostile.weights(
            lambda state: state.update({"trf_blocks.0.ff.layers.0.up.bias": torch.zeros(4)})
        ),
    ):
        harm(folder := copy(good, tmp_path / "it"))
        assert str(folder) in the_line(checkpoint_path, folder)
        shutil.rmtree(folder)


@each(hostile.PICKLES)
def test_a_hostile_chapter_6_file_is_one_line_and_runs_nothing(tmp_path, harm):
    (tmp_path / "config.json").write_text('{"n_head": 1}')
    path = tmp_path / "it.pth"
    harm(path)
    the_line(FineTuned.load, path)
    assert not Path(f"{path}-ran").exists()


@each(hostile.FOLDERS)
def test_a_hostile_folder_of_transformers_is_one_line_and_prints_nothing(
    good, tmp_path, harm, capfd
):
    folder = copy(good / "llama", tmp_path / "it")
    harm(folder)
    capfd.readouterr()
    the_line(load_transformer, str(folder), "AutoModelForCausalLM")
    assert not Path(f"{folder}-ran").exists()
    assert capfd.readouterr().err == ""


# What only transformers knows: its kinds of models, what they are made of, their special tokens.
OF_TRANSFORMERS = (
    "another width", "the kind of model is unknown", "the kind of model is missing",
    "it is an encoder", "it brings code of its own",
    "it is quantised by a library that is not here", "the activation is unknown",
    "the weights are missing", "a tensor is missing", "a tensor has another shape",
    "its pickle runs code", "a token's number is beyond the weights", "a special token is a number",
    "a special token is an object", "the tokenizer is code of its own", "an added token is a text",
    "an added token's number is a word", "an added token is beyond the weights",
)  # fmt: skip


@each({name: harm for name, harm in hostile.FOLDERS.items() if name not in OF_TRANSFORMERS})
def test_a_hostile_folder_is_refused_before_transformers_is_imported(good, tmp_path, harm):
    folder = copy(good / "llama", tmp_path / "it")
    harm(folder)
    the_line(check_source, str(folder))


def test_a_folder_is_checked_without_torch_or_transformers(good):
    code = (
        "import sys; from clfcore.weights.source import check_source; check_source(sys.argv[1])\n"
        "print(*({'torch', 'transformers', 'sklearn'} & sys.modules.keys()))"
    )
    command = (sys.executable, "-c", code, str(good / "llama"))
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stderr, done.stdout.strip()) == ("", "")


@each(hostile.GGUFS)
def test_a_hostile_gguf_file_is_one_line(good, tmp_path, harm, capfd):
    path = tmp_path / "it.gguf"
    os.link(good / "model.gguf", path)
    harm(path)
    capfd.readouterr()
    the_line(load_transformer, str(path), "AutoModelForCausalLM")
    assert capfd.readouterr().err == ""  # nobody is asked to wait for it


@each({name: hostile.FOLDERS[name] for name in ("a weight is NaN", "a weight is infinite")})
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_no_numbers_are_seen_before_torch_is_needed(good, tmp_path, harm, dtype):
    folder = copy(good / "llama", tmp_path / "it")
    hostile.weights(lambda s: s.update({name: w.to(dtype) for name, w in s.items()}))(folder)
    check_source(str(folder))
    harm(folder)
    assert "are not finite numbers" in the_line(check_source, str(folder))


def test_a_file_that_may_not_be_read_is_one_line(good, tmp_path, monkeypatch):
    folder = copy(good / "checkpoint", tmp_path / "it")
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).endswith(META))
    assert "meta.json cannot be read (Permission denied)" in the_line(FineTuned.load, folder)


def test_a_byte_order_mark_is_no_harm(good, tmp_path):
    folder = copy(good / "checkpoint", tmp_path / "it")
    hostile.put(folder / META, b"\xef\xbb\xbf" + (folder / META).read_bytes())
    assert FineTuned.load(folder).labels == ("ham", "spam")


def test_the_cache_of_hugging_face_is_a_folder_of_links(good, tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    shutil.copytree(good / "llama", blobs)
    snapshot.mkdir(parents=True)
    for blob in blobs.iterdir():
        (snapshot / blob.name).symlink_to(blob)
    load_transformer(str(snapshot), "AutoModelForCausalLM")


# --- by chance ----------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([2**63, 10**30, -1, 0, "gpt2", "../..", "last_column"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)  # fmt: skip
by_chance = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def places(record, above=()):
    """Where something stands in JSON, as the keys that lead there."""
    for key, value in record.items() if isinstance(record, dict) else enumerate(record):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


def with_other(record, place, value):
    copied = json.loads(json.dumps(record))
    inner = copied
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return copied


@by_chance
@given(data=st.data())
def test_no_meta_json_gives_anything_but_a_description_or_one_line(good, tmp_path, data):
    """With the weights untouched, most of them are refused; what is not answers."""
    record = json.loads((good / "checkpoint" / META).read_bytes())
    place = data.draw(st.sampled_from(list(places(record))))
    changed = with_other(record, place, data.draw(JSON))
    folder = tmp_path / "it"
    if not folder.exists():
        copy(good / "checkpoint", folder)
    hostile.put(folder / META, json.dumps(changed))
    with perhaps_one_line():
        assert read_meta(folder) == changed
        (answer,) = FineTuned.load(folder).predict(["win a prize"])
        assert answer.label in changed["labels"]


@by_chance
@given(data=st.data())
def test_no_header_gives_anything_but_an_answer_or_one_line(good, tmp_path, data):
    def change(record):
        place = data.draw(st.sampled_from(list(places(record))))
        changed = with_other(record, place, data.draw(JSON | st.integers(-(2**64), 2**64)))
        record.clear()
        record.update(changed)

    folder = tmp_path / "it"
    if not folder.exists():
        copy(good / "checkpoint", folder)
    hostile.put(folder / WEIGHTS, (good / "checkpoint" / WEIGHTS).read_bytes())
    hostile.header(change)(folder)
    with perhaps_one_line():
        FineTuned.load(folder).predict(["win a prize"])


@by_chance
@given(data=st.data())
def test_no_flipped_byte_of_a_gguf_header_gives_anything_but_a_number_or_one_line(
    good, tmp_path, data
):
    content = bytearray((good / "model.gguf").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 2000))] = data.draw(st.integers(0, 255))
    path = tmp_path / "it.gguf"
    hostile.put(path, bytes(content))
    with perhaps_one_line():
        assert check_gguf(path) > 0


# --- by the command line ------------------------------------------------------------------------

MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True, stdin=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.returncode)
print(done.stderr)
"""
# Of each kind: what runs code, what would take memory, what waits, what would try the network.
ON_THE_COMMAND_LINE = (
    "a billion layers are declared", "the weights are a terabyte, and true to their description",
    "the weights are a pipe", "the source is a repository", "a weight is NaN",
    "a tensor's name clears the screen",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_THE_COMMAND_LINE)
def test_a_hostile_checkpoint_costs_the_command_line_one_line_and_no_memory(good, tmp_path, name):
    folder = copy(good / "checkpoint", tmp_path / "it")
    hostile.CHECKPOINTS[name](folder)
    command = (sys.executable, "-m", "clfcore", "classify", "win", "--checkpoint", str(folder))
    done = subprocess.run(
        (sys.executable, "-c", MEASURED, *command), capture_output=True, text=True, timeout=60
    )
    measured, *lines = done.stdout.strip().splitlines()
    kilobytes, status = map(int, measured.split())
    assert (status, len(lines)) == (1, 1), done.stdout
    assert lines[0].startswith("error: ")
    assert "\x1b" not in lines[0]
    assert kilobytes < 1_000_000


# --- what is finite may still compute what is not ------------------------------------------------


def test_weights_that_overflow_give_no_answer(good, tmp_path):
    folder = copy(good / "checkpoint", tmp_path / "it")
    hostile.weights(lambda state: state["out_head.weight"].fill_(torch.finfo().max))(folder)
    record = json.loads((folder / META).read_bytes())
    record["weights"]["sha256"] = files_sha256(folder / WEIGHTS)
    hostile.put(folder / META, json.dumps(record))
    model = FineTuned.load(folder)
    assert "are damaged: its answers are not numbers" in the_line(model.predict, ["hi"])
