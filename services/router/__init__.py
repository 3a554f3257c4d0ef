"""The router: which items are sure enough to go on, and which go to a person?"""
