"""The colours of all pictures; those of calibrators stand with the calibrators."""

#: What a picture is about, what it is compared with, and the rest.
MAIN, SECOND, OTHER = "#1f5a94", "#c05a1a", "#7a7a7a"
#: What is to be reached: a target, a ceiling, ε.
GOAL = "#2f7d32"
#: The same among many colours, one of which is green.
GOAL_AMONG_MANY = "#222222"
#: Lines at 0, and what stands for all together.
GUIDE, WHOLE = "grey", "black"
#: Text on light and on dark ground.
ON_LIGHT, ON_DARK = "black", "white"
#: Two kinds side by side, colour-blind safe (Okabe and Ito).
PAIR = ("#0072b2", "#d55e00")
#: For series that have no colour of their own.
FURTHER = ("#8c564b", "#9467bd", "#bcbd22", "#17becf", "#7f7f7f", "#637939")
#: Colour maps of what has an order, and of what has a sign.
ORDERED, SIGNED = "viridis", "RdBu"
