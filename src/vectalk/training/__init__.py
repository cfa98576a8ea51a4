"""Training: settings, data order, stages, checkpoints."""

from vectalk.training.config import TrainConfig
from vectalk.training.trainer import Trainer, train

__all__ = ["TrainConfig", "Trainer", "train"]
