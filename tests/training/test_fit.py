import csv
import json

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, RandomSampler, TensorDataset

from holomorph import errors
from holomorph.errors import CheckpointError, ConfigError, DataError, HolomorphWarning, TrainingError
from holomorph.records.training import TrainRecord
from holomorph.rules import NFGSM, Dirichlet, Plain
from holomorph.rules.registry import parse
from holomorph.threats import ThreatModel
from holomorph.training import checkpoint
from holomorph.training.checkpoint import load_tensors, save_tensors
from holomorph.training.fit import fit
from holomorph.training.folder import holding
from holomorph.training.precision import Mixed
from two_processes import Stream

THREAT = ThreatModel("inf", 0.1)


def same(one: nn.Module, two: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_training_learns_and_is_determined_by_the_seed(task, make_model):
    one, two, other = make_model(), make_model(), make_model()
    record = fit(one, task, Plain(), epochs=8, batch_size=20, lr=0.1, validation=task)
    fit(two, task, Plain(), epochs=8, batch_size=20, lr=0.1)
    fit(other, task, Plain(), epochs=8, batch_size=20, lr=0.1, seed=1)
    assert record.history[-1].validation_accuracy > 0.95
    assert same(one, two)
    assert not same(one, other)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_labels_may_be_whole_numbers_of_any_width(task, make_model, dtype):
    x, y = task
    models = [make_model() for _ in range(3)]
    fit(models[0], task, Dirichlet(THREAT), epochs=1)
    fit(models[1], (x, y.to(dtype)), Dirichlet(THREAT), epochs=1)
    assert same(*models[:2])
    fit(models[2], DataLoader(TensorDataset(x, y.to(dtype)), 64), Dirichlet(THREAT), epochs=1)


def test_the_callers_random_stream_is_left_alone(task, make_model):
    model = make_model(dropout=0.5)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    fit(model, task, Plain(), epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_the_run_folder_holds_the_record_the_weights_and_the_logs(task, make_model, tmp_path):
    out = tmp_path / "run"
    record = fit(make_model(), task, Dirichlet(THREAT), epochs=3, out=out)
    assert TrainRecord.load(out / "train.json") == record
    assert record.threat == THREAT
    assert record.rule_settings["weight"] == Dirichlet(THREAT).weight
    rows = list(csv.DictReader((out / "logs" / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["energy"]) >= 0
    assert list(out.glob("events*"))
    assert (out / "model.safetensors").stat().st_size > 0


class Interruption:
    """Stops the training from outside in its 25th step, once."""

    calls = 0

    def loss(self, model, x, y):
        self.calls += 1
        if self.calls == 25:
            raise KeyboardInterrupt
        return super().loss(model, x, y)


class Stops(Interruption, NFGSM):
    pass


class Noisy(Plain):
    """Draws from the rule's own generator at every call."""

    def loss(self, model, x, y):
        return super().loss(model, x + 0.1 * torch.randn(x.shape, generator=self.generator), y)


class NoisyInterrupts(Noisy, Interruption, Plain):
    pass


@pytest.mark.parametrize("ema", [None, 0.9])
def test_an_interrupted_run_resumes_to_the_same_numbers(task, make_model, tmp_path, ema):
    settings = {"epochs": 4, "batch_size": 20, "ema": ema}
    whole = make_model(dropout=0.3)
    expected = fit(whole, task, Noisy(), **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(make_model(dropout=0.3), task, NoisyInterrupts(), out=tmp_path / "run", **settings)
    resumed = make_model(seed=5, dropout=0.3)
    record = fit(resumed, task, Noisy(), out=tmp_path / "run", resume=True, **settings)
    assert same(resumed, whole)
    assert [e.loss for e in record.history] == [e.loss for e in expected.history]


@pytest.mark.parametrize("place", ["loader", "sampler", "distributed", "stream"])
def test_an_interrupted_run_on_a_loader_with_its_own_generator_resumes_to_the_same_numbers(
    task, make_model, tmp_path, place
):
    def loader():
        data, own = TensorDataset(*task), torch.Generator().manual_seed(3)
        if place == "loader":
            return DataLoader(data, 20, shuffle=True, generator=own), own
        if place == "distributed":
            return DataLoader(data, 20, sampler=DistributedSampler(data, num_replicas=1, rank=0)), own
        if place == "stream":
            return DataLoader(Stream(*task), 20, num_workers=1), own
        return DataLoader(data, 20, sampler=RandomSampler(data, generator=own)), own

    whole, resumed = make_model(), make_model(seed=5)
    settings = {"epochs": 4, "steps_per_epoch": 9 if place == "stream" else None}
    train, own = loader()
    state = own.get_state()
    expected = fit(whole, train, NFGSM(THREAT), **settings)
    assert torch.equal(own.get_state(), state)
    with pytest.raises(KeyboardInterrupt):
        fit(make_model(), loader()[0], Stops(THREAT), out=tmp_path / "run", **settings)
    record = fit(resumed, loader()[0], NFGSM(THREAT), out=tmp_path / "run", resume=True, **settings)
    assert same(resumed, whole)
    assert [e.loss for e in record.history] == [e.loss for e in expected.history]
    assert [e.measured for e in record.history] == [e.measured for e in expected.history]


def test_resuming_with_other_data_or_layers_is_refused(task, make_model, tmp_path):
    fit(make_model(), task, Plain(), epochs=1, out=tmp_path / "run")
    x, y = task
    rectified = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 2))
    flipped, swapped = (("training data", make_model(), other) for other in ((x.flip(0), y), (x, 1 - y)))
    for what, model, data in (flipped, swapped, ("layers", rectified, task)):
        sentence = rf"was started with other {what}\. Resume with the same, or give --force to start anew\."
        with pytest.raises(ConfigError, match=sentence):
            fit(model, data, Plain(), epochs=1, out=tmp_path / "run", resume=True)
    with pytest.raises(ConfigError, match=r"was started with lr = 0\.004, not 0\.1\."):
        fit(make_model(), task, Plain(), epochs=1, lr=0.1, out=tmp_path / "run", resume=True)
    fit(make_model(), (x.clone(), y.int()), Plain(), epochs=1, out=tmp_path / "run", resume=True)


def test_a_run_that_has_noted_no_data_nor_layers_resumes(task, make_model, tmp_path):
    expected = fit(make_model(), task, Plain(), epochs=1, out=tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "settings.json"
    noted = json.loads(path.read_text())
    del noted["training data"], noted["layers"]
    path.write_text(json.dumps(noted))
    assert fit(make_model(), task, Plain(), epochs=1, out=tmp_path / "run", resume=True).history == expected.history


def test_resuming_what_is_finished_gives_the_same_record(task, make_model, tmp_path):
    name = "dirichlet(observable=logits)"  # its cost is known once it has seen how many outputs there are
    rules, settings = [parse(name, THREAT) for _ in range(2)], {"epochs": 1, "out": tmp_path / "run", "resume": True}
    first, same, again = (fit(make_model(), task, rule, **settings) for rule in (rules[0], *rules))
    assert same.history == first.history
    assert first == again.model_copy(update={"started": first.started})
    assert first.cost > parse("dirichlet", THREAT).cost.passes / 3


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_force_leaves_no_empty_folders(task, make_model, tmp_path):
    for place in (tmp_path / "run", tmp_path / "run" / "baseline"):
        fit(make_model(), task, Plain(), epochs=1, out=place)
    with holding(tmp_path / "run", resume=False, force=True):
        pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".run.lock"]


def test_a_users_files_in_a_run_are_kept(task, make_model, tmp_path):
    out = tmp_path / "run"
    fit(make_model(), task, Plain(), epochs=3, out=out)
    written = files(out)
    mine = {"thesis.tex", "checkpoints/mine.pt", "baseline/notes.txt"}
    for name in mine:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("years of work")
    (out / "report.html").write_text("of the run before")
    fit(make_model(), task, Plain(), epochs=3, out=out, resume=True)
    assert mine < files(out)
    fit(make_model(), task, Plain(), epochs=1, out=out, force=True)
    assert mine < files(out)
    assert "report.html" in files(out), "not a page of ours"
    assert "checkpoints/epoch-0003.json" not in files(out)
    with holding(out, resume=False, force=True):
        pass
    assert files(out) == mine | {"report.html", ".run.lock"}
    assert "model.safetensors" in written


def test_a_folder_that_cannot_be_written(task, make_model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.StorageError, match="cannot be written"):
        fit(make_model(), task, Plain(), epochs=1, out=tmp_path / "file" / "run")


def test_accumulation_clipping_and_decay_in_closed_form(task, make_model):
    settings = {"optimizer": "sgd", "schedule": "constant", "epochs": 1, "lr": 0.5}
    many, one, clipped, decayed, start = (make_model() for _ in range(5))
    fit(many, task, Plain(), batch_size=20, accumulate=2, **settings)
    fit(one, task, Plain(), batch_size=40, **settings)
    torch.testing.assert_close(many.state_dict(), one.state_dict())
    fit(clipped, task, Plain(), batch_size=200, clip=1e-2, **settings)
    settings["risk_function"] = lambda logits, y: 0 * logits.sum(1)
    fit(decayed, task, "plain", batch_size=200, weight_decay=0.1, **settings)
    moved = [(a - b).norm() for a, b in zip(clipped.parameters(), start.parameters(), strict=True)]
    assert torch.stack(moved).norm().item() == pytest.approx(0.5 * 1e-2, rel=1e-3)
    for name, value in start.state_dict().items():  # biases are spared
        torch.testing.assert_close(decayed.state_dict()[name], value * (0.95 if name.endswith("weight") else 1.0))


def test_averaged_weights_are_the_moving_average(task, make_model):
    class Records(Plain):
        seen: list

        def loss(self, model, x, y):
            self.seen.append(model.module[0].weight.detach().clone())
            return super().loss(model, x, y)

    rule = Records()
    rule.seen = []
    model = make_model()
    fit(model, task, rule, epochs=2, batch_size=50, ema=0.5)
    mean = rule.seen[1]  # the average starts with the weights after the first step
    for weight in rule.seen[2:]:
        mean = 0.5 * mean + 0.5 * weight
    plain = make_model()
    fit(plain, task, Plain(), epochs=2, batch_size=50)
    torch.testing.assert_close(model[0].weight, 0.5 * mean + 0.5 * plain[0].weight)


class Endless(IterableDataset):
    """Samples without a number."""

    def __iter__(self):
        while True:
            yield torch.rand(2), 0


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ((torch.rand(2, 2), torch.tensor([0, 0])), "there is one class only"),
        ((torch.rand(2, 2), torch.tensor([-1, 0])), "The labels run from -1 to 0; they must lie in 0..K-1."),
        ((torch.rand(2, 2),), "Give the training data as (samples, labels)"),
        ({1, 2}, "Cannot train on set."),
        (DataLoader(TensorDataset(torch.rand(4, 2))), "must yield pairs"),
        (DataLoader(Endless()), "has no length, which the schedule needs"),
    ],
)
def test_unusable_data_is_refused_before_anything_is_written(make_model, tmp_path, train, message):
    with pytest.raises(DataError) as error:
        fit(make_model(), train, Plain(), out=tmp_path / "run")
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["finite", "growing(pgd)", "plain + pgd"])
def test_samples_outside_the_threats_box_are_refused(make_model, task, tmp_path, name):
    x, y = task
    for train in ((3 * x - 1, y), DataLoader(TensorDataset(3 * x - 1, y), 50)):
        with pytest.raises(DataError, match=r"outside the box \[0, 1\]\..*begin the model with holomorph"):
            fit(make_model(), train, parse(name, THREAT), epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    fit(make_model(), (3 * x - 1, y), parse(name, ThreatModel("inf", 0.1, box=(-1, 2))), epochs=1)


def test_probabilities_are_warned_of(task):
    model = nn.Sequential(nn.Linear(2, 2), nn.Softmax(1))
    with pytest.warns(HolomorphWarning, match="Return logits: leave the softmax out"):
        fit(model, task, Plain(), epochs=1)


def test_a_frozen_model_is_refused(task, make_model):
    with pytest.raises(ConfigError, match="has no parameter to train"):
        fit(make_model().requires_grad_(False), task, Plain())


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_last_checkpoint(task, make_model, tmp_path):
    class Explodes(Plain):
        def loss(self, model, x, y):
            return super().loss(model, x, y) * (torch.nan if self.progress > 0.6 else 1.0)

    with pytest.raises(TrainingError, match=r"The loss became nan at step \d+ \(learning rate .*epoch-0002\.json"):
        fit(make_model(), task, Explodes(), epochs=4, batch_size=20, out=tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "epoch-0002.safetensors").exists()


def test_damaged_checkpoints_are_refused(task, make_model, tmp_path):
    fit(make_model(), task, Plain(), epochs=1, out=tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").glob("epoch-0000.*"):
        path.unlink()
    tensors = tmp_path / "run" / "checkpoints" / "epoch-0001.safetensors"
    content = tensors.read_bytes()
    for damaged in (content[:-10], content[:-1] + bytes([content[-1] ^ 1])):
        tensors.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="it was cut short or changed"):
            fit(make_model(), task, Plain(), epochs=1, out=tmp_path / "run", resume=True)
    tensors.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"of another architecture: '0\.weight' has shape \(16, 2\)"):
        fit(nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(), nn.Linear(8, 2)), task, Plain(), epochs=1,
            out=tmp_path / "run", resume=True)  # fmt: skip
    tensors.with_suffix(".json").write_text("{")
    with pytest.raises(CheckpointError, match="is no whole checkpoint"):
        fit(make_model(), task, Plain(), epochs=1, out=tmp_path / "run", resume=True)


