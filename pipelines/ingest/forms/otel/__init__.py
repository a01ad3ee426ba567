"""The parts of the form `otlp`: how its files are read, and what each dialect of OpenTelemetry calls things and keeps where."""
