"""A reduced CLIPSeg that answers "where is something drawn?" with a heat map."""
