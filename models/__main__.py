"""`python -m models`."""

import faulthandler
import sys

from models.cli import main

if sys.stderr:
    faulthandler.enable()  # as data.ending does, which models does not know
sys.exit(main())
