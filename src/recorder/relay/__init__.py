# SPDX-License-Identifier: MIT
"""RELAY, as SignalWire's clients speak it, for the calls of this machine; without I/O."""
