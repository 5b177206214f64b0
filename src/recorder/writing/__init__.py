# SPDX-License-Identifier: MIT
"""Files: encoders, and a file that appears under its name only once it is complete."""
