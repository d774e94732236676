"""The loss and its named terms, the training loop, the saved run, the posterior."""
