"""`tidemill demo`: the whole story on real reviews, in a stack of its own."""
