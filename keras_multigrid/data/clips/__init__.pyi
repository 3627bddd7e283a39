from keras_multigrid.data.clips.clip import Clip as Clip
from keras_multigrid.data.clips.passages import Passages as Passages
from keras_multigrid.data.clips.sampling import ClipSampling as ClipSampling
from keras_multigrid.data.clips.views import Views as Views
