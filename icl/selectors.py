"""Which messages of the pool may be shown for a query: the table of selectors."""

from icl.selection import Selector
from icl.similar import KNN, BalancedRandom, Random, TopK, Zero

SELECTORS: dict[str, type[Selector]] = {
    "zero": Zero,
    "random": Random,
    "balanced_random": BalancedRandom,
    "topk": TopK,
    "knn": KNN,
}
