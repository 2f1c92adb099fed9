"""HTML pages and figures made from run folders; reads files only and needs no model.

`language.training.training_page` shows runs side by side, `language.demo.demo_page` the demo's summary, and
`figures.save_figure` writes a figure as PNG and SVG. Pages and files use the same Vega-Lite specification.
"""
