"""`python -m data`."""

import sys

from data.cli import main
from data.ending import trace_crashes

if __name__ == "__main__":
    trace_crashes()
    sys.exit(main())
