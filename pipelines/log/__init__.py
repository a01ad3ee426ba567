"""What of the log may be read, and how: types and versions, redactions, what an agent saw.

`upcasters` knows the event types and lifts payloads, `redaction` says what may be shown of one, `readable` makes relations of
both, and `context` rebuilds the messages of a request. What is stored where is the lake's and the store's matter.
"""
