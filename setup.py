# SPDX-License-Identifier: MIT
"""What pyproject.toml cannot say: the cffi extension, and one abi3 wheel for all Pythons."""

import sysconfig

from setuptools import setup

# The limited API has no free-threaded build yet.
abi3 = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    cffi_modules=["build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if abi3 else {},
)
