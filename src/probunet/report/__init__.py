"""Tables, figures and one self-contained HTML page about an experiment; reads results, computes none."""
