"""fairseq-generate with a lexicon and a language model: options, files, workers and errors."""

import base64
import json
import re
import zlib

import pytest
import torch
from fairseq.data import Dictionary
from fairseq_runs import finetune, training_config, transcribe
from ngrams import write_arpa

from parp_fairseq.decoding.parallel import Workers

pytest.importorskip("flashlight.lib.text.decoder", reason="the [lm] extra is not installed")

WORDS = ("AB", "CAB", "BAD", "DAB", "ADA")  # of the tests' corpus

# A bigram model of AB, CAB and BAD, by KenLM's `build_binary trie`.
BINARY = """
eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/AcCkA
gjVIYJTB6wZ4KKgTAbVI4FyQRWKF1Qp7jXsq2UQeGZv2DRRGaPn8fesh3/PsuLK+f7x9riB9lTd7zm1fb+dxnJ7v0g
AskohlkzZ+6DsdPS0vbPmim5DyEnuf/sGR8439jYGKyfCcoHygHlz+xlZkAFLAzYwcUzZ754Ghs/DgeacR9ocS2KrE
1pXrYdg02xHYOTowuDoxODjT6Q7QxkAAAnr1BE
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, corpus, encoder):
    folder = tmp_path_factory.mktemp("finetuned")
    finetune(training_config(corpus, encoder, folder, max_update=40, lr="[0.01]"))
    return folder / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A lexicon and n-gram models of words and of letters."""
    folder = tmp_path_factory.mktemp("lm")
    lines = [f"{word}\t{' '.join(word)} |" for word in WORDS]
    (folder / "lexicon.txt").write_text("\n".join(lines) + "\n")
    write_arpa(folder / "words.arpa", WORDS, seed=0)
    write_arpa(folder / "letters.arpa", list("|ABCD"), seed=0)
    return folder


def with_lexicon(files, **changes):
    options = dict(
        decoder="lexicon",
        lexicon=files / "lexicon.txt",
        kenlm=files / "words.arpa",
        lm_weight=1.0,
        word_score=0.5,
        beam=20,
        decoder_workers=1,
    )
    return {**options, **changes}


def printed(output, kinds="HDP"):
    return [line for line in output if line[:1] in kinds and line[1:2] == "-"]


def texts(output):
    """Utterance -> text of its H- line."""
    rows = (line.split("\t") for line in printed(output, "H"))
    return {int(name[2:]): text for name, _, text in rows}


def test_words_are_those_of_the_lexicon_with_any_number_of_workers(
    corpus, checkpoint, files, tmp_path
):
    """The same lines in the same order; JSON in the order of the manifest, and n-best."""
    outputs = []
    for workers in (1, 3):
        json_file = tmp_path / f"{workers}.json"
        options = with_lexicon(
            files, decoder_workers=workers, nbest=2, hypotheses_file=json_file, batch_size=5
        )
        outputs.append(printed(transcribe(corpus, checkpoint, tmp_path / "out", **options)))
    assert outputs[0] == outputs[1]
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "3.json").read_bytes()

    rows = [json.loads(line) for line in (tmp_path / "1.json").read_text().splitlines()]
    assert [row["id"] for row in rows] == list(range(13))
    best = {}
    for line in outputs[0]:
        if line.startswith("H-"):
            name, score, *text = line.split("\t")
            best.setdefault(int(name[2:]), (float(score), text[0] if text else ""))
    for row in rows:
        hypotheses = row["hypotheses"]
        assert len(hypotheses) == 2 and hypotheses[0]["score"] >= hypotheses[1]["score"]
        words = [word["word"] for word in hypotheses[0]["words"]]
        assert set(words) <= set(WORDS)
        score, text = best[row["id"]]
        assert text.split() == words
        # fairseq prints scores in base 2.
        assert score == pytest.approx(hypotheses[0]["score"] / 0.6931472, abs=1e-3)
        total = sum(hypotheses[0][part] for part in ("emission_score", "lm_score"))
        assert hypotheses[0]["score"] == pytest.approx(total + 0.5 * len(words), abs=1e-3)
        times = [t for word in hypotheses[0]["words"] for t in (word["start"], word["end"])]
        assert times == sorted(times) and all(0 <= t <= 0.8 for t in times)


def test_symbols_without_a_lexicon(corpus, checkpoint, files, tmp_path):
    """Without a model, the widest beam prints what greedy decoding prints."""
    greedy = transcribe(corpus, checkpoint, tmp_path / "out")
    free = dict(decoder="lexicon_free", beam=500, beam_threshold=1000, decoder_workers=1)
    widest = transcribe(corpus, checkpoint, tmp_path / "out", **free)
    assert texts(widest) == texts(greedy)
    with_model = transcribe(
        corpus, checkpoint, tmp_path / "out", kenlm=files / "letters.arpa", lm_weight=2, **free
    )
    assert texts(with_model).keys() == texts(widest).keys()
    assert texts(with_model) != texts(widest)


