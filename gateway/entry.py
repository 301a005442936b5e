"""Where the `tandem` command begins: nothing is imported here that takes time.

A Ctrl-C while the program is still loading would end in a traceback from the middle of some
import. Until a command has something to clean up, SIGINT just ends the process.
"""

import signal


def main() -> int:
    """Load the commands, then run one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gateway.commands.main import main as run

    return run()
