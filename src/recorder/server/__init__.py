# SPDX-License-Identifier: MIT
"""Servers in asyncio: sockets, one clock, and limits around the sources."""
