"""Says, from inside an environment, where an implementation's numbers would come from.

``python -m suites.bench.describe --impl torch --device cpu`` prints one JSON object:
the provenance that enters every cache key, or why the implementation cannot run here.
"""

from __future__ import annotations

import argparse
import json
import sys

from results.errors import UserError
from suites import implementations, recording
from suites.interface import Unavailable


def main() -> int:
    """Print the description."""
    parser = argparse.ArgumentParser(prog="python -m suites.bench.describe")
    parser.add_argument("--impl", required=True)
    parser.add_argument("--device", required=True)
    options = parser.parse_args()
    try:
        folder = implementations.find(options.impl)
        for variant in folder.variants:
            implementations.builder(folder, variant)
        implementations.device_module(folder).configure(options.device, recording.usable_cores())
        print(json.dumps({"origin": recording.origin(folder, options.device)}))
    except (UserError, Unavailable) as error:
        print(json.dumps({"reason": str(error)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
