"""The one exception tree.

Every error that a user can cause or meet is a subclass of `RefoldError`; its message says what was wrong, the value
seen and what to do. `exit_code` is what the command line ends with: 1 failed, 2 bad usage or bad input, 3 a check
found a difference or a gate failed, 4 not complete yet. Programming errors are not in this tree.
"""

from __future__ import annotations


class RefoldError(Exception):
    """Something that Refold was asked to do could not be done."""

    exit_code = 1


class BadInputError(RefoldError):
    """What was given (a file, an option, an experiment, a query) is wrong; nothing was changed."""

    exit_code = 2


class UnfinishedError(RefoldError):
    """What was begun goes on elsewhere and is not complete yet; nothing is wrong, and the same call later goes on from there."""

    exit_code = 4


class CheckFailedError(RefoldError):
    """A check ran to its end and found a difference, or a gate did not pass."""

    exit_code = 3
