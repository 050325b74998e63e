"""What holds for all tests, and for the processes that they start."""

from __future__ import annotations

import os

# no test may depend on what an earlier run compiled, nor leave anything in the user's folders
os.environ["MARKCUT_CACHE"] = "off"
