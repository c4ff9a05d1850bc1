"""Rows of the catalogue that look at neighbours, and those to which the order of the examples means nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repscope.measures import _declared as declared
from repscope.measures import descriptive, heat_trace, local_alignment, neighbors, topology
from repscope.measures.measure import Measure

_OF_NEIGHBORS: Mapping[str, Any] = {
    "prepare": neighbors.prepare,
    "prepare_options": {"k": 10, "metric": "cosine"},
    "score_options": {},
    "variants": ({"k": 3}, {"k": 3, "metric": "euclidean"}),
}
"""What the measures of sets of neighbours have in common."""

NEIGHBOR_ROWS = (
    Measure(
        id="mutual_knn",
        title="Mutual nearest neighbours",
        formula="(1/n) Σ_i |N_x(i) ∩ N_y(i)| / k",
        function=neighbors.mutual_knn,
        score=neighbors.score_mutual_knn,
        facts=declared.neighbor_facts("mutual_knn"),
        **_OF_NEIGHBORS,
        cost="n²(p + q) multiplications and a sort of n² distances a layer; n² a pair",
        references=("Huh, Cheung, Wang & Isola 2024, The Platonic Representation Hypothesis",),
    ),
    Measure(
        id="jaccard_knn",
        title="Jaccard similarity of nearest neighbours",
        formula="(1/n) Σ_i |N_x(i) ∩ N_y(i)| / |N_x(i) ∪ N_y(i)|",
        function=neighbors.jaccard_knn,
        score=neighbors.score_jaccard_knn,
        facts=declared.neighbor_facts("jaccard_knn"),
        **_OF_NEIGHBORS,
        cost="as mutual_knn",
        references=("Schumacher et al. 2021", "Wang et al. 2022", "Klabunde et al. 2024, ReSi"),
    ),
    Measure(
        id="rank_similarity",
        title="Rank similarity of nearest neighbours",
        formula="(1/n) Σ_i Σ_j 2/((1+|r_j−s_j|)(r_j+s_j)) / Σ_{r≤K} 1/r, j the K neighbours in common",
        function=neighbors.rank_similarity,
        score=neighbors.score_rank_similarity,
        facts=declared.neighbor_facts("rank_similarity"),
        **_OF_NEIGHBORS,
        cost="as mutual_knn",
        references=("Wang et al. 2022", "Klabunde et al. 2023"),
    ),
    Measure(
        id="second_order_cosine",
        title="Second-order cosine similarity",
        formula="(1/n) Σ_i cos(d_x(i, U_i), d_y(i, U_i)), U_i = N_x(i) ∪ N_y(i), d the cosine distance",
        function=neighbors.second_order_cosine,
        prepare=neighbors.prepare_surroundings,
        score=neighbors.score_second_order_cosine,
        prepare_options={"k": 10},
        facts=declared.neighbor_facts("second_order_cosine"),
        variants=({"k": 3},),
        cost="as mutual_knn",
        references=("Hamilton, Leskovec & Jurafsky 2016", "Klabunde et al. 2024, ReSi"),
    ),
    Measure(
        id="cknna",
        title="Centered kernel nearest-neighbour alignment",
        formula="HSIC₁(α∘K, α∘L) / √(HSIC₁(α_x∘K, α_x∘K) HSIC₁(α_y∘L, α_y∘L)), cosines K, L, masks α = α_x α_y",
        function=local_alignment.cknna,
        prepare=local_alignment.prepare_cknna,
        score=local_alignment.score_cknna,
        prepare_options={"k": 10},
        facts=declared.cknna_facts,
        variants=({"k": 3},),
        cost="as mutual_knn",
        references=("Huh, Cheung, Wang & Isola 2024, its code", "Song et al. 2012"),
    ),
    Measure(
        id="cycle_knn",
        title="Cycles of nearest neighbours",
        formula="(1/n) Σ_i [j ∈ N_y(i) and i ∈ N_x(j) for some j]",
        function=local_alignment.cycle_knn,
        score=local_alignment.score_cycle_knn,
        prepare=neighbors.prepare,
        prepare_options={"k": 10, "metric": "cosine"},
        facts=declared.cycle_knn_facts,
        variants=({"k": 2}, {"k": 2, "metric": "euclidean"}),
        cost="as mutual_knn",
        references=("Huh, Cheung, Wang & Isola 2024, its code",),
    ),
    Measure(
        id="rtd",
        title="Representation topology divergence",
        formula="(b(r, s) + b(s, r)) / 2, b the sum of bars of H₁ of [[0, rᵀ], [r, min(r, s)]], distances r, s",
        function=topology.rtd,
        prepare=topology.prepare,
        score=topology.score,
        prepare_options={"batch": 500, "trials": 10, "sample_seed": 0},
        facts=declared.rtd_facts,
        variants=({"batch": 15, "trials": 2},),
        cost="persistent homology of 2·batch points, twice a trial and pair: about batch³ steps or more",
        references=("Barannikov, Trofimov, Balabin & Burnaev 2022",),
    ),
)

UNPAIRED_ROWS = (
    Measure(
        id="magnitude_difference",
        title="Difference of magnitudes",
        formula="| ‖x̄‖ − ‖ȳ‖ |",
        function=descriptive.magnitude_difference,
        prepare=descriptive.prepare_magnitude,
        score=descriptive.score,
        facts=declared.magnitude_facts,
        cost="n(p + q) additions",
        references=("Wang et al. 2022", "Klabunde et al. 2024, ReSi"),
    ),
    Measure(
        id="concentricity_difference",
        title="Difference of concentricities",
        formula="| (1/n) Σ_i cos(x_i, x̄) − (1/n) Σ_i cos(y_i, ȳ) |",
        function=descriptive.concentricity_difference,
        prepare=descriptive.prepare_concentricity,
        score=descriptive.score_concentricity,
        facts=declared.concentricity_facts,
        cost="n(p + q) multiplications",
        references=("Wang et al. 2022", "Klabunde et al. 2024, ReSi"),
    ),
    Measure(
        id="uniformity_difference",
        title="Difference of uniformities",
        formula="| u(X) − u(Y) |, u(X) = ln((1/n²) Σ_ij exp(−2‖x_i − x_j‖²))",
        function=descriptive.uniformity_difference,
        prepare=descriptive.prepare_uniformity,
        score=descriptive.score,
        facts=declared.uniformity_facts,
        cost="n²(p + q) multiplications",
        references=("Wang & Isola 2020", "Klabunde et al. 2024, ReSi"),
    ),
    Measure(
        id="imd",
        title="Multi-scale intrinsic distance",
        formula="10⁶ max_t e^{−2(t+1/t)} |h_x(t) − h_y(t)|, h(t) = (1/n) Σ_i e^{−tλ_i}, λ_i of the graph",
        function=heat_trace.imd,
        prepare=heat_trace.prepare,
        score=heat_trace.score,
        prepare_options={"k": 5},
        facts=declared.imd_facts,
        variants=({"k": 2},),
        cost="n²(p + q) and n³ multiplications a layer, 256 numbers a pair; n to 5,000",
        references=("Tsitsulin et al. 2020",),
    ),
)