@pytest.mark.parametrize("part", ["json", "safetensors"])
def test_a_truncated_newest_checkpoint_falls_back_to_the_one_before(task, make_model, tmp_path, part):
    whole = fit(make_model(), task, Plain(), epochs=3, out=tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / f"epoch-0003.{part}"
    newest.write_bytes(newest.read_bytes()[:20])
    with pytest.warns(HolomorphWarning, match=r"The run goes on from epoch-0002"):
        again = fit(make_model(), task, Plain(), epochs=3, out=tmp_path / "run", resume=True)
    assert [epoch.loss for epoch in again.history] == [epoch.loss for epoch in whole.history]


def test_checkpoints_are_pruned_by_number(tmp_path):
    for number in (9_998, 9_999, 10_000, 10_001):
        checkpoint.save_checkpoint(tmp_path, f"epoch-{number:04d}", {}, {})
    checkpoint.prune(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["epoch-10000.json", "epoch-10001.json"]
    assert checkpoint.latest(tmp_path) == tmp_path / "epoch-10001.json"


def test_complex_weights_survive_a_checkpoint(tmp_path):
    double, single = torch.randn(3, 2, dtype=torch.complex128), torch.randn(2).to(torch.complex64)
    tensors = {"a": double, "b": torch.arange(3), "c": single}
    digest = save_tensors(tmp_path / "a.safetensors", tensors)
    back = load_tensors(tmp_path / "a.safetensors", digest)
    assert back.keys() == tensors.keys()
    for key, value in tensors.items():
        assert back[key].dtype == value.dtype
        assert torch.equal(back[key], value)


@pytest.mark.parametrize("name", ["finite", "dirichlet", "nfgsm", "pgd"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch on casts inside autocast
def test_mixed_precision_trains_rules_that_differentiate_by_the_input(name, task, make_model):
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    model = make_model()
    record = fit(model, task, parse(name, THREAT), epochs=8, batch_size=20, lr=0.1, validation=task, fabric=fabric)
    assert record.history[-1].validation_accuracy > 0.85
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-true", torch.bfloat16), ("64-true", torch.float64)])
@pytest.mark.parametrize("ema", [None, 0.5])
def test_true_precision_trains_and_measures(precision, dtype, ema, task, make_model):
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    model, rule = make_model(), parse("finite", ThreatModel("inf", 0.02))
    record = fit(model, task, rule, epochs=8, batch_size=20, lr=0.05, ema=ema, validation=task, fabric=fabric)
    assert record.history[-1].validation_accuracy > 0.85
    assert record.history[-1].measured["alignment"] > 0.5
    assert {p.dtype for p in model.parameters()} == {dtype}


def test_mixed_precision_computes_low_and_returns_what_it_was_given():
    seen = []
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    model = Mixed(layer, Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"))
    assert model(torch.rand(3, 2)).dtype == torch.float32
    assert seen == [torch.bfloat16]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch on casts inside autocast
def test_half_precision_with_a_scaler_trains_and_its_scale_is_kept(task, make_model, tmp_path):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # overflows at first: such steps are left out
    plugin = MixedPrecision("16-mixed", device="cpu", scaler=scaler)
    fabric = Fabric(accelerator="cpu", devices=1, plugins=plugin)
    settings = {"epochs": 40, "batch_size": 20, "lr": 0.1, "out": tmp_path / "run"}
    record = fit(make_model(), task, parse("finite", THREAT), fabric=fabric, **settings)
    assert record.history[-1].loss < record.history[0].loss
    state = json.loads((tmp_path / "run/checkpoints/epoch-0040.json").read_text())
    assert state["precision"]["scale"] == scaler.get_scale() < 2.0**40


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"lr": 0.0}, "learning rate is 0.0"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"optimizer": "adm"}, "Did you mean 'adam'"),
    ],
)
def test_settings_outside_their_domain_are_refused(task, make_model, settings, message):
    with pytest.raises(ConfigError) as error:
        fit(make_model(), task, Plain(), **settings)
    assert message in str(error.value)


def test_checkpoints_of_the_last_two_epochs_are_kept_and_hold_no_code(task, make_model, tmp_path):
    fit(make_model(), task, Plain(), epochs=4, out=tmp_path / "run")
    names = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["epoch-0003.json", "epoch-0003.safetensors", "epoch-0004.json", "epoch-0004.safetensors",
                     "settings.json"]  # fmt: skip
    state = json.loads((tmp_path / "run" / "checkpoints" / "epoch-0004.json").read_text())
    assert state["epoch"] == 4


@pytest.mark.parametrize("how", ["force", "resume"])
@pytest.mark.parametrize(
    "content",
    [
        {"thesis.tex": "years of work"},
        {"config.json": '{"model_type": "bert"}', "thesis.tex": ""},
        {"checkpoints/mine.pt": "", "logs/mine.log": "", "train.json": "[1]"},
    ],
)
def test_what_is_no_run_is_left_alone(task, make_model, tmp_path, how, content):
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=r"is no run of holomorph and will not be replaced\. Choose another\."):
        fit(make_model(), task, Plain(), epochs=1, out=tmp_path, **{how: True})
    assert files(tmp_path) == set(content)
