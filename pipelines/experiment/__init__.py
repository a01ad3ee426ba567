"""What an experiment is: the file and what it may say, its sides, metrics and window, and the plan of a version.

`file` reads it, `sides`, `metrics`, `budget`, `window`, `prompt`, `manifest` and `prices` are its parts, `decision`, `code` and `source`
the user's code, `models` who may be asked, `plan`, `runs` and `units` what is compared, `registry` and `reference` where it is kept and told.
Nothing here asks anybody.
"""
