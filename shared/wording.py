"""Words for a confidence beside a threshold, and for what is promised; the same wherever
an item comes from."""


def compared(confidence: float, verb: str, threshold: float) -> str:
    """Two decimals, or as many as it takes for two different numbers to look different."""
    for digits in (2, 3, 4, 6):
        left, right = f"{confidence:.{digits}f}", f"{threshold:.{digits}f}"
        if left != right or confidence == threshold:
            return f"confidence {left} {verb} {right}"
    return f"confidence {confidence!r} {verb} {threshold!r}"


def percent(share: float) -> str:
    """`share` as a percentage with the digits that it has: 0.005 is 0.5%, and not 0% or 1%."""
    return f"{100.0 * share:.6g}%"
