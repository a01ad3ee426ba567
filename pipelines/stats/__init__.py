"""Estimates, intervals, tests, verdicts and the gate: from per-conversation sums to one answer.

One module per question. Everything here is a pure function of numbers: nothing reads a table, a file or a clock, and
nothing knows what a metric means beyond its goal and margin. The unit of comparison is a decision, turn or
conversation; the unit of inference is the cluster (a conversation unless something coarser is asked for), because units
of one conversation resemble each other and treating them as independent gives twice the promised false alarms.

What cannot be computed is None with a reason code, never 0. The order in which rows arrive changes no digit.

Modules: `sums` (input), `estimate` (output), `cluster` (means, differences, rates), `wilson`, `binary` and `sign_flip`
(paired tests), `multiplicity`, `power`, `verdict`, `noise_floor`, `gate`; `reproducible` holds the summation that makes the
order of rows irrelevant.
"""
