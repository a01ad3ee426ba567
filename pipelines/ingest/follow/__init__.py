"""A folder is followed: each pass imports the files that are new in it or have grown, and remembers which these are."""
