"""The page of `burnish label`: one file with its style and its script. What it shows, it asks its server for."""

from burnish.report.page import render


def label_page(nonce: str) -> str:
    """The page as HTML. It has no data of the user's; `nonce` is what its server lets its style and script run by."""
    return render("label.html.j2", nonce=nonce)
