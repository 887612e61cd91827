"""The parallel edition: a function in four frameworks side by side, with its equation, proof and speed.

``extract`` reads the sources as text; what it returns is JSON and is kept beside published
records (``results/published/<name>/``). ``render`` makes the page of that and of the rows of a
report, and reads nothing else. So a published page still follows from committed files when the
sources have changed since.
"""

from reports.edition.extract import extract
from reports.edition.page import render

__all__ = ["extract", "render"]
