"""A page on which one watches the memory of a trained network, and changes it: one file that computes by itself."""
