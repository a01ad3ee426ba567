"""Files become lines and lines JSON: pipes, gzip, lines of any length, how much memory there is, and where what is bad is put."""
