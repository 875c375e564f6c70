"""The settings of a few-shot answer: checked before anything heavy is loaded."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "sklearn", "scipy", "networkx", "sentence_transformers")


def test_settings_are_checked_without_loading_a_model_library():
    """So the command line reports a mistyped selector in under a second."""
    program = f"""
import sys
import icl.settings
icl.settings.FewShotConfig(selector="votek_two_stage", options={{"annotate": 50}})
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []
