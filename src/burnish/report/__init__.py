"""Figures and pages of what runs left behind; it reads files and needs no model.

`training.training_page` shows runs side by side, `demo.demo_page` the summary of the main job, `figures.save_figure`
writes one figure as PNG and SVG. A figure is one Vega-Lite specification for all of these.
"""
