"""What a recurrent network does inside, asked of every implementation and compared with the oracle.

``distance``   the norm of the gradient of a loss with respect to a state, against how many steps lie between
``clipping``   the global norm of the gradient before and after clipping, step by step of a training
``states``     the hidden states of a trained sentiment model on their two principal components

Each asks through the contract of ``suites/interface.py`` alone, so that an implementation that lives
elsewhere answers too. A curve is compared with that of the float64 oracle under the constants of the gate
(``suites/parity/tolerances.toml``), the conditioning of its every point measured as the gate measures it.
"""
