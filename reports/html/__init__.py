"""The page people open: one self-contained HTML file, made of the frames and figures of the report."""
