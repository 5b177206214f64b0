# SPDX-License-Identifier: MIT
"""What is on a leg: the border to the C core, digits and their presses, masks."""
