"""Reports: what was measured, as tables, pictures and words on one self-contained HTML page."""