def test_greedy_decoding_writes_the_times_of_words_too(corpus, checkpoint, tmp_path):
    output = transcribe(
        corpus, checkpoint, tmp_path / "out", hypotheses_file=tmp_path / "greedy.json"
    )
    rows = [json.loads(line) for line in (tmp_path / "greedy.json").read_text().splitlines()]
    found = {row["id"]: [w["word"] for w in row["hypotheses"][0]["words"]] for row in rows}
    assert found == {number: text.split() for number, text in texts(output).items()}


def test_a_preset_gives_the_values_of_the_paper(files):
    from fairseq.dataclass.configs import GenerationConfig

    from parp_fairseq.tasks.decoding import search_options
    from parp_fairseq.tasks.options import ParpConfig

    options = search_options(
        ParpConfig(decoding_preset="wav2vec2_4gram"), GenerationConfig(beam=500)
    )
    assert (options.lm_weight, options.word_score, options.beam) == (2.0, -1.0, 500)
    given = search_options(
        ParpConfig(decoding_preset="parp_10min_transformer", word_score=0.0),
        GenerationConfig(lm_weight=0.7),
    )
    assert (given.lm_weight, given.word_score) == (0.7, 0.0)


def test_a_transformer_of_fairseq_scores_words_as_it_does_alone():
    """A one-layer language model: the score of a sentence is that of its forward pass."""
    from fairseq.models.transformer_lm import (
        TransformerLanguageModel,
        TransformerLanguageModelConfig,
    )
    from omegaconf import OmegaConf

    from parp_fairseq.decoding import BeamSearch, FairseqLanguageModel, SearchOptions
    from parp_fairseq.decoding.lexicon import Entry, Lexicon

    dictionary = Dictionary()
    for word in WORDS:
        dictionary.add_symbol(word)
    torch.manual_seed(0)
    cfg = OmegaConf.structured(
        TransformerLanguageModelConfig(
            decoder_layers=1, decoder_embed_dim=8, decoder_output_dim=8, decoder_input_dim=8,
            decoder_ffn_embed_dim=8, decoder_attention_heads=2, dropout=0.0,
        )
    )  # fmt: skip
    OmegaConf.set_struct(cfg, False)
    cfg.max_target_positions = cfg.tokens_per_sample = 32

    class Task:
        source_dictionary = target_dictionary = dictionary

    model = TransformerLanguageModel.build_model(cfg, Task).eval()
    symbols = ["<s>", "|", *"ABCD"]
    entries = [
        Entry(word, tuple(symbols.index(c) for c in [*word, "|"]), n)
        for n, word in enumerate(WORDS)
    ]
    search = BeamSearch(
        SearchOptions(beam=50, lm_weight=1.0), symbols, 0, 1,
        FairseqLanguageModel(model, "lm.pt"), Lexicon("lexicon.txt", entries),
    )  # fmt: skip
    log_probs = torch.randn(20, 6, generator=torch.Generator().manual_seed(1)).log_softmax(1)
    for path in search(log_probs, nbest=3):
        sentence = [dictionary.index(word) for word, _ in path.word_ends] + [dictionary.eos()]
        output = model(torch.tensor([[dictionary.eos(), *sentence[:-1]]]))
        scores = model.get_normalized_probs(output, log_probs=True, sample=None)[0]
        expected = sum(scores[i, word].item() for i, word in enumerate(sentence))
        assert path.lm_score == pytest.approx(expected, abs=1e-4)
        assert path.score == pytest.approx(path.emission_score + expected, abs=1e-4)


def refused(tmp_path, files, **changes):
    """The message of the error that these options end in."""
    from fairseq.dataclass.configs import GenerationConfig

    from parp_fairseq.tasks.decoding import build_search
    from parp_fairseq.tasks.options import ParpConfig

    dictionary = Dictionary()
    for symbol in "|ABCD":
        dictionary.add_symbol(symbol)
    options = dict(
        decoder="lexicon",
        labels="ltr",
        lexicon=str(files / "lexicon.txt"),
        kenlm=str(files / "words.arpa"),
    )
    cfg = ParpConfig(**{**options, **changes})
    with pytest.raises((ValueError, OSError)) as error:
        build_search(cfg, GenerationConfig(lm_weight=1), dictionary, 0)
    return str(error.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("AB\tA B |\nBEE\tB E E |\n", r"line 2: 'BEE' is spelled with 'E'.*dict\.ltr\.txt"),
        ("AB A B |\n\nCAB\n", r"line 3: the word 'CAB' has no spelling"),
        ("\n \n", "is empty"),
        ("", "is empty"),
        ("<unk> A |\n", "line 1: <unk>"),
        ("AB\t0.9\tA B |\n", r"line 1: 'AB' is spelled with '0\.9'"),
        ("AB <s> |\n", r"line 1: 'AB' is spelled with '<s>'"),
    ],
)
def test_a_bad_lexicon_is_an_error_that_names_the_line(tmp_path, files, text, message):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    found = refused(tmp_path, files, lexicon=str(path))
    assert re.search(message, found) and str(path) in found


