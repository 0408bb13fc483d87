"""Beam search finds what an exhaustive search finds: all paths of short emissions, one by one."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from ngrams import conditional, log10_probability, read_arpa, write_arpa

from parp_fairseq.decoding import (
    BeamSearch,
    GreedySearch,
    KenLanguageModel,
    SearchOptions,
    read_lexicon,
)
from parp_fairseq.decoding.path import Path, merge_repeats, spell

pytest.importorskip("flashlight.lib.text.decoder", reason="the [lm] extra is not installed")

SYMBOLS = ["<s>", "|", "A", "B"]
BLANK, SEPARATOR = 0, 1
SPELLINGS = {  # with homophones, a word within a word, and a doubled letter
    "A": [("A", "|")],
    "AB": [("A", "B", "|")],
    "EIGH-B": [("A", "B", "|")],
    "BB": [("B", "B", "|"), ("B", "A", "|")],
}
WIDE = dict(beam=100_000, beam_threshold=1e9)


@cache
def all_paths(frames):
    return np.array(list(itertools.product(range(len(SYMBOLS)), repeat=frames)))


@cache
def sentences_of_paths(frames):
    """Pairs of the number of a path and a sentence that it may stand for by the lexicon."""
    words = {}
    for word, spellings in SPELLINGS.items():
        for spelling in spellings:
            words.setdefault(spelling, []).append(word)
    found = []
    for number, path in enumerate(all_paths(frames).tolist()):
        tokens = [SYMBOLS[run.token] for run in merge_repeats(path, BLANK)]
        chunks, last = [], []
        for token in tokens:
            last.append(token)
            if token == "|":
                chunks.append(tuple(last))
                last = []
        chunks = [chunk for chunk in chunks if chunk != ("|",)]
        if not last:
            choices = [words.get(chunk, []) for chunk in chunks]
            found += [(number, sentence) for sentence in itertools.product(*choices)]
    return found


@cache
def tokens_of_paths(frames):
    """For each path, what the language model sees: the search starts after a ``|``."""
    return [
        tuple(SYMBOLS[run.token] for run in merge_repeats([SEPARATOR, *path], BLANK)[1:])
        for path in all_paths(frames).tolist()
    ]


def emission(rng, frames):
    return torch.tensor(rng.normal(size=(frames, len(SYMBOLS))), dtype=torch.float32).log_softmax(1)


def emission_scores(log_probs):
    frames = len(log_probs)
    return log_probs.numpy()[np.arange(frames), all_paths(frames)].astype(float).sum(axis=1)


def ranked(candidates):
    """The best score of each hypothesis, the best first."""
    best = {}
    for hypothesis, score in candidates:
        best[hypothesis] = max(score, best.get(hypothesis, -math.inf))
    return sorted(best.items(), key=lambda item: -item[1])


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory):
    path = tmp_path_factory.mktemp("lexicon") / "lexicon.txt"
    lines = [f"{word}\t{' '.join(s)}" for word, spellings in SPELLINGS.items() for s in spellings]
    path.write_text("\n".join(lines) + "\n")
    return read_lexicon(path, {s: i for i, s in enumerate(SYMBOLS)}, "dict.ltr.txt")


def random_options(rng, **fixed):
    return SearchOptions(
        lm_weight=float(rng.uniform(0, 3)), sil_weight=float(rng.uniform(-1, 1)), **WIDE, **fixed
    )


def require_equal(found, expected, name, count=5):
    assert [name(path) for path in found[:1]] == [expected[0][0]]
    scores = [path.score for path in found[:count]]
    assert scores == pytest.approx([score for _, score in expected[:count]], abs=1e-4)


@pytest.mark.parametrize("model", range(10))
def test_lexicon_and_ngrams_equal_an_exhaustive_search(lexicon, tmp_path, model):
    """300 random emissions of up to 6 frames, ten models: best words, and scores of the 5 best."""
    rng = np.random.default_rng(model)
    arpa = write_arpa(tmp_path / "words.arpa", list(SPELLINGS), seed=model)
    ngrams = read_arpa(arpa)
    for _ in range(30):
        options = random_options(rng, word_score=float(rng.uniform(-2, 2)))
        log_probs = emission(rng, int(rng.integers(1, 7)))
        search = BeamSearch(options, SYMBOLS, BLANK, SEPARATOR, KenLanguageModel(arpa), lexicon)
        frames = len(log_probs)
        separators = (all_paths(frames) == SEPARATOR).sum(axis=1)
        acoustic = emission_scores(log_probs) + options.sil_weight * separators
        expected = ranked(
            (
                sentence,
                acoustic[number]
                + options.lm_weight * log10_probability(ngrams, sentence)
                + options.word_score * len(sentence),
            )
            for number, sentence in sentences_of_paths(frames)
        )
        found = search(log_probs, nbest=5)
        require_equal(found, expected, lambda path: tuple(word for word, _ in path.word_ends))
        best = found[0]
        assert best.emission_score == pytest.approx(
            sum(log_probs[t, s].item() for t, s in enumerate(best.symbols)), abs=1e-4
        )
        assert best.lm_score == pytest.approx(log10_probability(ngrams, expected[0][0]), abs=1e-4)
        # What is scored by fairseq spells these words.
        spelt = "".join(SYMBOLS[run.token] for run in spell(best, BLANK, SYMBOLS).runs)
        allowed = [{"".join(s) for s in SPELLINGS[word]} for word in expected[0][0]]
        assert spelt in {"".join(parts) for parts in itertools.product(*allowed)}


@pytest.mark.parametrize("model", range(10))
def test_symbols_and_ngrams_equal_an_exhaustive_search(tmp_path, model):
    """The same without a lexicon, by a model of symbols."""
    rng = np.random.default_rng(100 + model)
    arpa = write_arpa(tmp_path / "symbols.arpa", SYMBOLS[1:], seed=model)
    ngrams = read_arpa(arpa)
    for _ in range(30):
        options = random_options(rng)
        log_probs = emission(rng, int(rng.integers(1, 6)))
        search = BeamSearch(options, SYMBOLS, BLANK, SEPARATOR, KenLanguageModel(arpa))
        frames = len(log_probs)
        separators = (all_paths(frames) == SEPARATOR).sum(axis=1)
        acoustic = emission_scores(log_probs) + options.sil_weight * separators
        expected = ranked(
            (tokens, score + options.lm_weight * log10_probability(ngrams, tokens))
            for tokens, score in ranked(zip(tokens_of_paths(frames), acoustic))
        )

        def tokens_of(path):
            runs = merge_repeats([SEPARATOR, *path.symbols], BLANK)[1:]
            return tuple(SYMBOLS[run.token] for run in runs)

        require_equal(search(log_probs, nbest=5), expected, tokens_of)


def test_the_widest_beam_without_a_model_finds_the_greedy_path():
    rng = np.random.default_rng(0)
    search = BeamSearch(SearchOptions(**WIDE), SYMBOLS, BLANK, SEPARATOR)
    for _ in range(40):
        log_probs = emission(rng, int(rng.integers(1, 10)))
        [greedy], [widest] = GreedySearch()(log_probs), search(log_probs)
        assert widest.score == pytest.approx(greedy.score, abs=1e-4)
        assert spell(widest, BLANK, SYMBOLS).runs == spell(greedy, BLANK, SYMBOLS).runs


def test_every_utterance_has_a_hypothesis_even_where_no_word_fits(lexicon):
    search = BeamSearch(SearchOptions(beam=1), SYMBOLS, BLANK, SEPARATOR, lexicon=lexicon)
    one_frame = torch.tensor([[0.01, 0.01, 0.97, 0.01]]).log()  # no word is that short
    nothing = torch.zeros(0, 4)
    not_numbers = torch.full((3, 4), math.nan)
    for log_probs in (one_frame, nothing, not_numbers):
        [path] = search(log_probs)
        assert list(path.word_ends) == []
        assert spell(path, BLANK, SYMBOLS).runs == []


def test_words_have_the_frames_in_which_they_are_heard(lexicon):
    #          |    _    A    A    B    |    |    _    |    A    _    |
    path = [1, 0, 2, 2, 3, 1, 1, 0, 1, 2, 0, 1]
    log_probs = torch.nn.functional.one_hot(torch.tensor(path), 4).float().mul(5).log_softmax(1)
    search = BeamSearch(SearchOptions(**WIDE), SYMBOLS, BLANK, SEPARATOR, lexicon=lexicon)
    [best] = search(log_probs)
    assert list(best.symbols) == path
    spelling = spell(best, BLANK, SYMBOLS)
    assert [(word.start, word.end) for word in spelling.words] == [(2, 5), (9, 10)]
    assert [SYMBOLS[run.token] for run in spelling.runs] == ["A", "B", "|", "A", "|"]


def test_words_of_symbols_that_end_or_begin_a_word():
    letters = spell(Path([1, 2, 0, 3, 1, 1, 2], 0, 0), 0, SYMBOLS)
    assert letters.words == [("AB", 1, 4), ("A", 6, 7)]
    pieces = ["<s>", "▁TW", "O", "▁"]
    units = spell(Path([0, 1, 2, 2, 0, 3, 2, 1], 0, 0), 0, pieces)
    assert units.words == [("TWO", 1, 4), ("O", 5, 7), ("TW", 7, 8)]
    phones = spell(Path([0, 1], 0, 0), 0, ["<s>", "a", "b"])
    assert phones.words is None


def test_of_more_than_six_homophones_the_likeliest_are_kept(tmp_path, caplog):
    words = [f"W{i}" for i in range(8)]
    path = tmp_path / "lexicon.txt"
    path.write_text("".join(f"{word} A |\n" for word in words))
    lexicon = read_lexicon(path, {s: i for i, s in enumerate(SYMBOLS)}, "dict.ltr.txt")
    arpa = write_arpa(tmp_path / "lm.arpa", words, seed=3)
    options = SearchOptions(lm_weight=1.0, **WIDE)
    search = BeamSearch(options, SYMBOLS, BLANK, SEPARATOR, KenLanguageModel(arpa), lexicon)
    log_probs = torch.tensor([[0.01, 0.01, 0.97, 0.01], [0.01, 0.97, 0.01, 0.01]]).log()
    found = {path.word_ends[0][0] for path in search(log_probs, nbest=20) if path.word_ends}
    ngrams = read_arpa(arpa)
    after_start = {word: conditional(ngrams, ("<s>",), word) for word in words}
    assert found == set(sorted(words, key=lambda word: -after_start[word])[:6])
    assert "8 words are spelled alike" in caplog.text


def test_torchaudio_finds_the_same(lexicon, tmp_path):
    """Another binding of the same search, on 200 emissions of 50 frames, with a narrow beam."""
    try:
        from torchaudio.models.decoder import ctc_decoder
    except (ImportError, OSError) as error:
        pytest.skip(f"torchaudio cannot be imported: {error}")
    words = write_arpa(tmp_path / "words.arpa", list(SPELLINGS), seed=0)
    letters = write_arpa(tmp_path / "letters.arpa", SYMBOLS[1:], seed=0)
    # Without this file torchaudio numbers the symbols of the model by the order of a hash table.
    in_order = tmp_path / "symbols.txt"
    in_order.write_text("\n".join(SYMBOLS) + "\n")
    options = SearchOptions(
        beam=20, beam_threshold=25, lm_weight=1.5, word_score=-0.5, sil_weight=0.2
    )
    shared = dict(
        tokens=SYMBOLS, nbest=3, beam_size=20, beam_threshold=25, beam_size_token=len(SYMBOLS),
        lm_weight=1.5, word_score=-0.5, sil_score=0.2, blank_token="<s>", sil_token="|",
        unk_word="<unk>",
    )  # fmt: skip
    rng = np.random.default_rng(2)
    emissions = [emission(rng, 50) for _ in range(200)]
    for theirs, ours in (
        (
            ctc_decoder(lexicon=str(lexicon.path), lm=str(words), **shared),
            BeamSearch(options, SYMBOLS, BLANK, SEPARATOR, KenLanguageModel(words), lexicon),
        ),
        (
            ctc_decoder(lexicon=None, lm=str(letters), lm_dict=str(in_order), **shared),
            BeamSearch(options, SYMBOLS, BLANK, SEPARATOR, KenLanguageModel(letters)),
        ),
    ):
        for log_probs in emissions:
            [expected] = theirs(log_probs[None])
            found = ours(log_probs, nbest=3)
            assert [path.score for path in found] == [hypothesis.score for hypothesis in expected]
            if ours.lexicon is not None:
                words_found = [[word for word, _ in path.word_ends] for path in found]
                assert words_found == [hypothesis.words for hypothesis in expected]
