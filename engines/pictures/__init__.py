"""Files of pictures: which are taken, how large they may be, and their pixels."""
