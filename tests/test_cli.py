"""The command ``parp``: what it makes, counts and compares."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fairseq_runs import finetune, load, training_config
from matplotlib.image import imread
from torch import nn
from torch.nn.utils import prune

import parp_fairseq.cli
from parp_fairseq.cli import find_commands, main
from parp_fairseq.cli.counting.cost import count_cost
from parp_fairseq.pruning import Mask, magnitude_mask, prunable_parameters, random_mask

PROJECTIONS = ("k_proj", "v_proj", "q_proj", "out_proj", "fc1", "fc2")
PARP = Path(sys.executable).with_name("parp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def half(folder, encoder):
    """The file that ``parp mask`` makes of the encoder with its defaults."""
    return make_mask(encoder, folder / "half.safetensors")


@pytest.fixture(scope="module")
def finetuned(folder, corpus, encoder, half):
    """A checkpoint of a short run under the mask of ``half``, which stays fixed."""
    cfg = training_config(
        corpus, encoder, folder / "mpi", max_update=3, mask_file=half, adjust="false"
    )
    finetune(cfg)
    return folder / "mpi" / "checkpoint_last.pt"


def make_mask(checkpoint, path, *options):
    assert main(["mask", str(checkpoint), "-o", str(path), *options]) == 0
    return path


def run(capsys, *arguments):
    """What the command prints."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def encoder_weights(path):
    """Name relative to the encoder -> weight, without the help of what is tested."""
    prefix = "w2v_encoder.w2v_model."
    model = load(path)["model"]
    return {
        name[len(prefix) :] if name.startswith(prefix) else name: w for name, w in model.items()
    }


def of_transformer(weights, layer=r"\d+", projection=r"[kvq]_proj|out_proj|fc1|fc2"):
    pattern = rf"encoder\.layers\.({layer})\.(self_attn\.)?({projection})\.(weight|bias)"
    return {name: w for name, w in weights.items() if re.fullmatch(pattern, name)}


def files_in(folder):
    return [path.name for path in folder.iterdir()]


def table_of(printed):
    """The cells of the table in the output: row label -> column label -> text."""
    header, ruler, *body = printed.split("\n\n")[1].splitlines()
    ends = [match.end() for match in re.finditer("-+", ruler)]
    starts = [0, *ends]
    cut = [[line[a:b].strip() for a, b in zip(starts, ends)] for line in (header, *body)]
    return {row[0]: dict(zip(cut[0][1:], row[1:])) for row in cut[1:]}


def test_mask_is_the_one_of_torch(encoder, tmp_path):
    for sparsity in (0.1, 0.5, 0.93):
        weights = of_transformer(encoder_weights(encoder))
        holders = {name: nn.Module() for name in weights}
        for name, holder in holders.items():
            holder.w = nn.Parameter(weights[name].clone())
        prune.global_unstructured(
            [(holder, "w") for holder in holders.values()], prune.L1Unstructured, amount=sparsity
        )

        path = make_mask(encoder, tmp_path / "mask.safetensors", "--sparsity", str(sparsity))

        mask = Mask.load(path)
        assert mask.keys() == holders.keys()
        assert all(torch.equal(mask[n], holder.w_mask.bool()) for n, holder in holders.items())


def test_mask_prints_what_it_made(encoder, tmp_path, capsys):
    path = tmp_path / "mask.safetensors"
    printed = run(capsys, "mask", encoder, "-o", path, "--sparsity", "0.25")
    facts = dict(re.split("  +", line, maxsplit=1) for line in printed.splitlines())
    total = sum(w.numel() for w in load(encoder)["model"].values() if w.is_floating_point())
    assert facts.pop("left out").startswith("feature_extractor.conv_layers.*.* (4,288), ")
    assert facts == {
        "mask": str(path),
        "covered": f"4,320 of {total:,} weights ({4320 / total:.1%}), in 24 parameters",
        "weights": "4,320",
        "pruned": "1,080",
        "sparsity": "25.0%",
    }
    assert files_in(tmp_path) == [path.name]


def test_mask_as_is_is_the_mask_of_the_zeros(finetuned, tmp_path, capsys):
    path = make_mask(finetuned, tmp_path / "zeros.safetensors", "--as-is", "--scope", "all")
    mask = Mask.load(path)
    weights = prunable_parameters(load(finetuned)["model"], "all")
    assert mask == Mask({name: weight != 0 for name, weight in weights.items()})
    assert (mask.scope, mask.origin) == ("all", "zeros, of checkpoint_last.pt")
    assert capsys.readouterr().err == ""


