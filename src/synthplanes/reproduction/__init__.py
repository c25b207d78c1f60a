"""Does a revision reproduce? Run again elsewhere, compare stage by stage, and say so in one word."""
