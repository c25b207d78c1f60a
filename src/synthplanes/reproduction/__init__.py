"""Reproduce, trace and publish results: what dvc.lock and git record, and how to run it again."""
