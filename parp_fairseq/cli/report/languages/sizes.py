"""Bytes that N corpora take: N models, N packs over one encoder, one model for all."""

from statistics import mean
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from .rates import Cell, Runs
from .runs import LanguageRun, LanguageStudy

Sizes = List[Tuple[str, float, str, Optional[float]]]  # method, sparsity, what is kept, bytes


def read_sizes(study: LanguageStudy, cells: Mapping[Cell, Runs]) -> Sizes:
    """What each way to keep all corpora takes, the mean over the seeds; without dense models."""
    found: Dict[Tuple[str, float], List[Tuple[str, Optional[float]]]] = {}
    number = len(study.corpora)
    shown = (Cell(cell.kind, cell.method, cell.sparsity, cell.drawn) for cell in cells)
    for cell in dict.fromkeys(shown):
        at = found.setdefault((cell.method, cell.sparsity), [])
        if cell.kind == "alone":
            of_corpora = [_runs(cells, cell, corpus) for corpus in study.corpora]
            if not all(of_corpora):
                continue
            at.append((f"{number} models", _sum([_mean(runs, "bytes") for runs in of_corpora])))
            packs = [_mean(runs, "pack_bytes") for runs in of_corpora]
            encoder = _mean(of_corpora[0], "base_bytes")
            at.append((f"the encoder and {number} packs over it", _sum([encoder, *packs])))
        elif cell.kind in ("joint", "each"):
            runs = _runs(cells, cell, "")
            by_weight = "" if cell.drawn == "plain" else " drawn by weight"
            whole = _mean(runs, "bytes")
            if cell.kind == "joint":
                at.append((f"one model for all{by_weight}", whole))
                both = _sum([_mean(runs, "base_bytes"), _mean(runs, "pack_bytes")])
                at.append((f"the encoder and one pack for all{by_weight}", both))
            else:
                packs = [sum(run.facts.get("corpus_pack_bytes", {}).values()) for run in runs]
                told = f"shared weights and {number} packs over them{by_weight}"
                at.append((told, _sum([whole, mean(packs)])))
    return [(*key, what, size) for key, of_key in found.items() for what, size in of_key]


def _runs(cells: Mapping[Cell, Runs], cell: Cell, corpus: str) -> List[LanguageRun]:
    at = Cell(cell.kind, cell.method, cell.sparsity, cell.drawn, None, corpus)
    return list(cells.get(at, {}).values())


def _mean(runs: Sequence[LanguageRun], fact: str) -> Optional[float]:
    values = [run.facts.get(fact) for run in runs]
    return None if None in values or not values else mean(values)


def _sum(values: Sequence[Optional[float]]) -> Optional[float]:
    return None if None in values else sum(values)
