"""``python -m repscope``: the same as the command ``repscope``."""

from __future__ import annotations

from repscope.cli import main

if __name__ == "__main__":
    main()
