"""The embedded world: a complete FERGI at toy scale, real code paths throughout. Nothing it says is about real people.

It needs neither a GPU nor a hub: pictures of emoji with captions, a diffusion model that draws them, three scorers,
viewers who rank and frown, and a judge.
"""
