"""A model that judges pairs: each both ways round and without names, paid for once, shown only beside its agreement with people.

`prompt` has what it is asked and how its answer is read, `run` asks about a version and writes `judgements`. What these come to is
`verdicts.judged`'s business, since no number of a judge stands without verdicts of people.
"""
