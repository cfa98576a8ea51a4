"""Teachers write the target texts of a corpus; answering a question never uses a teacher."""