def cut(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    "change, message",
    [
        (cut, r"line \d+: expected a whole"),
        (lambda _: "", "line 1: expected a whole"),
        (lambda _: "no model\n", "expected a whole"),
        (lambda text: text.replace("\\end\\", ""), "expected a whole"),
        (lambda text: re.sub(r"-[\d.]+\tCAB", "x\tCAB", text, count=1), r"line 1\d: expected"),
        (lambda text: text.lower(), r"knows 0 of 5 words.*'AB' \(lexicon .*, line 1\)"),
    ],
)
def test_a_bad_ngram_file_is_an_error_that_names_it(tmp_path, files, change, message):
    path = tmp_path / "bad.arpa"
    path.write_text(change((files / "words.arpa").read_text()))
    found = refused(tmp_path, files, kenlm=str(path))
    assert re.search(message, found) and str(path) in found


def test_a_binary_ngram_file_is_whole_or_an_error(tmp_path, files):
    """KenLM does not notice where the names of the words are cut short, at the end of the file."""
    from parp_fairseq.decoding.vocabulary import read_vocabulary

    content = zlib.decompress(base64.b64decode("".join(BINARY.split())))
    path = tmp_path / "words.bin"
    path.write_bytes(content)
    assert read_vocabulary(path) == {"<unk>", "<s>", "</s>", "AB", "CAB", "BAD"}
    for size, message in (
        (len(content) - 5, "is cut short: expected the names of 6 words"),
        (len(content) // 2, "expected a whole binary file.*headers say"),
        (20, "expected a whole"),
    ):
        path.write_bytes(content[:size])
        found = refused(tmp_path, files, kenlm=str(path))
        assert re.search(message, found) and str(path) in found


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"lexicon": None}, "task.lexicon is null"),
        ({"lexicon": "/none/lexicon.txt"}, "lexicon /none/lexicon.txt does not exist"),
        ({"kenlm": "/none/lm.bin"}, "language model /none/lm.bin does not exist"),
        ({"decoder": "greedy"}, "kenlm is .*words.arpa, but the decoder is greedy"),
        ({"decoder": "lexicon_free"}, "lexicon is .*, but the decoder is lexicon_free"),
        ({"decoder": "lexicon_free", "lexicon": None}, r"knows 0 of 5.*the symbol '\|'"),
        ({"beam_threshold": -1.0}, "beam_threshold is -1.0: expected more than 0"),
        ({"beam_size_token": 0}, "beam_size_token is 0: expected 1 or more"),
        ({"word_score": float("nan")}, "word_score is nan"),
    ],
)
def test_options_that_do_not_fit_are_errors(tmp_path, files, changes, message):
    assert re.search(message, refused(tmp_path, files, **changes))


def test_a_model_that_lacks_some_words_is_used_and_says_so(tmp_path, files, caplog):
    from parp_fairseq.decoding.language_model import require_known

    require_known("lm.arpa", {"AB", "CAB"}, ["AB", "CAB", "BAD"], repr, least=0.5)
    assert "knows 2 of 3 words or symbols; the first that it lacks is 'BAD'" in caplog.text


def test_without_the_extra_the_error_says_what_to_install(tmp_path, files, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "flashlight.lib.text.decoder", None)
    assert "pip install 'parp_fairseq[lm]'" in refused(tmp_path, files)


def test_a_language_model_of_another_dictionary_is_an_error(tmp_path):
    from parp_fairseq.tasks.language_model_file import require_language_model

    model = tmp_path / "lm.pt"
    with pytest.raises(FileNotFoundError, match=re.escape(f"language model {model} does not")):
        require_language_model(str(model), str(tmp_path))
    torch.save({"model": {"decoder.embed_tokens.weight": torch.zeros(4 + 5, 8)}}, model)
    with pytest.raises(FileNotFoundError, match=r"dict\.txt does not exist"):
        require_language_model(str(model), str(tmp_path))
    (tmp_path / "dict.txt").write_text("".join(f"{word} 1\n" for word in WORDS))
    require_language_model(str(model), str(tmp_path))
    (tmp_path / "dict.txt").write_text("AB 1\n")
    with pytest.raises(ValueError, match=r"dict\.txt has 1 lines.*with 5 symbols"):
        require_language_model(str(model), str(tmp_path))


def test_fairseq_generate_checks_the_language_model_before_it_loads_it(
    corpus, checkpoint, files, tmp_path
):
    with pytest.raises(FileNotFoundError, match=r"language model /none/lm\.pt does not exist"):
        transcribe(corpus, checkpoint, tmp_path / "out", lm_path="/none/lm.pt")


def test_the_processes_end_with_what_decodes():
    """Where they ended by themselves, Python's own end now and then met them, with a traceback."""

    class Search:
        uses_device = False

        def __call__(self, emission, nbest):
            return [nbest]

    workers = Workers(Search(), 2)
    assert workers.decode([torch.zeros(1, 1)] * 3, 4) == [[4]] * 3
    processes = list(workers.pool._processes.values())
    assert all(process.is_alive() for process in processes)
    del workers
    assert not any(process.is_alive() for process in processes)
