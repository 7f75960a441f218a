"""Tables that commands print."""

import pytest

from probunet.commands import tables

ROW = {"metric": "entropy_correlation", "n": None, "mean": -0.0678, "low": -0.1234, "high": -0.0557, "median": -0.0789}
COUNTS = {"images": 12345, "left_out": 678}
TEST = {"metric": "ged2", "n": 16, "first": "probabilistic_unet", "second": "mixture_of_experts"}
NUMBERS = {"difference": -0.0678, "low": -0.1234, "high": -0.0557, "p_holm": 0.012, "effect": -0.5}


@pytest.mark.parametrize("width", ["30", "80", "200"])
def test_a_window_of_any_width_cuts_no_number(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", width)
    tables.print_scores("a model", "1 - IoU", [ROW | COUNTS])
    tables.print_comparisons([TEST | NUMBERS])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "entropy_correlation all -0.0678 -0.123 to -0.056 -0.0789 12345 678" in lines
    assert "ged2 16 probabilistic_unet mixture_of_experts -0.0678 -0.123 to -0.056 0.012 -0.50" in lines


def test_the_table_of_an_evaluation_fits_into_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    tables.print_scores("a model", "1 - IoU", [ROW | {"metric": "excess (ged2_unbiased)", "images": 99, "left_out": 9}])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
