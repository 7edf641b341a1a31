"""Tables from csv, parquet and the datasets library: words become numbers, gaps are refused or filled as asked."""

import numpy as np
import pandas as pd
import pytest
import torch

from holomorph.data import load_data
from holomorph.errors import ConfigError, DataError


def frame(rows=40):
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": generator.normal(5, 2, rows).round(3),
            "count": np.arange(rows) % 7,
            "colour": np.array(["red", "blue", "green"])[np.arange(rows) % 3],
            "label": np.where(np.arange(rows) % 4 == 0, "bad", "good"),
        }
    )


@pytest.fixture(params=["csv", "parquet"])
def save(request, tmp_path):
    def write(table, name="a"):
        path = tmp_path / f"{name}.{request.param}"
        table.to_csv(path, index=False) if request.param == "csv" else table.to_parquet(path)
        return f"{request.param}:{path}"

    return write


def whole(found):
    """All samples of a data set."""
    return torch.cat([found.part(part)[0] for part in ("train", "val", "test")])


def test_words_become_columns_of_zeros_and_ones(save):
    found = load_data(save(frame()))
    assert found.features == ("size", "count", "colour=blue", "colour=green", "colour=red")
    assert found.names == ("bad", "good")
    assert [len(found.part(part)[0]) for part in ("train", "val", "test")] == [29, 3, 8]
    x = whole(found)
    assert torch.equal(x[:, 2:].sum(1), torch.ones(40))
    assert set(x[:, 2:].flatten().tolist()) == {0.0, 1.0}
    assert x.amin(0).tolist() == [0] * 5
    assert x.amax(0).tolist() == [1] * 5
    assert found.augment is None


def test_rows_keep_their_values_and_labels(save):
    table = frame()
    found = load_data(save(table))
    size = (table["size"] - table["size"].min()) / (table["size"].max() - table["size"].min())
    expected = {round(value, 5): label == "good" for value, label in zip(size, table["label"], strict=True)}
    for part in ("train", "val", "test"):
        for row, label in zip(*found.part(part), strict=True):
            assert expected[round(float(row[0]), 5)] == bool(label)


def test_words_may_be_ordinal(save):
    found = load_data(f"{save(frame())}?categories=ordinal")
    assert found.features == ("size", "count", "colour")
    assert sorted(set(whole(found)[:, 2].tolist())) == [0.0, 0.5, 1.0]
    with pytest.raises(ConfigError, match="Unknown value of the setting 'categories' 'ordinals'"):
        load_data(f"{save(frame())}?categories=ordinals")


def test_missing_values_are_refused_dropped_or_filled_from_the_training_rows(save):
    table = frame()
    table.loc[[3, 5], "size"] = np.nan
    table.loc[7, "colour"] = None
    text = save(table)
    with pytest.raises(DataError, match=r"The column 'size' has 2 missing values\. Give \?missing=median"):
        load_data(text)
    assert len(whole(load_data(f"{text}?missing=drop"))) == 37
    filled = whole(load_data(f"{text}?missing=median"))
    assert len(filled) == 40
    low, high = table["size"].min(), table["size"].max()
    median = (table["size"].median() - low) / (high - low)
    assert int((filled[:, 0] - median).abs().lt(1e-6).sum()) >= 2
    table.loc[1, "label"] = None
    with pytest.raises(DataError, match=r"The column 'label' has 1 missing values\. Give \?missing=drop"):
        load_data(f"{save(table)}?missing=median")


def test_the_target_is_named_or_known(save):
    table = frame().rename(columns={"label": "verdict"})
    with pytest.raises(ConfigError, match=r"does not say which column holds the classes\. Give \?target="):
        load_data(save(table))
    assert load_data(f"{save(table)}?target=verdict").names == ("bad", "good")
    assert load_data(f"{save(table)}?target=colour").names == ("blue", "green", "red")
    with pytest.raises(ConfigError, match="The table has no column 'verdcit'"):
        load_data(f"{save(table)}?target=verdcit")
    with pytest.raises(DataError, match=r"The column 'label' holds one class only \(good\)"):
        load_data(save(frame().assign(label="good")))


def test_a_folder_holds_the_parts(tmp_path):
    frame().to_csv(tmp_path / "train.csv", index=False)
    frame(12).to_csv(tmp_path / "test.csv.gz", index=False)
    found = load_data(f"csv:{tmp_path}")
    assert [len(found.part(part)[0]) for part in ("train", "val", "test")] == [36, 4, 12]
    frame().drop(columns="size").to_csv(tmp_path / "val.csv", index=False)
    with pytest.raises(DataError, match="The columns of the part 'val' are not those of the training table"):
        load_data(f"csv:{tmp_path}")
    (tmp_path / "train.csv").unlink()
    with pytest.raises(DataError, match=r"There is no train\.csv in"):
        load_data(f"csv:{tmp_path}")


