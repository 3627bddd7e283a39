from keras_multigrid.data.synthetic.videos import motion_videos as motion_videos
from keras_multigrid.data.synthetic.videos import write_videos as write_videos
