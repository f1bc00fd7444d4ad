"""The style of the plots in the gallery."""

from pathlib import Path


def use(gallery_conf, name):
    """Set it before each page; sphinx-gallery resets matplotlib's own style first."""
    from matplotlib import style

    style.use(Path(__file__).parents[1] / "skue.mplstyle")
