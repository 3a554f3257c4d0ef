"""Which pages stand beside the card? Gradio's own components; every function asks who calls."""
