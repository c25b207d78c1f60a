"""What tests/benchmarks/controls.py makes of its rows: the words and the mean gains."""

import importlib

import numpy as np
import pytest


@pytest.fixture
def controls(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "tests" / "benchmarks"))
    return importlib.import_module("controls")


def test_the_mean_gain_over_populations_has_a_t_interval(controls):
    gains = [.031, -.002, .018, .044]
    rows = [dict(control="oracle", estimate=gain) for gain in gains] + [dict(control="resampled", estimate=.01)]
    found = controls.gains(rows)
    mean, error = np.mean(gains), np.std(gains, ddof=1) / 2                 # of four values
    expected = (mean, mean - 3.182446 * error, mean + 3.182446 * error)     # 97.5 % quantile of t with 3 degrees
    assert [found["oracle"][name] for name in ("mean", "low", "high")] == pytest.approx(expected, abs=1e-6)
    assert found["resampled"] == dict(mean=.01, low=None, high=None, populations=1) and "permuted_labels" not in found


def test_every_word_of_a_control_is_counted(controls):
    words = {"oracle": ("worthwhile gain", "worthwhile gain", "inconclusive"), "resampled": ("harm",)}
    rows = [dict(control=name, word=word) for name, said in words.items() for word in said]
    assert controls.said(rows) == {"oracle": {"inconclusive": 1, "worthwhile gain": 2}, "resampled": {"harm": 1}}
