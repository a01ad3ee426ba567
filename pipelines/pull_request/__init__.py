"""What a pull request is told of a comparison: a comment in Markdown, JUnit for any other CI, and the calls that post the comment.

`comment` and `junit` are pure functions of what was read of a version; `post` makes the few calls of GitHub, and runs by itself:
`python -m pipelines.pull_request.post FILE`. Texts come from logs and from files of a fork: `markdown` is the one place that makes
them inert there.
"""
