"""What people look at: the card and the Gradio pages around it."""
