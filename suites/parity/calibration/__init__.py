"""The errors that honest implementations make, measured over seeds, and the gate's constants from them."""
