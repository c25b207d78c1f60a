"""The log counts every look at test rows under every plan once."""

import hashlib

import pytest

from synthplanes import records
from synthplanes.errors import UserError
from synthplanes.statistics.profile_evaluation import file_sha256, log_access


def test_the_log_counts_accesses_and_plans(tmp_path):
    log, one, other = tmp_path / "test_access_log.csv", tmp_path / "one.npy", tmp_path / "other.npy"
    one.write_bytes(b"1"), other.write_bytes(b"2")
    counts = []
    for plan, predictions in (("p", [one]), ("p", [one]), ("p", [other]), ("q", [other]), ("p", [one]),
                              ("q", [one, other])):
        log_access(log, plan, predictions)
        table = records.read_table(log, records.TEST_ACCESS)
        counts.append((len(table), table["analysis_plan"].nunique()))
    assert counts == [(1, 1), (1, 1), (2, 1), (3, 2), (3, 2), (4, 2)]
    assert records.read_table(log, records.TEST_ACCESS)["access"].tolist() == [1, 2, 3, 4]


def test_the_digest_is_that_of_the_file(tmp_path):
    (tmp_path / "analysis_plan.json").write_bytes(b"{}\n")
    assert file_sha256(tmp_path / "analysis_plan.json") == hashlib.sha256(b"{}\n").hexdigest()
    with pytest.raises(UserError, match="missing.json does not exist: run the stage"):
        file_sha256(tmp_path / "missing.json")
