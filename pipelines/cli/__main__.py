"""`python -m pipelines.cli`."""

from pipelines.cli.entry import run

if __name__ == "__main__":
    run()
