"""Pieces of work under their digest: found again, never taken for others, and deleted once unused."""

from dataclasses import replace

import numpy as np
import torch

from synthplanes.compute import checkpoints
from synthplanes.compute.checkpoints import NOTHING_KEPT, Checkpoints, images_sha256
from tests.tiny_generator import squares


def test_only_the_same_work_is_found_again(tmp_path):
    file, images = tmp_path / "input", np.arange(6)
    file.write_bytes(b"one")

    def piece(code="abc", updates=3):
        return Checkpoints(tmp_path / "kept", code).piece(file, images, {"updates": updates})

    piece().write({"w": torch.ones(2)}, {"seen": 7})
    tensors, facts = piece().read()
    assert torch.equal(tensors["w"], torch.ones(2)) and facts == {"seen": 7}
    assert piece(code="abd").read() is None and piece(updates=4).read() is None
    images[0] = 9
    assert piece().read() is None
    images[0] = 0
    file.write_bytes(b"two")
    assert piece().read() is None


def test_a_state_replaces_the_one_before_and_a_damaged_one_counts_as_none(tmp_path):
    piece = Checkpoints(tmp_path).piece("job")
    assert piece.read() is None
    piece.write({"w": torch.ones(2)}, {})
    piece.write({"w": torch.zeros(2)}, {"seen": 2})
    file, = tmp_path.iterdir()
    tensors, facts = piece.read()
    assert torch.equal(tensors["w"], torch.zeros(2)) and facts == {"seen": 2}
    content = file.read_bytes()
    for damaged in (b"half", b"", content[:-1]):
        file.write_bytes(damaged)
        assert piece.read() is None


def test_unused_pieces_are_deleted_and_used_ones_stay(tmp_path):
    before = Checkpoints(tmp_path, "stage")
    for name in ("a", "b"):
        before.piece(name).write({"w": torch.ones(1)}, {})
    after = Checkpoints(tmp_path, "stage")
    assert after.piece("b").read() is not None and after.piece("c").read() is None
    (tmp_path / ".killed.part").write_bytes(b"half")
    (tmp_path / "folder").mkdir()
    after.prune()
    assert len(list(tmp_path.iterdir())) == 1
    again = Checkpoints(tmp_path, "stage")
    assert again.piece("a").read() is None and again.piece("b").read() is not None
    Checkpoints(tmp_path / "absent").prune()


def test_states_are_due_after_a_while(tmp_path, monkeypatch):
    piece = Checkpoints(tmp_path).piece("job")
    assert not piece.due()
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN_STATES", 0.0)
    assert piece.due() and not NOTHING_KEPT.due()
    NOTHING_KEPT.write({}, {})
    assert NOTHING_KEPT.read() is None


def test_all_that_training_reads_of_images_is_hashed():
    images = squares()
    others = [images.first(23), replace(images, labels=1 - images.labels), replace(images, classes=("a", "c")),
              replace(images, scanners=np.full(24, "x")), replace(images, patient_ids=images.image_ids)]
    hashes = {images_sha256(one) for one in (images, squares(), *others)}
    assert len(hashes) == 1 + len(others)
