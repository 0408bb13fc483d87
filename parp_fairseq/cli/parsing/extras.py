"""Extras that a command needs, asked for before the work begins."""


def require_transformers() -> None:
    """Make ``transformers`` ready to be imported.

    Raises:
        ValueError: the extra is not installed.
    """
    try:
        import parp_fairseq.huggingface  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from None
