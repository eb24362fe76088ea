"""`python -m fastweights`: as `fastweights`."""

import sys

from fastweights.cli import main

sys.exit(main())
