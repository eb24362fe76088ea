"""Training: what a run is, the loop, what update k sees, the run folder, and how well a model does."""
