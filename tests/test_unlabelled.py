"""manifests/unlabelled.py: any folders of audio as one manifest, and cluster targets beside it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from corpora import MANIFESTS, contents, noise
from fairseq_runs import write_encoder

soundfile = pytest.importorskip("soundfile", reason="the [data] extra is not installed")
pytest.importorskip("soxr", reason="the [data] extra is not installed")
cluster = pytest.importorskip("sklearn.cluster")

sys.path.insert(0, str(MANIFESTS))

import unlabelled  # noqa: E402
from targets import clusters as targets_clusters  # noqa: E402
from targets.mfcc import mfcc  # noqa: E402

RATES = {"a.wav": 16000, "b.flac": 44100, "sub/c.ogg": 24000, "d.mp3": 22050, "e.WAV": 8000}
CLIPS = 12


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """Two folders: several formats and rates, bad files among them, and 12 clips of 16 kHz."""
    source = tmp_path_factory.mktemp("sources")
    mixed, plain = source / "mixed", source / "plain"
    (mixed / "sub").mkdir(parents=True)
    plain.mkdir()
    for number, (name, rate) in enumerate(RATES.items()):
        soundfile.write(mixed / name, noise(rate, channels=1 + number % 2, seed=number), rate)
    soundfile.write(mixed / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(mixed / "short.wav", noise(4000), 16000)
    soundfile.write(mixed / "slow.wav", noise(6000), 6000)
    (mixed / "broken.flac").write_bytes(b"fLaC and no more")
    (mixed / "README.md").write_text("not audio, and no error")
    for number in range(CLIPS):
        frames = 16000 + 500 * number
        rng = np.random.default_rng(number)
        tone = np.sin(2 * np.pi * 200 * (1 + number % 3) * np.arange(frames) / 16000)
        samples = 0.3 * tone + 0.01 * rng.standard_normal(frames)
        soundfile.write(plain / f"{number:02d}.wav", samples, 16000)
    return [mixed, plain]


def run(*arguments: object) -> None:
    unlabelled.main([str(argument) for argument in (*arguments, "--max-skipped", 0.5)])


def read(dest: Path, split: str, suffix: str = "km") -> list[tuple[str, int, list[int]]]:
    """Path, samples and targets of each clip."""
    _, *lines = (dest / f"{split}.tsv").read_text().splitlines()
    file = dest / f"{split}.{suffix}"
    targets = file.read_text().splitlines() if file.is_file() else [""] * len(lines)
    assert len(targets) == len(lines)
    pairs = ((line.split("\t"), target.split()) for line, target in zip(lines, targets))
    return [(path, int(frames), list(map(int, target))) for (path, frames), target in pairs]


@pytest.fixture(scope="module")
def dest(folders, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unlabelled") / "new"
    run(*folders, folder, "--targets", "mfcc", "--clusters", 5, "--valid-share", 0.2)
    return folder


def test_every_good_clip_is_in_one_split_at_16_khz(folders, dest) -> None:
    clips = [*read(dest, "train"), *read(dest, "valid")]
    expected = {f"mixed/{Path(name).with_suffix('.flac')}" for name in RATES}
    expected |= {f"plain/{number:02d}.flac" for number in range(CLIPS)}
    assert sorted(path for path, *_ in clips) == sorted(expected)
    assert len(read(dest, "valid")) == round(0.2 * len(expected))
    for path, frames, _ in clips:
        info = soundfile.info(dest / "audio" / path)
        assert (info.samplerate, info.channels, info.frames) == (16000, 1, frames)
        seconds = (
            1.0
            if path.startswith("mixed")
            else soundfile.info(folders[1] / Path(path).with_suffix(".wav").name).duration
        )
        assert frames == pytest.approx(16000 * seconds, abs=1300)  # an MP3 is padded


def test_what_is_left_out_is_named_with_a_reason(folders, dest) -> None:
    _, *rows = (dest / "skipped.tsv").read_text().splitlines()
    reasons = {Path(row.split("\t")[0]).name: row.split("\t")[1] for row in rows}
    assert reasons.keys() == {"silent.wav", "short.wav", "slow.wav", "broken.flac"}
    assert reasons["silent.wav"].startswith("silent: ")
    assert reasons["short.wav"] == "0.25 s, expected 0.7 s or more"
    assert reasons["slow.wav"] == "6000 Hz, expected 8000 Hz or more"
    assert "does not decode" in reasons["broken.flac"]


def test_targets_are_the_nearest_centre_of_each_frame(dest) -> None:
    """Ours against a k-means of the same frames, written out here."""
    clips = [*read(dest, "train"), *read(dest, "valid")]
    frames, targets = [], []
    for path, samples, target in clips:
        found = mfcc(soundfile.read(dest / "audio" / path, dtype="float32")[0])
        assert len(target) == samples // 160
        frames.append(found.astype(np.float16).astype(np.float32))
        targets.append(target[: len(found)])
        assert set(target[len(found) :]) <= {target[len(found) - 1]}
    joined, found = np.concatenate(frames), np.concatenate(targets)
    assert set(found) == set(range(5))
    centres = np.stack([joined[found == number].mean(0) for number in range(5)])
    distances = ((joined[:, None] - centres) ** 2).sum(-1)
    # Centres of mini-batches are not quite the means of their frames.
    assert (distances.argmin(1) == found).mean() > 0.9
    assert (dest / "dict.km.txt").read_text() == "".join(f"{n} 1\n" for n in range(5))


def test_mfcc_tells_sounds_apart_and_not_their_loudness() -> None:
    rng = np.random.default_rng(0)
    samples = rng.standard_normal(16000).astype(np.float32) * 0.1
    assert mfcc(samples).shape == (1 + (16000 - 400) // 160, 39)
    assert np.allclose(mfcc(samples), mfcc(3 * samples), atol=1e-2)
    assert mfcc(samples[:400]).shape == (1, 39)
    assert not np.allclose(mfcc(samples), mfcc(np.cumsum(samples) * 0.01), atol=0.5)


def test_jobs_and_a_second_run_give_the_same_bytes(folders, dest, tmp_path) -> None:
    options = ["--targets", "mfcc", "--clusters", 5, "--valid-share", 0.2]
    run(*folders, tmp_path / "other", *options, "--jobs", 1)
    run(*folders, tmp_path / "other", *options, "--jobs", 3)
    ours, theirs = contents(tmp_path / "other"), contents(dest)
    assert ours.keys() == theirs.keys()
    for name, data in theirs.items():
        assert ours[name] == data.replace(str(dest).encode(), str(tmp_path / "other").encode())


def test_an_interrupted_run_goes_on_where_it_stopped(folders, dest, tmp_path, monkeypatch) -> None:
    options = ["--targets", "mfcc", "--clusters", 5, "--valid-share", 0.2, "--jobs", 1]
    monkeypatch.setattr(targets_clusters, "SHARD", 4)
    computed: list[int] = []

    def stop_after(limit: int):
        def features(samples: np.ndarray) -> np.ndarray:
            if len(computed) == limit:
                raise OSError("stopped")
            computed.append(len(samples))
            return mfcc(samples)

        return features

    monkeypatch.setattr(unlabelled, "mfcc", stop_after(10))
    with pytest.raises(SystemExit):
        run(*folders, tmp_path, *options)
    assert not (tmp_path / "train.tsv").exists() and not (tmp_path / "train.km").exists()
    computed.clear()
    monkeypatch.setattr(unlabelled, "mfcc", stop_after(-1))
    run(*folders, tmp_path, *options)
    assert len(computed) == len(RATES) + CLIPS - 8  # two shards of four were finished
    assert contents(tmp_path).keys() == contents(dest).keys()
    for name in ("train.km", "valid.km", "dict.km.txt"):
        assert (tmp_path / name).read_bytes() == (dest / name).read_bytes()


def test_clips_at_other_speeds_have_the_targets_of_the_recorded_clip(
    dest, folders, tmp_path
) -> None:
    import soxr

    options = ["--targets", "mfcc", "--clusters", 5, "--valid-share", 0.2, "--speeds", 2, 0.8]
    run(*folders, tmp_path, *options)
    clips, recorded = read(tmp_path, "train"), read(dest, "train")
    assert clips[: len(recorded)] == recorded
    assert read(tmp_path, "valid") == read(dest, "valid")
    assert len(clips) == 3 * len(recorded)
    for speed, start in ((2, len(recorded)), (0.8, 2 * len(recorded))):
        for (path, samples, target), (name, _, of_recorded) in zip(clips[start:], recorded):
            assert path == f"speed{speed}/{name}"
            slow, _ = soundfile.read(tmp_path / "audio" / name, dtype="float32")
            fast, rate = soundfile.read(tmp_path / "audio" / path, dtype="float32")
            assert rate == 16000 and len(fast) == samples
            expected = soxr.resample(slow, 16000 * speed, 16000)
            assert np.abs(fast - expected).max() < 2**-15
            assert target == [
                of_recorded[min(int((frame + 0.5) * speed), len(of_recorded) - 1)]
                for frame in range(samples // 160)
            ]
    before = contents(tmp_path)
    run(*folders, tmp_path, *options, "--jobs", 1)
    assert contents(tmp_path) == before


def test_a_layer_of_an_encoder(folders, dest, tmp_path) -> None:
    """A frame of this encoder lasts 20 ms: two targets."""
    import torch

    from parp_fairseq.models.pretrained import load_encoder

    changes = {"conv_feature_layers": "[(16, 10, 5)] + [(16, 8, 4)] * 2 + [(16, 4, 4)]"}
    encoder = write_encoder(tmp_path / "encoder.pt", **changes)
    options = ["--targets", encoder, "--layer", 2, "--clusters", 4, "--labels", "km2"]
    run(folders[1], tmp_path / "dest", *options, "--jobs", 1)
    clips = read(tmp_path / "dest", "train", "km2")
    model, normalize = load_encoder(encoder)
    assert not normalize
    seen: dict[int, list[np.ndarray]] = {}
    for path, samples, target in clips:
        assert len(target) == samples // 160
        wav = torch.from_numpy(soundfile.read(tmp_path / "dest/audio" / path, dtype="float32")[0])
        with torch.no_grad():
            frames = model.eval().extract_features(wav[None], None, layer=1)["x"][0].numpy()
        for number, frame in enumerate(frames):
            assert target[2 * number] == target[2 * number + 1]
            seen.setdefault(target[2 * number], []).append(frame)
    centres = {number: np.mean(frames, 0) for number, frames in seen.items()}
    nearest = [
        min(centres, key=lambda n: ((centres[n] - frame) ** 2).sum()) == number
        for number, frames in seen.items()
        for frame in frames
    ]
    assert np.mean(nearest) > 0.8
    assert (tmp_path / "dest" / "dict.km2.txt").is_file()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--targets", "mfcc", "--layer", 2], "--layer: expected it with --targets ENCODER.pt"),
        (["--targets", "missing.pt", "--layer", 2], "missing.pt"),
        (["--targets", "missing.pt"], "--layer: expected it with --targets ENCODER.pt"),
        (["--valid-share", 1.0], "--valid-share: 1.0 leaves none of 12 clips to train on"),
        (["--targets", "mfcc", "--clusters", 10**6], "--clusters: 1000000, expected no more than"),
        (["--speeds", 0.9], "--speeds: expected it with --targets"),
        (["--targets", "mfcc", "--speeds", 0.9, 1], "--speeds: [0.9, 1.0], expected different"),
    ],
)
def test_options_that_cannot_be_met_are_refused(
    folders, tmp_path, capsys, options, message
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(folders[1], tmp_path, *options)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "train.tsv").exists()


def test_a_layer_that_the_encoder_lacks_is_refused(folders, tmp_path, capsys, encoder) -> None:
    with pytest.raises(SystemExit):
        run(folders[1], tmp_path / "dest", "--targets", encoder, "--layer", 3)
    assert f"--layer: 3, expected one from 1 to the 2 of {encoder}" in capsys.readouterr().err
    assert not (tmp_path / "dest").exists()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda source: [source / "nowhere"], "nowhere is not a folder"),
        (lambda source: [source / "a" / "x", source / "b" / "x"], "2 are named 'x', expected"),
        (lambda source: [source / "empty"], "has no audio files"),
    ],
)
def test_folders_that_cannot_be_told_apart_or_read_are_refused(
    tmp_path, capsys, make, message
) -> None:
    for name in ("a/x", "b/x", "empty"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a/x", "b/x"):
        soundfile.write(tmp_path / name / "clip.wav", noise(16000), 16000)
    with pytest.raises(SystemExit):
        run(*make(tmp_path), tmp_path / "dest")
    assert message in capsys.readouterr().err
