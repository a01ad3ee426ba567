"""A receiver of OpenTelemetry: what exporters send is kept durably, and imported as files of the form `otlp` are.

A body is a file of the home's folder `received` before it is answered. Conversations are imported once nothing more of them has
come for a while, from all that was kept of them, so that what comes later makes them grow. Nothing here says what a span means.
"""
