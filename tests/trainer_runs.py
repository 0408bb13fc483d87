"""Runs of the Hugging Face Trainer on models made small, for the tests to look at."""

import torch
import transformers
from transformers import Trainer, TrainingArguments

_TEXT = dict(vocab_size=30, num_labels=3)
_BERT = dict(
    _TEXT, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=16,
)  # fmt: skip
_SPEECH = dict(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    conv_dim=(16, 16), conv_kernel=(8, 4), conv_stride=(4, 4), num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=2, vocab_size=6, pad_token_id=0, ctc_zero_infinity=True,
    mask_time_length=2,
)  # fmt: skip
# No chance: neither dropout nor masking.
_CERTAIN = {
    "bert": dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
    "distilbert": dict(dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0),
    "xlnet": dict(dropout=0.0, summary_last_dropout=0.0),
    "wav2vec2": dict(
        hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0,
        final_dropout=0.0, layerdrop=0.0, apply_spec_augment=False,
    ),
    "whisper": {},
}  # fmt: skip
_MODELS = {
    "bert": ("BertForSequenceClassification", "BertConfig", _BERT),
    "roberta": ("RobertaForSequenceClassification", "RobertaConfig", _BERT),
    "distilbert": (
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        dict(_TEXT, dim=16, n_layers=2, n_heads=2, hidden_dim=32),
    ),
    "xlnet": (
        "XLNetForSequenceClassification",
        "XLNetConfig",
        dict(_TEXT, d_model=16, n_layer=2, n_head=2, d_inner=32),
    ),
    "wav2vec2": ("Wav2Vec2ForCTC", "Wav2Vec2Config", _SPEECH),
    "hubert": ("HubertForCTC", "HubertConfig", _SPEECH),
    "wavlm": ("WavLMForCTC", "WavLMConfig", dict(_SPEECH, num_buckets=8)),
    "whisper": (
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        dict(
            vocab_size=30, d_model=16, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
            decoder_ffn_dim=32, num_mel_bins=4, max_source_positions=8, max_target_positions=8,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
            dropout=0.0,
        ),
    ),
}  # fmt: skip
MODEL_TYPES = tuple(_MODELS)


def model_of(kind: str, certain: bool = True, seed: int = 0, **changes):
    """A random model with a head; ``certain`` ones train without chance."""
    model, config, settings = _MODELS[kind]
    torch.manual_seed(seed)
    settings = {**settings, **(_CERTAIN.get(kind, {}) if certain else {}), **changes}
    return getattr(transformers, model)(getattr(transformers, config)(**settings))


def dataset_of(kind: str, examples: int = 24, seed: int = 1):
    """Random examples of one length, as a list of dicts of tensors."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high, *shape):
        return torch.randint(low, high, shape, generator=generator)

    if kind in ("wav2vec2", "hubert", "wavlm"):
        return [
            {"input_values": torch.randn(320, generator=generator), "labels": draw(1, 6, 3)}
            for _ in range(examples)
        ]
    if kind == "whisper":
        return [
            {"input_features": torch.randn(4, 16, generator=generator), "labels": draw(3, 30, 5)}
            for _ in range(examples)
        ]
    return [{"input_ids": draw(1, 30, 8), "labels": draw(0, 3, 1)[0]} for _ in range(examples)]


def arguments(folder, **changes) -> TrainingArguments:
    """Arguments of a short training on the CPU, in the order of the data set."""
    options = dict(
        output_dir=str(folder), use_cpu=True, max_steps=30, per_device_train_batch_size=4,
        per_device_eval_batch_size=12, learning_rate=3e-3, lr_scheduler_type="constant", seed=7,
        save_strategy="no", logging_steps=5, report_to="none", disable_tqdm=True,
        train_sampling_strategy="sequential", dataloader_pin_memory=False,
    )  # fmt: skip
    return TrainingArguments(**{**options, **changes})


def trainer_of(kind, folder, *callbacks, model=None, certain=True, **changes) -> Trainer:
    """A Trainer that has not trained yet."""
    optimizers = changes.pop("optimizers", (None, None))
    return Trainer(
        model if model is not None else model_of(kind, certain),
        arguments(folder, **changes),
        train_dataset=dataset_of(kind),
        eval_dataset=dataset_of(kind, 12, seed=2),
        callbacks=list(callbacks),
        optimizers=optimizers,
    )
