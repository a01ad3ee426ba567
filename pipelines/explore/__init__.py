"""What agents did, at a glance: volume, outcomes, tools, cost, latency, and how far the record can be trusted.

`choices` is what a reader may choose from, `overview` what is counted of it, `html` the page's parts. Texts that people said are never read.
"""
