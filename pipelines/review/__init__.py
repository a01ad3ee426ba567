"""What the review notebook shows: read a version's headline, its changed pairs and one pair, and render them as HTML.

The notebook holds no logic; it is all here and tested without a browser. `headline`, `changes`, `pair` and
`conversation` read the lake and return frozen data; `*_html` modules turn that data into HTML, `widgets` into table rows and choices. Nothing
here computes a difference or a statistic: those are in the datasets already.

Texts come from logs and are data: `markup` is the one place that writes tags, and it escapes everything else.
"""
