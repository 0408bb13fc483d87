"""manifests/mboshi.py, nemo.py, audio_cmn.py, korean_read_speech.py: clones made small."""

import json
import sys
from itertools import product
from pathlib import Path
from unicodedata import normalize

import pytest
from corpora import MANIFESTS, contents, noise

soundfile = pytest.importorskip("soundfile", reason="the [data] extra is not installed")
pytest.importorskip("soxr", reason="the [data] extra is not installed")

sys.path.insert(0, str(MANIFESTS))

import audio_cmn  # noqa: E402
import korean_read_speech  # noqa: E402
import mboshi  # noqa: E402
import nemo  # noqa: E402

SPLITS = ("train", "valid", "test")


def write_clip(path: Path, rate: int = 16000, seed: int = 0, **more: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(rate // 2, seed=seed), rate, **more)


def read(dest: Path) -> dict[str, list[tuple[str, str]]]:
    """Split -> path and words of each utterance, after a look at the audio."""
    splits = {}
    for split in SPLITS:
        root, *lines = (dest / f"{split}.tsv").read_text("utf-8").splitlines()
        words = (dest / f"{split}.wrd").read_text("utf-8").splitlines()
        paths = [line.split("\t")[0] for line in lines]
        for path, line in zip(paths, lines, strict=True):
            info = soundfile.info(f"{root}/{path}")
            assert (info.samplerate, info.channels) == (16000, 1)
            assert info.frames == int(line.split("\t")[1])
        splits[split] = list(zip(paths, words, strict=True))
    return splits


def run(command, *arguments: object) -> None:
    command.main([*map(str, arguments), "--jobs", "1"])


def refused(command, capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        run(command, *arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def speakers(dest: Path) -> dict[str, str]:
    rows = (dest / "speakers.tsv").read_text("utf-8").splitlines()[1:]
    return dict(row.split("\t") for row in rows)


# Mboshi ------------------------------------------------------------------------------------------

MB = {
    "abiayi": ["wa ány\u03c9 ndo", "kyéma yeékirá", "ng\u03b5 sá", "b\u03ce"],
    "kouarata": ["kyéma yeékirá", "mbá"],
    "martial": ["ónó"],
}


@pytest.fixture
def mboshi_clone(tmp_path: Path) -> Path:
    folder = tmp_path / "mboshi" / "full_corpus_newsplit" / "all"
    for speaker, sentences in MB.items():
        for number, sentence in enumerate(sentences):
            name = f"{speaker}_2015-09-08-11-18-39_samsung-SM-T530_mdw_elicit_Dico18_{number}"
            write_clip(folder / f"{name}.wav", seed=number)
            (folder / f"{name}.mb.cleaned").write_text(f"{sentence}\n", "utf-8")
            for other in (".mb", ".fr", ".fr.cleaned", ".mb.cleaned.split", ".stm"):
                (folder / f"{name}{other}").write_text("other\n")
    return tmp_path / "mboshi"


def test_mboshi_by_speaker(mboshi_clone: Path, tmp_path: Path, capsys) -> None:
    run(mboshi, mboshi_clone, tmp_path / "data")
    splits = read(tmp_path / "data")
    words = {split: sorted(text for _, text in of_split) for split, of_split in splits.items()}
    assert words["test"] == sorted(MB["kouarata"]) and words["valid"] == MB["martial"]
    assert words["train"] == sorted(set(MB["abiayi"]) - {"kyéma yeékirá"})
    assert "its sentence is in test" in (tmp_path / "data" / "skipped.tsv").read_text("utf-8")
    assert set(speakers(tmp_path / "data").values()) == set(MB)
    message = refused(mboshi, capsys, mboshi_clone, tmp_path / "x", "--test-speaker", "anna")
    assert "--test-speaker: 'anna', expected one of abiayi, kouarata, martial" in message
    message = refused(mboshi, capsys, mboshi_clone, tmp_path / "x", "--test-speaker", "martial")
    assert "martial and martial of abiayi, kouarata, martial, expected two" in message
    assert "found no *.mb.cleaned" in refused(mboshi, capsys, tmp_path, tmp_path / "x")
    assert not (tmp_path / "x").exists()


# nEMO --------------------------------------------------------------------------------------------

ACTORS, EMOTIONS = ("AA0", "BB0", "CC0", "DD0"), ("anger", "neutral")
POLISH = [f"{a} {b}" for a, b in product(("ucho", "źdźbło"), ("wie", "śpi", "je", "ma", "gra"))]


@pytest.fixture(scope="module")
def nemo_clone(tmp_path_factory) -> Path:
    clone = tmp_path_factory.mktemp("nemo")
    lines = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for number, (actor, emotion) in enumerate(product(ACTORS, EMOTIONS)):
        for place, text in enumerate(POLISH):
            name = f"{actor}_{emotion}_{place}.wav"
            write_clip(clone / "samples" / name, 24000, seed=number)
            # As there: spaces before the speaker.
            raw = f"{text.capitalize()}."
            lines.append(f"{name}\t{emotion}\t{raw}\t{text}\t        {actor}\tmale\t23")
    (clone / "data.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    return clone


HELD = ("--test-speakers", "AA0", "--valid-speakers", "BB0")


def test_nemo_shares_neither_speakers_nor_sentences(nemo_clone: Path, tmp_path: Path) -> None:
    run(nemo, nemo_clone, tmp_path, *HELD)
    splits, who = read(tmp_path), speakers(tmp_path)
    people = {s: {who[path] for path, _ in of_split} for s, of_split in splits.items()}
    assert people == {"test": {"AA0"}, "valid": {"BB0"}, "train": {"CC0", "DD0"}}
    said = {split: {text for _, text in of_split} for split, of_split in splits.items()}
    assert [len(said[split]) for split in SPLITS] == [7, 1, 2]
    assert set.union(*said.values()) == set(POLISH)
    assert [len(splits[split]) for split in SPLITS] == [2 * 2 * 7, 2 * 1, 2 * 2]


def test_nemo_shorter_and_of_one_emotion(nemo_clone: Path, tmp_path: Path, capsys) -> None:
    options = (*HELD, "--emotions", "neutral")
    run(nemo, nemo_clone, tmp_path / "whole", *options)
    run(nemo, nemo_clone, tmp_path / "short", *options, "--train-minutes", 2 / 60)
    short, whole = (read(tmp_path / name) for name in ("short", "whole"))
    assert all("neutral" in path for of_split in whole.values() for path, _ in of_split)
    assert len(short["train"]) == 4 and short["train"] == whole["train"][:4]
    assert {path.split("_")[0].split("/")[-1] for path, _ in short["train"]} == {"CC0", "DD0"}
    assert short["test"] == whole["test"]
    for options, message in (
        (("--emotions", "joy"), "--emotions: joy, expected some of anger, neutral"),
        (("--test-speakers", "ZZ9"), "--test-speakers: ZZ9, expected some of AA0, BB0, CC0"),
        ((*HELD, "--test-sentences", 0.95), "of 10 sentences, expected one or more for each"),
    ):
        assert message in refused(nemo, capsys, nemo_clone, tmp_path / "x", *options)
    (tmp_path / "data.tsv").write_text("file_id\temotion\n")
    message = refused(nemo, capsys, tmp_path, tmp_path / "x")
    assert "data.tsv: no column normalized_text, speaker_id, expected that of nEMO" in message


def test_the_same_options_give_the_same_bytes(nemo_clone: Path, tmp_path: Path) -> None:
    run(nemo, nemo_clone, tmp_path / "a", *HELD)
    nemo.main([str(nemo_clone), str(tmp_path / "b"), *HELD, "--jobs", "3"])
    first, second = (contents(tmp_path / name) for name in "ab")
    assert first.keys() == second.keys()
    for name, data in first.items():
        assert second[name] == data.replace(b"%s/a" % bytes(tmp_path), b"%s/b" % bytes(tmp_path))


# audio-cmn ---------------------------------------------------------------------------------------

HANZI = "往常缩农药规范颠倒一旁灾难姥姥"


def test_words_of_audio_cmn_are_the_names_of_files(tmp_path: Path, capsys) -> None:
    for number in range(len(HANZI) - 1):
        word = HANZI[number : number + 2]
        path = tmp_path / "clone" / "64k" / "hsk" / f"cmn-{word}.mp3"
        write_clip(path, seed=number, format="MP3")
    run(audio_cmn, tmp_path / "clone", tmp_path / "data")
    splits = read(tmp_path / "data")
    said = [text for of_split in splits.values() for _, text in of_split]
    assert sorted(said) == sorted(HANZI[n : n + 2] for n in range(len(HANZI) - 1))
    assert all(splits.values()) and not (tmp_path / "data" / "speakers.tsv").exists()
    message = refused(audio_cmn, capsys, tmp_path / "clone", tmp_path / "x", "--quality", "96k")
    assert "96k/hsk: found no cmn-*.mp3, expected those of the corpus" in message


# Korean ------------------------------------------------------------------------------------------

KOREAN_ENDS = ("맛있나 봐요.", "좋아요.", "싫어요.", "와요!", "가요?")
KOREAN = [f"저 식당 음식이 {word}" for word in KOREAN_ENDS]


@pytest.fixture
def korean_clone(tmp_path: Path) -> Path:
    table = {}
    for code, place in enumerate(("AirbnbStudio", "AnechoicChamber")):
        table[place] = {}
        for speaker, (number, text) in product("ab", enumerate(KOREAN * 2)):
            name = f"sub1001{code}0{speaker}0000{number}"
            write_clip(tmp_path / "clone" / "dataset" / place / f"{name}.wav", seed=number)
            one = {"subjectID": "sub1001", "speaker": speaker, "age": 20, "text": text}
            table[place][name] = {**one, "text_code": f"aa{number}", "length": 0.5}
    path = tmp_path / "clone" / "dataset" / "Korean_Read_Speech_Corpus_sample.json"
    path.write_text(json.dumps(table), "utf-8")
    return tmp_path / "clone"


def test_korean_with_digits_and_signs(korean_clone: Path, tmp_path: Path) -> None:
    """As in the corpus: signs of chats are no letters, and sentences with digits are left out."""
    path = korean_clone / "dataset" / "Korean_Read_Speech_Corpus_sample.json"
    table = json.loads(path.read_text("utf-8"))
    for of_place in table.values():
        for one in of_place.values():
            one["text"] = one["text"].replace("와요!", "와요~ ^^").replace("가요?", "3 가요?")
    path.write_text(json.dumps(table), "utf-8")
    run(korean_read_speech, korean_clone, tmp_path / "data", "--valid-sentences", 0.2)
    said = {normalize("NFC", t) for part in read(tmp_path / "data").values() for _, t in part}
    assert "저 식당 음식이 와요" in said and len(said) == 4
    skipped = (tmp_path / "data" / "skipped.tsv").read_text("utf-8")
    assert "'3', DIGIT THREE, is no letter of the language" in skipped


def test_korean_is_tested_by_another_speaker_and_other_sentences(
    korean_clone: Path, tmp_path: Path, capsys
) -> None:
    run(korean_read_speech, korean_clone, tmp_path / "data", "--valid-sentences", 0.2)
    splits, who = read(tmp_path / "data"), speakers(tmp_path / "data")
    people = {s: {who[path] for path, _ in of_split} for s, of_split in splits.items()}
    assert people == {"test": {"sub1001b"}, "train": {"sub1001a"}, "valid": {"sub1001a"}}
    said = {split: {text for _, text in of_split} for split, of_split in splits.items()}
    assert [len(said[split]) for split in SPLITS] == [3, 1, 1]
    assert len(set.union(*said.values())) == 5
    composed = {normalize("NFC", text) for text in set.union(*said.values())}
    assert "저 식당 음식이 맛있나 봐요" in composed and not composed & set.union(*said.values())
    letters = (tmp_path / "data" / "dict.ltr.txt").read_text("utf-8").split()[::2]
    assert {"\u110c", "\u1165", "|"} <= set(letters) and "저" not in letters
    run(
        korean_read_speech, korean_clone, tmp_path / "dry", "--places", "AnechoicChamber",
        "--valid-sentences", 0.2, "--syllables",
    )  # fmt: skip
    dry = read(tmp_path / "dry")
    assert all("AnechoicChamber" in path for of_split in dry.values() for path, _ in of_split)
    assert {normalize("NFC", t) for s in dry.values() for _, t in s} == composed
    assert "저" in (tmp_path / "dry" / "dict.ltr.txt").read_text("utf-8").split()
    arguments = (korean_clone, tmp_path / "x")
    message = refused(korean_read_speech, capsys, *arguments, "--places", "Bus")
    assert "--places: Bus, expected some of AirbnbStudio, AnechoicChamber" in message
    (korean_clone / "dataset" / "Korean_Read_Speech_Corpus_sample.json").write_text("[1]")
    assert "expected the table of the corpus" in refused(korean_read_speech, capsys, *arguments)
