"""Check a corpus for faults that would harm training or make an evaluation look too good."""

from vectalk.tasks.corpus.check.corpus_check import check_corpus
from vectalk.tasks.corpus.check.findings import Finding, Report

__all__ = ["Finding", "Report", "check_corpus"]
