"""The report: tables, figures and templates from the result files of a profile."""
