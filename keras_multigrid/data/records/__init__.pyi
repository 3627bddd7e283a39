from keras_multigrid.data.records.format import RecordFormat as RecordFormat
from keras_multigrid.data.records.preparing import forget_bad as forget_bad
from keras_multigrid.data.records.preparing import prepare as prepare
from keras_multigrid.data.records.record_set import RecordedVideos as RecordedVideos
from keras_multigrid.data.records.record_set import recorded_videos as recorded_videos
from keras_multigrid.data.records.verifying import verify as verify
