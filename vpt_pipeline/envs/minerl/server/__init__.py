"""The env server: runs under MineRL's own interpreter (Python 3.8+) and needs nothing of ours but this folder.

``python3 PATH/TO/server --help``. Only the standard library, and numpy, gym and minerl once a game is opened. Nothing here may
use newer Python than 3.8. Files import each other relatively: the folder may be copied to another machine by itself.
"""
