"""What the commands refuse: one message, exit code 1 (2 for options that typer checks), no traceback."""

import pytest

from firstspike import train

TRAIN = ("train", "small.toml")
REFUSALS = [
    (("train", "nowhere.toml"), "nowhere.toml"),
    (("train", "."), ""),
    (("train", "own.toml"), "data"),
    ((*TRAIN, "--images", "x"), "data"),
    ((*TRAIN, "--set", "lr"), "--set"),
    ((*TRAIN, "--set", "spec=64-32x-10"), "64-32x-10"),
    ((*TRAIN, "--set", "spec=2048-10-11"), "2048"),  # a net, and not a date
    ((*TRAIN, "--directory", "small.toml"), "small.toml"),
    ((*TRAIN, "--init-from", "nowhere"), "nowhere"),
    (("eval", "nowhere"), "RUN"),
    (("eval", "digits-cn"), "digits-cnn"),
    (("eval", "trained", "--split", "dev"), "split"),
    (("data", "nothing"), "name"),
    (("plot", "trained", "--sample", 400), "sample"),
    (("plot", "trained", "--format", "gif"), "format"),
    (("plot", "relu"), "ReluNet"),
    (("profile", "trained", "--energy", "none"), "energy"),
    (("check", "small.toml", "--profile", "tpu"), "profile"),
    (("check", "small.toml", "--profile", "chip.toml"), "vaule"),
    (("check", "own.toml"), "--input-shape"),
    (("check", "own.toml", "--input-shape", "3,4"), "--input-shape"),
    (("check", "own.toml", "--input-shape", "0,1,1"), "--input-shape"),
    (("check", "small.toml", "--set", "model=relu"), "relu"),
    (("emulate", "trained", "--bits", 9), "bits"),
    (("emulate", "trained", "--profile", "tpu"), "profile"),
    (("emulate", "trained", "--profile", "odin-like"), "biases"),
    (("emulate", "trained", "--energy", "none"), "energy"),
    (("emulate", "trained", "--dataset", "nothing"), "name"),
    (("emulate", "trained", "--trace", "trace.txt"), "--trace"),
    (("emulate", "trained", "--output", "small.toml/x"), "--output"),
    (("emulate", "trained", "--export-c", "small.toml/x"), "--export-c"),
    (("emulate", "trained", "--export-c", "mine"), "Makefile"),
    (("emulate", "p.safetensors"), "--dataset"),
    (("emulate", "p.safetensors", "--images", "x", "--dataset", "digits"), "--dataset"),
    (("emulate", "p.safetensors", "--dataset", "digits", "--profile", "generic8", "--bits", 4), "--profile, --bits"),
]


@pytest.fixture(scope="module")
def relu(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relu")
    train.fit(train.Config(data="digits", spec="64-10", model="relu", epochs=1), directory=folder, progress=False)
    return folder


@pytest.mark.parametrize(("arguments", "text"), REFUSALS, ids=lambda value: " ".join(map(str, value))[:60])
def test_refused(call, tmp_path, trained, relu, program, arguments, text):
    (tmp_path / "small.toml").write_text('data = "digits"\nspec = "64-32-10"\nsteps = 4\nepochs = 1\n')
    (tmp_path / "own.toml").write_text('spec = "64-16-2"\nsteps = 4\n')
    (tmp_path / "chip.toml").write_text('name = "mine"\n[fire]\nvaule = "ge"\nsource = "s"\n')
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "Makefile").write_text("mine")
    places = {"trained": trained, "relu": relu, "p.safetensors": program}
    code, _, err = call(*(places.get(argument, argument) for argument in arguments))
    assert code == 1 and err.startswith("error: ") and text in err and "Traceback" not in err, err


@pytest.mark.parametrize("option", ["--limit -1", "--threads 0", "--traced 0", "--finetune -1", f"--seed {10**23}"])
def test_numbers_out_of_range(call, trained, option):
    assert call("emulate", trained, *option.split())[0] == 2
