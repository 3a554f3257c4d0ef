"""How fast is it? Each module measures one part; start them with bin/bench."""