def test_a_file_that_is_no_table(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1\n1,2,3\n")
    with pytest.raises(DataError, match="cannot be read as csv"):
        load_data(f"csv:{tmp_path / 'a.csv'}")
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        load_data(f"parquet:{tmp_path / 'a.parquet'}")


def test_a_saved_table(tmp_path):
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_pandas(frame()).class_encode_column("label")
    data.save_to_disk(tmp_path / "a")
    found = load_data(f"hf:{tmp_path / 'a'}")
    assert found.names == ("bad", "good")
    assert len(whole(found)) == 40
    datasets.DatasetDict({"train": data, "validation": data}).save_to_disk(tmp_path / "b")
    assert len(load_data(f"hf:{tmp_path / 'b'}").part("val")[0]) == 40


def test_saved_images(tmp_path):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 3), dtype=np.uint8)
    features = datasets.Features({"image": datasets.Image(), "kind": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [Image.fromarray(p) for p in pixels], "kind": [k % 2 for k in range(20)]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "a")
    found = load_data(f"hf:{tmp_path / 'a'}")
    assert found.names == ("cat", "dog")
    assert found.shape == (3, 5, 4)
    assert len(whole(found)) == 20
    assert found.augment is not None
    rows["image"][3] = Image.fromarray(pixels[3, :3, :, 0])  # of another size, and grey
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "b")
    assert load_data(f"hf:{tmp_path / 'b'}").shape == (3, 5, 4)
    assert load_data(f"hf:{tmp_path / 'b'}?size=8").shape == (3, 8, 8)


@pytest.mark.parametrize(("kinds", "names"), [(["dog", "cat"], ("cat", "dog")), ([11, 7], ("7", "11"))])
def test_saved_images_with_words_or_any_numbers_as_labels(tmp_path, kinds, names):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    rows = {"image": [Image.fromarray(np.full((4, 4), 9 * k, np.uint8)) for k in range(20)], "kind": kinds * 10}
    features = datasets.Features(
        {"image": datasets.Image(), "kind": datasets.Value("string" if kinds[0] == "dog" else "int64")}
    )
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "a")
    found = load_data(f"hf:{tmp_path / 'a'}?target=kind")
    assert found.names == names
    assert found.classes == 2
    rows["kind"] = [None, *rows["kind"][1:]]
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "b")
    with pytest.raises(DataError, match="The column 'kind' has samples without a label"):
        load_data(f"hf:{tmp_path / 'b'}?target=kind")


def test_what_is_no_saved_data_set(tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="holds no saved data set"):
        load_data(f"hf:{tmp_path / 'a'}")


@pytest.mark.parametrize(
    ("values", "filled"),
    [(pd.array([1, 2, None] * 20, dtype="Int64"), [0.5]), (pd.array([True, True, False, None] * 15, "boolean"), [1.0]),
     (pd.Categorical(["u", "u", "v", None] * 15), [1.0, 0.0]), ([None] * 60, "no value in the training rows")],
)  # fmt: skip
def test_gaps_are_filled_in_columns_of_every_type(tmp_path, values, filled):
    pd.DataFrame({"c": values, "label": ["x", "y"] * 30}).to_parquet(tmp_path / "a.parquet")
    text = f"parquet:{tmp_path}/a.parquet?missing="
    if isinstance(filled, str):
        for how, words in (("median", filled), ("drop", "Every row of a part has missing values")):
            with pytest.raises(DataError, match=words):
                load_data(text + how)
    else:
        assert filled in whole(load_data(text + "median")).tolist()


def test_columns_of_lists_are_embeddings_and_texts_are_refused(tmp_path):
    table = pd.DataFrame({"e": list(np.arange(180.0).reshape(60, 3)), "label": ["x", "y"] * 30})
    table.to_parquet(tmp_path / "a.parquet")
    assert load_data(f"parquet:{tmp_path}/a.parquet").features == ("e.0", "e.1", "e.2")
    table.assign(e=[[0.0] * (1 + i % 2) for i in range(60)]).to_parquet(tmp_path / "b.parquet")
    table.assign(e=[f"text {i}" for i in range(60)]).to_parquet(tmp_path / "c.parquet")
    for name, words in (("b", "or differ in length"), ("c", "60 different words in 60 rows")):
        with pytest.raises(DataError, match=words):
            load_data(f"parquet:{tmp_path}/{name}.parquet")
