"""The tensors of a GPT-2: names and shapes, known without making it and without torch."""

from collections.abc import Mapping

from clfcore.errors import TuneshotError
from clfcore.model.spec import GPTConfig
from clfcore.weights.untrusted.tensors import Shape, check_shapes


def gpt2_shapes(cfg: GPTConfig, num_classes: int | None = None) -> dict[str, Shape]:
    """Those of a ``GPTModel`` with these arguments."""
    width = cfg.emb_dim
    shapes: dict[str, Shape] = {
        "tok_emb.weight": (cfg.vocab_size, width),
        "pos_emb.weight": (cfg.context_length, width),
        **_with_bias("out_head", num_classes or cfg.vocab_size, width, num_classes is not None),
        **_norm("final_norm", width),
    }
    for block in (f"trf_blocks.{i}" for i in range(cfg.n_layers)):
        for layer in ("W_query", "W_key", "W_value"):
            shapes |= _with_bias(f"{block}.att.{layer}", width, width, cfg.qkv_bias)
        shapes |= _with_bias(f"{block}.att.out_proj", width, width)
        shapes |= _with_bias(f"{block}.ff.layers.0", 4 * width, width)
        shapes |= _with_bias(f"{block}.ff.layers.2", width, 4 * width)
        shapes |= _norm(f"{block}.norm1", width) | _norm(f"{block}.norm2", width)
    return shapes


def check_size(place: object, stored: Mapping[str, Shape], cfg: GPTConfig) -> None:
    """Compares what decides the size of a GPT-2 with the tensors of a file.

    After it, the names and shapes of such a model are no more than the file says, and can be
    listed to compare the rest.

    Raises:
        TuneshotError: the embeddings or the number of blocks are others.
    """
    first = {
        "tok_emb.weight": (cfg.vocab_size, cfg.emb_dim),
        "pos_emb.weight": (cfg.context_length, cfg.emb_dim),
    }
    check_shapes(place, {name: stored[name] for name in first if name in stored}, first)
    blocks = {name.split(".")[1] for name in stored if name.startswith("trf_blocks.")}
    if len(blocks) != cfg.n_layers:
        raise TuneshotError(
            f"{place}: {len(blocks):,} blocks are stored, this model needs {cfg.n_layers:,}; copy "
            "the folder again"
        )


def _with_bias(layer: str, rows: int, columns: int, bias: bool = True) -> dict[str, Shape]:
    weight: dict[str, Shape] = {f"{layer}.weight": (rows, columns)}
    return weight | {f"{layer}.bias": (rows,)} if bias else weight


def _norm(layer: str, width: int) -> dict[str, Shape]:
    return {f"{layer}.scale": (width,), f"{layer}.shift": (width,)}
