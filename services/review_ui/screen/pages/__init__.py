"""The pages beside the card, in Gradio's own components; every function asks who calls."""
