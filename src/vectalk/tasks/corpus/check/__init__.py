"""Look through a corpus for what would spoil training or flatter an evaluation."""

from vectalk.tasks.corpus.check.corpus_check import check_corpus
from vectalk.tasks.corpus.check.findings import Finding, Report

__all__ = ["Finding", "Report", "check_corpus"]
