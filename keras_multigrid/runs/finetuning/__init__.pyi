from keras_multigrid.runs.finetuning.request import Request as Request
from keras_multigrid.runs.finetuning.run import finetune as finetune
