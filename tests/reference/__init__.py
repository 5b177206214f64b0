# SPDX-License-Identifier: MIT
"""The core's DSP written slowly and plainly: what the C core is held against."""
