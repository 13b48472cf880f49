import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from safemt.core.errors import ModeratorError
from safemt.moderation.detectors.embedded.detector import EmbeddedDetector
from safemt.moderation.detectors.embedded.model import FILES, SHIPPED, Curve, load_model


@pytest.fixture
def folder(detector: EmbeddedDetector, tmp_path: Path) -> Path:
    for name in FILES:
        shutil.copyfile(SHIPPED / name, tmp_path / name)
    return tmp_path


def test_the_model_is_read_once(detector: EmbeddedDetector) -> None:
    assert EmbeddedDetector.load(pictures=False).model is detector.model


def test_a_copy_is_the_same_model(folder: Path, detector: EmbeddedDetector) -> None:
    assert load_model(folder).sha256 == detector.model.sha256


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModeratorError) as error:
        load_model(folder)
    assert error.value.code == "model_file_missing"
    assert error.value.fields["path"] == str(folder / name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b"[1, 2]"])
def test_a_damaged_file_is_one_clear_error(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ModeratorError) as error:
        load_model(folder)
    assert error.value.code == "model_damaged"


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_one_clear_error(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModeratorError) as error:
        load_model(folder)
    assert error.value.code == "model_damaged"


def test_another_version_is_refused(folder: Path) -> None:
    about = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(about | {"format": 99}))
    with pytest.raises(ModeratorError) as error:
        load_model(folder)
    assert error.value.code == "model_version"
    assert error.value.fields["version"] == 99


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": {}},
        {"thresholds": {"default": 7}},
        {"scenarios": ["Gardening"]},
        {"scenarios": ["Fraud"]},
        {"calibration": {}},
        {"languages": None},
        {"screen": {"word": "much"}},
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, change: dict[str, object]) -> None:
    about = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(about | change))
    with pytest.raises(ModeratorError) as error:
        load_model(folder)
    assert error.value.code == "model_damaged"


@pytest.mark.parametrize(("x", "y"), [([], []), ([1, 0], [0, 1]), ([0, 1], [0]), ([0, 1], [0, 2])])
def test_a_curve_that_is_none_is_refused(folder: Path, x: list[float], y: list[float]) -> None:
    about = json.loads((folder / "model.json").read_text())
    about["calibration"]["risk"] = {"x": x, "y": y}
    (folder / "model.json").write_text(json.dumps(about))
    with pytest.raises(ModeratorError) as error:
        load_model(folder)
    assert error.value.code == "model_damaged"


def test_weights_that_are_no_numbers_are_refused(folder: Path) -> None:
    with np.load(folder / "head.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(folder / "head.npz", **(arrays | {"output_bias": arrays["output_bias"] * np.nan}))
    with pytest.raises(ModeratorError) as error:
        load_model(folder)
    assert error.value.code == "model_damaged"


def test_a_curve_is_linear_between_its_points_and_level_beyond() -> None:
    curve = Curve(x=(-1.0, 1.0), y=(0.2, 0.6))
    assert [curve(logit) for logit in (-9, -1, 0, 0.5, 1, 9)] == pytest.approx([0.2, 0.2, 0.4, 0.5, 0.6, 0.6])
