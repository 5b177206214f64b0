# SPDX-License-Identifier: MIT
"""Background work: writing, handlers, and the life cycle of calls (exit and fork)."""
