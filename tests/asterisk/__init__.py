# SPDX-License-Identifier: MIT
"""The server with a real Asterisk: `python -m pytest -m asterisk tests/asterisk`.

`python -m tests.asterisk.installing` gets Asterisk first.
"""
