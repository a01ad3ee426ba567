"""What a person sees of a comparison: read a version's headline, its changed pairs and one pair, and show them as pages.

A page is a template in `templates/`, with a style sheet beside it: open them to see what it looks like. `headline`, `changes`, `pair`,
`conversation` and `report` read the lake and return frozen data; `*_html` modules say it in the words and numbers that a template
shows, `widgets` in table rows and choices for the notebook, which holds no logic. Nothing here computes a difference or a
statistic: those are in the datasets already.

Texts come from logs and are data: `markup` is the one place that fills in templates, and it escapes everything.
"""