def test_mask_warns_of_a_network_that_is_sparser(finetuned, tmp_path, capsys):
    make_mask(finetuned, tmp_path / "mask.safetensors", "--sparsity", "0.25")
    error = capsys.readouterr().err
    assert re.fullmatch(
        r"parp: warning: \S+checkpoint_last\.pt: 2,160 of 4,320 weights \(50\.0%\) are zero already"
        r".* 1,080 \(25\.0%\).*--as-is.*\n",
        error,
    )


def test_mask_of_float64_is_that_of_training(encoder, tmp_path):
    """Training loads it as float32. Differences that float32 lacks must not decide."""
    state = load(encoder)
    lost = {
        name: w.double() * (1 + 1e-12 * torch.rand_like(w.double()))
        for name, w in state["model"].items()
        if w.is_floating_point()
    }
    state["model"].update(lost)
    torch.save(state, tmp_path / "double.pt")
    mask = Mask.load(make_mask(tmp_path / "double.pt", tmp_path / "mask.safetensors"))
    weights = {name: w.float() for name, w in prunable_parameters(lost).items()}
    assert mask == magnitude_mask(weights, 0.5)


def test_masks_of_any_name_are_read(half, tmp_path, capsys):
    for name in ("mask", "mask.pt", "MASK.SAFETENSORS"):
        (tmp_path / name).write_bytes(half.read_bytes())
        assert "sparsity 50.0%" in run(capsys, "info", tmp_path / name)


def test_info_names_values_that_are_no_numbers(encoder, tmp_path, capsys):
    state = load(encoder)
    state["model"]["encoder.layers.1.fc2.weight"][0, :3] = torch.nan
    torch.save(state, tmp_path / "nan.pt")
    printed = run(capsys, "info", tmp_path / "nan.pt")
    assert re.search(r"\nwarning +encoder\.layers\.1\.fc2\.weight holds 3 values .* NaN\n", printed)
    assert "warning" not in run(capsys, "info", encoder)


def test_info_counts_what_is_covered(finetuned, capsys):
    printed = run(capsys, "info", finetuned)
    assert re.search(
        r"\ncovered +4,320 of [\d,]+ weights .*\nleft out +feature_extr\S+ \(", printed
    )


def test_mask_options_are_those_of_the_task(encoder, tmp_path):
    weights = encoder_weights(encoder)
    path = tmp_path / "mask.safetensors"

    def made(*options):
        return Mask.load(make_mask(encoder, path, *options))

    transformer = prunable_parameters(weights)
    no_biases = prunable_parameters(weights, bias=False)
    assert made("--criterion", "random", "--seed", "7") == random_mask(transformer, 0.5, seed=7)
    assert made("--criterion", "random") == random_mask(transformer, 0.5, seed=0)
    assert made("--no-bias") == magnitude_mask(no_biases, 0.5)
    assert made("--pattern", "layerwise") == magnitude_mask(transformer, 0.5, "layerwise")
    assert made("--pattern", "2:4") == magnitude_mask(no_biases, 0.5, "2:4")
    assert made("--scope", "all") == magnitude_mask(prunable_parameters(weights, "all"), 0.5)
    assert made("--scope", r"re:layers\.1\.fc").keys() == {
        f"encoder.layers.1.{name}.{kind}" for name in ("fc1", "fc2") for kind in ("weight", "bias")
    }


def test_one_mask_serves_the_pretrained_and_the_finetuned_network(
    encoder, half, finetuned, tmp_path, capsys
):
    # MPI: the mask of the pre-trained weights, through training, into the finetuned checkpoint.
    mask = Mask.load(half)
    trained = of_transformer(encoder_weights(finetuned))
    assert all(not trained[name][~keep].any() for name, keep in mask.items())
    assert run(capsys, "compare", half, finetuned).count("1.0000") == 4

    # OMP: the mask of the finetuned weights, for the pre-trained ones.
    omp = Mask.load(make_mask(finetuned, tmp_path / "omp.safetensors", "--sparsity", "0.7"))
    weights = of_transformer(encoder_weights(encoder))
    omp.apply_(weights)
    assert sum(int((w == 0).sum()) for w in weights.values()) == round(0.7 * 4320)

    # IMP: a sparser mask of a pruned network prunes all that was pruned before.
    assert omp.num_revived(mask) == 0


