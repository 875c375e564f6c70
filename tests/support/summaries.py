"""Comparisons that nobody ran, in the form of ``tuneshot compare``'s summary.json."""

import math

METHODS = (
    ("fine_tuned", "fine-tuned, last block", "fine_tuned", "gpt2-mini, last block", "random"),
    ("few_shot_topk", "few-shot, top-k", "few_shot", "SmolLM2-135M, 4 examples", "random"),
    ("knn", "kNN vote", "other", "the 4 nearest messages vote", "random"),
    ("majority", "always the commonest", "baseline", "needs no model", ""),
    ("zero_shot", "zero-shot", "baseline", "SmolLM2-135M, no examples", ""),
)
# Key -> where the curve starts, what it can gain, and the budget at which it has gained half.
CURVES = {
    "fine_tuned": (0.5, 0.49, 60),
    "few_shot_topk": (0.7, 0.26, 20),
    "knn": (0.6, 0.33, 40),
    "majority": (0.5, 0.0, 1),
    "zero_shot": (0.53, 0.0, 1),
}
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "<!-- {{7*7}} {% raw %} & &lt;b&gt; ${7*7}",
    "🎉 you won 👩‍👩‍👧‍👦 \ud83d half a pair",
    "مرحبا، لقد ربحت جائزة ‮spam",
    "https://example.com/" + "x" * 300,
)


def interval(value, half=0.02):
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half)}


def make_point(method, budget, labels, seeds, base, gain, half_at):
    value = round(base + gain * budget / (budget + half_at), 4)
    spread = 0.15 / math.sqrt(budget + 9)
    figure = interval(value, spread) | {"seeds": [value + spread * (s - 1) / 4 for s in seeds]}
    asks = method in ("few_shot_topk", "zero_shot")
    wrong = round(100 * (1 - value))
    others = len(labels) - 1
    return {
        "method": method,
        "budget": budget,
        "labels_used": budget,
        "metrics": {
            "accuracy": figure,
            "balanced_accuracy": figure,
            "f1": figure,
            "auc": figure if len(labels) == 2 else None,
            "average_precision": None,
            "ece": interval(round((1 - value) / 2, 4)) | {"seeds": [0.05 for _ in seeds]},
            "nll": {"value": 0.3, "low": 0.2, "high": 0.5, "seeds": [0.3 for _ in seeds]},
        },
        "confusion": [
            [100 - wrong // others * others if row == column else wrong // others
             for column in range(len(labels))]
            for row in range(len(labels))
        ],
        "reliability": [
            {"confidence": c, "accuracy": round(c**1.4, 3), "count": round(10 + 90 * c)}
            for c in (0.55, 0.65, 0.75, 0.85, 0.95)
        ],
        "coverage": [
            {"coverage": n / 10, "accuracy": value + (1 - value) * (10 - n) / 12}
            for n in range(10, 0, -1)
        ],
        "learn_seconds": 0.0 if budget == 0 or asks else 0.3 + budget / 100,
        "ms": 520.0 if asks else 2.9 if method == "fine_tuned" else 9.5,
        "prompt_tokens": (210.5 if budget else 40.0) if asks else 0.0,
        "dollars": 0.0,
    }  # fmt: skip


def make_summary(
    labels=("ham", "spam"), budgets=(16, 128, 1024), seeds=(0, 1, 2), methods=METHODS, curves=CURVES
):
    """Everything that a summary can have."""
    points = [
        make_point(key, budget, labels, seeds, *curves[key])
        for key, _, family, _, _ in methods
        for budget in ((0,) if family == "baseline" else budgets)
    ]
    last = budgets[-1]
    learning = [key for key, _, family, _, _ in methods if family != "baseline"]
    names = {key: name for key, name, *_ in methods}
    asking = [p for p in points if p["prompt_tokens"]]
    pairs = [(a, b) for n, a in enumerate(learning) for b in learning[n + 1 :]]
    return {
        "format": 1,
        "command": "tuneshot compare --data messages.tsv --seeds 3 --out runs/compare",
        "config": {"seeds": len(seeds), "budgets": list(budgets), "k": 4, "lm": "<default>"},
        "data": {"source": "SMS Spam Collection", "sha256": "7d039a24" * 8, "task": "sms_spam",
                 "labels": list(labels), "pool": 3612,
                 "pool_labels": dict.fromkeys(labels, 3612 // len(labels)), "test": 200,
                 "test_labels": dict.fromkeys(labels, 200 // len(labels)), "split_seed": 0},
        "versions": {"python": "3.11.9", "tuneshot": "0.9.0", "torch": "2.13.0"},
        "machine": {"cpu": "a <fast> one", "cores": 2, "jobs": 2, "threads": 1},
        "created": "2026-11-28T18:00:00+00:00",
        "seconds": 1500.2,
        "metric": "balanced_accuracy",
        "seeds": list(seeds),
        "budgets": list(budgets),
        "methods": [
            dict(zip(("key", "name", "family", "about", "chooses"), method, strict=True))
            for method in methods
        ],
        "failures": [{"method": "knn", "budget": 16, "seed": 1, "error": "too few <labels>"}],
        "points": points,
        "memory_mb": {"fine_tuned": 812.0, "few_shot_topk": 1430.5},
        "thresholds": {
            "budget": last, "held_out": 128,
            "rows": [
                {"method": key, "target": target, "threshold": None if target > 0.98 else 0.9,
                 "coverage": interval(0.8), "accuracy": interval(0.96)}
                for key in learning for target in (0.95, 0.99)
            ],
        },
        "tests": [
            {"budget": budget, "a": a, "b": b, "only_a": 20 + n, "only_b": 12,
             "p": [0.0004, 0.03, 0.4][n % 3], "p_holm": [0.0012, 0.06, 0.8][n % 3],
             "difference": {"value": 0.031, "low": -0.01, "high": 0.072}}
            for budget in budgets for n, (a, b) in enumerate(pairs)
        ],
        "crossovers": [
            {"of": key, "over": over, "budget": 70.2, "low": 31.0, "high": 180.0,
             "sentence": f"{names[key]} beats {names[over]} from about 70 labels on "
                         "(95 %: 31 to 180)"}
            for key, _, family, _, _ in methods if family == "fine_tuned"
            for over, _, other, _, _ in methods if other == "few_shot"
        ],
        "robustness": {
            "budget": last, "messages": 54,
            "rows": [
                {"method": key, "variant": variant, "plain": 0.96, "accuracy": 0.96 - drop,
                 "drop": {"value": drop, "low": drop - 0.04, "high": drop + 0.05}, "changed": drop}
                for key in learning
                for variant, drop in (("typos", 0.05), ("capitals", 0.0), ("look-alikes", 0.13))
            ],
        },
        "second": {
            "source": "sample messages", "sha256": "ab" * 32, "messages": 200, "budget": last,
            "rows": [
                {"method": key, "metrics": make_point(key, last, labels, (0,), 0.5, 0.3, 9)
                 ["metrics"], "first": 0.97, "drop": {"value": 0.17, "low": 0.1, "high": 0.24}}
                for key in learning
            ],
        },
        "orders": {
            "budget": last, "messages": 54,
            "rows": [{"method": "few_shot_topk", "accuracies": [0.96, 0.93, 0.94, 0.94],
                      "spread": 0.03, "changed": 0.09}] * ("few_shot_topk" in learning),
        },
        "prices": {
            "litellm": "1.81.0", "models": [{"model": "gpt-4o-mini", "dollars_per_token": 1.5e-7}],
            "rows": [
                {"method": p["method"], "budget": p["budget"], "prompt_tokens": p["prompt_tokens"],
                 "dollars_per_1000": {"gpt-4o-mini": 1000 * p["prompt_tokens"] * 1.5e-7}}
                for p in asking
            ],
        },
        "disagreements": {
            "a": learning[0], "b": learning[min(1, len(learning) - 1)],
            "budget": last, "seed": 0, "count": 9,
            "items": [
                {"text": text, "truth": labels[-1],
                 "a": {"label": labels[0], "p": 0.7, "unit": "nats", "note": "",
                       "words": [[word, 0.9 - 0.4 * n] for n, word in enumerate(text.split())]},
                 "b": {"label": labels[-1], "p": 0.9, "prompt": f"Message: {text}\nType:",
                       "demonstrations": [
                           {"text": other, "label": labels[-1], "similarity": 0.81}
                           for other in HOSTILE[:2]]}}
                for text in HOSTILE
            ],
        },
    }  # fmt: skip


def bare_summary():
    """The least that a summary has: one seed, one budget, one method, no optional part."""
    summary = make_summary(budgets=(64,), seeds=(0,), methods=METHODS[:1] + METHODS[3:4])
    for point in summary["points"]:
        point["reliability"] = []
        point["dollars"] = None
        del point["coverage"]
        point["metrics"]["balanced_accuracy"] = interval(0.8) | {"seeds": [0.8]}
    return summary | {
        "thresholds": {"budget": 64, "held_out": 0, "rows": []},
        "failures": [], "memory_mb": {}, "tests": [], "crossovers": [], "second": None,
        "robustness": {"budget": 64, "messages": 0, "rows": []},
        "orders": {"budget": 64, "messages": 0, "rows": []},
        "prices": {"litellm": None, "models": [], "rows": []},
        "disagreements": {"a": "fine_tuned", "b": "majority", "budget": 64, "seed": 0, "count": 0,
                          "items": []},
    }  # fmt: skip
