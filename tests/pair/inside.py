"""`python -m pair.inside ROW`, in a namespace of its own: plays it, and prints the outcome."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict

from .namespace import prepare
from .rows import play_here

if __name__ == "__main__":
    prepare()
    print(json.dumps(asdict(asyncio.run(play_here(sys.argv[1])))))
