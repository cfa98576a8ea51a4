"""Read and check files that others may have written; one error says what is wrong with a file."""
