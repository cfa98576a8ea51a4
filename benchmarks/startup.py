"""How long `import vectalk` takes beside `import numpy`: medians of fresh interpreters, in turns."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from common import interleaved, parser, print_table, write_result


def seconds(module: str) -> float:
    """Return the time of a fresh interpreter that imports a module."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("--pairs", type=int, default=15)
    pairs = arguments.parse_args().pairs
    ours, numpy = interleaved(lambda: seconds("vectalk"), lambda: seconds("numpy"), pairs)
    ratio = statistics.median(a / b for a, b in zip(ours, numpy, strict=True))
    print_table([(statistics.median(ours), statistics.median(numpy), ratio)], ["vectalk, s", "numpy, s", "ratio"])
    write_result("startup", "python benchmarks/startup.py", {"ratio_import": ratio})


if __name__ == "__main__":
    main()
