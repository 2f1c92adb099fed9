"""The study of selections: whether the pairs on which reward models disagree are worth more labels than random ones."""
