"""What the FERGI paper's authors printed, digit for digit, with its sources."""

from fergi_reward.calibration import paper_v3

NOTEBOOK, LATER_VERSION = "notebook", "later version"
WHERE = {
    NOTEBOOK: "the output of result_analysis.ipynb in github.com/ShuangquanFeng/FERGI, commit 8a68fb9",
    LATER_VERSION: "a later version of the paper, arXiv 2312.03187",
}

Key = tuple[str, str, str]  # group, row, quantity

SOURCES = {
    "ratings": NOTEBOOK,
    "correlations": NOTEBOOK,
    "rank sums": NOTEBOOK,
    "paper-v1": NOTEBOOK,
    "regressions": NOTEBOOK,
    "paper-v3": LATER_VERSION,
}
# How far a figure may be from the printed one beyond its last digit, and a p-value in proportion to itself. In ranks,
# the last bit of an activation decides which of equal ones is higher, and changing it moves the figures so far (a test
# does); here equal ones rank equally. No other figure depends on the last bit.
TIES = {"correlations": 1e-4, "rank sums": 5e-3}
TIES_P_VALUE = 0.04

_TABLES = {
    "ratings": """
        rating images
        1 104
        2 185
        3 258
        4 456
        5 581
        6 403
        7 216
    """,
    "correlations": """
        au   rating    rating_p     extremity extremity_p
        au1  0.064884  2.312202e-03 0.099987  2.574945e-06
        au2  0.087530  3.890267e-05 0.110589  1.954342e-07
        au4  -0.177750 4.271928e-17 -0.034339 1.071111e-01
        au5  -0.040861 5.516557e-02 0.077031  2.959130e-04
        au6  -0.013997 5.114170e-01 0.064320  2.524922e-03
        au9  -0.093508 1.102355e-05 0.064120  2.604498e-03
        au12 0.080999  1.413158e-04 0.142731  1.697354e-11
        au15 -0.039791 6.185802e-02 -0.014756 4.887846e-01
        au17 -0.000212 9.920774e-01 0.015411  4.696928e-01
        au20 0.020286  3.412544e-01 0.083895  8.066989e-05
        au25 -0.034590 1.045663e-01 0.070691  8.994759e-04
        au26 -0.035392 9.676725e-02 0.056783  7.680751e-03
    """,
    "rank sums": """
        au   disappointed disappointed_p satisfied satisfied_p  surprised surprised_p
        au1  -4.253206    2.107315e-05   -1.634018 1.022551e-01 -0.121693 0.903142
        au2  -5.823828    5.751487e-09   -1.364081 1.725420e-01 0.462670  0.643601
        au4  4.815768     1.466347e-06   -9.070811 1.181345e-19 1.765344  0.077506
        au5  -1.491916    1.357211e-01   -6.617325 3.657557e-11 0.036812  0.970635
        au6  -1.289209    1.973253e-01   -2.747972 5.996519e-03 2.103461  0.035425
        au9  1.943151     5.199795e-02   -6.927022 4.297908e-12 3.778477  0.000158
        au12 -4.863989    1.150434e-06   0.193034  8.469321e-01 4.289125  0.000018
        au15 0.323521     7.463007e-01   -1.285764 1.985255e-01 2.837796  0.004543
        au17 -2.413584    1.579651e-02   0.437148  6.620038e-01 2.846647  0.004418
        au20 -2.604854    9.191345e-03   0.407788  6.834292e-01 3.337323  0.000846
        au25 -2.718431    6.559229e-03   -3.791213 1.499132e-04 4.006885  0.000062
        au26 -3.359249    7.815469e-04   -3.229266 1.241082e-03 4.447767  0.000009

        au   disgusted disgusted_p  amused    amused_p     scared    scared_p
        au1  1.709416  8.737392e-02 -1.456186 1.453411e-01 1.445043  1.484457e-01
        au2  1.808029  7.060196e-02 -0.532655 5.942721e-01 0.988958  3.226837e-01
        au4  8.338158  7.545642e-17 -1.631271 1.028331e-01 5.600945  2.131867e-08
        au5  3.935649  8.297220e-05 -0.852329 3.940316e-01 4.387261  1.147870e-05
        au6  2.538604  1.112956e-02 6.998175  2.593186e-12 0.875714  3.811853e-01
        au9  4.866843  1.133948e-06 5.008218  5.493621e-07 2.798154  5.139568e-03
        au12 -0.509093 6.106874e-01 9.153541  5.509725e-20 0.044851  9.642259e-01
        au15 2.957602  3.100419e-03 2.732250  6.290341e-03 2.761462  5.754315e-03
        au17 1.834307  6.660847e-02 2.847279  4.409471e-03 -0.429550 6.675227e-01
        au20 0.523242  6.008059e-01 6.116420  9.570102e-10 1.400016  1.615085e-01
        au25 1.616289  1.060318e-01 3.850483  1.178851e-04 2.474391  1.334635e-02
        au26 2.198295  2.792810e-02 2.490555  1.275436e-02 2.214500  2.679438e-02
    """,
    "regressions": """
        signal       alignment alignment_p  fidelity  fidelity_p
        clip         -0.031474 5.768449e-02 0.074724  0.000023
        aesthetic    -0.008706 6.011505e-01 0.018470  0.296958
        blip         -0.019461 2.414323e-01 0.017186  0.330547
        image_reward 0.252673  3.714833e-57 -0.053017 0.001194
        pickscore    0.153421  9.057920e-22 0.035437  0.035267
        hps_v2       0.069814  2.309354e-05 0.034861  0.046443
        weighted_sum 0.138264  6.615911e-24 0.026419  0.066660
        au4          0.035740  2.888605e-02 0.075050  0.000016
    """,
    "paper-v1": """
        model                 accuracy
        clip                  0.5749858517260894
        aesthetic             0.499151103565365
        blip                  0.499151103565365
        image_reward          0.6044142614601019
        pickscore             0.6335597057159027
        hps_v2                0.6194114318053198
        weighted_sum          0.6578947368421053
        au4                   0.566213921901528
        clip_selected         0.6057866184448463
        aesthetic_selected    0.5099457504520796
        blip_selected         0.5298372513562387
        image_reward_selected 0.6311030741410488
        pickscore_selected    0.6256781193490054
        hps_v2_selected       0.6292947558770343
        weighted_sum_selected 0.6708860759493671
        au4_selected          0.7486437613019892
        image_reward+au4      0.6267685342388228
        pickscore+au4         0.653084323712507
        hps_v2+au4            0.6544991511035654
        weighted_sum+au4      0.668081494057725
    """,
}


def _read(group: str, text: str) -> dict[Key, str]:
    """The cells of one or more tables of words, which blank lines divide."""
    cells: dict[Key, str] = {}
    for table in text.strip().split("\n\n"):
        (_, *quantities), *rows = (line.split() for line in table.strip().splitlines())
        for row, *values in rows:
            cells |= {(group, row, name): value for name, value in zip(quantities, values, strict=True)}
    return cells


PUBLISHED: dict[Key, str] = {
    key: value for group, text in _TABLES.items() for key, value in _read(group, text).items()
} | {("paper-v3", model, "accuracy"): f"{percent / 100:.4f}" for model, percent in paper_v3.PUBLISHED.items()}
