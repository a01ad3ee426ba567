"""The queue of the review page: pairs put before a blind reviewer, and verdicts taken, for a browser.

`desks` sits reviewers at desks and says what a page shows, `app` is asked by the page's script over HTTP, `serve` puts both beside the
notebook. The script is `queue.js`: keys, focus, and what is said when something cannot be recorded.
"""
