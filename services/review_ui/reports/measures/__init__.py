"""How well two people agree, by kind of answer: one module a kind. Pure."""
