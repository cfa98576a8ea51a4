"""The report of an evaluation: one HTML page, rendered from the files of the evaluation."""

from vectalk.evaluation.report.report import write_report

__all__ = ["write_report"]
