# SPDX-License-Identifier: MIT
"""Protocols without I/O: what arrives on a wire becomes audio and digits of a call."""
