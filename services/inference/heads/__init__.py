"""What a model's logits say, as the prediction of a kind of answer; one module per kind."""
