"""Where do people decide?"""
