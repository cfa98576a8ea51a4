"""The report of an evaluation: one page for people, made of its files alone."""

from vectalk.evaluation.report.report import write_report

__all__ = ["write_report"]
