"""Looking into a model: what its heads look at, and what fine-tuning changed in its matrices."""
