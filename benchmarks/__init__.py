# SPDX-License-Identifier: MIT
"""What recorder costs, and what others cost on the same sound. Run: python -m pytest benchmarks"""

import os

# One core for everyone: on so small products numpy's threads cost more than they give, and on a
# busy machine many times more. It is read when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
