"""Files that may come from elsewhere: read whole and checked, or refused with one error that says what is wrong."""
