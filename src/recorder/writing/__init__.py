# SPDX-License-Identifier: MIT
"""Files: encoders, and a file that appears under its name only once it is complete."""

from recorder.writing.staged import StagedFile, generated_name, name_part, readable_samples

__all__ = ["StagedFile", "generated_name", "name_part", "readable_samples"]
