"""Every private or undocumented name of Ray's that this package uses, and nowhere else.

`names` lists them; a test compares the list with the Ray that is installed. In `access` and
`hooks` each stands behind a function or a method with a name of ours.
"""
