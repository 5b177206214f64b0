# SPDX-License-Identifier: MIT
"""Files: encoders, and a file that appears under its name only once it is complete."""

from recorder.writing.disk import make_folder
from recorder.writing.recovery import Recovered, recover
from recorder.writing.staged import StagedFile, generated_name, name_part, readable_samples

__all__ = [
    "Recovered",
    "StagedFile",
    "generated_name",
    "make_folder",
    "name_part",
    "readable_samples",
    "recover",
]
