"""Labelled images of the user's own: every layout, and what is said of those that are none."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar100x import compare, predict
from cifar100x.data.images import open_store
from cifar100x.data.resize import decode, to_32x32
from cifar100x.errors import UserError
from tests.conftest import no_store_in

GREYS = {"cat": 40, "dog": 120, "elk": 200}


def write(folder: Path, name: str, grey: int = 100, size=(40, 50), mode="RGB") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(name) + grey).integers(0, 30, (*size, 3))
    Image.fromarray((noise + grey).clip(0, 255).astype(np.uint8)).convert(mode).save(path)


def zoo(folder: Path, form: str = "{name}/{i}.png", counts=(3, 4, 5)) -> Path:
    for (name, grey), count in zip(GREYS.items(), counts, strict=True):
        for i in range(count):
            write(folder, form.format(name=name, i=i), grey)
    return folder


def store_of(source, tmp_path):
    return open_store(cache=str(tmp_path / "cache"), source=str(source))


FORMS = {
    "classes": "{name}/{i}.png",
    "jpegs": "{name}/{i}.JPEG",
    "split": "train/{name}/{i}.png",
    "superclasses": "train/animals/{name}/{i}.png",
    "superclasses without a split": "animals/{name}/{i}.png",
}


@pytest.mark.parametrize("packed", ["folder", "tar", "zip"])
@pytest.mark.parametrize("form", FORMS)
def test_layouts(form, packed, tmp_path):
    source = zoo(tmp_path / "zoo", FORMS[form])
    if "superclasses without" in form:
        for i in range(2):
            write(source, f"plants/oak/{i}.png")
    if packed == "tar":
        with tarfile.open(tmp_path / "zoo.tar.gz", "w:gz") as archive:
            archive.add(source, "zoo")
        source = tmp_path / "zoo.tar.gz"
    elif packed == "zip":
        with zipfile.ZipFile(tmp_path / "zoo.zip", "w") as archive:
            for path in sorted(p for p in source.rglob("*") if p.is_file()):
                archive.write(path, path.relative_to(source))
        source = tmp_path / "zoo.zip"
    store = store_of(source, tmp_path)
    split = store.split("train")
    names = [store.classes.names[label] for label in split.fine]
    assert {name: names.count(name) for name in GREYS} == {"cat": 3, "dog": 4, "elk": 5}
    for name, image in zip(names, split.images, strict=True):
        if name in GREYS:
            assert image.mean() == pytest.approx(GREYS[name] + 15, abs=5), "the image has its own label"
    expected = {"superclasses": ("animals",), "superclasses without a split": ("animals", "plants")}
    assert store.classes.superclasses == expected.get(form, ())


def test_photos_lie_as_they_are_asked_about(tmp_path):
    """Upright, as their camera says: in a store as in predict."""
    source = zoo(tmp_path / "zoo")
    halves = np.zeros((32, 32, 3), np.uint8)
    halves[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # held on its side
    photo = source / "cat" / "0.jpg"
    Image.fromarray(halves).save(photo, exif=exif, quality=100)
    (source / "cat" / "0.png").unlink()
    assert any(np.array_equal(image, predict.read(photo)) for image in store_of(source, tmp_path).split("train").images)
    assert predict.read(photo)[0, :, :16].mean() < 10 < 245 < predict.read(photo)[0, :, 16:].mean()


def test_links_are_followed_and_those_that_lead_nowhere_are_named(tmp_path):
    source = zoo(tmp_path / "zoo")
    write(tmp_path / "elsewhere", "1.png")
    (source / "yak").symlink_to(tmp_path / "elsewhere")
    assert store_of(source, tmp_path).classes.names == ("cat", "dog", "elk", "yak")
    for target, message in ((tmp_path / "nowhere", "leads nowhere: mend"), (source, "to a folder that it lies in")):
        (source / "cat" / "link").symlink_to(target)
        with pytest.raises(UserError, match=rf"cat/link is a link .*{message}|cat/link is a link that {message}"):
            store_of(source, tmp_path)
        (source / "cat" / "link").unlink()


@pytest.mark.parametrize(
    ("folder", "form", "splits"),
    [("test", "{split}/{name}/{i}.png", {"train", "test"}), ("a", "{name}/{i}.png", {"train"})],
)
def test_a_folder_called_as_a_split_is_and_a_class_called_train(folder, form, splits, tmp_path):
    names = ("cat", "dog") if "{split}" in form else ("bus", "train", "car")
    for split in ("train", "test"):
        for name in names:
            write(tmp_path / folder, form.format(split=split, name=name, i=0))
    store = store_of(tmp_path / folder, tmp_path)
    assert set(store.manifest["splits"]) == splits
    assert store.classes.names == tuple(sorted(names))


def test_a_manifest_of_somebody_else_s(tmp_path):
    source = zoo(tmp_path / "zoo")
    (source / "manifest.json").write_text("[1]")
    assert store_of(source, tmp_path).classes.names == ("cat", "dog", "elk")


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_of_sixteen_bits_the_upper_eight_count(suffix, tmp_path):
    grey = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / f"x.{suffix}")
    found = decode("x", io.BytesIO((tmp_path / f"x.{suffix}").read_bytes()))
    np.testing.assert_array_equal(found, np.broadcast_to(grey >> 8, (3, 32, 32)))


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_numbers_that_no_image_has_are_refused(kind, tmp_path):
    source = zoo(tmp_path / "zoo")
    Image.fromarray(np.ones((32, 32), kind)).save(source / "cat" / "x.tiff")
    with pytest.raises(UserError, match=r"x\.tiff is not .* \(its pixels are 32-bit numbers, expected 8 or 16 bits"):
        store_of(source, tmp_path)


def test_any_size_and_mode_is_box_filtered(tmp_path):
    source = zoo(tmp_path / "zoo")
    for i, mode in enumerate(("L", "P", "RGBA", "1")):
        write(source, f"cat/other{i}.png", size=(64, 80), mode=mode)
    store = store_of(source, tmp_path)
    (label,) = [k for k, name in enumerate(store.classes.names) if name == "cat"]
    images = store.split("train").images[store.split("train").fine == label]
    files = sorted((source / "cat").iterdir())
    expected = np.stack([to_32x32(Image.open(path)) for path in files])
    np.testing.assert_array_equal(images, expected)


def test_line_ends_of_a_macintosh(tmp_path):
    source = zoo(tmp_path / "zoo")
    names = sorted(path.name for path in source.iterdir())
    (source / "superclasses.csv").write_bytes("\r".join(f"{name},animal" for name in names).encode())
    assert store_of(source, tmp_path).classes.superclasses == ("animal",)


def test_grey_of_sixteen_bits_as_a_pgm():
    values = np.full((4, 4), 200 << 8, ">u2")
    for upright in (False, True):
        file = io.BytesIO(b"P5 4 4 65535 " + values.tobytes())
        assert (decode("x.pgm", file, upright=upright) == 200).all()


def test_superclasses_from_a_small_file(tmp_path):
    source = zoo(tmp_path / "zoo")
    (source / "superclasses.csv").write_text("cat,pets\ndog,pets\nelk,wild\n")
    classes = store_of(source, tmp_path).classes
    assert [classes.superclass(label) for label in range(3)] == ["pets", "pets", "wild"]


def test_more_than_256_classes(tmp_path):
    source = tmp_path / "many"
    for label in range(300):
        write(source, f"class{label:03}/x.png", grey=label % 200, size=(4, 4))
    split = store_of(source, tmp_path).split("train")
    assert sorted(split.fine.tolist()) == list(range(300))


def spoil(source: Path, what: str) -> Path:
    if what == "no images":
        return source
    zoo(source, "train/{name}/{i}.png")
    if what == "one class":
        for name in ("cat", "dog"):
            for path in (source / "train" / name).iterdir():
                path.unlink()
    elif what == "too deep":
        write(source, "train/a/b/c/x.png")
    elif what == "mixed":
        write(source, "train/animals/fox/x.png")
    elif what == "outside the splits":
        write(source, "cat/x.png")
    elif what == "unknown in test":
        write(source, "test/fox/x.png")
    elif what == "broken":
        (source / "train/cat/y.png").write_bytes(b"no image")
    elif what == "superclass missing":
        (source / "superclasses.csv").write_text("cat,pets\n")
    elif what == "a table of three columns":
        (source / "superclasses.csv").write_text("cat,pets,1\n")
    return source


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no images", "holds no images, expected <class>/"),
        ("one class", r"holds 1 classes \(elk\), expected 2..65536"),
        ("too deep", "train/a/b/c/x.png lies 3 folders deep"),
        ("mixed", "train/animals/fox/x.png lies 2 folders deep, expected every image at <class>/ or every one at"),
        ("outside the splits", "cat/x.png lies in neither train/ nor test/"),
        ("unknown in test", "class fox has no image in train/, only in test/"),
        ("broken", "y.png is not a readable image"),
        ("superclass missing", "superclasses.csv says nothing of class dog"),
        ("a table of three columns", "expected two columns, class and superclass"),
    ],
)
def test_what_is_no_such_layout(what, message, tmp_path):
    source = tmp_path / "zoo"
    source.mkdir()
    with pytest.raises(UserError, match=message):
        store_of(spoil(source, what), tmp_path)
    assert no_store_in(tmp_path / "cache")


def test_a_study_of_them(train_command, command, tmp_path):
    """From folders to a verdict without superclasses, and a prediction by the user's own names."""
    zoo(tmp_path / "zoo", counts=(12, 14, 16))
    arguments = ["data=images", "data.source=zoo", "folds.num=2", "trainer=cpu", "trainer.max_epochs=1",
                 "width.multiplier=0.03125", "-m", "fold=0,1", "candidate=arch1-hyp1,arch2-hyp1"]  # fmt: skip
    status, out, err = train_command(*arguments)
    assert (status, err) == (0, "")
    assert command(compare.main, "study=default")[0] == 0
    report = Path("runs/default/report")
    html = (report / "report.html").read_text()
    assert 'id="confusion"' in html
    assert "uperclass" not in html
    assert not (report / "superclasses.svg").exists()
    image = next((tmp_path / "zoo" / "elk").iterdir())
    status, out, err = command(predict.main, "runs/default/arch1-hyp1", str(image), "--json")
    assert (status, err) == (0, "")
    (answers,) = json.loads(out).values()
    assert sorted(answer["class"] for answer in answers) == list(GREYS)
    assert {answer["superclass"] for answer in answers} == {None}
