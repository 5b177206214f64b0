# SPDX-License-Identifier: MIT
"""One recording: its pure state, and the session that owns it from start to terminal event."""
