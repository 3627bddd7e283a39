from keras_multigrid.data.check.set_report import SetReport as SetReport
from keras_multigrid.data.check.video import Outcome as Outcome
from keras_multigrid.data.check.video import check_video as check_video
from keras_multigrid.data.check.videos import CheckedVideos as CheckedVideos
from keras_multigrid.data.check.videos import Finding as Finding
from keras_multigrid.data.check.videos import check_videos as check_videos