def test_masks_of_the_authors_are_read_as_ours(half, tmp_path, capsys):
    mask = Mask.load(half)
    theirs = tmp_path / "theirs.pt"
    torch.save({f"{name}_mask": keep.float() for name, keep in mask.items()}, theirs)
    assert table_of(run(capsys, "info", theirs)) == table_of(run(capsys, "info", half))
    assert run(capsys, "compare", half, theirs).count("1.0000") == 4


def test_info_counts_pruned_weights_layer_by_layer(encoder, tmp_path, capsys):
    path = make_mask(encoder, tmp_path / "all.safetensors", "--scope", "all", "--sparsity", "0.3")
    mask = Mask.load(path)

    def percent(masks):
        kept = torch.cat([keep.flatten() for keep in masks.values()])
        return f"{100 * (1 - kept.float().mean().item()):.1f}%"

    printed = run(capsys, "info", path)
    table = table_of(printed)

    assert list(table) == ["0", "1", "other", "all"]
    for column in PROJECTIONS:
        for layer in "01":
            assert table[layer][column] == percent(of_transformer(mask, layer, column))
        assert table["all"][column] == percent(of_transformer(mask, projection=column))
        assert table["other"][column] == ""
    for layer in "01":
        assert table[layer]["all"] == percent(of_transformer(mask, layer))
    inside = of_transformer(mask)
    assert table["other"]["all"] == percent({n: k for n, k in mask.items() if n not in inside})
    assert table["all"]["all"] == percent(mask)
    assert f"{mask.num_pruned:,} of {mask.num_weights:,} weights are zero" in printed
    assert re.search(r"scope +all\norigin +magnitude, global, sparsity 0.3, of encoder.pt", printed)


def test_info_scope_counts_a_part(half, encoder, capsys):
    for file in (half, encoder):
        table = table_of(run(capsys, "info", file, "--scope", r"re:layers\.1\.fc1"))
        assert list(table) == ["1", "all"]
        assert list(table["1"]) == ["fc1", "all"]


def test_info_counts_the_zeros_of_a_checkpoint(finetuned, capsys):
    printed = run(capsys, "info", finetuned)
    weights = of_transformer(encoder_weights(finetuned))
    zeros = sum(int((w == 0).sum()) for w in weights.values())
    assert f"{zeros:,} of 4,320 weights are zero: sparsity 50.0%" in printed
    assert re.search(r"holds +checkpoint\nscope +transformer\nupdates +3\n", printed)


def test_info_notices_an_average_of_checkpoints(finetuned, encoder, tmp_path, capsys):
    """An average keeps every weight that one of its checkpoints keeps."""
    mask = Mask.load(make_mask(encoder, tmp_path / "other.safetensors", "--criterion", "random"))
    weights = of_transformer(encoder_weights(encoder))
    mask.apply_(weights)
    average = load(finetuned)
    for name, weight in weights.items():
        average["model"][f"w2v_encoder.w2v_model.{name}"].add_(weight).div_(2)
    torch.save(average, tmp_path / "average.pt")
    printed = run(capsys, "info", tmp_path / "average.pt")
    assert "warning: this checkpoint was trained for sparsity 0.5, and has 0.2" in printed
    assert "warning" not in run(capsys, "info", finetuned)


def test_info_counts_the_whole_model(finetuned, capsys):
    model = load(finetuned)["model"]
    nonzero = sum(int(weight.count_nonzero()) for weight in model.values())
    total = sum(weight.numel() for weight in model.values())
    assert f"{nonzero:,} of {total:,} are not zero" in run(capsys, "info", finetuned)


def test_info_names_values_that_are_not_numbers(finetuned, tmp_path, capsys):
    state = load(finetuned)
    state["model"]["w2v_encoder.w2v_model.encoder.layers.1.fc2.weight"][0, 0] = torch.nan
    torch.save(state, tmp_path / "nan.pt")
    printed = run(capsys, "info", tmp_path / "nan.pt")
    assert re.search(
        r"warning +encoder.layers.1.fc2.weight holds 1 values that are infinite or NaN", printed
    )


def test_info_says_which_biases_it_counts(encoder, tmp_path, capsys):
    state = load(encoder)
    options = {"prune_scope": "transformer", "prune_bias": False, "prune_pattern": "global"}
    state["cfg"]["task"].update(options)
    torch.save(state, tmp_path / "trained.pt")
    weights = prunable_parameters(state["model"], bias=False)
    counted = sum(weight.numel() for weight in weights.values())
    for scope in ([], ["--scope", "transformer"], ["--scope", r"re:layers.*(_proj|fc\d)\."]):
        printed = run(capsys, "info", tmp_path / "trained.pt", *scope)
        assert "not counted, because this run did not prune them" in printed
        assert f"of {counted:,} weights" in printed
    printed = run(capsys, "info", tmp_path / "trained.pt", "--scope", r"re:fc1\.bias")
    biases = [w for name, w in encoder_weights(encoder).items() if name.endswith("fc1.bias")]
    assert "not counted" not in printed
    assert f"of {sum(bias.numel() for bias in biases)} weights" in printed


