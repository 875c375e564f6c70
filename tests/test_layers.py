"""The arrows of the architecture, as data: ``chat_app -> icl -> clfcore``, and never back.

Every import counts: those at the top, those inside functions, those under ``TYPE_CHECKING``.
"""

import networkx as nx
import pytest

from tests.support.modules import FILES, ROOT, imports_of

# A package imports from its own layer and from those below it. docs/architecture.md draws it.
LAYERS = {
    "clfcore": (
        {"", "errors", "types", "config", "paths", "scratch", "wording", "json_text", "cache"},
        {"data", "model", "quantization"},
        {"weights", "evaluation"},
        {"fine_tuned", "attribution"},
        {"training"},
        {"alignment", "analysis", "forgetting", "pretraining"},
        {"experiments", "estimator"},
        {"cli", "__main__"},
    ),
    "icl": (
        {"", "shared", "lm", "pool"},
        {"prompt"},
        {"selectors"},
        {"settings", "figures"},
        {"answering", "showing", "reader", "recipe", "priors", "considered"},
        {"few_shot", "grid", "report"},
        {"forgetting", "instruction", "tuning"},
        {"compare", "estimator"},
        {"session"},
        {"batch", "service"},
        {"chat"},
        {"cli", "__main__"},
    ),
}
MOST_FILES, MOST_LINES = 12, 450  # of a folder, of a file


def layer_of(module: str) -> int:
    program, _, rest = module.partition(".")
    package = rest.partition(".")[0]
    return next(i for i, layer in enumerate(LAYERS[program]) if package in layer)


@pytest.mark.parametrize("module", FILES)
def test_imports_point_downhill(module):
    program = module.partition(".")[0]
    for imported in imports_of(module) & FILES.keys():
        other = imported.partition(".")[0]
        if other == program != "chat_app":
            assert layer_of(imported) <= layer_of(module), f"{module} imports {imported}"
        else:
            assert (program, other) in {
                ("chat_app", "icl"),
                ("chat_app", "clfcore"),
                ("icl", "clfcore"),
            }


@pytest.mark.parametrize("module", FILES)
def test_only_the_page_knows_chainlit(module):
    if "chainlit" in {name.partition(".")[0] for name in imports_of(module)}:
        assert module == "chat_app" or module.startswith("icl.chat")


def test_no_module_imports_itself_through_others():
    graph = nx.DiGraph(
        (module, imported) for module in FILES for imported in imports_of(module) & FILES.keys()
    )
    assert list(nx.simple_cycles(graph)) == []


def test_every_layer_is_a_package_that_exists():
    for program, layers in LAYERS.items():
        packages = {m.split(".")[1] for m in FILES if m.startswith(f"{program}.")} | {""}
        assert set().union(*layers) == packages | {"__main__"}
        assert sum(map(len, layers)) == len(set().union(*layers))  # each stands in one layer


@pytest.mark.parametrize("package", sorted({module.rpartition(".")[0] for module in FILES} - {""}))
def test_a_folder_can_be_taken_in_at_a_glance(package):
    assert len(list(ROOT.joinpath(*package.split(".")).glob("*.py"))) <= MOST_FILES


@pytest.mark.parametrize("module", FILES)
def test_a_file_can_be_read_in_one_sitting(module):
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= MOST_LINES
