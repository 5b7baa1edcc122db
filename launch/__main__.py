"""`python -m launch`."""

import sys

from data.ending import trace_crashes
from launch.cli import main

if __name__ == "__main__":
    trace_crashes()
    sys.exit(main())
