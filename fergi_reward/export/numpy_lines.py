"""A few lines of NumPy for a program of one's own: the total itself."""

from fergi_reward.export.host import Host, HostWeights, number, text


def lines(found: HostWeights) -> list[str]:
    """A table of the terms, and the function that adds them up."""
    terms = [each.term for each in found.weights]
    rows = [
        f"    {text(term.name)}: ({number(term.mean)}, {number(term.std)}, {number(term.weight)})," for term in terms
    ]
    return [
        "import numpy as np",
        "",
        "TERMS = {  # score: (mean, standard deviation, weight)",
        *rows,
        "}",
        "",
        "",
        "def total(scores):",
        '    """Scores by name, (B,) each, as the scorers give them -> (B,)."""',
        "    parts = [weight * (np.asarray(scores[name]) - mean) / std for name, (mean, std, weight) in TERMS.items()]",
        "    return np.sum(parts, axis=0)",
    ]


HOST = Host("python", {}, "", "", lines)
