"""What the action's step runs: `python3 -I .../action`, on whatever Python a runner has.

What always holds: nothing is imported from the job's working directory, where a checkout may hold any module; only
the standard library and this package are needed.
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    if sys.version_info < (3, 10):  # noqa: UP036 - whatever runs this is not what it was checked with
        print("::error title=Bluegreen Watcher::The runner's python3 is older than 3.10.")
        sys.exit(2)
    if not hasattr(signal, "SIGALRM"):
        print("::error title=Bluegreen Watcher::This needs a runner on Linux or macOS.")
        sys.exit(2)
    # -I leaves out the working directory; what is run stands in sys.path itself, and its parent holds the package.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from action.commands import main

    sys.exit(main())
