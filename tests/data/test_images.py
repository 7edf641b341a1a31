"""Images from class folders and from the published archives of CIFAR, and what training does to them."""

import io
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

import holomorph as hm
from holomorph.data import CropFlip, load_data
from holomorph.errors import ConfigError, DataError


def picture(label, number, side=6, mode="RGB"):
    """An image that says what it is: red the label, green its number."""
    pixels = np.zeros((side, side + 2, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 20 * label, number
    return Image.fromarray(pixels).convert(mode)


def write(folder, count, *, names=("cat", "dog"), **settings):
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture(label, number, **settings).save(folder / name / f"{number:03}.png")


def test_class_folders_are_split_by_class_always_the_same_way(tmp_path):
    write(tmp_path, 20)
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    one, two = load_data(f"folder:{tmp_path}"), load_data(f"folder:{tmp_path}")
    assert one.names == ("cat", "dog")
    assert [len(one.part(p)[0]) for p in ("train", "val", "test")] == [28, 4, 8]
    assert one.shape == (3, 6, 8)
    assert one.x_train.dtype == torch.uint8
    assert torch.equal(one.x_test, two.x_test)
    for part in ("train", "val", "test"):
        x, y = one.part(part)
        torch.testing.assert_close(x[:, 0, 0, 0] * 255, 20.0 * y)
    seen = torch.cat([getattr(one, f"x_{part}")[:, :2, 0, 0] for part in ("train", "val", "test")])
    assert len(seen.unique(dim=0)) == 40


def test_given_parts_are_taken_as_they_are(tmp_path):
    for part, count in (("train", 10), ("valid", 3), ("test", 2)):
        write(tmp_path / part, count)
    found = load_data(f"folder:{tmp_path}")
    assert [len(found.part(p)[0]) for p in ("train", "val", "test")] == [20, 6, 4]


def test_images_are_scaled_and_grey_ones_stay_grey(tmp_path):
    write(tmp_path / "grey", 6, mode="L")
    assert load_data(f"folder:{tmp_path / 'grey'}").shape == (1, 6, 8)
    write(tmp_path / "mixed", 6)
    picture(0, 9, side=9, mode="L").save(tmp_path / "mixed" / "cat" / "grey.png")
    assert load_data(f"folder:{tmp_path / 'mixed'}").shape == (3, 6, 8)
    assert load_data(f"folder:{tmp_path / 'mixed'}?size=4").shape == (3, 4, 4)
    with pytest.raises(ConfigError, match="size is 'big'; give a number of pixels"):
        load_data(f"folder:{tmp_path / 'mixed'}?size=big")


def test_unusable_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds 0 folders of images\. Give one folder for each class"):
        load_data(f"folder:{tmp_path}")
    write(tmp_path / "a", 4)
    (tmp_path / "a" / "cat" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png cannot be read as an image"):
        load_data(f"folder:{tmp_path / 'a'}")
    write(tmp_path / "b" / "train", 4)
    write(tmp_path / "b" / "test", 4, names=("cat", "fox"))
    with pytest.raises(DataError, match="has the class 'fox', which the training images lack"):
        load_data(f"folder:{tmp_path / 'b'}")
    write(tmp_path / "c" / "train", 4)
    write(tmp_path / "c" / "test", 4, side=5)
    with pytest.raises(DataError, match=r"different shapes: .*Give one size: folder:.*\?size=PIXELS"):
        load_data(f"folder:{tmp_path / 'c'}")
    (tmp_path / "d" / "x").mkdir(parents=True)
    (tmp_path / "d" / "y").mkdir()
    with pytest.raises(DataError, match="There are no images in the folders"):
        load_data(f"folder:{tmp_path / 'd'}")


NAMES10 = [f"kind{k}" for k in range(10)]


def cifar10_files(binary, per_file=20):
    """Small files in the published layouts; pixel 0 of the red plane is the label."""
    generator, files = np.random.default_rng(0), {}
    for name in [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]:
        labels = (np.arange(per_file) % 10).astype(np.uint8)
        data = generator.integers(0, 256, (per_file, 3072), dtype=np.uint8)
        data[:, 0] = labels
        if binary:
            files[f"{name}.bin"] = np.concatenate([labels[:, None], data], 1).tobytes()
        else:
            files[name] = pickle.dumps({b"data": data, b"labels": labels.tolist()}, protocol=2)
    meta = {b"label_names": [name.encode() for name in NAMES10]}
    files |= {"batches.meta.txt": "\n".join(NAMES10).encode()} if binary else {"batches.meta": pickle.dumps(meta, 2)}
    return files


def lay(folder, name, files, packed):
    if not packed:
        (folder / name).mkdir()
        for key, content in files.items():
            (folder / name / key).write_bytes(content)
        return
    archive = {"cifar-10-batches-bin": "cifar-10-binary", "cifar-10-batches-py": "cifar-10-python"}[name]
    with tarfile.open(folder / f"{archive}.tar.gz", "w:gz") as tar:
        for key, content in files.items():
            info = tarfile.TarInfo(f"{name}/{key}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_in_its_published_forms(tmp_path, binary, packed):
    lay(tmp_path, "cifar-10-batches-bin" if binary else "cifar-10-batches-py", cifar10_files(binary), packed)
    found = load_data("cifar10", data_dir=tmp_path)
    assert [len(found.part(p)[0]) for p in ("train", "val", "test")] == [90, 10, 20]
    assert found.shape == (3, 32, 32)
    assert found.names == tuple(NAMES10)
    assert torch.equal(found.x_train[:, 0, 0, 0].long(), found.y_train)
    assert found.augment is not None


def test_cifar100_takes_the_fine_labels(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    rows = np.zeros((200, 3074), np.uint8)
    rows[:, 0], rows[:, 1] = 7, np.arange(200) % 100
    for name in ("train", "test"):
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(f"fine{k}" for k in range(100)))
    found = load_data("cifar100", data_dir=tmp_path)
    assert found.classes == 100
    assert found.y_test.tolist() == [k % 100 for k in range(200)]
    assert found.names[99] == "fine99"


def test_cifar10_as_class_folders(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / part, 10, names=NAMES10)
    assert load_data("cifar10", data_dir=tmp_path).names == tuple(NAMES10)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path):
    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    files = {**cifar10_files(False), "data_batch_1": pickle.dumps(Runs(), 2)}
    lay(tmp_path, "cifar-10-batches-py", files, packed=False)
    with pytest.raises(DataError, match=r"data_batch_1 .* is no file of plain arrays \(it asks for .*open\)"):
        load_data("cifar10", data_dir=tmp_path)
    assert not (tmp_path / "written").exists()


def test_missing_or_damaged_cifar_names_the_ways(tmp_path):
    with pytest.raises(DataError, match=r"needs its folder\. Give --data-dir FOLDER with cifar-10-binary\.tar\.gz"):
        load_data("cifar10")
    with pytest.raises(DataError, match=r"does not hold cifar100\. Give --data-dir"):
        load_data("cifar100", data_dir=tmp_path)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="is not a whole archive"):
        load_data("cifar10", data_dir=tmp_path)
    files = {**cifar10_files(True), "data_batch_2.bin": b"12345"}
    lay(tmp_path, "cifar-10-batches-bin", files, packed=False)
    with pytest.raises(DataError, match=r"data_batch_2\.bin of cifar-10 has 5 bytes, not rows of 3073"):
        load_data("cifar10", data_dir=tmp_path)


def test_a_crop_is_a_window_of_the_padded_image_and_may_be_mirrored():
    x = torch.arange(1, 26, dtype=torch.uint8).reshape(1, 1, 5, 5).repeat(200, 1, 1, 1)
    found = CropFlip(padding=1)(x, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x[0, 0], [1] * 4)
    windows = [padded[i : i + 5, j : j + 5] for i in range(3) for j in range(3)]
    windows += [window.flip(1) for window in windows]
    counts = torch.tensor([sum(torch.equal(image[0], window) for image in found) for window in windows])
    assert counts.sum() == 200
    assert counts.min() > 0  # 200 draws miss one of 18 windows once in 5,000 seeds
    assert found.dtype == torch.uint8


def test_without_padding_and_mirror_images_nothing_changes():
    x = torch.rand(4, 3, 6, 5)
    assert torch.equal(CropFlip(padding=0, flip=False)(x, torch.Generator()), x)


def test_a_square_is_cut_out():
    x = torch.ones(50, 2, 9, 9)
    found = CropFlip(padding=0, flip=False, cutout=3)(x, torch.Generator().manual_seed(0))
    gone = (found == 0).sum((2, 3))
    assert torch.equal(gone[:, 0], gone[:, 1])
    assert set(gone.flatten().tolist()) <= {4, 6, 9}  # less at the edges
    assert 9 in gone


def test_augmentation_that_cannot_be():
    with pytest.raises(ConfigError, match="padding is -1; give 0 or more pixels"):
        CropFlip(padding=-1)
    with pytest.raises(ConfigError, match=r"need images \(batch, channels, height, width\), not shape \(4, 3\)"):
        CropFlip()(torch.rand(4, 3), torch.Generator())


def test_training_augments_the_batches_and_nothing_else(tmp_path):
    """The network sees changed images in training, unless told not to, and the validation images as they are."""
    write(tmp_path, 20)
    splits = load_data(f"folder:{tmp_path}")
    seen = []

    class Watching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3 * 6 * 8, 2)

        def forward(self, x):
            if self.training:
                seen.append(x.detach())
            return self.layer(x.flatten(1))

    def trained(augment):
        seen.clear()
        hm.fit(Watching(), splits, hm.Plain(), epochs=1, batch_size=7, augment=augment)
        return torch.cat(seen)

    plain = trained(False)
    assert {tuple(x.flatten().tolist()) for x in plain} == {
        tuple(x.flatten().tolist()) for x in splits.part("train")[0]
    }
    changed = trained(True)
    assert torch.equal(changed, trained(True))
    assert not torch.equal(changed, plain)
    assert changed.dtype == torch.float32
    noisy = trained(lambda image: 255 - image if torch.rand(()) < 0.5 else image)
    assert torch.equal(noisy, trained(lambda image: 255 - image if torch.rand(()) < 0.5 else image))
    turned = (noisy == plain).flatten(1).all(1)
    assert turned.any(), "some images stay"
    assert not turned.all(), "others are inverted"


def test_transforms_of_torchvision_augment(tmp_path):
    v2 = pytest.importorskip("torchvision.transforms.v2")
    x, transform = torch.rand(40, 3, 8, 8), v2.Compose([v2.RandomHorizontalFlip(), v2.RandomErasing(p=1.0)])
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    record = hm.fit(net, (x, torch.arange(40) % 2), "plain", epochs=1, augment=transform)
    assert record.history[0].loss > 0
