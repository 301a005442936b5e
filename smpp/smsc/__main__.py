"""`python -m smpp.smsc`: the simulator without the gateway."""

import sys

from smpp.smsc.command import main

sys.exit(main())