def test_multiply_adds_are_those_of_wav2vec2_base():
    """2.45 G in the convolutions, 4.25 G in the projections, per second of audio."""
    layers = [(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2
    shapes, inside = {}, 1
    for number, (outside, width, _) in enumerate(layers):
        shapes[f"feature_extractor.conv_layers.{number}.0.weight"] = (outside, inside, width)
        inside = outside
    for layer in range(12):
        for name, shape in {"fc1": (3072, 768), "fc2": (768, 3072)}.items():
            shapes[f"encoder.layers.{layer}.{name}.weight"] = shape
        for name in ("k", "v", "q", "out"):
            shapes[f"encoder.layers.{layer}.self_attn.{name}_proj.weight"] = (768, 768)
    one, strides = torch.ones(1), "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] * 2"
    state = {
        "model": {name: one.expand(shape) for name, shape in shapes.items()},
        "cfg": {"task": {"sample_rate": 16000}, "model": {"conv_feature_layers": strides}},
    }
    assert count_cost(state).multiply_adds / 1e9 == pytest.approx(2.45 + 4.25, abs=0.01)
    state["model"] = {name: (0 * one).expand(shape) for name, shape in shapes.items()}
    assert count_cost(state).nonzero_multiply_adds == 0
    state["cfg"]["model"]["conv_feature_layers"] = "[(512, 10, 5)] * 10 ** 9"
    assert count_cost(state).multiply_adds is None


def test_tied_weights_count_once():
    """As the embedding and the output layer of RoBERTa."""
    words, one = torch.ones(5, 2), torch.ones(5, 2)
    words[0] = 0
    cost = count_cost({"model": {"embed.weight": words, "fc1.weight": one, "head.weight": words}})
    assert (cost.parameters, cost.nonzero) == (20, 18)


def test_info_takes_the_scope_that_a_checkpoint_was_trained_with(encoder, tmp_path, capsys):
    state = load(encoder)
    options = {"prune_scope": "all", "prune_bias": True, "prune_pattern": "2:4"}
    state["cfg"]["task"].update(options)
    torch.save(state, tmp_path / "trained.pt")
    counted = sum(
        w.numel() for w in prunable_parameters(state["model"], "all", bias=False).values()
    )
    assert f"of {counted:,} weights" in run(capsys, "info", tmp_path / "trained.pt")


def test_compare_shows_the_iou_of_every_pair(encoder, half, finetuned, tmp_path, capsys):
    third = make_mask(encoder, tmp_path / "third.safetensors", "--sparsity", "0.33")
    chance = make_mask(encoder, tmp_path / "half.safetensors", "--criterion", "random")
    kept = [
        torch.cat([keep.flatten() for keep in masks.values()])
        for masks in (
            Mask.load(third),
            Mask.load(chance),
            Mask.load(half),
            {n: w != 0 for n, w in of_transformer(encoder_weights(finetuned)).items()},
        )
    ]

    printed = run(capsys, "compare", third, chance, half, finetuned)

    table, counted = printed.split("\n\n")
    assert counted == "counted  4,320 weights in 24 parameters of every file\n"
    lines = table.splitlines()[2:]
    assert len(lines) == 4
    for line, a in zip(lines, kept):
        iou = [f"{((a & b).sum() / (a | b).sum()).item():.4f}" for b in kept]
        assert line.split()[3:] == iou
        assert line.split()[2] == f"{100 * (~a).float().mean().item():.1f}%"
    labels = [line.split()[1] for line in lines]
    assert [Path(label).name for label in labels] == [
        "third.safetensors",
        "half.safetensors",
        "half.safetensors",
        "checkpoint_last.pt",
    ]
    assert len(set(labels)) == 4


def test_compare_looks_for_zeros_where_the_mask_has_its_weights(encoder, tmp_path, capsys):
    path = make_mask(encoder, tmp_path / "all.safetensors", "--scope", "all", "--no-bias")
    state = load(encoder)
    Mask.load(path).apply_(prunable_parameters(state["model"], "all", bias=False))
    torch.save(state, tmp_path / "pruned.pt")
    assert run(capsys, "compare", tmp_path / "pruned.pt", path).count("1.0000") == 4


def test_compare_counts_what_all_files_cover(encoder, half, finetuned, tmp_path, capsys):
    """In any order; what one file covers alone is named."""
    wide = make_mask(encoder, tmp_path / "wide.safetensors", "--scope", "all", "--sparsity", "0.2")
    state = load(finetuned)
    state["cfg"]["task"]["prune_scope"] = r"re:layers\.1\.(self_attn\.[kvq]|self_attn\.out|fc)"
    torch.save(state, tmp_path / "narrow.pt")
    for a, b in ((wide, half), (wide, finetuned), (finetuned, tmp_path / "narrow.pt")):
        one, other = run(capsys, "compare", a, b), run(capsys, "compare", b, a)
        assert one.splitlines()[2].split()[-1] == other.splitlines()[2].split()[-1]
        assert set(one.split("\n\n")[1].splitlines()) == set(other.split("\n\n")[1].splitlines())
    assert "counted  2,160 weights in 12 parameters of every file" in one
    assert f"note     {finetuned} also covers 12 parameters that are not compared: " in one

    masks = Mask.load(half), Mask.load(wide)
    a, b = (torch.cat([mask[name].flatten() for name in masks[0]]) for mask in masks)
    iou = ((a & b).sum() / (a | b).sum()).item()
    assert f" {iou:.4f}" in run(capsys, "compare", wide, half)


def test_compare_refuses_masks_that_share_nothing(encoder, tmp_path, capsys):
    one = make_mask(encoder, tmp_path / "one.safetensors", "--scope", r"re:layers\.0")
    other = make_mask(encoder, tmp_path / "other.safetensors", "--scope", r"re:layers\.1")
    with pytest.raises(SystemExit):
        main(["compare", str(one), str(other)])
    assert "they share no parameter" in capsys.readouterr().err


def test_compare_numbers_a_file_that_is_given_twice(half, capsys):
    assert "half.safetensors (2)" in run(capsys, "compare", half, half)


@pytest.mark.parametrize("command", ["info", "compare"])
def test_pictures(command, half, finetuned, tmp_path, capsys):
    files = [half] if command == "info" else [half, finetuned]
    picture = tmp_path / "picture.png"

    printed = run(capsys, command, *files, "--plot", picture)

    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(picture)
    assert min(pixels.shape[:2]) > 200 and pixels.std() > 0.1
    assert str(picture) in printed
    assert files_in(tmp_path) == [picture.name]


def test_recipes_is_a_folder_of_recipes(capsys):
    folder = Path(run(capsys, "recipes").rstrip("\n"))
    assert (folder / "method" / "parp.yaml").is_file()


def test_nothing_prints_help(capsys):
    printed = run(capsys)
    assert all(command in printed for command in ("mask", "info", "compare", "report", "recipes"))
    assert "A recipe without\n+method= trains PARP" in printed


@pytest.mark.parametrize("command", find_commands())
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert re.search(r"examples?:\n", capsys.readouterr().out)


def test_help_needs_no_torch():
    code = "import sys, parp_fairseq.cli as c; c.main([]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_a_command_is_one_module(tmp_path, monkeypatch, capsys):
    (tmp_path / "greet.py").write_text(
        'HELP, DESCRIPTION, EXAMPLES = "say hello", "Say hello.", "  parp greet Ada"\n'
        "def add_arguments(parser):\n    parser.add_argument('name')\n"
        "def run(args):\n    print('hello', args.name)\n"
    )
    monkeypatch.setattr(parp_fairseq.cli, "__path__", [*parp_fairseq.cli.__path__, str(tmp_path)])
    assert re.search(r"greet +say hello", run(capsys))
    assert run(capsys, "greet", "Ada") == "hello Ada\n"
    with pytest.raises(SystemExit):
        main(["greet", "--help"])
    assert "examples:\n  parp greet Ada" in capsys.readouterr().out


def test_output_that_nobody_reads_to_its_end(half):
    """As in `parp info FILE | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    out = subprocess.run([PARP, "info", half], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (out.returncode, out.stderr) == (0, "")


def test_console_script(finetuned):
    """A checkpoint with all that fairseq puts into it, read by a process without fairseq."""
    out = subprocess.run([PARP, "info", finetuned], capture_output=True, text=True)
    assert (out.returncode, out.stderr) == (0, "")
    assert "sparsity 50.0%" in out.stdout
