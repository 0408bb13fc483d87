"""Checks that ``transformers`` can be used, beside a torchaudio that may be broken."""

import sys
from importlib.util import find_spec


def require_transformers() -> None:
    """Make ``transformers`` ready to be imported.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    if find_spec("transformers") is None:
        raise ModuleNotFoundError(
            "transformers is not installed: pip install 'parp_fairseq[hf]'", name="transformers"
        )
    hide_broken_torchaudio()


def hide_broken_torchaudio() -> None:
    """Make a torchaudio that cannot be imported look as if it were not installed.

    ve-fairseq requires torchaudio, whose wheel on PyPI needs the CUDA libraries. Beside a CPU build
    of torch it cannot be imported. fairseq never imports it for speech recognition, but
    ``transformers`` does wherever it finds one, and fails. None in ``sys.modules`` is Python's own
    way to say that a module does not exist. It holds for this process only.
    """
    if sys.modules.get("torchaudio") is not None or find_spec("torchaudio") is None:
        return
    try:
        import torchaudio  # noqa: F401
    except Exception:  # an OSError or an ImportError, depending on what is missing
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules["torchaudio"] = None
