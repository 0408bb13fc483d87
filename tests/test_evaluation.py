"""Promise 8, and decoding: stock fairseq-generate scores every line, and scores it right."""

import logging

import jiwer
import pytest
import torch
from fairseq_runs import finetune, load, training_config, transcribe, write_corpus

from parp_fairseq.decoding import GreedyCtcDecoder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, corpus, encoder):
    folder = tmp_path_factory.mktemp("finetuned")
    finetune(training_config(corpus, encoder, folder, max_update=60, lr="[0.01]"))
    return folder / "checkpoint_last.pt"


def lines_of(output, kind):
    """Utterance -> text of the lines that fairseq-generate marks T-, H-, P-."""
    rows = (line.split("\t") for line in output if line.startswith(f"{kind}-"))
    return {int(row[0][2:]): row[-1] for row in rows}


def printed_score(output):
    return float(output[-1].rpartition(" ")[2])


@pytest.mark.parametrize("batching", [{}, {"batch_size": 5}, {"max_tokens": 14000}], ids=str)
def test_every_line_is_scored_and_wer_is_jiwers(corpus, checkpoint, tmp_path, batching, caplog):
    caplog.set_level(logging.INFO, logger="parp_fairseq")
    output = transcribe(corpus, checkpoint, tmp_path / "out", **batching)
    references, hypotheses = lines_of(output, "T"), lines_of(output, "H")
    manifest = (corpus / "valid.wrd").read_text().splitlines()
    assert references == dict(enumerate(manifest))
    assert hypotheses.keys() == references.keys()
    assert "scoring 13 of 13 utterances" in caplog.text
    order = sorted(references)
    wer = jiwer.wer([references[i] for i in order], [hypotheses[i] for i in order])
    assert printed_score(output) == pytest.approx(100 * wer, abs=0.005)
    assert len(set(hypotheses.values())) > 1


def test_every_line_is_scored_where_there_are_several_gpus(corpus, checkpoint, tmp_path):
    """Their number is the default of this option; fairseq-generate uses one, and is one of them."""
    output = transcribe(corpus, checkpoint, tmp_path / "out", distributed_world_size=4)
    assert len(lines_of(output, "H")) == 13


def test_cer_by_fairseqs_own_option(corpus, checkpoint, tmp_path):
    output = transcribe(corpus, checkpoint, tmp_path / "out", wer_char_level=True)
    references, hypotheses = lines_of(output, "T"), lines_of(output, "H")
    order = sorted(references)
    cer = jiwer.cer([references[i] for i in order], [hypotheses[i] for i in order])
    assert printed_score(output) == pytest.approx(100 * cer, abs=0.005)


def test_phone_labels_give_the_phone_error_rate(corpus, encoder, tmp_path):
    finetune(training_config(corpus, encoder, tmp_path, labels="phn", max_update=40, lr="[0.01]"))
    output = transcribe(
        corpus, tmp_path / "checkpoint_last.pt", tmp_path / "out", labels="phn", post_process=None
    )
    references, hypotheses = lines_of(output, "T"), lines_of(output, "H")
    assert references == dict(enumerate((corpus / "valid.phn").read_text().splitlines()))
    order = sorted(references)
    per = jiwer.wer([references[i] for i in order], [hypotheses[i] for i in order])
    assert printed_score(output) == pytest.approx(100 * per, abs=0.005)


def test_validation_while_training_scores_every_line(corpus, encoder, tmp_path, caplog):
    """13 utterances are no multiple of 8, and fairseq 0.12.3 would drop the last batch."""
    caplog.set_level(logging.INFO, logger="parp_fairseq")
    cfg = training_config(
        corpus,
        encoder,
        tmp_path,
        max_update=2,
        disable_validation=False,
        best_checkpoint_metric="wer",
    )
    logging.disable(logging.NOTSET)
    from fairseq_cli import train

    train.main(cfg)
    assert "scoring 13 of 13 utterances" in caplog.text
    meters = load(tmp_path / "checkpoint_last.pt")["extra_state"]
    assert meters["val_loss"] > 0


def test_a_line_that_would_not_be_scored_is_an_error(corpus, encoder, checkpoint, tmp_path):
    with pytest.raises(
        ValueError, match=r"only \d+ of the manifest's 13 utterances.*min_sample_size"
    ):
        transcribe(corpus, checkpoint, tmp_path / "out", model_overrides="{}", min_sample_size=9000)
    cfg = training_config(
        corpus, encoder, tmp_path / "run", max_update=2, min_sample_size=9000,
        disable_validation=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match="utterances would be scored"):
        finetune(cfg)


def test_training_batches_are_those_of_stock_fairseq(corpus, encoder, tmp_path):
    from fairseq_runs import make_trainer

    ours = make_trainer(training_config(corpus, encoder, tmp_path))
    stock = make_trainer(
        training_config(corpus, encoder, tmp_path, task="audio_finetuning", arch="wav2vec_ctc")
    )
    batches = [
        [batch.tolist() for batch in t.get_train_iterator(1).frozen_batches] for t in (ours, stock)
    ]
    assert batches[0] == batches[1]


def test_ensembles_decode_the_mean_probability(corpus, checkpoint, tmp_path):
    alone = transcribe(corpus, checkpoint, tmp_path / "one")
    twice = transcribe(corpus, f"{checkpoint}:{checkpoint}", tmp_path / "two")
    assert lines_of(alone, "H") == lines_of(twice, "H")


def test_the_published_corpus_form_is_scored_by_fairseq_validate(corpus, checkpoint, tmp_path):
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq_cli import validate

    write_corpus(tmp_path / "data", "valid", 11, seed=5)
    arguments = [
        str(tmp_path / "data"),
        "--task",
        "parp",
        "--labels",
        "ltr",
        "--path",
        str(checkpoint),
    ]
    parser = options.get_validation_parser(default_task="parp")
    args = options.parse_args_and_arch(
        parser, [*arguments, "--cpu", "--max-tokens", "100000", "--num-workers", "0"]
    )
    validate.main(convert_namespace_to_omegaconf(args))


class Emissions(torch.nn.Module):
    """Stands for a network: gives the emissions it was made with."""

    def __init__(self, probabilities, padding=None):
        super().__init__()
        self.output = {"log_probs": torch.tensor(probabilities).log(), "padding_mask": padding}

    def forward(self, **_):
        return self.output

    def get_normalized_probs(self, output, log_probs):
        return output["log_probs"]


def test_greedy_decoding_merges_repeats_and_drops_blanks():
    # frames x batch x symbols; symbol 0 is the blank. Best path: 1 1 0 1 2 | padded 2
    path = [1, 1, 0, 1, 2, 2]
    frames = [[[0.8 if s == best else 0.1 for s in range(3)]] for best in path]
    frames[1][0] = [0.05, 0.9, 0.05]
    padding = torch.tensor([[False] * 5 + [True]])
    decoder = GreedyCtcDecoder(blank=0, eos=2)
    [[hypothesis]] = decoder.generate([Emissions(frames, padding)], {"net_input": {}})
    assert hypothesis["tokens"].tolist() == [1, 1, 2]
    assert hypothesis["positional_scores"].exp().tolist() == pytest.approx([0.9, 0.8, 0.8])
    assert hypothesis["score"].exp().item() == pytest.approx(0.8 * 0.9 * 0.8**3)


def test_silence_is_an_empty_hypothesis():
    decoder = GreedyCtcDecoder(blank=0, eos=2)
    [[hypothesis]] = decoder.generate([Emissions([[[0.9, 0.1]]] * 4)], {"net_input": {}})
    assert hypothesis["tokens"].tolist() == []
