"""Parser: an argument parser with examples, and with errors of one line."""

import argparse


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that prints its texts unwrapped and reports an error as one line.

    Args:
        examples: command lines, shown at the end of the help.
        settings: passed to ``ArgumentParser``.
    """

    def __init__(self, examples: str = "", **settings):
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=f"examples:\n{examples}" if examples else None,
            **settings,
        )

    def error(self, message: str):
        message = " ".join(line.strip() for line in message.splitlines())
        self.exit(2, f"parp: error: {message}\n")
