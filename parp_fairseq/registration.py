"""Registers the tasks and the models with fairseq, whichever of the two packages comes first.

fairseq takes seconds to import and ``parp`` and ``parp_fairseq.pruning`` work without it. So this
module never imports fairseq itself: it registers at once if fairseq is loaded, and otherwise as
soon as somebody imports it.
"""

import importlib.abc
import importlib.util
import sys
from pathlib import Path


def register_with_fairseq() -> None:
    """Register the tasks of this package and their models, now or when fairseq loads."""
    if "fairseq" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _FairseqFinder())


def _register() -> None:
    for task in ("parp", "parp_sentence_prediction"):
        importlib.import_module(f"parp_fairseq.tasks.{task}")
    # Where fairseq looks for ``--user-dir parp_fairseq``. Its import_user_module() compares paths
    # as text, and would take a package imported from the same folder for another one.
    beside_fairseq = Path(sys.modules["fairseq"].__file__).parent / ".." / __package__
    own = sys.modules[__package__].__path__
    if beside_fairseq.is_dir() and beside_fairseq.samefile(own[0]):
        own.append(str(beside_fairseq))


class _FairseqFinder(importlib.abc.MetaPathFinder):
    """Finds fairseq as Python would, with a loader that registers the plugin afterwards."""

    def __init__(self):
        self._searching = False

    def find_spec(self, name, path=None, target=None):
        if name != "fairseq" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader, self)
        return spec


class _RegisteringLoader(importlib.abc.Loader):
    def __init__(self, loader, finder: _FairseqFinder):
        self._loader, self._finder = loader, finder

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader  # for pkgutil and inspect
        self._loader.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
            _register()
