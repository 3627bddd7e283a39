from keras_multigrid.data.videos.decode import decode_frames as decode_frames
from keras_multigrid.data.videos.decode import opened as opened
from keras_multigrid.data.videos.decode import read_video as read_video
from keras_multigrid.data.videos.open_video import DecodeError as DecodeError
from keras_multigrid.data.videos.open_video import OpenVideo as OpenVideo
from keras_multigrid.data.videos.span import Span as Span
from keras_multigrid.data.videos.video import VideoRecord as VideoRecord
from keras_multigrid.data.videos.video import VideoSet as VideoSet
