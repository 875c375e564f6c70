"""Fine-tune a GPT-2 into a text classifier.

Reading order: types, data/, model/ (tokenizer, batching, gpt, classifier), weights/, fine_tuned,
training/ (settings, loop, recipe), evaluation/, cli/.
"""

import os

# Threads that wait for each other must not spin: beside a second program, each would burn the time
# that the other one needs, and both become ten times slower. OpenMP reads this when PyTorch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
