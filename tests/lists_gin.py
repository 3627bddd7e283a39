"""gin settings of a set of `path label` lists, for tests of the command lines."""


def lists_gin(folder):
    """Over those of an experiment: train.txt and val.txt, of videos in the folder."""
    return f"""from __gin__ import dynamic_registration
from keras_multigrid.data import lists
VIDEOS = @lists.path_label_lists()
TRAIN_LIST = 'train.txt'
lists.path_label_lists:
  train = %TRAIN_LIST
  validation = 'val.txt'
  root = '{folder}'
"""
