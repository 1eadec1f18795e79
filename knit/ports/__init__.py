"""Every seam of knit as a Protocol. The docstring is the contract; each implementation passes its contract suite.

Unless said otherwise a method may block for as long as its adapter's own timeouts allow, raises only errors of
`knit.errors`, and may be called again after a crash with the same arguments to the same effect.
"""
