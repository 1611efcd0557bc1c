"""Shared equilibria: the theory of section 2 as code. Pure NumPy.

Everything stands on the game between policies with payoff V̂(π1, π2) of equation (4): what an agent
drawn at random gets with π1 while all others play π2. A finite set of m policies gives the matrix
``payoff[i, j] = V̂(π_i, π_j)``, computed exactly or measured between snapshots of learned policies.

- `finite_games`: V, V̂ and ε-shared equilibria (Definition 1) by exact best response.
- `markov_games`, `shared_gradient`: V over several steps; the gradient (3) and Proposition 1.
- `transitivity`: extended transitivity (Assumption 1) of a payoff matrix, or its counterexample.
- `self_play`: self-play sequences (Definition 2) and where they end (Theorem 1).
- `decomposition`, `measured`: the cyclic part of a payoff matrix; what holds beyond noise.
- `piecewise`: piecewise potential games.
"""
