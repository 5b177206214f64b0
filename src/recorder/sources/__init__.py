# SPDX-License-Identifier: MIT
"""Protocols without I/O: what a wire carries becomes calls on a `Call`, and messages to send."""
