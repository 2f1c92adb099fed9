"""The study of AI feedback: labels of people and of a judge, in several shares at the same cost."""
