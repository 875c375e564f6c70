"""Which messages of the pool may be shown for a query: the table of selectors."""

from icl.selectors.base import Selector
from icl.selectors.cone import ConE
from icl.selectors.diverse import DPP, MMR, Facility, KCenter
from icl.selectors.knn_prompting import KNNPrompting
from icl.selectors.lexical import BM25, Hybrid
from icl.selectors.mdl import MDL
from icl.selectors.similar import KNN, BalancedRandom, Random, TopK, Zero
from icl.selectors.votek import VoteK, VoteKPool, VoteKTwoStage

SELECTORS: dict[str, type[Selector]] = {
    "zero": Zero,
    "random": Random,
    "balanced_random": BalancedRandom,
    "topk": TopK,
    "mmr": MMR,
    "dpp": DPP,
    "bm25": BM25,
    "hybrid": Hybrid,
    "kcenter": KCenter,
    "facility": Facility,
    "votek": VoteK,
    "votek_pool": VoteKPool,
    "votek_two_stage": VoteKTwoStage,
    "mdl": MDL,
    "cone": ConE,
    "knn_prompting": KNNPrompting,
    "knn": KNN,
}
