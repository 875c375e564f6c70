"""Files of models that somebody else made: checked before anything is made of them.

Nothing is believed that can be compared with what is there: a shape with the size of the file, a
number of layers with the tensors, a name with its folder.
"""
