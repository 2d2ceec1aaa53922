"""A `Picture` on the terminal, as SVG, and as a Plotly figure."""
