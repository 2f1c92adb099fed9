"""Whether the Hugging Face hub can be reached: found out once, in seconds, where its client tries for minutes."""

import os
import threading
from functools import cache

SECONDS = 6.0
"""How long the one try may take, the look-up of the address included."""


@cache
def reachable() -> bool:
    """Whether the hub answers one short request.

    If it does not, its client is put offline: files that were downloaded before are still found, and nothing waits.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return False
    answered: list[int] = []
    asking = threading.Thread(target=_ask, args=(constants.ENDPOINT, answered), daemon=True)
    asking.start()
    asking.join(SECONDS)  # a name server that is silent is waited for longer than any timeout of the request
    if answered and answered[0] < 500:
        return True
    _go_offline()
    return False


def silent() -> bool:
    """Whether the hub was asked, and did not answer."""
    return not (os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or reachable())


def _ask(address: str, answered: list[int]) -> None:
    from huggingface_hub import get_session

    try:
        answered.append(get_session().head(address, timeout=SECONDS).status_code)
    except Exception:  # of the network, of TLS, of a proxy or of the address: it does not answer
        return


def _go_offline() -> None:
    import datasets.config
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True
    datasets.config.HF_HUB_OFFLINE = True
