"""Training: settings, order of the data, stages, checkpoints."""

from vectalk.training.config import TrainConfig
from vectalk.training.trainer import Trainer, make_trainer, train

__all__ = ["TrainConfig", "Trainer", "make_trainer", "train"]
