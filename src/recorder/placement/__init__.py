# SPDX-License-Identifier: MIT
"""From frames to samples of the call's clock: formats, positions, rates, and what plays."""
