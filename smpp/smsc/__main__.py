"""`python -m smpp.smsc`: the simulator without the gateway; `tandem smsc --help` tells more."""

import argparse
import inspect
import sys
from pathlib import Path

from smpp.smsc.command import run, send_message

FORMS = {"port": int, "control_port": int, "seed": int, "scenario": Path}
NAMES = {"sender": "from", "recipient": "to"}

what = send_message if sys.argv[1:2] == ["mo"] else run
parser = argparse.ArgumentParser(prog="python -m smpp.smsc [mo]", description=what.__doc__)
for name, parameter in inspect.signature(what).parameters.items():
    if name == "text":
        parser.add_argument(name)
        continue
    parser.add_argument(
        "--" + NAMES.get(name, name).replace("_", "-"),
        dest=name,
        type=FORMS.get(name, str),
        default=parameter.default,
        required=parameter.default is parameter.empty,
    )
sys.exit(what(**vars(parser.parse_args(sys.argv[1 + (what is send_message) :]))))
