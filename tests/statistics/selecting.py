"""Pick rows of results and parts of predictions, for the tests of this room."""

import dataclasses

import numpy as np
import pandas as pd


def find(rows, **where):
    """Return the rows (of a table or a list of mappings) with these values, as mappings."""
    rows = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


def only(rows, **where):
    """Return the single row with these values."""
    row, = find(rows, **where)
    return row


def keep_runs(predictions, which):
    """Return the predictions with the runs under a mask, or in the order of an index."""
    which = np.asarray(which)
    return dataclasses.replace(predictions, runs=predictions.runs.iloc[np.arange(len(predictions.runs))[which]]
                               .reset_index(drop=True), probabilities=predictions.probabilities[which])


def with_columns(predictions, **columns):
    """Return the predictions with other columns of their images."""
    columns = {name: pd.Series(list(values), dtype="str") for name, values in columns.items()}
    return dataclasses.replace(predictions, images=predictions.images.assign(**columns))
