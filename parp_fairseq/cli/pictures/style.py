"""The style of all pictures: to be read when printed in one column of a paper."""

from contextlib import contextmanager
from pathlib import Path

from parp_fairseq.pruning.replacing import replacing

COLUMN = 3.4  # inches, the width of a column

_SETTINGS = {
    "font.size": 7,
    "axes.titlesize": 7,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "axes.linewidth": 0.6,
    "errorbar.capsize": 1.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.2,
    "svg.hashsalt": "parp",  # the same picture is the same file
}
# Without the date, for the same reason.
_METADATA = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": None}


def require_matplotlib(wanted_by: str) -> None:
    """Raise ValueError, with what to install, if matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError:
        raise ValueError(
            f"{wanted_by} needs matplotlib, which is not installed: "
            "pip install 'parp_fairseq[plot]'"
        ) from None


@contextmanager
def picture(path: Path, width: float = COLUMN, height: float = 2.6, layout: str = "constrained"):
    """A matplotlib figure of this size in inches, saved to ``path`` at the end."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout=layout)
        yield figure
        with replacing(path) as partial:
            figure.savefig(
                partial,
                format=path.suffix[1:],
                dpi=250,
                bbox_inches="tight",
                pad_inches=0.03,
                metadata=_METADATA[path.suffix],
            )
